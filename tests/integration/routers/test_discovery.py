"""Discovery: a batch finds and makes the same routers as its packets one by one, and reads little for a flood."""

import json
import random
import time
from collections.abc import Sequence

import pytest
from support import ledger
from support.ledger import Entry, empty, register, ship
from support.rows_read import rows_read
from support.servers import Connection

from radmeter.ingest.records import as_json
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import Entry as JournalEntry

MAC = "02-00-00-00-00-{:02X}"
PROXY, OTHER_PROXY = "198.51.100.1", "198.51.100.2"


def packet(
    number: int,
    mac: str | None,
    name: str | None,
    address: str | None,
    client: str | None = PROXY,
    status: str = "Interim-Update",
) -> Entry:
    """Return a packet of a session of its own, with what names its router."""
    pairs = {
        "Acct-Status-Type": status,
        "Acct-Session-Id": f"session {number}",
        "User-Name": "anna",
        "Called-Station-Id": mac,
        "NAS-Identifier": name,
        "NAS-IP-Address": address,
        "Tmp-IP-Address-0": client,
        "Acct-Input-Octets": "1000",
        "Acct-Output-Octets": "1",
    }
    return Entry(
        number, time.time_ns() // 1000, [(name, value) for name, value in pairs.items() if value is not None]
    )


def found(connection: Connection) -> list[tuple[str, str]]:
    """Return each session with its router."""
    return connection.execute(
        """SELECT acctsessionid, router.name FROM radacct JOIN routers AS router ON router.id = router_id
           ORDER BY acctsessionid"""
    ).fetchall()


def discovered(connection: Connection) -> list[tuple[object, ...]]:
    """Return the discovered routers in the order in which they were discovered."""
    return connection.execute(
        """SELECT discovery_key, name, mac::text, nas_identifier, host(ip_address) FROM routers
           WHERE status = 'discovered' ORDER BY id"""
    ).fetchall()


def prepare(connection: Connection) -> None:
    """Register some routers by what the packets show, and let one be discovered, one retired and one merged."""
    empty(connection)
    register(connection, "by mac", mac=MAC.format(1))
    register(connection, "by name", nas_identifier="n1")
    register(connection, "by address", ip_address="10.0.0.1")
    register(connection, "twice", nas_identifier="n2", ip_address="10.0.0.2")
    register(connection, "twice too", nas_identifier="n2", ip_address="10.0.0.2")
    known = {"status": "discovered", "nas_identifier": "n3"}
    register(connection, "discovered", mac=MAC.format(2), discovery_key="mac:02:00:00:00:00:02", **known)
    register(connection, "retired", nas_identifier="n4", status="retired", discovery_key="nas:n4")
    merged = {"status": "retired", "merged_into": 3, "merged_status": "discovered"}
    register(connection, "merged", nas_identifier="n5", mac=MAC.format(3), **merged)


def shuffled(rng: random.Random, packets: int) -> list[Entry]:
    """Return packets whose few MACs, names and addresses meet in all ways."""
    macs = [None, *(MAC.format(n) for n in range(1, 8))]
    names = [None, *(f"n{n}" for n in range(1, 8)), *(MAC.format(n) for n in range(1, 8))]
    addresses = [f"10.0.0.{n}" for n in range(1, 6)]
    status = ["Interim-Update"] * 6 + ["Start", "Stop", "Accounting-On"]
    return [
        packet(
            number,
            rng.choice(macs),
            rng.choice(names),
            rng.choice(addresses),
            rng.choice([PROXY] * 8 + [OTHER_PROXY, None]),
            rng.choice(status),
        )
        for number in range(1, packets + 1)
    ]


