"""Erases a person: a random pseudonym replaces the name, in small batches, while packets are counted."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import psycopg
from psycopg import sql

from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.lock_retries import LOCK_WAIT_MS, with_lock_retries
from radmeter.errors import StoreError
from radmeter.partitions.split_catalog import refusal as split_refusal
from radmeter.partitions.split_catalog import under_way
from radmeter.people import packets
from radmeter.progress import Progress, Say, no_progress

OWNER = "radmeter_owner"
# Sessions changed in one transaction. Ingest waits for at most one such transaction.
BATCH = 500


class OpenSessions(StoreError):
    """The user has open sessions, so the name would come back with their next packets."""


class Erased(NamedTuple):
    """The pseudonym, and how many rows were changed in each table."""

    pseudonym: str
    rows: dict[str, int]


def open_sessions(connection: Connection, username: str) -> int:
    """Return how many open sessions a user has."""
    with explained_errors("radmeter_reader"):
        row = connection.execute(
            "SELECT count(*) FROM public.radacct WHERE username = %s AND acctstoptime IS NULL", (username,)
        ).fetchone()
    return int(row[0]) if row else 0


def erase(
    connection: Connection,
    username: str,
    *,
    even_open: bool = False,
    progress: Progress = no_progress,
    said: Say = lambda line: None,
) -> Erased:
    """Erase a user. If it is interrupted at any point, call it again: it goes on with the same pseudonym.

    Parameters
    ----------
    connection
        In autocommit mode.
    even_open
        Also erase open sessions. Their later packets count for the pseudonym.

    Raises
    ------
    OpenSessions
        The user has open sessions. What is erased so far stays so.
    StoreError
        A backfill is running, a partition is being split, the role may not erase, or a lock could not be had.
    """
    with advisory_locks.held(connection, advisory_locks.BACKFILL) as alone:
        if not alone:
            raise StoreError(
                "another erasure or a backfill is running: it would count sessions for the name. "
                "Run this command again when it has ended"
            )
        split = under_way(connection)
        if split is not None:
            raise StoreError(f"the copies of a split would keep the name: {split_refusal(split)}")
        if not even_open and (count := open_sessions(connection, username)):
            raise OpenSessions(refusal(count))
        with explained_errors(OWNER):
            pseudonym = _text(
                with_lock_retries(
                    connection,
                    lambda own: own.execute("SELECT radmeter.begin_erasure(%s)", (username,)).fetchone(),
                    what="beginning the erasure",
                    said=said,
                )
            )
            touched: set[int] = set()
            with progress("erasing sessions", _number_of_sessions(connection, username), "sessions") as bar:
                while True:
                    for count in _sessions(connection, username, even_open, touched, said):
                        bar.advance(count)
                    connection.execute("SELECT radmeter.erase_notes(%s)", (username,))
                    if _finished(connection, username, said):
                        break
                    if not even_open and (count := open_sessions(connection, username)):
                        raise OpenSessions(refusal(count))
            _packets(connection, username, pseudonym)
            # Packets that came before the last session was erased may have left more.
            connection.execute("SELECT radmeter.erase_notes(%s)", (username,))
            _forget_statistics(connection, username, touched)
            row = connection.execute("SELECT radmeter.end_erasure(%s)", (username,)).fetchone()
    return Erased(pseudonym, dict(row[0]) if row and row[0] else {})


def refusal(count: int) -> str:
    """Return why a user with open sessions is not erased, and what to do."""
    return (
        f"the user has {count} open session{'' if count == 1 else 's'}. Disconnect the user and run this command again "
        "when the sessions are closed. With --even-open, open sessions are erased too, and their later packets count "
        "for the pseudonym; a new session brings the name back"
    )


def _text(row: tuple[object, ...] | None) -> str:
    assert row is not None
    return str(row[0])


def _number_of_sessions(connection: Connection, username: str) -> int:
    row = connection.execute(
        "SELECT count(*) FROM public.radacct WHERE username = %s", (username,)
    ).fetchone()
    return int(row[0]) if row else 0


def _sessions(
    connection: Connection, username: str, even_open: bool, touched: set[int], said: Say
) -> Iterator[int]:
    """Erase the sessions that there are now, batch by batch; yield the size of each batch."""
    query = """SELECT radacctid, acctstoptime, tableoid FROM public.radacct
               WHERE username = %s AND (%s OR acctstoptime IS NOT NULL)"""
    # Read without the lock of ingest, with a cursor that the server keeps.
    with connection.cursor("sessions_of_person", withhold=True) as found:
        found.execute(query.encode(), (username, even_open))
        while batch := found.fetchmany(BATCH):
            touched |= {table for _, _, table in batch}
            ids, stops = [row[0] for row in batch], [row[1] for row in batch]

            def work(own: Connection, ids: list[int] = ids, stops: list[object] = stops) -> None:
                _lock_ingest(own)
                own.execute("SELECT radmeter.erase_sessions(%s, %s, %s)", (username, ids, stops))

            with_lock_retries(connection, work, what="erasing sessions", said=said)
            yield len(batch)


def _finished(connection: Connection, username: str, said: Say) -> bool:
    def work(own: Connection) -> bool:
        _lock_ingest(own)
        return own.execute("SELECT radmeter.finish_erasure(%s)", (username,)).fetchone() == (True,)

    row = connection.execute(
        "SELECT EXISTS (SELECT FROM public.radacct WHERE username = %s)", (username,)
    ).fetchone()
    if row == (True,):
        return False
    return with_lock_retries(connection, work, what="moving the counters", said=said)


def _lock_ingest(connection: Connection) -> None:
    """Wait for the lock of ingest in its queue, so that busy shippers cannot starve us, then for no other lock."""
    connection.execute("SET LOCAL lock_timeout = 0")
    # In the order of radmeter.repair_usage.
    for name in (advisory_locks.REPAIR, advisory_locks.INGEST):
        advisory_locks.take_in_transaction(connection, name)
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'")


def _packets(connection: Connection, username: str, pseudonym: str) -> None:
    for batch in packets.rejected_packets(connection):
        copies = [packets.without_name(packet, username, pseudonym) for packet in batch]
        if given := [copy._asdict() for copy in copies if copy is not None]:
            connection.execute("SELECT radmeter.erase_packets(%s, %s::json)", (username, json.dumps(given)))


def _forget_statistics(connection: Connection, username: str, touched: set[int]) -> None:
    """Make the planner's statistics again where they have the name, or a value of the sessions that are erased.

    ANALYZE keeps frequent values and samples of each column, and shows them in pg_stats.
    """
    tables = connection.execute(
        """SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
           WHERE pg_class.oid = ANY (%(touched)s)
           UNION
           SELECT schemaname, tablename FROM pg_stats
           WHERE schemaname IN ('public', 'radmeter')
             AND (tablename = 'radacct' OR strpos(most_common_vals::text, %(name)s) > 0
                  OR strpos(histogram_bounds::text, %(name)s) > 0)
           ORDER BY 1, 2""",
        {"name": username, "touched": sorted(touched)},
    ).fetchall()
    for table in tables:
        # A role that only may execute the functions of an erasure does not own the tables: autovacuum does it in time.
        with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table)))
