"""What sane routers reported last is what is counted, whatever the network, the servers and the reaper do in between.

No rule is written again here, unlike in tests/support/model.py: octets that a router counted in a session are there
once.
"""

from collections import defaultdict
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

GIB = 1 << 30
WRAP = 1 << 32
BEGINNING = datetime(
    2026, 3, 28, 20, tzinfo=UTC
)  # New Zealand is a day ahead, the month ends three days later
ZONES = ("UTC", "Pacific/Auckland", "America/New_York")


@dataclass(frozen=True)
class Life:
    """A session: who, where, and what it uses between its reports."""

    user: int
    router: int
    began_minutes: int
    interval_minutes: int
    growth: list[tuple[int, int]]
    stops: bool

    def reports(self, number: int, *, clock: bool, gigawords: bool) -> list[tuple[datetime, Pairs]]:
        """What the router sends, and when."""
        sent: list[tuple[datetime, Pairs]] = []
        octets = (0, 0)
        for report, growth in enumerate([(0, 0), *self.growth]):
            minutes = report * self.interval_minutes
            at = BEGINNING + timedelta(minutes=self.began_minutes + minutes)
            octets = (octets[0] + growth[0], octets[1] + growth[1])
            last = report == len(self.growth)
            status = "Start" if report == 0 else "Stop" if last and self.stops else "Interim-Update"
            pairs = [
                ("Acct-Status-Type", status),
                ("Acct-Session-Id", f"session-{number}"),
                ("User-Name", f"user-{self.user}"),
                ("NAS-IP-Address", "192.0.2.1"),
                ("Called-Station-Id", f"02-00-00-00-00-{self.router:02X}:Guests"),
                ("Acct-Session-Time", str(60 * minutes)),
            ]
            if clock:
                pairs.append(("Tmp-Integer-0", str(microseconds(at) // 1_000_000)))
            for name, count in zip(("Input", "Output"), octets, strict=True):
                pairs.append((f"Acct-{name}-Octets", str(count % WRAP)))
                if gigawords:
                    pairs.append((f"Acct-{name}-Gigawords", str(count // WRAP)))
            sent.append((at, pairs))
        return sent


def lives(most_octets: int) -> st.SearchStrategy[list[Life]]:
    """Sessions of three users on three routers; each growth is at most `most_octets`."""
    octets = st.sampled_from([0, 1, 1000, most_octets // 3, most_octets])
    return st.lists(
        st.builds(
            Life,
            user=st.integers(0, 2),
            router=st.integers(0, 2),
            began_minutes=st.sampled_from([0, 1, 59, 230, 239, 1440]),
            interval_minutes=st.sampled_from([1, 5, 60, 700]),
            growth=st.lists(st.tuples(octets, octets), min_size=1, max_size=6),
            stops=st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )


@pytest.fixture(scope="module")
def used_database(server: Server) -> Iterator[tuple[psycopg.Connection[Any], Store]]:
    with server.clone() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        store = Store(dsn)
        yield connection, store
        store.close()


def set_up(connection: psycopg.Connection[Any]) -> None:
    empty(connection)
    for number, zone in enumerate(ZONES):
        register(connection, f"router-{number}", mac=f"02:00:00:00:00:{number:02x}", timezone=zone)


def assert_counted(connection: psycopg.Connection[Any], lived: list[Life]) -> None:
    """Each user and each router have what their sessions used."""
    expected: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for life in lived:
        for name in (f"user-{life.user}", f"router-{life.router}"):
            for direction in (0, 1):
                expected[name][direction] += sum(growth[direction] for growth in life.growth)
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for (name, _), octets in [*users(connection).items(), *days(connection).items()]:
        for direction in (0, 1):
            found[name][direction] += octets[direction]
    assert found == {name: octets for name, octets in expected.items() if any(octets)}


CAREFULLY = settings(
    max_examples=rounds(150),
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@CAREFULLY
@given(data=st.data(), lived=lives(5 * GIB))
def test_lost_doubled_and_reordered_packets_of_routers_with_clocks(
    used_database: tuple[psycopg.Connection[Any], Store], data: st.DataObject, lived: list[Life]
) -> None:
    connection, store = used_database
    set_up(connection)
    sent: list[Pairs] = []
    for number, life in enumerate(lived):
        *others, (_, last) = life.reports(number, clock=True, gigawords=True)
        kept = data.draw(st.lists(st.booleans(), min_size=len(others), max_size=len(others)))
        sent += [pairs for (_, pairs), keep in zip(others, kept, strict=True) if keep]
        sent += [last]
    again = data.draw(st.lists(st.sampled_from(sent), max_size=8))
    network = data.draw(st.permutations([*sent, *again]))
    size = data.draw(st.sampled_from([1, 3, 100]))

    arrival = BEGINNING + timedelta(days=5)
    seqs = {"node-1": 0, "node-2": 0}
    while network:
        node = data.draw(st.sampled_from(sorted(seqs)))
        batch = []
        for pairs in network[:size]:
            arrival += timedelta(seconds=1)
            seqs[node] += 1
            batch.append(Entry(seqs[node], microseconds(arrival), pairs))
        network = network[size:]
        for _ in range(data.draw(st.sampled_from([1, 1, 2]))):
            ship(store, node, batch)
        if data.draw(st.booleans()):
            close_stale(connection, arrival + timedelta(days=1))
    assert_counted(connection, lived)


@CAREFULLY
@given(
    data=st.data(),
    lived=lives(GIB),
    clock=st.booleans(),
    gigawords=st.booleans(),
)
def test_doubled_packets_of_routers_without_clocks_or_gigawords(
    used_database: tuple[psycopg.Connection[Any], Store],
    data: st.DataObject,
    lived: list[Life],
    clock: bool,
    gigawords: bool,
) -> None:
    """At most 1 GiB between two reports, which come in order; one that was not answered in time comes again."""
    connection, store = used_database
    set_up(connection)
    arrivals = []
    for number, life in enumerate(lived):
        for at, pairs in life.reports(number, clock=clock, gigawords=gigawords):
            arrivals.append((at, number, pairs))
            for seconds in data.draw(st.lists(st.sampled_from([0, 3, 30, 60]), max_size=2)):
                arrivals.append((at + timedelta(seconds=seconds), number, pairs))
    arrivals.sort(key=lambda arrival: arrival[0])
    entries = [Entry(seq, microseconds(at), pairs) for seq, (at, _, pairs) in enumerate(arrivals, 1)]
    size = data.draw(st.sampled_from([1, 4, 100]))
    for begin in range(0, len(entries), size):
        batch = entries[begin : begin + size]
        ship(store, "node", batch)
        if data.draw(st.booleans()):
            last = arrivals[begin + len(batch) - 1][0]
            close_stale(connection, last + timedelta(days=data.draw(st.sampled_from([0, 1]))))
    assert_counted(connection, lived)