@pytest.mark.parametrize("seed", range(25))
def test_a_batch_discovers_the_same_as_its_packets_one_by_one(
    database: str, connection: Connection, seed: int
) -> None:
    rng = random.Random(seed)
    entries = shuffled(rng, rng.choice((3, 6, 12, 40)))
    store = Store(database)
    try:
        prepare(connection)
        for entry in entries:
            ship(store, "node", [entry])
        one_by_one = found(connection), discovered(connection)
        prepare(connection)
        ship(store, "node", entries)
        # The order of the rows may differ: those in one statement come first.
        at_once = found(connection), discovered(connection)
    finally:
        store.close()
    assert at_once[0] == one_by_one[0]
    assert sorted(map(str, at_once[1])) == sorted(map(str, one_by_one[1]))


def flood(first: int, count: int, **same: str) -> list[Entry]:
    """Return packets of routers never seen before, all with the factory address."""
    return [
        packet(
            number,
            None
            if "no_mac" in same
            else f"06-00-{number >> 24:02X}-{number >> 16 & 255:02X}-{number >> 8 & 255:02X}-{number & 255:02X}",
            f"name {number}" if "no_mac" in same else "MikroTik",
            "192.168.88.1",
        )
        for number in range(first, first + count)
    ]


def read_for(connection: Connection, entries: Sequence[Entry]) -> int:
    """Ingest packets, and return how many rows that reads."""
    records = json.dumps([as_json(JournalEntry(*each[:2], json.dumps(each.pairs))) for each in entries])
    return rows_read(connection, lambda: ledger.ingest(connection, "node", records))


@pytest.fixture
def crowded(connection: Connection) -> Connection:
    """A database with 30,000 routers of one name and address, and no limit on discoveries."""
    connection.execute(
        """INSERT INTO routers (name, mac, nas_identifier, ip_address, status, discovery_key)
           SELECT mac::text, mac, 'MikroTik', '192.168.88.1', 'discovered', 'mac:' || mac
           FROM (SELECT ('02' || lpad(to_hex(number), 10, '0'))::macaddr AS mac
                 FROM generate_series(1, 30000) AS number) AS routers"""
    )
    connection.execute("SELECT radmeter.set_limit('discoveries_per_client_hour', 'off')")
    connection.execute("ANALYZE routers")
    return connection


# One look through the 30,000 for each of 500 packets would be 15,000,000 rows.
MOST_READ = 500 * 300


@pytest.mark.parametrize("kind", [{}, {"no_mac": "yes"}], ids=["mac", "name"])
def test_a_flood_of_new_routers_reads_little_for_each(crowded: Connection, kind: dict[str, str]) -> None:
    # With 70,000 routers of one address, a batch of 1,000 new ones took 30 s, a thousand times as long as known ones.
    read_for(crowded, flood(1, 500, **kind))
    assert read_for(crowded, flood(10_000, 500, **kind)) < MOST_READ
    assert crowded.execute("SELECT count(*) FROM routers WHERE id > 30000").fetchone() == (2 * 500,)


def test_packets_whose_routers_depend_on_each_other_read_little_each(crowded: Connection) -> None:
    """One packet without a MAC and with the name of all others: every key is taken in order."""
    read_for(crowded, flood(1, 500))
    mixed = [packet(20_000, None, "MikroTik", "192.168.88.1"), *flood(20_001, 499)]
    assert read_for(crowded, mixed) < MOST_READ
    assert discovered(crowded)[-1][0] == f"mac:{_mac(20_499)}"


def _mac(number: int) -> str:
    return "06:00:" + number.to_bytes(4).hex(":")


# --- the limit


def limit_rows(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT client, discovered, beyond_keys IS NOT NULL FROM radmeter.discovery_count ORDER BY client"
    ).fetchall()


@pytest.fixture
def limited(connection: Connection) -> Connection:
    """A database where packets of a client can discover two routers an hour."""
    connection.execute("SELECT radmeter.set_limit('discoveries_per_client_hour', '2')")
    return connection


def ingest(database: str, *entries: Entry) -> None:
    store = Store(database)
    try:
        ship(store, "node", entries)
    finally:
        store.close()


