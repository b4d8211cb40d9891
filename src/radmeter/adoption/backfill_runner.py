"""Runs a backfill: hands ranges of ids to several connections, and rests where it would slow others down."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import psycopg
from psycopg import errors

from radmeter.adoption import backfill
from radmeter.adoption.backfill import ROUTERS
from radmeter.database.connection import Connection, connect
from radmeter.database.deadline import patient
from radmeter.database.pace import Pace, Pacer
from radmeter.errors import StoreError
from radmeter.interruption import Interruption
from radmeter.progress import Listener

# The sums of so many sessions are moved to the counters together, so most counters are written once. With three
# million sessions it took as long, and a bucket kept ingest waiting for 60 to 126 ms instead of 30.
WAVE_SESSIONS = 1_000_000
RETRIES = 10
TRY_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)


@dataclass
class Spans:
    """Spans of ids, handed out in ranges that take about `seconds` each."""

    spans: list[tuple[int, int]]
    width: int
    widest: int
    seconds: float
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ids(self) -> int:
        """How many ids are left."""
        return sum(end - first for first, end in self.spans)

    def take(self) -> tuple[int, int] | None:
        """Return the next range as its first id and the id after its last, None if none is left."""
        with self.lock:
            if not self.spans:
                return None
            first, end = self.spans[0]
            cut = min(first + self.width, end)
            self.spans[:1] = [(cut, end)] if cut < end else []
            return first, cut

    def took(self, ids: int, seconds: float) -> None:
        """Adjust the width of the next ranges to the time that a range took."""
        with self.lock:
            if ids >= self.width // 2:  # the short rest of a span would mislead
                fitting = self.width * self.seconds / max(seconds, 0.001)
                self.width = int(max(100, min(fitting, self.width * 2, self.widest)))


class Runner:
    """The connections of one backfill. The first Ctrl-C ends it after the ranges under way, the second at once."""

    def __init__(self, dsn: str, pace: Pace, interruption: Interruption) -> None:
        self.pace = pace
        self.interruption = interruption
        self._pacer = Pacer(dsn, pace, lambda: self.stopping)
        self._dsn = dsn
        self._waiting = 0  # sessions counted since the last wave
        self._moving = threading.Lock()
        self._failed = threading.Event()
        self._exit = ExitStack()
        self._connections: list[Connection] = []

    def __enter__(self) -> "Runner":
        try:
            for _ in range(self.pace.jobs):
                connection = self._exit.enter_context(
                    connect(self._dsn, deadline=patient(), prepare_threshold=None)
                )
                # A crash may lose a range. It is then not marked as counted: the mark is in the same transaction.
                connection.execute("SET synchronous_commit = off")
                connection.execute("SET application_name = 'radmeter backfill'")
                self._connections.append(connection)
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def stopping(self) -> bool:
        """Whether nothing new may begin."""
        return bool(self.interruption) or self._failed.is_set()

    def count(self, spans: Sequence[tuple[int, int]], bar: Listener) -> None:
        """Count the adopted sessions of spans of ids, and add their sums to the counters wave by wave."""
        work = Spans(list(spans), width=20_000, widest=100_000, seconds=1.0)
        with self._pacer.watched(bar.say):
            self._all(lambda connection: self._count(connection, work, bar))

    def fill(self, connection: Connection, bar: Listener) -> None:
        """Give adopted sessions their router_id until all have it. Rows that others have locked come later."""
        with self._pacer.watched(bar.say):
            while not self.stopping:
                # Short ranges: a writer that needs a row of the range waits for it.
                work = Spans(backfill.left(connection, ROUTERS), width=1000, widest=20_000, seconds=0.08)
                before = work.ids
                if not before:
                    return
                self._all(lambda each, work=work: self._fill(each, work, bar))  # type: ignore[misc] # bound now
                if not self.stopping and sum(e - f for f, e in backfill.left(connection, ROUTERS)) >= before:
                    time.sleep(0.5)  # others hold all that is left

    def move(self, bar: Listener) -> int:
        """Add all sums that wait to the counters. Return how many counters were changed.

        So the counters have all that is counted, even if the operator stops. The second Ctrl-C leaves the rest waiting.
        """
        moved = self._wave(self._connections[0], bar)
        while not self.stopping and self._again(lambda: backfill.settle(self._connections[0])):
            pass
        return moved

    def _count(self, connection: Connection, work: Spans, bar: Listener) -> None:
        while not self.stopping and (span := work.take()):
            began = time.monotonic()
            sessions = self._again(lambda span=span: backfill.count(connection, *span))  # type: ignore[misc]
            seconds = time.monotonic() - began
            work.took(span[1] - span[0], seconds)
            bar.advance(span[1] - span[0])
            with work.lock:
                self._waiting += sessions
                wave = self._waiting >= WAVE_SESSIONS
                if wave:
                    self._waiting = 0
            if wave:
                self._wave(connection)
            self._pacer.hold_back(seconds)

    def _fill(self, connection: Connection, work: Spans, bar: Listener) -> None:
        while not self.stopping and (span := work.take()):
            began = time.monotonic()
            left_over = self._again(lambda span=span: backfill.fill(connection, *span))  # type: ignore[misc]
            seconds = time.monotonic() - began
            work.took(span[1] - span[0], seconds)
            if not left_over:
                bar.advance(span[1] - span[0])
            self._pacer.hold_back(seconds)

    def _wave(self, connection: Connection, bar: Listener | None = None) -> int:
        """Move bucket after bucket. Ingest can run between two buckets."""
        moved = 0
        with self._moving:
            for bucket in range(backfill.BUCKETS):
                if self.interruption.count > 1 or self._failed.is_set():
                    break
                began = time.monotonic()
                moved += self._again(lambda bucket=bucket: backfill.move(connection, bucket))  # type: ignore[misc]
                if bar is not None:
                    bar.advance()
                self._pacer.hold_back(time.monotonic() - began)
        return moved

    def _again(self, call: Callable[[], int]) -> int:
        """Call a function again from its beginning if it had to give way to another session."""
        for attempt in range(RETRIES):
            try:
                return call()
            except StoreError as error:
                if not isinstance(error.__cause__, TRY_AGAIN) or attempt == RETRIES - 1:
                    raise
                time.sleep(0.05 * (attempt + 1))
        raise AssertionError

    def _all(self, work: Callable[[Connection], None]) -> None:
        """Let every connection work. The first failure stops all of them, and so does the second Ctrl-C."""
        with ThreadPoolExecutor(len(self._connections), thread_name_prefix="backfill") as pool:
            futures = [pool.submit(work, connection) for connection in self._connections]
            while (done := wait(futures, timeout=0.1, return_when=FIRST_EXCEPTION)).not_done:
                if any(each.exception() for each in done.done):
                    self._failed.set()
                if self.interruption.count > 1 or self._failed.is_set():
                    for connection in self._connections:
                        with suppress(psycopg.Error):
                            connection.cancel()
        cancelled = None
        for each in futures:
            error = each.exception()
            if error is not None and isinstance(error.__cause__, errors.QueryCanceled):
                cancelled = error
            elif error is not None:
                raise error
        if cancelled is not None and self.interruption.count <= 1:
            raise cancelled
