"""The indexes that the old rows get before they become a partition. They are made while others read and write."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from radmeter.adoption.operation import Operation
from radmeter.adoption.table import Index, Table
from radmeter.database.connection import Connection, connect
from radmeter.database.deadline import prompt
from radmeter.database.dsn import of_connection
from radmeter.database.lock_retries import create_index_with_lock_retries
from radmeter.database.waiting import server_pid
from radmeter.errors import StoreError
from radmeter.progress import Listener, Quiet

# Closed sessions are found by their id (not unique: only open sessions have unique ids), by user and time, and by
# router. The index by router has no entries yet (radmeter backfill fills router_id in): to make it, PostgreSQL reads
# the table once, and needs no room on the disk.
_INDEXES = (
    ("radacct_legacy_acctuniqueid_idx", ("acctuniqueid",), ""),
    ("radacct_legacy_username_idx", ("username", "acctstarttime"), ""),
    ("radacct_legacy_router_id_idx", ("router_id", "acctstarttime"), " WHERE router_id IS NOT NULL"),
)
NAMES = tuple(f"public.{name}" for name, _, _ in _INDEXES)


def needed(table: Table) -> list[tuple[str, str]]:
    """Return name and statement of each index that the table lacks."""
    return [
        (
            f"public.{name}",
            f"CREATE INDEX CONCURRENTLY {name} ON public.radacct ({', '.join(columns)}){condition}",
        )
        for name, columns, condition in _INDEXES
        if not any(index.is_on(*columns) and not index.unique for index in table.indexes)
    ]


def built_again(table: Table, widened: list[str]) -> list[Index]:
    """Return the indexes that PostgreSQL would build again if columns became text, while everybody waits.

    It keeps an index if only the type's name changes, but does not judge expressions and conditions.
    """
    return [
        index
        for index in table.indexes
        if (index.partial or "" in index.columns) and not set(widened).isdisjoint(index.names)
    ]


def make_dropped(operation: Operation, dropped: dict[str, str]) -> None:
    """Make the indexes again that were dropped for a change of a type, while others read and write."""
    for name, definition in dropped.items():
        with (
            operation.progress(f"index {name}", None, "blocks") as bar,
            progress_of(operation.connection, bar),
        ):
            create_index_with_lock_retries(
                operation.connection,
                f"public.{name}",
                definition.replace("INDEX", "INDEX CONCURRENTLY", 1),
                patience_seconds=operation.patience_seconds,
                said=operation.said,
            )


def room_needed(table: Table) -> int:
    """Return about how many bytes the new indexes take, for ids and names of usual length."""
    widths = {"radacct_legacy_acctuniqueid_idx": 65, "radacct_legacy_username_idx": 40}
    return sum(table.rows * widths.get(name.removeprefix("public."), 0) for name, _ in needed(table))


@contextmanager
def progress_of(connection: Connection, bar: Listener) -> Iterator[None]:
    """Tell a listener how far CREATE INDEX on `connection` is, read over another connection."""
    if isinstance(bar, Quiet):
        yield
        return
    done = threading.Event()
    dsn = of_connection(connection)

    def look() -> None:
        with (
            suppress(psycopg.Error, StoreError),
            connect(dsn, deadline=prompt(), connect_timeout=5) as beside,
        ):
            while not done.wait(0.2):
                row = beside.execute(
                    """SELECT blocks_total, blocks_done FROM pg_stat_progress_create_index
                       WHERE pid = %s AND blocks_total > 0""",
                    (server_pid(connection),),
                ).fetchone()
                if row:
                    bar.total, bar.completed = row

    thread = threading.Thread(target=look, name="index progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(6)
