"""What is counted right now: by user, by router, and how many packets a second. For the live screen."""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.routers.lookup import shown_names

STATE = """
SELECT clock_timestamp() AS read_at, (SELECT open_sessions FROM radmeter.totals) AS open_sessions,
       (SELECT sum(records)::bigint FROM radmeter.nodes) AS records,
       (SELECT max(last_received_at) FROM radmeter.nodes) AS last_received_at"""
USERS = """
SELECT username AS key, period_start AS begins, bytes_in, bytes_out FROM radmeter.user_usage
WHERE last_updated > %(since)s"""
ROUTERS = """
SELECT router_id AS key, usage_date AS begins, bytes_in, bytes_out FROM radmeter.router_usage
WHERE last_updated > %(since)s"""
# A counter is stamped when its transaction begins, and seen when that ends.
OVERLAP = timedelta(minutes=2)
# A monthly period is no longer. So a counter that was not touched for so long, and is not older, is a new one.
RECENT = timedelta(days=32)


class Line(NamedTuple):
    """A user or a router: what was counted lately, and the whole counter of the period or day."""

    name: str
    lately_in: int
    lately_out: int
    bytes_total: int


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What is counted, as of a moment."""

    read_at: datetime
    since: datetime
    """What was counted lately was counted since then."""
    packets_per_second: float | None
    open_sessions: int
    newest_seconds: float | None
    """How long ago the newest packet arrived that is counted; None: there is none."""
    users: Sequence[Line]
    routers: Sequence[Line]


class _Counters:
    """The increases of counters within a window of time, found by comparing one reading with the next."""

    def __init__(self, query: str, window: timedelta) -> None:
        self._query = query
        self._window = window
        self._known: dict[tuple[Hashable, Hashable], tuple[int, int]] = {}
        self._increases: deque[tuple[datetime, Hashable, int, int]] = deque()
        self._latest: dict[Hashable, tuple[Hashable, int]] = {}

    def begin(self, connection: Connection, now: datetime) -> None:
        """Read the counters as they are at the beginning."""
        for row in views.rows(connection, self._query, {"since": now - RECENT}):
            self._known[row["key"], row["begins"]] = (row["bytes_in"], row["bytes_out"])

    def read(self, connection: Connection, since: datetime, now: datetime) -> None:
        """Note what was added to the counters that changed since then."""
        for row in views.rows(connection, self._query, {"since": since}):
            key = row["key"], row["begins"]
            total = row["bytes_in"], row["bytes_out"]
            old = row["begins"] < (now - RECENT).date()
            before = self._known.get(key, total if old else (0, 0))
            self._known[key] = total
            if total != before:
                self._increases.append((now, row["key"], total[0] - before[0], total[1] - before[1]))
            begins = self._latest.get(row["key"], (row["begins"], 0))[0]
            if row["begins"] >= begins:
                self._latest[row["key"]] = row["begins"], sum(total)
        while self._increases and self._increases[0][0] < now - self._window:
            self._increases.popleft()

    def busiest(self, most: int) -> list[tuple[Hashable, int, int, int]]:
        """Return the keys with the largest increases in the window: the increases, and the whole counter."""
        sums: dict[Hashable, list[int]] = {}
        for _, key, bytes_in, bytes_out in self._increases:
            total = sums.setdefault(key, [0, 0])
            total[0] += bytes_in
            total[1] += bytes_out
        first = sorted(sums, key=lambda key: (-sum(sums[key]), str(key)))[:most]
        return [(key, sums[key][0], sums[key][1], self._latest[key][1]) for key in first]


class Activities:
    """Reads the activity of a database repeatedly."""

    def __init__(self, window: timedelta) -> None:
        self._window = window
        self._users = _Counters(USERS, window)
        self._routers = _Counters(ROUTERS, window)
        self._began: datetime | None = None
        self._before: Row = {}

    def read(self, connection: Connection, most: int) -> Activity:
        """Return the activity now, with at most so many users and routers. The first reading only begins."""
        connection.rollback()  # else it would see what it saw before
        (state,) = views.rows(connection, STATE)
        now = state["read_at"]
        if self._began is None:
            self._began = now
            for counters in (self._users, self._routers):
                counters.begin(connection, now)
        else:
            since = self._before["read_at"] - OVERLAP
            for counters in (self._users, self._routers):
                counters.read(connection, since, now)
        rate = None
        if self._before:
            seconds = (now - self._before["read_at"]).total_seconds()
            rate = max(0, (state["records"] or 0) - (self._before["records"] or 0)) / max(seconds, 0.001)
        self._before = state
        newest = state["last_received_at"]
        routers = self._routers.busiest(most)
        names = shown_names(connection, {key for key, *_ in routers if isinstance(key, int)})
        return Activity(
            read_at=now,
            since=max(self._began, now - self._window),
            packets_per_second=rate,
            open_sessions=state["open_sessions"],
            newest_seconds=None if newest is None else max(0.0, (now - newest).total_seconds()),
            users=[Line(str(key), *figures) for key, *figures in self._users.busiest(most)],
            routers=[
                Line(names.get(key, f"#{key}") if isinstance(key, int) else str(key), *figures)
                for key, *figures in routers
            ],
        )
