"""Plain interims are counted by a statement of their own: with it and without it, every row is the same."""

import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from support.functions import value
from support.ledger import (
    EPOCH,
    MICROSECOND,
    Entry,
    Pairs,
    believe_old_arrivals,
    close_stale,
    ingest,
    register,
    ship,
    subscribe,
)
from support.servers import Connection, Server

from radmeter.ingest.records import as_json
from radmeter.ingest.store import Store
from radmeter.plugin.journal.packet_text import to_text
from radmeter.plugin.journal.reader import Entry as JournalEntry

SECOND = 1_000_000
WRAP = 1 << 32
LONG = os.environ.get("RADMETER_LONG") == "1"
BATCHES = 400 if LONG else 60
SEEDS = [int(os.environ.get("RADMETER_SEED", "0")) or each for each in ((1, 2, 3, 4) if LONG else (1, 2))]

# What a session's router says of itself. The MAC of the third is that of a router that was merged; the last are found
# by name and by address, or are discovered.
DOORS: tuple[Pairs, ...] = (
    (("Called-Station-Id", "02-00-00-00-00-0A:Guests"), ("NAS-IP-Address", "10.0.0.1")),
    (("Called-Station-Id", "02-00-00-00-00-0B"), ("NAS-Identifier", "bravo"), ("NAS-IP-Address", "10.0.0.2")),
    (("Called-Station-Id", "02-00-00-00-00-0C"), ("NAS-IP-Address", "10.0.0.3")),
    (("NAS-Identifier", "delta-ap"), ("NAS-IP-Address", "10.0.0.4")),
    (("NAS-Identifier", "02-00-00-00-00-0E"), ("NAS-IP-Address", "10.0.0.5")),
    (("Called-Station-Id", "hotspot1"), ("NAS-IP-Address", "10.0.0.6")),
)
# Of a packet that shows a second router.
TWO_DOORS: tuple[Pairs, ...] = (
    (("Called-Station-Id", "02-00-00-00-00-0A"), ("NAS-Identifier", "bravo")),
    (("Called-Station-Id", "02-00-00-00-00-0A"), ("NAS-Identifier", "02-00-00-00-00-0C")),
    (("Called-Station-Id", "02-00-00-00-00-0B"), ("NAS-IP-Address", "10.0.0.4")),
)
USERS = ("anna", "daily", "weekly", "zone", "anna", "bert", "daily", None, "erased-" + "5" * 32)
# What describes a session. A packet has each of them, lacks it, or has another value.
DESCRIPTIONS = {
    "Framed-IP-Address": ("198.51.100.1", "198.51.100.2"),
    "Framed-IPv6-Address": ("2001:db8::1", "2001:db8::2"),
    "Framed-IPv6-Prefix": ("2001:db8:1::/64", "2001:db8:2::/64"),
    "Framed-Interface-Id": ("0:0:0:1", "0:0:0:2"),
    "Delegated-IPv6-Prefix": ("2001:db8:10::/56", "2001:db8:20::/56"),
    "Acct-Authentic": ("RADIUS", "Local"),
    "Connect-Info": ("CONNECT 54Mbps", "CONNECT 1Mbps"),
    "Acct-Interim-Interval": ("300", "600"),
    "Realm": ("example.org", "example.com"),
    "Service-Type": ("Login-User", "Framed-User"),
    "NAS-Port-Type": ("Wireless-802.11", "Virtual"),
    "Acct-Terminate-Cause": ("User-Request", "Lost-Carrier"),
}
# What other programs do to a session, and rare states of one.
MEDDLING = (
    "acctupdatetime = 'infinity'", "acctupdatetime = NULL", "acctstarttime = NULL", "acctstarttime = '-infinity'",
    "acctupdatetime = '1970-01-01 00:00:00+00'", "acctsessiontime = -1", "acctinputoctets = NULL",
    "acctinputoctets = 9000000000000000000", "acctoutputoctets = -9000000000000000000", "input_offset = 1000000",
    "username = ''", "username = 'somebody else'", "router_id = NULL", "callingstationid = ''", "calledstationid = ''",
    "adopted = true, counted_at = NULL", "adopted = true", "closed_by = 'stop', acctterminatecause = 'User-Request'",
    "acctterminatecause = 'Lost-Service'", "late_start_at = acctstarttime + interval '20 minutes'",
    "late_start_at = acctupdatetime", "stop_stamp = 1", "router_mac = NULL", "router_mac = '02:00:00:00:00:99'",
    "acctauthentic = NULL", "connectinfo_start = NULL", "framedipaddress = NULL", "framedinterfaceid = NULL",
    "interim_interval = NULL", "clock_skew_seconds = NULL", "arrived_at = NULL", "usage_date = NULL",
    "acctupdatetime = acctupdatetime + interval '1 day'", "acctstoptime = acctupdatetime",
    "acctsessionid = 'another'",
)  # fmt: skip
# By table, what depends on the clock or on the order in which rows were made.
TABLES = {
    "public.radacct": (),
    "public.user_quota_usage": ("last_updated",),
    "public.router_daily_usage": ("last_updated",),
    "public.accounting_anomaly": ("id", "detected_at"),
    "public.rejected_packet": ("id", "rejected_at"),
    "public.routers": ("created_at", "updated_at"),
    "radmeter.session_slice": (),
    "radmeter.session_alias": ("noted_at",),
    "radmeter.sent_username": (),
    "radmeter.adoption_baseline": (),
    "radmeter.kept_per_hour": ("updated_at",),
    "radmeter.router_network": (),
    "radmeter.router_coa_state": (),
    "radmeter.journal_segment": ("updated_at", "seen_at", "registered_at", "finished_at"),
}
# Routers that are bound to clients, others merged into them, and a tenant whose realm changes after two days.
BOUND = """
UPDATE routers SET clients = '{192.0.2.0/24}', tenant_id = 7 WHERE name = 'alpha';
UPDATE routers SET clients = '{192.0.2.1/32}', tenant_id = 7 WHERE name IN ('bravo', 'delta');
INSERT INTO radmeter.tenants (id, name, timezone, issuer_id) VALUES (7, 'inn', 'UTC', 1);
INSERT INTO radmeter.tenant_realm VALUES
    (7, (timestamptz '{begin}' - interval '90 days')::date, 'hotel'),
    (7, (timestamptz '{begin}' + interval '2 days')::date, 'inn');
INSERT INTO subscribers (username, plan_id) SELECT username || '@hotel', plan_id FROM subscribers;
INSERT INTO subscribers (username, plan_id) SELECT 'anna@inn', max(plan_id) FROM subscribers"""
# The general way alone.
WITHOUT = """
CREATE OR REPLACE FUNCTION radmeter.find_plain(
    OUT places tid[], OUT router_ids bigint[], OUT usage_dates date[], OUT usernames text[])
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS 'SELECT NULL::tid[], NULL::bigint[], NULL::date[], NULL::text[]'"""
# The numbers of those that went the plain way.
COUNTED = """
CREATE TABLE public.plain (seq bigint);
ALTER FUNCTION radmeter.update_plain RENAME TO update_plain_itself;
CREATE FUNCTION radmeter.update_plain(tid[], bigint[], date[], text[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_taken bigint[] := radmeter.update_plain_itself($1, $2, $3, $4);
BEGIN
    INSERT INTO public.plain SELECT unnest(v_taken);
    RETURN v_taken;
END $$"""


