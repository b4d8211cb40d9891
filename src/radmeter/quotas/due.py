"""A thread of the jobs' leader that looks at users whose limits may be another than when they were last looked at.

A plan or a top-up was changed, a counter was repaired, or a time has come: a period or a validity ends. The triggers
look at users who use something. Access never depends on this thread: the login asks radmeter.quota_state.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, connect, explained_errors, translated_errors
from radmeter.database.transactions import TransactionsConnection
from radmeter.errors import StoreError
from radmeter.printable import printable

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 5.0
# If the database does not answer, the end of the process does not wait for it.
END_SECONDS = 15.0
# Ingest waits for a set of users. A set is made smaller if it took longer, and larger if it took less than half of it.
# A call alone costs as much as ten users. On a busy machine each set takes long, whatever its size: with sets of one it
# would keep ingest waiting for longer in all.
SET_SECONDS = 0.05
FIRST_SET = 50
SMALLEST_SET = 25
LARGEST_SET = 1000

# By the index, which passes over deleted rows: there are as many as were just worked off.
ANY_DUE = """
SELECT (SELECT id FROM radmeter.quota_change WHERE at <= now() ORDER BY at, id LIMIT 1) IS NOT NULL
    OR EXISTS (SELECT FROM radmeter.quota_account WHERE due_at <= now())"""
FAILED = """
SELECT username, error FROM radmeter.quota_change WHERE error IS NOT NULL ORDER BY username LIMIT 10"""


class Lease(Protocol):
    """What keeps two processes from doing this at once."""

    def take(self) -> bool: ...

    def end(self) -> None: ...


class DueQuotas:
    """Looks at users until there is nothing left to look at, in sets of a size that ingest does not feel."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._size = FIRST_SET
        self._took = 0.0
        self._failed: set[tuple[str, str]] = set()
        self.longest_seconds = 0.0
        """How long ingest was kept waiting by a set, at most."""

    def apply(self, wait: Callable[[float], bool] = lambda _: False) -> int:
        """Look at all users who are due now; return how many.

        Parameters
        ----------
        wait
            Waits for so many seconds; true: stop. What is left is done the next time. After each set it waits as long
            as the set took, so that ingest has at least half of the time.
        """
        looked_at = 0
        while found := self._apply_set():
            looked_at += found
            if wait(self._took):
                break
        return looked_at

    def warn(self) -> None:
        """Log which users could not be looked at, and why, unless it was logged. They are tried again later."""
        with explained_errors("radmeter_owner"):
            failed = set(self._connection.execute(FAILED).fetchall())
        for username, error in sorted(failed - self._failed):
            log.warning("quotas: %s could not be looked at: %s", printable(username), printable(error))
        self._failed = failed

    def _apply_set(self) -> int:
        with explained_errors("radmeter_owner"):
            if self._connection.execute(ANY_DUE).fetchone() != (True,):
                return 0
            with self._connection.transaction():
                advisory_locks.take_in_transaction(self._connection, advisory_locks.INGEST)
                began = time.monotonic()
                row = self._connection.execute(
                    "SELECT radmeter.apply_due_quotas(%s)", (self._size,)
                ).fetchone()
            self._took = took = time.monotonic() - began
        found = int(row[0]) if row else 0
        self.longest_seconds = max(self.longest_seconds, took)
        if took > SET_SECONDS:
            self._size = max(SMALLEST_SET, self._size // 2)
        elif took < SET_SECONDS / 2 and found >= self._size:
            self._size = min(LARGEST_SET, self._size * 2)
        return found


@contextmanager
def looking(dsn: str, lease_on: Callable[[TransactionsConnection], Lease]) -> Iterator[None]:
    """Look at due users each second during the block, in a thread with its own connection and lease."""
    stop = threading.Event()
    thread = threading.Thread(target=_look, args=(dsn, lease_on, stop), name="due quotas", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=END_SECONDS)


def _look(dsn: str, lease_on: Callable[[TransactionsConnection], Lease], stop: threading.Event) -> None:
    said: str | None = None
    while not stop.is_set():
        try:
            with connect(dsn) as connection, translated_errors():
                lease = lease_on(connection)
                if not lease.take():
                    stop.wait(LOOK_SECONDS)
                    continue
                said = None
                due = DueQuotas(connection)
                while not stop.wait(LOOK_SECONDS):
                    if looked_at := due.apply(stop.wait):
                        log.debug("quotas: looked at %d users who were due", looked_at)
                        due.warn()
                lease.end()
        except StoreError as error:
            if str(error) != said:
                said = str(error)
                log.warning("changes of quotas wait: %s", error)
            stop.wait(AGAIN_SECONDS)
        except Exception:
            log.exception("changes of quotas: an error of radmeter; it goes on")
            stop.wait(AGAIN_SECONDS)
