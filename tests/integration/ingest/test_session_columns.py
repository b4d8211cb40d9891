"""What a session keeps of its packets beside octets and times: the latest address, the first of what never changes."""

from typing import Any

import psycopg
from support.ledger import Entry, ship

from radmeter.ingest.store import Store

Connection = psycopg.Connection[tuple[Any, ...]]

COMMON = [("User-Name", "alice"), ("Acct-Session-Id", "s1"), ("NAS-IP-Address", "192.0.2.1")]
START = [
    ("Acct-Status-Type", "Start"),
    ("Framed-IP-Address", "10.0.0.7"),
    ("Framed-IPv6-Address", "2001:db8::7"),
    ("Framed-IPv6-Prefix", "2001:db8:7::/64"),
    ("Framed-Interface-Id", "0:0:0:7"),
    ("Delegated-IPv6-Prefix", "2001:db8:700::/56"),
    ("Acct-Authentic", "RADIUS"),
    ("Connect-Info", "first"),
]
BARE = [("Acct-Status-Type", "Interim-Update"), ("Acct-Session-Time", "60")]
MOVED = [
    ("Acct-Status-Type", "Interim-Update"),
    ("Acct-Session-Time", "120"),
    ("Framed-IP-Address", "10.0.0.8"),
    ("Framed-IPv6-Address", "2001:db8::8"),
    ("Framed-IPv6-Prefix", "2001:db8:8::/64"),
    ("Framed-Interface-Id", "0:0:0:8"),
    ("Delegated-IPv6-Prefix", "2001:db8:800::/56"),
    ("Acct-Authentic", "Local"),
    ("Connect-Info", "second"),
]
STOP = [
    ("Acct-Status-Type", "Stop"),
    ("Acct-Session-Time", "180"),
    ("Acct-Terminate-Cause", "User-Request"),
    ("Connect-Info", "last"),
]


def row(connection: Connection) -> tuple[str, ...]:
    found = connection.execute(
        """SELECT framedipaddress, framedipv6address, framedipv6prefix, framedinterfaceid, delegatedipv6prefix,
                  acctauthentic, connectinfo_start, connectinfo_stop, acctterminatecause FROM radacct"""
    ).fetchone()
    assert found is not None
    return tuple("" if value is None else str(value) for value in found)


def test_an_address_stays_until_a_packet_shows_another(database: str, connection: Connection) -> None:
    store = Store(database)
    first = ("10.0.0.7", "2001:db8::7", "2001:db8:7::/64", "0:0:0:7", "2001:db8:700::/56", "RADIUS", "first")
    moved = ("10.0.0.8", "2001:db8::8", "2001:db8:8::/64", "0:0:0:8", "2001:db8:800::/56", "RADIUS", "first")
    expected = [(*first, "", ""), (*first, "", ""), (*moved, "", ""), (*moved, "last", "User-Request")]
    found = []
    for number, packet in enumerate((START, BARE, MOVED, STOP), 1):
        ship(store, "n", [Entry(number, (1_795_171_383 + 60 * number) * 1_000_000, [*COMMON, *packet])])
        found.append(row(connection))
    store.close()
    assert found == expected