def hour_over(connection: Connection) -> None:
    connection.execute(
        """UPDATE radmeter.discovery_count SET
               beyond_from = CASE WHEN beyond_from = began_at THEN began_at - interval '1 hour' ELSE beyond_from END,
               began_at = began_at - interval '1 hour'"""
    )


@pytest.mark.parametrize("batch", [1, 10])
def test_beyond_the_limit_usage_goes_to_one_router_of_the_client(
    database: str, limited: Connection, batch: int
) -> None:
    entries = [
        packet(1, MAC.format(11), "a", "10.0.0.1"),
        packet(2, MAC.format(12), "b", "10.0.0.2"),
        packet(3, MAC.format(13), "c", "10.0.0.3"),
        packet(4, None, "d", "10.0.0.4"),
        packet(5, MAC.format(15), "e", "10.0.0.5", OTHER_PROXY),
        packet(6, MAC.format(16), "f", "10.0.0.6", None),
        packet(7, MAC.format(11), "a", "10.0.0.1"),
    ]
    for at in range(0, len(entries), batch):
        ingest(database, *entries[at : at + batch])
    limit = f"discovery limit reached: {PROXY}"
    assert found(limited) == [
        ("session 1", "02:00:00:00:00:0b"),
        ("session 2", "02:00:00:00:00:0c"),
        ("session 3", limit),
        ("session 4", limit),
        ("session 5", "02:00:00:00:00:0f"),
        ("session 6", "02:00:00:00:00:10"),
        ("session 7", "02:00:00:00:00:0b"),
    ]
    assert limited.execute("SELECT sum(bytes_in) FROM user_quota_usage").fetchone() == (7000,)
    assert limited.execute(
        "SELECT bytes_in FROM router_daily_usage JOIN routers AS router ON router.id = router_id WHERE name = %s",
        (limit,),
    ).fetchall() == [(2000,)]
    assert limit_rows(limited) == [(PROXY, 2, True), (OTHER_PROXY, 1, False), ("unknown", 1, False)]
    (row,) = limited.execute("SELECT client, router_name, keys FROM radmeter.discovery_limits").fetchall()
    assert row == (PROXY, limit, 2)


def test_after_the_hour_a_new_session_discovers_the_router(database: str, limited: Connection) -> None:
    ingest(database, *(packet(n, MAC.format(n), None, "10.0.0.1") for n in (1, 2, 3)))
    hour_over(limited)
    again = packet(4, MAC.format(3), None, "10.0.0.1")
    old = packet(5, MAC.format(3), None, "10.0.0.1")._replace(
        pairs=[
            (name, "session 3" if name == "Acct-Session-Id" else value)
            for name, value in packet(5, MAC.format(3), None, "10.0.0.1").pairs
        ]
    )
    ingest(database, again, old)
    assert found(limited)[2:] == [
        ("session 3", f"discovery limit reached: {PROXY}"),
        ("session 4", "02:00:00:00:00:03"),
    ]
    assert limit_rows(limited) == [(PROXY, 1, True)]


@pytest.mark.parametrize("in_order", [False, True])
def test_an_accounting_on_beyond_the_limit_closes_nothing_of_others(
    database: str, limited: Connection, in_order: bool
) -> None:
    ingest(database, *(packet(n, MAC.format(n), None, "10.0.0.1") for n in (1, 2, 3, 4)))
    reboots = [packet(5, MAC.format(4), "twin", "10.0.0.1", status="Accounting-On")]
    if in_order:
        reboots.append(packet(6, None, "twin", "10.0.0.1", status="Accounting-Off"))
    ingest(database, *reboots)
    assert limited.execute("SELECT count(*) FROM radacct WHERE acctstoptime IS NULL").fetchone() == (4,)
    assert limited.execute("SELECT last_seq FROM radmeter.nodes").fetchone() == (5 + in_order,)
    limited.execute("TRUNCATE radmeter.discovery_count")
    limited.execute("SELECT radmeter.set_limit('discoveries_per_client_hour', '0')")
    ingest(database, packet(7, MAC.format(9), None, None, OTHER_PROXY, status="Accounting-On"))
    names = [row[1] for row in discovered(limited)]
    assert f"discovery limit reached: {OTHER_PROXY}" not in names


