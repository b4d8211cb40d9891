"""Every counter of the exposition: it counts what happens, once, and nothing of before it was watched.

Between two readings one thing happens. Each sample of each counter grows by what that says, and all others stay.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import pytest
from support.commands import Packets, run
from support.ledger import ingest
from support.servers import Connection

from radmeter.ingest.records import as_rejected
from radmeter.metrics.catalog import METRICS
from radmeter.metrics.figures import Figures, Source
from radmeter.metrics.metric import Buckets, Sample
from radmeter.plugin.journal.reader import Entry

ROUTERS: list[dict[str, Any]] = [{"Called_Station_Id": f"02-00-00-00-00-0{number}"} for number in (1, 2, 3)]
LOBBY, GATE, HALL = ROUTERS
LOGIN = "SELECT FROM radmeter.authorize(%s, '', '', '', '', '')"
NODE = "radius1"

# The values by the names of the samples and their labels; those that are expected may be approximate.
Counters = Mapping[tuple[str, ...], Any]


def counters(figures: Figures) -> dict[tuple[str, ...], float]:
    """Return each sample of each counter, by its name and its labels."""
    found: dict[tuple[str, ...], float] = {}
    for metric in METRICS:
        if metric.kind == "counter":
            for labels, value in cast(Iterable[Sample], metric.read(figures)):
                if value is not None:
                    found[metric.name.removeprefix("radmeter_"), *labels] = value
        elif metric.kind == "histogram":
            buckets, total = cast(Buckets, metric.read(figures))
            found |= {(metric.name.removeprefix("radmeter_"), bound): value for bound, value in buckets}
            found[metric.name.removeprefix("radmeter_"), "sum"] = total
    return found


class Watched:
    """A database, and the counters of it as a program shows them."""

    def __init__(self, database: str, connection: Connection) -> None:
        self.database, self.connection = database, connection
        self.source = Source(database, routers=10, cached_seconds=0)
        self._octets: dict[str, int] = {}
        self._seq = 0
        self._before: Counters = {}

    def read(self) -> dict[tuple[str, ...], float]:
        """Return by how much each sample has grown since the reading before, without those that did not grow."""
        figures = self.source.read()
        assert figures.fault is None
        now = counters(figures)
        grown = {key: value - self._before.get(key, 0) for key, value in now.items()}
        self._before = {**self._before, **now}
        return {key: value for key, value in grown.items() if value}

    def use(self, router: Mapping[str, Any], octets: int) -> None:
        """Let the one session of a router have used so many octets more."""
        name = router["Called_Station_Id"]
        self._octets[name] = self._octets.get(name, 0) + octets
        with Packets(self.database, NODE) as packets:
            packets.add(
                "Interim-Update",
                f"of {name}",
                User_Name="alice",
                Acct_Input_Octets=self._octets[name],
                **router,
            )

    def reject(self, packets: int) -> None:
        """Let packets be rejected that can be counted by a retry."""
        for _ in range(packets):
            self._seq += 1
            now = time.time()
            pairs = [
                *(
                    ("Acct-Status-Type", "Start"),
                    ("Acct-Session-Id", f"r{self._seq}"),
                    ("User-Name", "carol"),
                ),
                *(("NAS-IP-Address", "10.0.0.1"), ("Tmp-Integer-0", str(int(now)))),
                ("Called-Station-Id", HALL["Called_Station_Id"]),
            ]
            entry = Entry(self._seq, int(now * 1e6), json.dumps(pairs))
            ingest(self.connection, "radius2", [as_rejected(entry, "status is not known")])

    def execute(self, statement: str) -> None:
        self.connection.execute(statement.encode())

    def end_request(self, milliseconds: int) -> None:
        """Let a request to a router be done, with an answer after so long."""
        self.connection.execute(
            """INSERT INTO radmeter.disconnect_queue
                   (radacctid, username, act, reason, state, sent_at, answered_at, ended_at)
               SELECT 1, 'bob', 'coa', 'speeds', 'done', moment, moment + %s * interval '1 ms', now()
               FROM (SELECT date_trunc('second', now()) - interval '1 minute' AS moment) AS sent""",
            (milliseconds,),
        )

    def notice(self) -> None:
        self.execute(
            """INSERT INTO radmeter.quota_notice (username, period_start, percent, kind, detail)
               VALUES ('bob', current_date, 100, 'over', '{}')"""
        )

    def anomaly(self) -> None:
        self.execute(
            "INSERT INTO accounting_anomaly (kind, username, radacctid) VALUES ('wrapped', 'bob', 4711)"
        )

    def refuse(self) -> None:
        self.connection.execute(LOGIN, (b"nobody".hex(),))

    def everything(self) -> None:
        """Let each counter have something of before."""
        for router in (LOBBY, GATE, HALL):
            self.use(router, 1000)
        run(self.database, "routers", "claim", LOBBY["Called_Station_Id"], "--name", "lobby")
        run(self.database, "login", "set", "unknown_users", "refuse")
        self.reject(1)
        self.end_request(40)
        self.notice()
        self.anomaly()
        self.refuse()


@pytest.fixture
def watched(database: str, connection: Connection) -> Iterator[Watched]:
    made = Watched(database, connection)
    made.everything()
    yield made
    made.source.close()


# What the database has counted from its beginning.
KEPT = {"packets_total", "node_rejected_packets_total", "ignored_packets_total", "invoices_total"}
INTERIM: Counters = {("packets_total", NODE): 1}
ROUND_TRIPS = "coa_round_trip_seconds"


def octets(number: int, router_id: str = "1", name: str = "lobby") -> Counters:
    return {("bytes_total", "in"): number, ("router_bytes_total", router_id, name, "in"): number, **INTERIM}


def refusals(number: int) -> Counters:
    return {
        ("rejected_packets_total", "status"): number,
        ("node_rejected_packets_total", "radius2"): number,
        ("packets_total", "radius2"): number,
    }


def within(milliseconds: int) -> Counters:
    bounds = ("0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "+Inf")
    return {
        ("coa_requests_total", "coa", "done"): 1,
        (ROUND_TRIPS, "sum"): pytest.approx(milliseconds / 1000),
        **{(ROUND_TRIPS, bound): 1 for bound in bounds if float(bound) * 1000 >= milliseconds},
    }


Step = tuple[Callable[[Watched], object], Counters]


def command(*arguments: str) -> Callable[[Watched], object]:
    return lambda watched: run(watched.database, *arguments)


def sql(statement: str) -> Callable[[Watched], object]:
    return lambda watched: watched.execute(statement)


STORIES: dict[str, list[Step]] = {
    "octets of one router": [
        (lambda w: w.use(LOBBY, 100), octets(100)),
        (lambda w: w.use(HALL, 7), {("bytes_total", "in"): 7, **INTERIM}),
    ],
    "a router that is claimed later": [
        (command("routers", "claim", GATE["Called_Station_Id"], "--name", "gate"), {}),
        (lambda w: w.use(GATE, 50), octets(50, "2", "gate")),
    ],
    "a router that leaves and comes back": [
        (lambda w: w.use(LOBBY, 100), octets(100)),
        (command("routers", "retire", "lobby", "--yes"), {}),
        (lambda w: w.use(LOBBY, 500), {("bytes_total", "in"): 500, **INTERIM}),
        (command("routers", "retire", "lobby", "--undo"), {}),
        (lambda w: w.use(LOBBY, 1), octets(1)),
    ],
    "a router that others are merged into": [
        (command("routers", "merge", "#3", "lobby", "--yes"), {}),
        (lambda w: w.use(LOBBY, 5), octets(5)),
        (lambda w: w.use(HALL, 6), octets(6)),
        (command("routers", "merge", "#2", "lobby", "--yes"), {}),
        (lambda w: w.use(GATE, 7), octets(7)),
    ],
    "a merge while it goes on": [
        (sql("SELECT radmeter.merge_router(3, 1)"), {}),
        (sql("UPDATE router_daily_usage SET bytes_in = bytes_in - 10 WHERE router_id = 1"), {}),
        (sql("SELECT radmeter.merge_router_finish(3)"), {}),
        (lambda w: w.use(HALL, 6), octets(6)),
    ],
    "a day that is repaired, and one that is gone": [
        (sql("UPDATE router_daily_usage SET bytes_in = bytes_in - 60 WHERE router_id = 1"), {}),
        (lambda w: w.use(LOBBY, 5), octets(5)),
        (sql("DELETE FROM router_daily_usage WHERE router_id = 1"), {}),
    ],
    "rejected packets that are counted after all": [
        (lambda w: w.reject(3), refusals(3)),
        (command("rejected", "retry", "--all"), {("packets_total", "retry"): 4}),
        (lambda w: w.reject(1), refusals(1)),
        (sql("UPDATE rejected_packet SET reason = 'no Timestamp'"), {}),
        (command("rejected", "drop", "5", "--yes"), {}),
        (lambda w: w.reject(2), refusals(2)),
    ],
    "rows that are removed": [
        (Watched.anomaly, {("anomalies_total", "wrapped"): 1}),
        (Watched.notice, {("quota_decisions_total", "over"): 1}),
        (lambda w: w.end_request(40), within(40)),
        (
            sql(
                "DELETE FROM accounting_anomaly; DELETE FROM radmeter.quota_notice; "
                "DELETE FROM radmeter.disconnect_queue"
            ),
            {},
        ),
        (Watched.anomaly, {("anomalies_total", "wrapped"): 1}),
        (Watched.notice, {("quota_decisions_total", "over"): 1}),
        (lambda w: w.end_request(300), within(300)),
    ],
    "an answer that takes just as long as a bound": [
        (lambda w: w.end_request(50), within(50)),
        (lambda w: w.end_request(30_000), within(30_000)),
    ],
    "a request that is tried again ends again": [
        (sql("DELETE FROM radmeter.disconnect_queue"), {}),
        (lambda w: w.end_request(40), within(40)),
        (sql("UPDATE radmeter.disconnect_queue SET state = 'waiting', ended_at = NULL"), {}),
        (sql("UPDATE radmeter.disconnect_queue SET state = 'done', ended_at = now()"), within(40)),
    ],
    "logins that are refused": [
        (Watched.refuse, {("refused_logins_total", "unknown"): 1}),
    ],
}


def test_no_counter_that_begins_with_the_program_begins_high(watched: Watched) -> None:
    """Nor does one that the database keeps begin at zero: it is the same from any program."""
    first = watched.read()
    assert {name for name, *_ in first} <= KEPT
    assert first["packets_total", NODE] == 3
    assert first["node_rejected_packets_total", "radius2"] == 1


@pytest.mark.parametrize("story", STORIES)
def test_a_counter_counts_what_happens_and_nothing_else(watched: Watched, story: str) -> None:
    watched.read()
    assert watched.read() == {}
    for number, (happens, expected) in enumerate(STORIES[story]):
        happens(watched)
        assert watched.read() == expected, f"step {number}"
        assert watched.read() == {}, f"after step {number}"


def test_a_router_that_leaves_since_another_has_a_lower_number_comes_back(
    database: str, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO routers (id, name, status) OVERRIDING SYSTEM VALUE VALUES (7, 'late', 'active')"
    )
    day = "(7, (now() AT TIME ZONE 'UTC')::date, 1000, 2000)"
    connection.execute(
        f"INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out) VALUES {day}".encode()
    )
    source = Source(database, routers=1, cached_seconds=0)

    def shown() -> dict[tuple[str, ...], float]:
        return {
            key: value for key, value in counters(source.read()).items() if key[0] == "router_bytes_total"
        }

    try:
        assert set(shown().values()) == {0}
        connection.execute(
            "INSERT INTO routers (id, name, status) OVERRIDING SYSTEM VALUE VALUES (3, 'early', 'active')"
        )
        assert {key[2] for key in shown()} == {"early"}
        connection.execute("UPDATE router_daily_usage SET bytes_in = bytes_in + 500")
        connection.execute("UPDATE routers SET status = 'retired' WHERE name = 'early'")
        assert shown() == {
            ("router_bytes_total", "7", "late", "in"): 0,
            ("router_bytes_total", "7", "late", "out"): 0,
        }
        connection.execute("UPDATE router_daily_usage SET bytes_in = bytes_in + 1")
        assert shown()["router_bytes_total", "7", "late", "in"] == 1
    finally:
        source.close()


def test_a_clock_that_was_set_back_over_midnight_brings_no_old_day(watched: Watched) -> None:
    watched.connection.execute(
        "INSERT INTO public.routers (name) VALUES ('of the clock');"
        "INSERT INTO public.router_daily_usage (router_id, usage_date, bytes_in, bytes_out)"
        " SELECT id, (now() AT TIME ZONE 'UTC')::date - 1, 50000000000, 50000000000"
        " FROM public.routers WHERE name = 'of the clock'"
    )
    watched.read()
    # As after a reading at which the database's clock was a day ahead.
    watched.source._from_day = watched.connection.execute(
        "SELECT ((now() AT TIME ZONE 'UTC')::date + 1)::text"
    ).fetchone()[0]  # type: ignore[index] # there is a row
    watched.read()
    assert watched.read() == {}
    assert watched.read() == {}
