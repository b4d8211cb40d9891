"""How hard a long activity may work: it rests between batches, and pauses while others are behind."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg

from radmeter.database.connection import Connection, connect, explained_errors
from radmeter.errors import StoreError

LAG_LOOK_SECONDS = 1.0
SAY_EVERY_SECONDS = 10.0

REPLICATION = """
SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 FROM pg_stat_replication WHERE state = 'streaming'"""
# A standby that has replayed all shows no lag. Replayed detail files are left out: old packets are no lag.
INGEST = """
SELECT coalesce(max(extract(epoch FROM updated_at - last_received_at)), 0)::float8 FROM radmeter.nodes
WHERE updated_at > now() - interval '30 seconds' AND NOT starts_with(node, 'detail:')"""


def lag_seconds(connection: Connection) -> tuple[float, str]:
    """Return the longest lag in seconds, and whose it is: that of replication or that of ingest."""
    with explained_errors("radmeter_owner"):
        lags = [(_number(connection, REPLICATION), "replication")]
        # An adoption that has just begun has not made the view yet.
        if connection.execute("SELECT to_regclass('radmeter.nodes')").fetchone() != (None,):
            lags.append((_number(connection, INGEST), "ingest"))
    return max(lags)


def _number(connection: Connection, query: str) -> float:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return float(row[0])


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How hard to work."""

    jobs: int = 1
    max_load: float = 1.0
    """The part of its time that each job works, up to 1."""
    max_lag_seconds: float = 10.0
    """Work pauses while replication or ingest is further behind."""


class Pacer:
    """Rests as long as a pace says. `stopping` tells whether a rest has to end at once."""

    def __init__(self, dsn: str, pace: Pace, stopping: Callable[[], bool] = lambda: False) -> None:
        self.pace = pace
        self._dsn = dsn
        self.stopping = stopping
        self._paused = threading.Event()

    def hold_back(self, worked_seconds: float = 0.0) -> None:
        """Rest as long as the maximum load says, and while the work is paused."""
        until = time.monotonic() + worked_seconds * (1 - self.pace.max_load) / self.pace.max_load
        while not self.stopping():
            rest = until - time.monotonic()
            if rest <= 0 and not self._paused.is_set():
                return
            time.sleep(min(max(rest, 0.01), 0.05))

    @contextmanager
    def watched(self, say: Callable[[str], None]) -> Iterator[None]:
        """Pause while replication or ingest is behind."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done, say), name="lag", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            self._paused.clear()

    def _watch(self, done: threading.Event, say: Callable[[str], None]) -> None:
        said_at = float("-inf")
        with suppress(StoreError, psycopg.Error), connect(self._dsn) as connection:
            while not done.is_set():
                lag, whose = lag_seconds(connection)
                if lag > self.pace.max_lag_seconds:
                    self._paused.set()
                    if time.monotonic() - said_at > SAY_EVERY_SECONDS:
                        said_at = time.monotonic()
                        say(f"pausing: {whose} is {lag:.0f} s behind")
                elif self._paused.is_set():
                    self._paused.clear()
                    said_at = float("-inf")
                    say(f"going on: {whose} is {lag:.1f} s behind")
                done.wait(LAG_LOOK_SECONDS)
        # If the lag can no longer be read, do not pause for ever.
        self._paused.clear()
