"""What sane routers used is what is counted, also if they lose their state and use an id again, or count in 32 bits.

As in test_truth.py no rule is written again here: octets that a router counted in a session are there once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ledger import Entry, Pairs, close_stale, days, empty, microseconds, register, ship, users
from support.rounds import rounds
from support.servers import Server

from radmeter.ingest.store import Store

WRAP = 1 << 32
BEGINNING = datetime(2026, 3, 28, 20, tzinfo=UTC)
# A user uses no more in a direction: see plausible_mbit_per_second.
OCTETS_PER_SECOND = 12_500_000


@dataclass(frozen=True)
class Life:
    """A session of the id: how long after the last report of the one before it began, and what it used."""

    gap_seconds: int
    interval_seconds: int
    growth: list[tuple[int, int]]
    """In thousandths of what is plausible, for each report."""
    start_arrives: bool
    stops: bool


LIVES = st.lists(
    st.builds(
        Life,
        gap_seconds=st.sampled_from([121, 300, 3600, 90_000]),
        interval_seconds=st.sampled_from([60, 300, 3600]),
        growth=st.lists(
            st.tuples(st.sampled_from([0, 1, 500, 990]), st.sampled_from([0, 7, 990])), min_size=1, max_size=5
        ),
        start_arrives=st.booleans(),
        stops=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def used_database(server: Server) -> Iterator[tuple[psycopg.Connection[Any], Store]]:
    with server.clone() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        store = Store(dsn)
        yield connection, store
        store.close()


CAREFULLY = settings(
    max_examples=rounds(150),
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def packet(
    status: str, at: datetime, seconds: int, octets: tuple[int, int], *, clock: bool, bits: int
) -> Pairs:
    pairs = [
        ("Acct-Status-Type", status),
        ("Acct-Session-Id", "80000001"),
        ("User-Name", "anna"),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Called-Station-Id", "02-00-00-00-00-01:Guests"),
    ]
    if clock:
        pairs.append(("Tmp-Integer-0", str(microseconds(at) // 1_000_000)))
    if status != "Start":
        pairs.append(("Acct-Session-Time", str(seconds)))
        for name, count in zip(("Input", "Output"), octets, strict=True):
            pairs.append((f"Acct-{name}-Octets", str(count % WRAP)))
            if bits == 64:
                pairs.append((f"Acct-{name}-Gigawords", str(count // WRAP)))
    return pairs


@CAREFULLY
@given(data=st.data(), lives=LIVES, clock=st.booleans())
def test_an_id_that_is_used_again_after_power_cuts(
    used_database: tuple[psycopg.Connection[Any], Store], data: st.DataObject, lives: list[Life], clock: bool
) -> None:
    """Starts may be lost, packets that were not answered in time come again, and the last interims may be lost."""
    connection, store = used_database
    empty(connection)
    register(connection, "site", mac="02:00:00:00:00:01")
    at, used = BEGINNING, [0, 0]
    sent: list[tuple[datetime, Pairs]] = []
    for life in lives:
        at += timedelta(seconds=life.gap_seconds)
        began, octets = at, (0, 0)
        if life.start_arrives:
            sent.append((at, packet("Start", at, 0, octets, clock=clock, bits=64)))
        for number, growth in enumerate(life.growth, 1):
            at += timedelta(seconds=life.interval_seconds)
            most = OCTETS_PER_SECOND * life.interval_seconds // 1000
            octets = (octets[0] + growth[0] * most, octets[1] + growth[1] * most)
            stops = life.stops and number == len(life.growth)
            seconds = int((at - began).total_seconds())
            pairs = packet("Stop" if stops else "Interim-Update", at, seconds, octets, clock=clock, bits=64)
            sent.append((at, pairs))
        used = [used[0] + octets[0], used[1] + octets[1]]
    arrivals = list(sent)
    for when, pairs in sent:
        again = data.draw(st.lists(st.sampled_from([3, 30, 59]), max_size=2))
        arrivals += [(when + timedelta(seconds=seconds), pairs) for seconds in again]
    arrivals.sort(key=lambda arrival: arrival[0])
    entries = [
        Entry(seq, microseconds(when) + 250_000, pairs) for seq, (when, pairs) in enumerate(arrivals, 1)
    ]
    size = data.draw(st.sampled_from([1, 4, 100]))
    for first in range(0, len(entries), size):
        ship(store, "node", entries[first : first + size])
        if data.draw(st.booleans()):
            close_stale(connection, arrivals[min(first + size, len(arrivals)) - 1][0] + timedelta(minutes=5))
    assert_counted(connection, used)


@CAREFULLY
@given(
    interval=st.sampled_from([60, 300, 343]),
    speeds=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=12),
    clock=st.booleans(),
    stops=st.booleans(),
)
def test_32_bit_counters_at_every_speed_up_to_the_plausible_one(
    used_database: tuple[psycopg.Connection[Any], Store],
    interval: int,
    speeds: list[tuple[int, int]],
    clock: bool,
    stops: bool,
) -> None:
    """At most one wrap between two reports: 343 s at 100 Mbit/s."""
    connection, store = used_database
    empty(connection)
    register(connection, "site", mac="02:00:00:00:00:01")
    used, entries = (0, 0), []
    for number, speed in enumerate(speeds, 1):
        at = BEGINNING + timedelta(seconds=interval * number)
        if number > 1:  # the first report cannot show a wrap
            most = OCTETS_PER_SECOND * interval // 1000
            used = (used[0] + speed[0] * most, used[1] + speed[1] * most)
        status = "Stop" if stops and number == len(speeds) else "Interim-Update"
        pairs = packet(status, at, interval * number, used, clock=clock, bits=32)
        entries.append(Entry(number, microseconds(at) + 250_000, pairs))
    ship(store, "node", entries)
    assert_counted(connection, list(used))


def assert_counted(connection: psycopg.Connection[Any], used: list[int]) -> None:
    for counters in (users(connection), days(connection)):
        assert [sum(octets[index] for octets in counters.values()) for index in (0, 1)] == used


@pytest.mark.parametrize("clock", [True, False])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_session_after_an_idle_one(
    used_database: tuple[psycopg.Connection[Any], Store], clock: bool, bits: int
) -> None:
    """The first one used nothing for 25 minutes. Then a power cut, and the second one uses 8 GB in 20 minutes."""
    connection, store = used_database
    empty(connection)
    register(connection, "site", mac="02:00:00:00:00:01")
    idle = [("Start", 0, 0, 0)] + [("Interim-Update", 0, 300 * n, 0) for n in range(1, 6)]
    busy = [("Start", 9000, 0, 0)] + [
        ("Interim-Update" if n < 4 else "Stop", 9000, 300 * n, used)
        for n, used in enumerate((2_000_000_000, 5_000_000_000, 8_000_000_000, 8_000_000_000), 1)
    ]
    entries = []
    for seq, (status, began, seconds, used) in enumerate(idle + busy, 1):
        at = BEGINNING + timedelta(seconds=began + seconds)
        pairs = packet(status, at, seconds, (0, used), clock=clock, bits=bits)
        entries.append(Entry(seq, microseconds(at) + 250_000, pairs))
    ship(store, "node", entries)
    assert_counted(connection, [0, 8_000_000_000])


EARLIER = {
    "all": (("Start", 0, 0), ("Interim-Update", 1200, 300), ("Stop", 3600, 900)),
    "only the Stop": (("Stop", 3600, 900),),
    "only interims": (("Interim-Update", 1200, 300), ("Interim-Update", 2400, 900)),
}
LATER = (("Start", 0, 0), ("Interim-Update", 1200, 200), ("Interim-Update", 2400, 400), ("Stop", 4800, 700))


@pytest.mark.parametrize("clock", [True, False])
@pytest.mark.parametrize("before", [1, 3, 4])
@pytest.mark.parametrize("came", EARLIER)
def test_an_earlier_session_of_the_id_comes_late(
    used_database: tuple[psycopg.Connection[Any], Store], came: str, before: int, clock: bool
) -> None:
    """The host that received it is behind: `before` packets of the later session are counted by then."""
    connection, store = used_database
    empty(connection)
    register(connection, "site", mac="02:00:00:00:00:01")

    def entries(packets: tuple[tuple[str, int, int], ...], began: int) -> list[Entry]:
        made = []
        for seq, (status, seconds, used) in enumerate(packets, 1):
            at = BEGINNING + timedelta(seconds=began + seconds)
            pairs = packet(status, at, seconds, (0, used), clock=clock, bits=64)
            made.append(Entry(seq, microseconds(at) + 250_000, pairs))
        return made

    later = entries(LATER, 7200)
    ship(store, "host a", later[:before])
    ship(store, "host b", entries(EARLIER[came], 0))
    ship(store, "host a", later[before:])
    assert_counted(connection, [0, 1600])
    begun = connection.execute("SELECT acctstarttime FROM radacct ORDER BY 1").fetchall()
    assert [round((start - BEGINNING).total_seconds()) for (start,) in begun] == [0, 7200]
