"""Runs an action on a second connection beside the test's, and tells whether it must wait for the test's locks."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import psycopg

Connection = psycopg.Connection[Any]
T = TypeVar("T")

DEADLINE_SECONDS = 120.0
POLL_SECONDS = 0.005


class Beside(Generic[T]):
    """Runs `action` in a thread, with its own autocommit connection."""

    def __init__(self, dsn: str, action: Callable[[Connection], T]) -> None:
        self._dsn, self._action = dsn, action
        self._results: list[T] = []
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.connection = psycopg.connect(self._dsn, autocommit=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive() and error is not None:
            self.connection.cancel()
        self._thread.join(DEADLINE_SECONDS)
        self.connection.close()

    @property
    def pid(self) -> int:
        """The process id of the action's server process."""
        return self.connection.info.backend_pid

    @property
    def ended(self) -> bool:
        """Whether the action is done or has failed."""
        return not self._thread.is_alive()

    def waits_for(self, *holders: Connection) -> bool:
        """Return True once the action waits for a lock of one of the holders, False if it has ended without waiting.

        A third connection checks this, because a holder may be in a transaction.
        """
        pids = [holder.info.backend_pid for holder in holders]
        deadline = time.monotonic() + DEADLINE_SECONDS
        with psycopg.connect(self._dsn, autocommit=True) as beside:
            while time.monotonic() < deadline:
                ended = self.ended
                if beside.execute(
                    "SELECT %s::integer[] && pg_blocking_pids(%s)", (pids, self.pid)
                ).fetchone() == (True,):
                    return True
                if ended:
                    return False
                self._thread.join(POLL_SECONDS)
        raise AssertionError(f"the action neither waited nor ended within {DEADLINE_SECONDS:g} s")

    def result(self) -> T:
        """Return what the action returned, or raise what it raised."""
        self._thread.join(DEADLINE_SECONDS)
        assert self.ended, f"the action did not end within {DEADLINE_SECONDS:g} s"
        if self._failures:
            raise self._failures[0]
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._action(self.connection))
        except BaseException as failure:
            self._failures.append(failure)


def call(query: str, *values: object) -> Callable[[Connection], Any]:
    """Return an action that runs a query and returns the first column of its first row."""

    def action(connection: Connection) -> Any:
        row = connection.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]

    return action
