"""Takes all numbers once: those of the database by one statement, and those of the journal of this host.

Whoever shows them (Prometheus, /readyz, a page) gets the same reading for `CACHED_SECONDS`.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from radmeter.database import backups
from radmeter.database.connection import Connection, connect, explained_errors
from radmeter.database.deadline import Deadline
from radmeter.errors import RadmeterError, StoreError
from radmeter.metrics import journal_figures, reasons
from radmeter.metrics.increases import Counter, Increases
from radmeter.metrics.journal_figures import JournalFigures
from radmeter.metrics.statement import (
    BEFORE,
    FIGURES,
    LATE_SECONDS,
    MOST_NODES,
    MOST_ROWS,
    MOST_STATEMENTS,
    NO_STATEMENTS,
    OPTIONAL,
    ROUND_TRIPS,
    ROWS,
    STATEMENTS,
)

log = logging.getLogger(__name__)

CACHED_SECONDS = 5.0
# A frozen server does not obey statement_timeout.
ANSWER_SECONDS = 8.0
# pgBackRest is asked in a thread of its own: it may take long.
BACKUP_SECONDS = 300.0
# The series of one router are a dozen; Prometheus keeps each for weeks.
MOST_ROUTERS = 1000

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counters that began at zero with this process. Octets and round trips are pairs and buckets."""

    octets: tuple[float, ...]
    rejected: Mapping[str, float]
    anomalies: Mapping[str, float]
    decisions: Mapping[str, float]
    refused_logins: Mapping[str, float]
    requests: Mapping[tuple[str, str], float]
    round_trips: Mapping[int, float]
    round_trip_seconds: float
    router_octets: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One reading.

    Attributes
    ----------
    database
        What the statement gave, by name; None: the database did not answer, and `fault` says why.
    counts
        The counters of this process. None: there has been no reading yet.
    clock_skew
        By how many seconds the database's clock is ahead of this host's.
    seconds
        How long the database took.
    journal
        This host's journal; None: it has none, or it cannot be read, and `journal_fault` says why.
    database_is_here
        Whether the database is on this host, so that its disk is seen.
    backup_at
        When the newest backup ended that pgBackRest knows here, in seconds since 1970.
    """

    database: Row | None = None
    fault: str | None = None
    counts: Counts | None = None
    clock_skew: float | None = None
    seconds: float | None = None
    journal: JournalFigures | None = None
    journal_fault: str | None = None
    database_is_here: bool = False
    backup_at: float | None = None
    failures: int = 0
    read_at: float = field(default_factory=time.time)


class Source:
    """Reads the figures. Any number of threads may ask; one reads, and the others get the same.

    Parameters
    ----------
    dsn
        The database. None: only the journal is read.
    journal
        The directory of this host's journal. None: it is not read.
    routers
        How many routers have figures of their own: those with the lowest numbers, so that they stay the same.
    role
        The role that reads, if the login does not have its rights by itself.
    backups
        Whether pgBackRest of this host is asked. It may take long, and answers for all databases of its repository.
    """

    def __init__(
        self,
        dsn: str | None,
        *,
        journal: Path | None = None,
        routers: int = 0,
        role: str | None = None,
        backups: bool = False,
        cached_seconds: float = CACHED_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._journal = journal
        self._routers = min(routers, MOST_ROUTERS)
        self._role = role
        self._cached_seconds = cached_seconds
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._statements = NO_STATEMENTS
        self._last: Figures | None = None
        self._read_at = -float("inf")
        self._failures = 0
        self._backups = _Backups() if backups else None
        self._since: str | None = None
        self._from_day: str | None = None
        self._octets, self._router_octets, self._refused = Increases(), Increases(), Increases()
        # The ids of the latest rows that were counted, as multiranges.
        self._seen: Mapping[str, str | None] = {}
        self._rejected: dict[str, float] = defaultdict(float)
        self._anomalies: dict[str, float] = defaultdict(float)
        self._decisions: dict[str, float] = defaultdict(float)
        self._requests: dict[tuple[str, str], float] = defaultdict(float)
        self._round_trips: dict[int, float] = defaultdict(float)
        self._round_trip_seconds = 0.0
        self._counts: Counts | None = None

    def read(self) -> Figures:
        """Return the figures of now, or of at most `cached_seconds` ago. It raises nothing: a fault is in them."""
        with self._lock:
            if self._last is None or time.monotonic() - self._read_at >= self._cached_seconds:
                self._last = self._read()
                self._read_at = time.monotonic()
            return self._last

    def close(self) -> None:
        """Close the connection. The next reading opens it again."""
        with self._lock:
            self._disconnect()

    def _read(self) -> Figures:
        database: Row | None = None
        fault = skew = seconds = None
        if self._dsn is not None:
            try:
                began, start = time.time(), time.monotonic()
                database = self._ask()
                seconds = time.monotonic() - start
                # The time between question and answer may look like a difference of the clocks.
                apart = database["now"] - (began + time.time()) / 2
                skew = 0.0 if abs(apart) < seconds else apart
                self._count(database)
            except RadmeterError as error:
                self._failures += 1
                fault = str(error)
        found, journal_fault = None, None
        if self._journal is not None:
            try:
                # If the database is lost by now, the next reading says so.
                found = journal_figures.read(self._journal, self._reading if database is not None else None)
            except (RadmeterError, OSError) as error:
                journal_fault = str(error)
        return Figures(
            database=database,
            fault=fault,
            counts=self._counts,
            clock_skew=skew,
            seconds=seconds,
            journal=found,
            journal_fault=journal_fault,
            database_is_here=self._connection is not None and self._connection.info.host.startswith("/"),
            backup_at=self._backups.newest() if self._backups else None,
            failures=self._failures,
        )

    def _ask(self) -> Row:
        """Run the statement. A connection that was lost since the last time is opened again."""
        again = self._connection is not None
        try:
            return self._run()
        except StoreError:
            self._disconnect()
            if not again:
                raise
        try:
            return self._run()
        except BaseException:
            self._disconnect()
            raise

    def _reading(self) -> Connection:
        """Return the connection, in a transaction that may read. Raises StoreError."""
        with explained_errors("radmeter_reader"):
            connection = self._connected()
            connection.execute(BEFORE.encode())
            if self._role is not None:
                connection.execute(
                    psycopg.sql.SQL("SET LOCAL ROLE {}").format(psycopg.sql.Identifier(self._role))
                )
        return connection

    def _run(self) -> Row:
        connection = self._reading()
        with explained_errors("radmeter_reader"):
            query = FIGURES.replace("{statements}", self._statements)
            row = connection.execute(
                query.encode(),
                {
                    "since": self._since,
                    "from_day": self._from_day,
                    "late": LATE_SECONDS,
                    "rows": MOST_ROWS,
                    "nodes": MOST_NODES,
                    "statements": MOST_STATEMENTS,
                    "routers": self._routers,
                    "round_trips": list(ROUND_TRIPS),
                    **{f"seen_{rows}": self._seen.get(rows) or "{}" for rows in ROWS},
                },
                prepare=False,  # the planner is to see the values
            ).fetchone()
            connection.rollback()
        assert row is not None
        found: Row = row[0]
        return found

    def _connected(self) -> Connection:
        if self._connection is None:
            assert self._dsn is not None
            connection = connect(
                self._dsn,
                autocommit=False,
                any_pooler=True,
                deadline=Deadline(ANSWER_SECONDS, ANSWER_SECONDS),
            )
            connection.read_only = True
            self._connection = connection
            row = connection.execute(OPTIONAL.encode()).fetchone()
            connection.rollback()
            schema = row[0] if row else None
            self._statements = STATEMENTS.format(schema=schema) if schema else NO_STATEMENTS
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _count(self, row: Row) -> None:
        """Add up what is new in a reading."""
        own = row["own"] or ()
        self._octets.add({"all": Counter(_by_day(row["days"]))})
        self._router_octets.add(
            {router["id"]: Counter(_by_day(router["days"]), router["merged"]) for router in own}
        )
        refused = row["refused_logins"] or {}
        self._refused.add({reason: Counter({"all": (number,)}) for reason, number in refused.items()})
        for reason, number in row["rejected"] or ():
            self._rejected[reasons.label(reason)] += number
        for kind, number in row["anomalies"] or ():
            self._anomalies[kind] += number
        for kind, number in row["decisions"] or ():
            self._decisions[kind] += number
        for act, state, number in row["requests"] or ():
            self._requests[act, state] += number
        for bucket, number, seconds in row["round_trips"] or ():
            self._round_trips[bucket] += number
            self._round_trip_seconds += seconds
        # It never goes back, also if the database's clock does: what an older day has was counted before.
        self._from_day = max(self._from_day or "", row["day"])
        self._since, self._seen = row["since"], row["seen"]
        self._counts = Counts(
            octets=self._octets.of("all"),
            rejected=dict(self._rejected),
            anomalies=dict(self._anomalies),
            decisions=dict(self._decisions),
            refused_logins={reason: self._refused.of(reason, 1)[0] for reason in refused},
            requests=dict(self._requests),
            round_trips=dict(self._round_trips),
            round_trip_seconds=self._round_trip_seconds,
            router_octets={router["id"]: self._router_octets.of(router["id"]) for router in own},
        )


def _by_day(days: Sequence[tuple[str, int, int]] | None) -> Mapping[Hashable, tuple[float, ...]]:
    return {day: (octets_in, octets_out) for day, octets_in, octets_out in days or ()}


class _Backups:
    """When the newest backup ended. pgBackRest is asked in a thread, so that nobody waits for it."""

    def __init__(self, ask: Callable[[], Sequence[Any]] = backups.stanzas) -> None:
        self._ask = ask
        self._at: float | None = None
        self._due = -float("inf")
        self._thread: threading.Thread | None = None

    def newest(self) -> float | None:
        """Return what is known."""
        if time.monotonic() >= self._due and (self._thread is None or not self._thread.is_alive()):
            self._due = time.monotonic() + BACKUP_SECONDS
            self._thread = threading.Thread(target=self._look, daemon=True, name="newest backup")
            self._thread.start()
            self._thread.join(0.5)
        return self._at

    def _look(self) -> None:
        found = backups.newest_of(self._ask(), None)
        self._at = None if found is None else found.at
