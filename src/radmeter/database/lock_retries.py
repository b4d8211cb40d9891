"""Lock retries: a change of a live database waits only a moment for its locks, gives up, and tries again.

PostgreSQL serves the queue of a lock in order. So a change that waits for a lock makes all later sessions wait too. A
change that meets a long transaction therefore gives up after `LOCK_WAIT_MS`, lets the others through, and tries again.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import NamedTuple, TypeVar

import psycopg
from psycopg import errors, sql

from radmeter.database.connection import Connection, connect, translated_errors
from radmeter.database.deadline import prompt
from radmeter.database.dsn import of_connection
from radmeter.database.waiting import server_pid
from radmeter.errors import DiskFull, LockTimeout, StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")
# A change that waits for a lock keeps ingest waiting for this time at most. The time of the change itself comes on top.
LOCK_WAIT_MS = 50
# Autovacuum gives way to a session that waits for its table for deadlock_timeout (1 s). A wait for SHARE UPDATE
# EXCLUSIVE blocks neither readers nor writers.
VACUUM_GIVES_WAY_SECONDS = 5.0
PATIENCE_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 2.0
FIRST_WORD_SECONDS, SAY_EVERY_SECONDS = 1.0, 3.0
FOLLOW_SECONDS = 0.25

GAVE_WAY = (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)


class Holder(NamedTuple):
    """A session that holds a lock for which another one waits. Its query is left out: it could have a password."""

    pid: int
    user: str
    application: str
    state: str
    seconds: float | None

    def __str__(self) -> str:
        since = "" if self.seconds is None else f", in a transaction for {self.seconds:.0f} s"
        state = f", {self.state}" if self.state else ""
        return f"process {self.pid} ({self.user}, {self.application or 'no application name'}{state}{since})"


HOLDERS = """
SELECT pid, coalesce(usename, backend_type, '?')::text, coalesce(application_name, ''), coalesce(state, ''),
       extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(%s)) ORDER BY xact_start NULLS LAST"""


def with_lock_retries(
    connection: Connection,
    work: Callable[[Connection], T],
    *,
    what: str,
    patience_seconds: float = PATIENCE_SECONDS,
    said: Callable[[str], None] = log.info,
) -> T:
    """Run `work` in a transaction that waits at most `LOCK_WAIT_MS` for a lock. Try again until it gets its locks.

    Parameters
    ----------
    connection
        In autocommit mode.
    work
        What to do. It may run several times, each time from the start.
    what
        The change, for messages: ``"attaching radacct_2024_03"``.
    patience_seconds
        How long to try.
    said
        Takes a line that says who holds the lock, every few seconds while it waits.

    Raises
    ------
    LockTimeout
        The work could not get its locks in time. Nothing of it is done.
    DiskFull
        The disk of the server is full. Nothing of the work is done.
    StoreError
        The work failed. Nothing of it is done.
    """

    def attempt() -> T:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'")
            return work(connection)

    return retry_until_locked(connection, attempt, what=what, patience_seconds=patience_seconds, said=said)


def create_index_with_lock_retries(
    connection: Connection,
    name: str,
    statement: str,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    said: Callable[[str], None] = log.info,
) -> None:
    """Run ``CREATE [UNIQUE] INDEX CONCURRENTLY`` of index `name` (with its schema) unless there is a valid one.

    The statement cannot be in a transaction. If it was interrupted, it has left an INVALID index, which is dropped
    first. It waits for the transactions that began before it, while others can read and write.
    """

    def attempt() -> None:
        valid = connection.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,)
        ).fetchone()
        if valid == (True,):
            return
        if valid is not None:
            drop = sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(*name.split(".")))
            with _lock_timeout(connection):
                connection.execute(drop)
        # The statement waits for old transactions, and would have to start again from nothing after a short timeout.
        # Its own lock blocks only changes of the schema. So each of its waits may take as long as the patience is.
        with _lock_timeout(connection, patience_seconds):
            connection.execute(statement.encode())

    what = f"making the index {name}"
    holders: list[Holder] = []
    with _followed(connection, holders, said, what):
        retry_until_locked(
            connection, attempt, what=what, patience_seconds=patience_seconds, said=said, holders=holders
        )


def outside_transaction(
    connection: Connection,
    statement: str,
    *,
    what: str,
    patience_seconds: float = PATIENCE_SECONDS,
    said: Callable[[str], None] = log.info,
) -> None:
    """Run a statement with lock retries that cannot be in a transaction (``DETACH PARTITION .. CONCURRENTLY``)."""

    def attempt() -> None:
        with _lock_timeout(connection):
            connection.execute(statement.encode())

    retry_until_locked(connection, attempt, what=what, patience_seconds=patience_seconds, said=said)


def retry_until_locked(
    connection: Connection,
    attempt: Callable[[], T],
    *,
    what: str,
    patience_seconds: float = PATIENCE_SECONDS,
    said: Callable[[str], None] = log.info,
    holders: list[Holder] | None = None,
) -> T:
    """Call `attempt`, which works on `connection` and ends its own transaction, until it gets its locks.

    `holders`: a list that somebody else fills with those who hold the lock.
    """
    deadline = time.monotonic() + patience_seconds
    next_word: float | None = None
    pause = 0.05
    # Whom the latest try found that found anybody: on a busy server a look can be too slow for 50 ms.
    followed = holders is not None
    if holders is None:
        holders = []
    while True:
        # Most changes need one try, so the first one does not look for the holders.
        looking = next_word is not None and not followed
        try:
            with (
                _seen(connection, holders) if looking else nullcontext(),
                translated_errors(),
            ):
                return attempt()
        except StoreError as error:
            if isinstance(error.__cause__, errors.DiskFull):
                raise DiskFull(
                    f"{what}: the disk of the server is full ({error}). Nothing of this step is done: make room, then "
                    "run the same command again"
                ) from error
            if not isinstance(error.__cause__, GAVE_WAY):
                raise
            now = time.monotonic()
            if now >= deadline:
                raise LockTimeout(_too_long(what, patience_seconds, holders)) from error
            if next_word is None:
                next_word = now
            elif now >= next_word:
                who = " and ".join(map(str, holders)) or "other sessions in turn"
                said(f"{what}: waiting for a lock that is held by {who}; nobody else is kept waiting")
                next_word = now + SAY_EVERY_SECONDS
            time.sleep(min(pause * random.uniform(0.5, 1.5), max(0.0, deadline - now)))  # noqa: S311 # no secret
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


@contextmanager
def bounded_waits(
    connection: Connection,
    patience_seconds: float,
    *,
    said: Callable[[str], None] = log.info,
    what: str = "reading the database",
) -> Iterator[None]:
    """Let no statement of the block wait for a lock for longer than `patience_seconds`, also outside lock retries.

    A statement that reads a table waits while somebody else has it locked. Commands with a patience use this for all
    their statements.

    Parameters
    ----------
    connection
        In autocommit mode.
    said
        Takes a line that says who holds the lock, every few seconds while a statement waits.
    what
        What the statements do, for messages.

    Raises
    ------
    LockTimeout
        A statement could not get its lock in time.
    """
    holders: list[Holder] = []
    try:
        with _lock_timeout(connection, patience_seconds), _followed(connection, holders, said, what):
            yield
    except (StoreError, errors.LockNotAvailable) as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        if isinstance(error, LockTimeout) or not isinstance(cause, errors.LockNotAvailable):
            raise
        raise LockTimeout(_too_long(what, patience_seconds, holders)) from error


def _too_long(what: str, patience_seconds: float, holders: list[Holder]) -> str:
    who = " and ".join(map(str, holders)) or "other sessions in turn"
    return (
        f"{what}: could not get the lock within {patience_seconds:g} s: it is held by {who}. "
        "Nothing of this step is done. End that transaction "
        "(SELECT pg_catalog.pg_terminate_backend(<process>) ends it), or be more patient (--patience), "
        "then run the same command again"
    )


@contextmanager
def _lock_timeout(connection: Connection, seconds: float = LOCK_WAIT_MS / 1000) -> Iterator[None]:
    """Let each statement of the block wait so long for a lock. Afterwards the limit is the one before."""
    row = connection.execute("SELECT current_setting('lock_timeout')").fetchone()
    assert row is not None
    # 0 would be no limit.
    milliseconds = min(max(1, round(seconds * 1000)), 2**31 - 1)
    connection.execute(f"SET lock_timeout = {milliseconds}".encode())
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # the error that ended the connection is reported already
            connection.execute("SELECT set_config('lock_timeout', %s, false)", row)


@contextmanager
def _followed(
    connection: Connection, holders: list[Holder], said: Callable[[str], None], what: str
) -> Iterator[None]:
    """Find over a second connection, again and again, who keeps `connection` waiting."""
    done = threading.Event()
    dsn = of_connection(connection)
    pid = server_pid(connection)

    def look() -> None:
        next_word: float | None = None
        with (
            suppress(psycopg.Error, StoreError),
            connect(dsn, deadline=prompt(), connect_timeout=5) as beside,
        ):
            while not done.wait(FOLLOW_SECONDS):
                found = [Holder(*row) for row in beside.execute(HOLDERS, (pid,))]
                now = time.monotonic()
                if not found:
                    next_word = None
                    continue
                holders[:] = found
                if next_word is None:
                    next_word = now + FIRST_WORD_SECONDS
                elif now >= next_word:
                    next_word = now + SAY_EVERY_SECONDS
                    said(f"{what}: waiting for a lock that is held by {' and '.join(map(str, found))}")

    thread = threading.Thread(target=look, name="lock holders", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(6)


@contextmanager
def _seen(connection: Connection, holders: list[Holder]) -> Iterator[None]:
    """Find over a second connection who keeps `connection` waiting. Afterwards nobody could tell."""
    done, connected = threading.Event(), threading.Event()
    dsn = of_connection(connection)
    pid = server_pid(connection)

    def look() -> None:
        with (
            suppress(psycopg.Error, StoreError),
            connect(dsn, deadline=prompt(), connect_timeout=5) as beside,
        ):
            connected.set()
            while not done.is_set():
                found = beside.execute(HOLDERS, (pid,)).fetchall()
                if found:
                    holders[:] = [Holder(*row) for row in found]
                    return
                done.wait(0.005)

    thread = threading.Thread(target=look, name="lock holders", daemon=True)
    thread.start()
    # On a busy server, to connect takes longer than the wait for the lock.
    connected.wait(5)
    try:
        yield
    finally:
        done.set()
        thread.join(6)
