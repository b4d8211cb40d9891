"""Advisory locks: only one of several programs does a thing at a time.

A lock has a name, and its key is the hash of the name. The functions under ``sql/`` use the same keys. When a session
ends, its locks are released (PostgreSQL manual, "Advisory Locks").
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import psycopg

from radmeter import waits
from radmeter.database.connection import Connection, translated_errors

POLL_SECONDS = 0.05

# The names. SQL functions take `INGEST` and `REPAIR` too, until the end of their transaction.
INGEST = "radmeter.ingest"
REPAIR = "radmeter.repair"
JOBS = "radmeter.jobs"
UPGRADE = "radmeter.upgrade"
ARCHIVE = "radmeter.archive"
BACKFILL = "radmeter.backfill"
ENSURE_PARTITION = "radmeter.ensure_partition"
BILLING = "radmeter.billing"


class LockHolder(NamedTuple):
    """The session that holds a lock."""

    pid: int
    application: str


def replay_lock(source: str) -> str:
    """Return the name of the lock of one detail file."""
    return f"radmeter.replay {source}"


def taken(connection: Connection, name: str, *, patience_seconds: float = 0.0) -> bool:
    """Take a lock until the connection ends or releases it; return False if another session has it.

    To wait, the function asks again and again. A session that waited inside a statement would hold a snapshot, and if
    the holder makes an index CONCURRENTLY, that would wait for the snapshot.
    """
    deadline = time.monotonic() + patience_seconds
    with waits.waiting_for(f"the lock {name}, which another process has"):
        while True:
            with translated_errors():
                row = connection.execute(
                    "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,)
                ).fetchone()
            if row == (True,):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)


def take_in_transaction(connection: Connection, name: str) -> None:
    """Wait in the lock's queue, then hold the lock until the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def given_back(connection: Connection, name: str) -> None:
    """Release a lock. If the connection is lost, the lock is released already."""
    with contextlib.suppress(psycopg.Error):
        connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))


@contextlib.contextmanager
def held(connection: Connection, name: str, *, patience_seconds: float = 0.0) -> Iterator[bool]:
    """Hold a lock for the block. Yields False, without the lock, if another session has it."""
    got = taken(connection, name, patience_seconds=patience_seconds)
    try:
        yield got
    finally:
        if got:
            given_back(connection, name)


def holder(connection: Connection, name: str) -> LockHolder | None:
    """Return the session that holds a lock in this database; None if none does."""
    with translated_errors():
        # pg_locks shows a 64-bit key as two halves (PostgreSQL manual, pg_locks).
        row = connection.execute(
            """SELECT pid, coalesce((SELECT application_name FROM pg_stat_activity AS activity
                                     WHERE activity.pid = pg_locks.pid), '')
               FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
                 AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 0)
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
            (name,),
        ).fetchone()
    return None if row is None else LockHolder(*row)


def take_upgrade_lock(connection: Connection, say: Callable[[str], None]) -> None:
    """Wait until no other upgrade of this database runs, then hold the lock until the connection ends."""
    told = 0
    while not taken(connection, UPGRADE):
        other = holder(connection, UPGRADE)
        if other and other.pid != told:
            told = other.pid
            say(f"waiting: process {told} of the server is migrating this database")
        time.sleep(POLL_SECONDS)
