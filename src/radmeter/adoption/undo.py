"""Gives FreeRADIUS its own radacct back: undoes an adoption, from any state."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from radmeter.adoption import state, states
from radmeter.adoption.columns import OURS
from radmeter.adoption.operation import Operation, Refused
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, translated_errors
from radmeter.partitions.split_catalog import refusal, under_way
from radmeter.schema import table_code
from radmeter.schema.ownership import refuse_strangers


def undo(operation: Operation) -> list[str]:
    """Make radacct the plain table again that it was, with its old rows and those made since.

    Returns
    -------
    list of str
        The new acctuniqueid of sessions whose id another session has too: ``<old id>-<radacctid>``.

    Raises
    ------
    Refused
        There is nothing to undo, or it cannot be undone any longer. Nothing was changed.
    """
    connection = operation.connection
    with translated_errors():
        advisory_locks.take_upgrade_lock(connection, operation.said)
        refuse_strangers(connection)
        adoption = state.in_force(connection)
        if adoption is None:
            raise nothing_to_undo(connection)
        operation.owner = _owner(connection)
        if adoption.state in states.PARTITIONED:
            _refuse(connection)
            with _alone(connection):
                states.walk(operation, states.UNDO, "returning")
        undone = states.walk(operation, states.UNDO, "undone")
    return list(undone.saved.get("renamed", []))


def nothing_to_undo(connection: Connection) -> Refused:
    """Return why there is nothing to undo."""
    before = state.latest(connection)
    if before is not None and before.undone_at is not None:
        return Refused(
            f"radacct was given back at {before.undone_at:%Y-%m-%d %H:%M} UTC: there is nothing to undo"
        )
    return Refused("`radmeter adopt` has not adopted radacct: there is nothing to undo")


def _owner(connection: Connection) -> str:
    row = connection.execute(
        "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = to_regclass('radmeter.adoption')"
    ).fetchone()
    assert row is not None
    return str(row[0])


def _refuse(connection: Connection) -> None:
    """Refuse if a part of the table is not there any more, or would be lost."""
    split = under_way(connection)
    if split is not None and split.state == "copying":
        raise Refused(f"it cannot be undone now: {refusal(split)}")
    row = connection.execute(
        """SELECT (SELECT inhparent = to_regclass('public.radacct') FROM pg_inherits
                   WHERE inhrelid = to_regclass('public.radacct_legacy')),
                  isfinite(radmeter.sessions_complete_from()),
                  EXISTS (SELECT FROM radmeter.archived_partition WHERE state IN ('detached', 'archived', 'loaded'))"""
    ).fetchone()
    if row is None or row[0] is not True or row[1] or row[2]:
        raise Refused(
            "it cannot be undone any longer: radacct_legacy was split into months, or a partition was dropped, "
            "detached or archived, and its sessions with it. `radmeter partitions restore` brings archived ones back"
        )
    for name, columns in connection.execute(
        """SELECT ev_class::regclass::text, string_agg(DISTINCT attname::text, ', ')
           FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
           JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
           JOIN pg_class AS view ON view.oid = ev_class
           WHERE classid = 'pg_rewrite'::regclass AND refobjid = 'public.radacct'::regclass
             AND (attname = ANY (%s) OR view.relkind = 'm') AND view.relnamespace <> 'radmeter'::regnamespace
           GROUP BY 1""",
        ([column.name for column in OURS],),
    ):
        raise Refused(
            f"the view {name} reads radmeter's columns ({columns}): DROP VIEW {name}; then undo again"
        )

    row = connection.execute("SELECT 'public.radacct'::regclass::oid").fetchone()
    assert row is not None
    if found := table_code.of_views(connection, row[0]):
        raise Refused(
            "it cannot be undone as it is, and nothing was changed:", *(f"  {each}" for each in found)
        )


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Keep radmeter's own writers out. Shippers wait, and their packets stay in the journals."""
    writers = (
        (advisory_locks.JOBS, "`radmeter jobs run` is running: stop it"),
        (advisory_locks.BACKFILL, "`radmeter backfill` is running: stop it"),
        (advisory_locks.INGEST, "radmeter.ingest is running: stop `radmeter ship`"),
    )
    with ExitStack() as stack:
        for name, reason in writers:
            if not stack.enter_context(advisory_locks.held(connection, name, patience_seconds=10)):
                raise Refused(f"{reason}, then undo again")
        # The jobs have the lock only within a transaction, and the lease all the time.
        if connection.execute(
            "SELECT FROM radmeter.lease WHERE name = 'jobs' AND expires_at > clock_timestamp()"
        ).fetchone():
            raise Refused(f"{writers[0][1]}, then undo again")
        yield