class Life:
    """What a session's router and device know of it."""

    def __init__(self, number: int, now: int) -> None:
        self.number = number
        self.door = DOORS[number % len(DOORS)]
        self.username = USERS[number % len(USERS)]
        self.calling = None if number % 10 == 9 else f"AA-00-00-00-00-{number:02X}"
        self.start = now
        self.octets = [0, 0]


class Site:
    """A random site: what its routers send."""

    def __init__(self, chance: random.Random, now: int) -> None:
        self.chance, self.now = chance, now
        self.lives = [Life(number, now) for number in range(30)]
        self.sent: list[Pairs] = []

    def batch(self, seq: int) -> list[Entry]:
        """Return what comes in a batch, most of it plain."""
        chance = self.chance
        lives = list(self.lives)
        chance.shuffle(lives)
        del lives[chance.randrange(5, 25) :]
        if chance.random() < 0.4:  # two of a session
            lives += chance.sample(lives, 3)
        entries: list[Entry] = []
        for life in lives:
            self.now += chance.choice((0, SECOND, SECOND, 10 * SECOND))
            pairs = self._packet(life)
            self.sent.append(pairs)
            if chance.random() < 0.03:
                pairs = chance.choice(self.sent[-100:])
            entries.append(Entry(seq + len(entries), self.now, pairs))
        return entries

    def _rarely(self, often: float = 0.01) -> bool:
        return self.chance.random() < often

    def _packet(self, life: Life) -> Pairs:
        chance = self.chance
        status = "Interim-Update"
        if self._rarely(0.12):
            status = chance.choice(("Start", "Stop", "Stop", "Alive", "Accounting-On", "Accounting-Off"))
            if status.startswith("Accounting") and not self._rarely(0.2):
                status = "Start"
        if status == "Start" or self._rarely(0.02):
            life.start, life.octets = self.now, [0, 0]
        door = chance.choice(DOORS + TWO_DOORS) if self._rarely(0.03) else life.door
        stamp = self.now // SECOND - chance.choice((0, 0, 0, 1, 1, 2))
        if self._rarely():
            stamp -= chance.choice((-200, 60, 600, 4000, 86_400, 8 * 86_400))
        pairs = [("Acct-Status-Type", status), *door]
        if not self._rarely(0.1):
            pairs.append(("Tmp-Integer-0", str(stamp)))
        if not self._rarely(0.05):
            pairs.append(("Tmp-IP-Address-0", "192.0.2.2" if self._rarely(0.05) else "192.0.2.1"))
        if status.startswith("Accounting"):
            return pairs
        pairs.append(("Acct-Session-Id", f"s{life.number}" if not self._rarely(0.01) else "erased"))
        if life.calling and not self._rarely():
            pairs.append(("Calling-Station-Id", life.calling))
        if life.username and not self._rarely():
            pairs.append(("User-Name", life.username))
        if life.number % 5 == 0:
            pairs.append(("Class", "0x" + f"ai:{life.number:032x}".encode().hex()))
        seconds = max(stamp - life.start // SECOND, 0)
        if not self._rarely():
            pairs.append(("Acct-Session-Time", str(0 if self._rarely() else seconds)))
        gigawords = life.number % 3 != 0
        for index, name in enumerate(("Input", "Output")):
            if self._rarely(0.02):
                life.octets[index] //= 2
            elif self._rarely(0.02):
                life.octets[index] = life.octets[index] // WRAP * WRAP + WRAP - 1000
            elif not self._rarely(0.1):
                life.octets[index] += chance.choice((1, 1000, 123_456, 1 << 30))
            if not self._rarely():
                pairs.append((f"Acct-{name}-Octets", str(life.octets[index] % WRAP)))
                if gigawords:
                    pairs.append((f"Acct-{name}-Gigawords", str(life.octets[index] // WRAP)))
        for name, (usual, other) in DESCRIPTIONS.items():
            if self.chance.random() < 0.7:
                pairs.append((name, other if self._rarely(0.02) else usual))
        if self._rarely(0.005):
            pairs.append(("Acct-Input-Octets", "x"))
        return pairs


STARTED = datetime.now(UTC).isoformat()
TIME = re.compile(r'"\d{4}-\d\d-\d\dT[^"]*"')


def rows(connection: Connection, table: str) -> list[str]:
    """Return the rows of a table as JSON. Its traffic is days old: what is newer is by the server's clock."""
    query = f"SELECT (to_jsonb(t) - %s::text[])::text FROM {table} AS t"
    found = connection.execute(query.encode(), (list(TABLES[table]),))
    return sorted(
        TIME.sub(lambda time: '"now"' if time[0].strip('"') > STARTED else time[0], row[0]) for row in found
    )


@pytest.fixture
def two(server: Server) -> Iterator[tuple[Connection, Connection]]:
    """Two equal databases: with the plain way, and without."""
    with ExitStack() as stack:
        opened = []
        for change in (COUNTED, WITHOUT):
            dsn = stack.enter_context(server.clone())
            connection = stack.enter_context(psycopg.connect(dsn, autocommit=True))
            connection.execute(change.encode())
            believe_old_arrivals(connection)
            for name, mac, zone in (
                ("alpha", "0a", None),
                ("bravo", "0b", "Asia/Kolkata"),
                ("charlie", "0c", None),
            ):
                register(connection, name, mac=f"02:00:00:00:00:{mac}", timezone=zone)
            register(connection, "delta", nas_identifier="delta-ap", timezone="Pacific/Auckland")
            connection.execute(
                """SELECT radmeter.merge_router(source.id, target.id) FROM routers AS source, routers AS target
                   WHERE source.name = 'charlie' AND target.name = 'bravo'"""
            )
            subscribe(connection, "daily", quota_type="daily", timezone="America/Sao_Paulo")
            subscribe(connection, "nightly", quota_type="daily", timezone="Asia/Tokyo")
            subscribe(connection, "weekly", quota_type="weekly", anchor_day=3)
            subscribe(connection, "zone", quota_type="monthly", anchor_day=31, timezone="Pacific/Auckland")
            opened.append(connection)
        yield opened[0], opened[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_with_the_plain_way_and_without_it_every_row_is_the_same(
    two: tuple[Connection, Connection], seed: int
) -> None:
    chance = random.Random(seed)
    begin = (datetime.now(UTC) - timedelta(days=3 + BATCHES // 12)).replace(
        hour=20, minute=0, second=0, microsecond=0
    )
    site = Site(chance, int(begin.timestamp()) * SECOND)
    if seed % 2 == 0:
        for connection in two:
            connection.execute(BOUND.replace("{begin}", begin.isoformat()).encode())
    stores = [Store(connection.info.dsn) for connection in two]
    sent = {"node-1": 0, "node-2": 0}
    interims = 0
    try:
        for number in range(BATCHES):
            node = chance.choice(list(sent))
            entries = site.batch(sent[node] + 1)
            sent[node] += len(entries)
            interims += sum(("Acct-Status-Type", "Interim-Update") in entry.pairs for entry in entries)
            site.now += chance.choice((30, 300, 1800, 7200)) * SECOND
            meddling = chance.choice(MEDDLING) if chance.random() < 0.6 else None
            which = chance.randrange(30)
            reaped = chance.random() < 0.05
            for connection, store in zip(two, stores, strict=True):
                ship(store, node, entries)
                if meddling is not None:
                    connection.execute(
                        f"""UPDATE public.radacct SET {meddling}
                            WHERE acctsessionid = 's{which}' AND acctstoptime IS NULL""".encode()
                    )
                if reaped:
                    close_stale(connection, EPOCH + site.now * MICROSECOND)
            for table in TABLES:
                with_it, without = (rows(connection, table) for connection in two)
                assert with_it == without, f"seed {seed}, batch {number}: {table}"
    finally:
        for store in stores:
            store.close()
    # Else the test shows nothing.
    assert plain(two[0]) > interims / 10
    assert value(two[0], "count(*) FROM accounting_anomaly") > 0
    assert value(two[0], "count(*) FROM radacct") > BATCHES
    if seed % 2 == 0:
        assert value(two[0], "count(*) FROM rejected_packet WHERE reason LIKE '%%is bound to%%'") > 10
        assert (
            value(two[0], "count(DISTINCT username) FROM user_quota_usage WHERE username ~ '@(hotel|inn)'")
            > 3
        )


def interim(seq: int, octets: int, session: str = "s", user: str = "anna", **more: str) -> Entry:
    """Return an interim of a session that is an hour old, sent a second after the one before."""
    at = int(datetime.now(UTC).timestamp()) - 600 + seq
    pairs = {
        "Acct-Status-Type": "Interim-Update",
        "Acct-Session-Id": session,
        "User-Name": user,
        "Calling-Station-Id": "AA-00-00-00-00-01",
        "Called-Station-Id": "02-00-00-00-00-0A",
        "Tmp-Integer-0": str(at),
        "Tmp-IP-Address-0": "192.0.2.1",
        "Acct-Session-Time": str(3600 + seq),
        "Acct-Input-Octets": str(octets),
        "Acct-Output-Octets": "0",
        **{name.replace("_", "-"): text for name, text in more.items()},
    }
    return Entry(seq, at * SECOND, list(pairs.items()))


def plain(connection: Connection) -> int:
    return int(str(value(connection, "count(*) FROM public.plain")))


def test_of_records_that_have_one_unique_id_by_intent_none_is_plain(
    two: tuple[Connection, Connection],
) -> None:
    """It is made of the user's name and the session's id with a comma between. The router's counter began anew."""
    totals = []
    for connection in two:
        with closing(Store(connection.info.dsn)) as store:
            ship(store, "n", [interim(1, 100, "b,c", "a")])
            ship(store, "n", [interim(2, 10, "c", "a,b"), interim(3, 150, "b,c", "a")])
        totals.append(value(connection, "sum(bytes_in) FROM user_quota_usage"))
        assert value(connection, "count(*) FROM radacct") == 1
    assert totals == [250, 250]
    assert plain(two[0]) == 0


def test_what_else_is_in_the_batch_sends_an_interim_the_general_way(
    two: tuple[Connection, Connection],
) -> None:
    delta = {"Called_Station_Id": "hotspot1", "NAS_Identifier": "delta-ap"}
    first = [
        interim(1, 1, "a"),
        interim(2, 1, "b", Called_Station_Id="02-00-00-00-00-0B"),
        interim(3, 1, "c", **delta),
    ]

    def batch(seq: int, *others: Entry) -> list[Entry]:
        return [
            interim(seq, seq, "a"),
            interim(seq + 1, seq, "b", Called_Station_Id="02-00-00-00-00-0B"),
            interim(seq + 2, seq, "c", **delta),
            *others,
        ]

    batches = (
        (first, 0),
        (batch(4), 3),
        # A second record of the session; its Acct-Session-Id in a record of another device.
        (batch(7, interim(10, 10, "a")), 2),
        (batch(11, interim(14, 14, "b", Calling_Station_Id="AA-00-00-00-00-02")), 2),
        # The router has rebooted.
        (batch(15, interim(18, 0, "x", Acct_Status_Type="Accounting-On")), 2),
        # A router is discovered: no router that is found by a MAC can be meant, but one that is found by its name.
        # (The session that the reboot has closed is opened again.)
        (batch(19, interim(22, 1, "y", Called_Station_Id="02-00-00-00-00-77")), 1),
        (
            batch(
                23,
                interim(26, 0, "z", Called_Station_Id="02-00-00-00-00-78", Acct_Status_Type="Accounting-On"),
            ),
            2,
        ),
    )
    # The last batch is all plain: the segment's latest arrival is the same.
    for entries, expected in (*batches, (batch(27), 3)):
        before = plain(two[0])
        for connection in two:
            with closing(Store(connection.info.dsn)) as store:
                ship(store, "n", entries)
        assert plain(two[0]) - before == expected, f"{entries[-1].seq}"
    for table in TABLES:
        with_it, without = (rows(connection, table) for connection in two)
        assert with_it == without, table


def test_a_bound_router_and_a_realm_leave_interims_plain(two: tuple[Connection, Connection]) -> None:
    connection = two[0]
    connection.execute(BOUND.replace("{begin}", "2026-01-01 00:00:00+00").encode())
    with closing(Store(connection.info.dsn)) as store:
        ship(store, "n", [interim(1, 100)])
        # The second record shows a router that its client may not name, so it is set aside.
        forged = interim(3, 300, "t", NAS_Identifier="bravo", Tmp_IP_Address_0="192.0.2.2")
        ship(store, "n", [interim(2, 200), forged])
        ship(store, "n", [interim(4, 400), interim(5, 500, "u", NAS_Identifier="bravo")])
        ship(store, "n", [interim(6, 600), interim(7, 700, "u", NAS_Identifier="bravo")])
        ship(store, "n", [interim(8, 800, Tmp_IP_Address_0="192.0.2.2")])
        # Not any more: the session's user is not the one that the record has now.
        connection.execute("UPDATE radacct SET username = 'anna' WHERE acctsessionid = 's'")
        ship(store, "n", [interim(9, 900)])
    assert plain(connection) == 5
    assert value(connection, "count(*) FROM rejected_packet") == 1
    for user, octets in (("anna", 900), ("anna@inn", 700)):
        assert value(connection, f"sum(bytes_in) FROM user_quota_usage WHERE username = '{user}'") == octets


# What a packet shows besides the MAC of a router that its client may name: a key of a router that it may not.
FORGED = {
    "its client": {},
    "a name": {"NAS_Identifier": "bravo"},
    "a MAC": {"NAS_Identifier": "02-00-00-00-00-0B"},
    "the MAC of a merged router": {"NAS_Identifier": "02-00-00-00-00-0C"},
    "an address": {"NAS_IP_Address": "10.0.0.9"},
}


def test_an_interim_of_an_open_session_whose_client_may_not_name_a_router_is_set_aside(
    two: tuple[Connection, Connection],
) -> None:
    for connection in two:
        connection.execute(BOUND.replace("{begin}", "2026-01-01 00:00:00+00").encode())
        connection.execute("UPDATE routers SET ip_address = '10.0.0.9' WHERE name = 'bravo'")
        with closing(Store(connection.info.dsn)) as store:
            for number, (name, shown) in enumerate(FORGED.items()):
                first = 4 * number + 1
                client = "203.0.113.9" if name == "its client" else "192.0.2.2"
                ship(store, "n", [interim(first, 100, name, **shown)])
                ship(store, "n", [interim(first + 1, 200, name, **shown)])
                ship(store, "n", [interim(first + 2, 300, name, Tmp_IP_Address_0=client, **shown)])
                assert value(connection, "count(*) FROM rejected_packet") == number + 1, name
                ship(store, "n", [interim(first + 3, 400, name, **shown)])
        assert value(connection, "sum(acctinputoctets)::int FROM radacct") == 400 * len(FORGED)
    assert plain(two[0]) == 2 * len(FORGED)


HOUR_US = 3600 * SECOND


def test_a_batch_with_an_arrival_that_is_not_believed_has_no_plain_interim(
    two: tuple[Connection, Connection],
) -> None:
    def batch(number: int, arrival: Callable[[int], int | None]) -> list[dict[str, Any]]:
        """Return interims of two sessions. `arrival`: of the second one, for what it would be."""
        sent = [interim(2 * number + 1, number, "a"), interim(2 * number + 2, number, "b")]
        records = [as_json(JournalEntry(each.seq, each.received_us, to_text(each.pairs))) for each in sent]
        records[1]["received_us"] = arrival(records[1]["received_us"])
        return records

    arrivals: tuple[Callable[[int], int | None], ...] = (
        lambda _: None,
        lambda at: at + 24 * HOUR_US,
        lambda at: at - 2 * HOUR_US,
        lambda _: -1,
        lambda _: 1,
    )
    for connection in two:
        ingest(connection, "n", batch(0, lambda at: at))
        ingest(connection, "n", batch(1, lambda at: at))
        for number, arrival in enumerate(arrivals, start=2):
            ingest(connection, "n", batch(number, arrival))
    assert [seq for (seq,) in two[0].execute("SELECT seq FROM public.plain ORDER BY seq")] == [3, 4]
    for connection in two:
        assert value(connection, "sum(records)::int FROM accounting_anomaly WHERE kind = 'server clock'") == 5


def test_an_interim_beyond_a_limit_is_set_aside(two: tuple[Connection, Connection]) -> None:
    for connection in two:
        for seq, changes in (
            (1, {}),
            (2, {"input_octets": (1 << 52) + 1}),
            (3, {}),
            (4, {"session_time": 401 * 86400}),
        ):
            entry = interim(seq, 100 * seq)
            record = as_json(JournalEntry(entry.seq, entry.received_us, to_text(entry.pairs)))
            ingest(connection, "n", [{**record, **changes}])
        assert value(connection, "count(*) FROM rejected_packet") == 2
        assert value(connection, "sum(acctinputoctets)::int FROM radacct") == 300
    assert plain(two[0]) == 1


def test_a_record_with_a_new_client_is_not_plain_and_the_others_are(
    two: tuple[Connection, Connection],
) -> None:
    connection = two[0]
    with closing(Store(connection.info.dsn)) as store:
        ship(store, "n", [interim(1, 100), interim(2, 100, "t")])
        ship(
            store,
            "n",
            [interim(3, 200), interim(4, 200, "t", Tmp_IP_Address_0="192.0.2.77")],
            new_clients=[1],
        )
    assert plain(connection) == 1
    assert value(connection, "host(packets_from) FROM radmeter.router_coa_state") == "192.0.2.77"
    assert value(connection, "sum(bytes_in) FROM user_quota_usage") == 400


# A session's first packet is of 23:30 UTC, so zones have different days.
EVENING = datetime.now(UTC).replace(hour=23, minute=30, second=0, microsecond=0) - timedelta(days=2)
USUAL = {
    "User-Name": "nightly",
    "Calling-Station-Id": "AA-00-00-00-00-01",
    "Called-Station-Id": "02-00-00-00-00-0B",
    "NAS-IP-Address": "10.0.0.2",
    "Tmp-IP-Address-0": "192.0.2.1",
    "Acct-Input-Octets": "2000",
    "Acct-Output-Octets": "200",
    **{name: usual for name, (usual, _) in DESCRIPTIONS.items()},
}
# Of a session that had one interim: what is changed in its row, and what is other in its second interim (None: absent).
# Each would be plain without the change.
NOT_PLAIN: dict[str, tuple[str | None, dict[str, str | None]]] = {
    "a Start": (None, {"Acct-Status-Type": "Start"}),
    "a Stop": (None, {"Acct-Status-Type": "Stop"}),
    "not stamped": (None, {"Tmp-Integer-0": None}),
    "no session time": (None, {"Acct-Session-Time": None}),
    "no octets in": (None, {"Acct-Input-Octets": None}),
    "no octets out": (None, {"Acct-Output-Octets": None}),
    "no user": (None, {"User-Name": None}),
    "no device": (None, {"Calling-Station-Id": None}),
    "stopped": ("acctstoptime = acctupdatetime", {}),
    "another device": (None, {"Calling-Station-Id": "AA-00-00-00-00-02"}),
    "a session of another id": ("acctsessionid = 'another'", {}),
    "no start": ("acctstarttime = NULL", {}),
    "a start that is later": ("acctstarttime = acctupdatetime + interval '1 hour'", {}),
    "no last update": ("acctupdatetime = NULL", {}),
    "older": (None, {"Tmp-Integer-0": str(int(EVENING.timestamp()) - 60)}),
    "a session that began after the last update": (None, {"Acct-Session-Time": "100"}),
    "a late Start": ("late_start_at = acctupdatetime + interval '1 day'", {}),
    "adopted": ("adopted = true", {}),
    "a Stop that waits": ("closed_by = 'stop'", {}),
    "a cause of a Stop": ("acctterminatecause = 'User-Request'", {}),
    "a stamp of a Stop": ("stop_stamp = 1", {}),
    "another user": ("username = 'somebody else'", {}),
    "an erased user": (None, {}),
    "another router": (None, {"Called-Station-Id": "02-00-00-00-00-0A"}),
    "no router": ("router_id = NULL", {}),
    "no octets in the row": ("acctinputoctets = NULL, acctoutputoctets = NULL", {}),
    "octets beyond all limits": ("acctinputoctets = -5000000000000000000", {}),
    "octets in that fall": (None, {"Acct-Input-Octets": "999"}),
    "octets out that fall": (None, {"Acct-Output-Octets": "99"}),
    "octets that wrapped": (f"input_offset = {WRAP}, acctinputoctets = {WRAP} + 2001", {}),
    "its Acct-Authentic": ("acctauthentic = NULL", {}),
    "its Connect-Info": ("connectinfo_start = NULL", {}),
    "its Called-Station-Id": ("calledstationid = ''", {}),
    "another MAC of the router": ("router_mac = '02:00:00:00:00:99'", {}),
    "no MAC of the router": ("router_mac = NULL", {}),
    **{
        f"another {name}": (None, {name: DESCRIPTIONS[name][1]})
        for name in ("Framed-IPv6-Address", "Framed-IPv6-Prefix", "Framed-Interface-Id", "Delegated-IPv6-Prefix",
                     "Acct-Interim-Interval")
    },
}  # fmt: skip
PLAIN: dict[str, tuple[str | None, dict[str, str | None]]] = {
    "as before": (None, {}),
    "idle": (None, {"Acct-Input-Octets": "1000", "Acct-Output-Octets": "100"}),
    "another address": (None, {"Framed-IP-Address": "198.51.100.9"}),
    "nothing that describes it": (None, dict.fromkeys(DESCRIPTIONS)),
    "another Realm, Service-Type, NAS-Port-Type and cause": (
        None,
        {name: DESCRIPTIONS[name][1] for name in ("Realm", "Service-Type", "NAS-Port-Type", "Acct-Terminate-Cause")},
    ),
    "another Connect-Info": (None, {"Connect-Info": "CONNECT 1Mbps"}),
    "a later arrival in the row": ("arrived_at = arrived_at + interval '1 hour'", {}),
    "no skew in the row": ("clock_skew_seconds = NULL", {}),
    "an offset": (f"input_offset = {WRAP}, acctinputoctets = {WRAP} + 1000", {}),
    "a session time that falls": ("acctsessiontime = 5000", {}),
    "no counted day": ("usage_date = NULL", {}),
    "no source": (None, {"Tmp-IP-Address-0": None}),
}  # fmt: skip


def test_each_condition_alone_sends_an_interim_the_general_way(two: tuple[Connection, Connection]) -> None:
    cases = {**NOT_PLAIN, **{f"plain: {name}": case for name, case in PLAIN.items()}}
    begin, size = int(EVENING.timestamp()), len(cases)

    def sent(number: int, name: str, seconds: int, changes: dict[str, str | None]) -> Entry:
        pairs: dict[str, str | None] = {
            "Acct-Status-Type": "Interim-Update",
            "Acct-Session-Id": f"case {number}",
            **USUAL,
            "Acct-Session-Time": str(3600 + seconds),
            "Tmp-Integer-0": str(begin + seconds),
            **changes,
        }
        if name == "an erased user":
            pairs["User-Name"] = "erased-" + "5" * 32
        kept = [(key, text) for key, text in pairs.items() if text is not None]
        return Entry(number + size * (seconds > 0), (begin + seconds) * SECOND, kept)

    begun: dict[str, str | None] = {"Acct-Input-Octets": "1000", "Acct-Output-Octets": "100"}
    first = [sent(number, name, 0, begun) for number, name in enumerate(cases, start=1)]
    second = [
        sent(number, name, 300, other) for number, (name, (_, other)) in enumerate(cases.items(), start=1)
    ]
    meddling = "".join(
        f"UPDATE radacct SET {change} WHERE acctsessionid = 'case {number}';"
        for number, (change, _) in enumerate(cases.values(), start=1)
        if change is not None
    )
    for connection in two:
        with closing(Store(connection.info.dsn)) as store:
            ship(store, "n", first)
            connection.execute(meddling.encode())
            ship(store, "n", second)
    names = dict(enumerate(cases, start=1 + size))
    taken = {names[seq] for (seq,) in two[0].execute("SELECT seq FROM public.plain")}
    assert taken == {name for name in cases if name.startswith("plain: ")}
    for table in TABLES:
        with_it, without = (rows(connection, table) for connection in two)
        assert with_it == without, table