@pytest.mark.parametrize("change", ["retire", "claim", "merge"])
def test_a_limit_router_that_was_changed_goes_on_taking_what_is_beyond(
    database: str, limited: Connection, change: str
) -> None:
    """As with any discovered router: packets find a retired one again, and after a merge the other one."""
    harbour = register(limited, "harbour")
    ingest(database, *(packet(n, MAC.format(n), None, "10.0.0.1") for n in (1, 2, 3)))
    row = limited.execute("SELECT id FROM routers WHERE discovery_key = %s", (f"limit:{PROXY}",)).fetchone()
    assert row is not None
    call, expected = {
        "retire": ("radmeter.retire_router(%(id)s, false)", f"discovery limit reached: {PROXY}"),
        "claim": ("radmeter.claim_router(%(id)s, 'rest', NULL, NULL, NULL, NULL)", "rest"),
        "merge": ("radmeter.merge_router(%(id)s, %(harbour)s)", "harbour"),
    }[change]
    limited.execute(f"SELECT {call}".encode(), {"id": row[0], "harbour": harbour})
    ingest(database, packet(4, MAC.format(4), None, "10.0.0.1"))
    assert found(limited)[3] == ("session 4", expected)
    # Its name is no key: a router that calls itself so is another one.
    hour_over(limited)
    ingest(database, packet(5, None, f"discovery limit reached: {PROXY}", "10.0.0.1"))
    row = limited.execute("SELECT discovery_key FROM routers ORDER BY id DESC LIMIT 1").fetchone()
    assert row == (f"nas:discovery limit reached: {PROXY}",)


def test_no_more_than_a_thousand_clients_are_told_apart(database: str, limited: Connection) -> None:
    limited.execute(
        """INSERT INTO radmeter.discovery_count
           SELECT host('10.0.0.0'::inet + n), now() FROM generate_series(1, 1000) AS n"""
    )
    ingest(database, *(packet(n, MAC.format(n), None, None, f"192.0.2.{n}") for n in range(1, 5)))
    assert found(limited)[3] == ("session 4", "discovery limit reached: others")
    # Clients that are quiet for long are forgotten.
    limited.execute(
        "UPDATE radmeter.discovery_count SET began_at = now() - interval '2 days' WHERE client <> 'others'"
    )
    ingest(database, packet(6, MAC.format(6), None, None, "192.0.2.6"))
    assert limit_rows(limited) == [("192.0.2.6", 1, False), ("others", 2, True)]


@pytest.mark.parametrize("keys", [0, 1, 30, 1000, 10_000])
def test_keys_beyond_the_limit_are_estimated(connection: Connection, keys: int) -> None:
    names = [f"mac:{n}" for n in range(keys)]
    connection.execute("SELECT radmeter.note_discoveries('c', 3, '{}')")
    for _ in range(3):  # a key counts once, in however many batches it comes
        connection.execute("SELECT radmeter.note_discoveries('c', 0, %s)", (names,))
    row = connection.execute("SELECT sum(keys) FROM radmeter.discovery_limits").fetchone()
    assert row is not None
    assert (row[0] or 0) == pytest.approx(keys, rel=0.05)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:0.0.0.0", "0.0.0.0"),
        ("::ffff:255.255.255.255", "255.255.255.255"),
        ("::fffe:192.0.2.7", "::fffe:c000:207"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.0.2.7/24", "192.0.2.7"),
        (None, None),
    ],
)
def test_an_address_is_compared_without_its_mapping(
    connection: Connection, given: str | None, plain: str | None
) -> None:
    row = connection.execute("SELECT host(radmeter.plain_address(%s::inet))", (given,)).fetchone()
    assert row == (plain,)
