"""Gives FreeRADIUS its own radacct back: radmeter.adopt in the other direction, from wherever that got to."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from psycopg import sql

from radmeter.adoption import state
from radmeter.adoption.columns import OURS
from radmeter.adoption.indexes import NAMES
from radmeter.adoption.operation import LEGACY_CHECK, Operation, Refused, exclusively
from radmeter.adoption.return_rows import return_rows
from radmeter.adoption.state import BEFORE_SWAP, Adoption
from radmeter.adoption.swap_back import swap_back
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, translated_errors
from radmeter.database.lock_retries import outside_transaction
from radmeter.schema.revisions import note

# What was counted goes with the sessions: rlm_sql will write them, and they would be counted again.
COUNTED = r"^(session_slice|session_month|adopted_\w+|adoption_baseline|backfill|backfill_\w+)$"


def undo(operation: Operation) -> list[str]:
    """Make radacct the table again that it was, with all its rows and those made since.

    Returns
    -------
    list of str
        The acctuniqueid of sessions that got another one, since a later session has theirs: ``<old id>-<radacctid>``.

    Raises
    ------
    Refused
        There is nothing to undo, or it can be no longer; nothing was touched.
    """
    connection = operation.connection
    with translated_errors():
        advisory_locks.take_upgrade_lock(connection, operation.said)
        adoption = state.in_force(connection)
        if adoption is None:
            raise nothing_to_undo(connection)
        operation.owner = _owner(connection)
        if adoption.state in BEFORE_SWAP:
            _turn_back(operation)
        elif adoption.state != "returning":
            _refuse(connection)
            with _alone(connection):
                swap_back(operation, adoption)
        adoption = state.in_force(connection)
        assert adoption is not None
        return_rows(operation)
        return _tidy(operation, adoption)


def nothing_to_undo(connection: Connection) -> Refused:
    """Return why there is nothing to undo."""
    before = state.latest(connection)
    if before is not None and before.undone_at is not None:
        return Refused(
            f"radacct was given back at {before.undone_at:%Y-%m-%d %H:%M} UTC: there is nothing to undo"
        )
    return Refused("radacct was not taken over by `radmeter adopt`: there is nothing to undo")


def _owner(connection: Connection) -> str:
    row = connection.execute(
        "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = to_regclass('radmeter.adoption')"
    ).fetchone()
    assert row is not None
    return str(row[0])


def _turn_back(operation: Operation) -> None:
    """Before the swap: radacct takes open sessions again."""

    def work(connection: Connection) -> None:
        exclusively(connection)
        connection.execute(f"ALTER TABLE ONLY public.radacct DROP CONSTRAINT IF EXISTS {LEGACY_CHECK}")
        state.go_on(connection, "returning")

    operation.retried("turning back", work)


def _refuse(connection: Connection) -> None:
    """Refuse where something of the table is not there any more, or would be lost."""
    row = connection.execute(
        """SELECT (SELECT inhparent = to_regclass('public.radacct') FROM pg_inherits
                   WHERE inhrelid = to_regclass('public.radacct_legacy')),
                  isfinite(radmeter.sessions_complete_from()),
                  EXISTS (SELECT FROM radmeter.archived_partition WHERE state IN ('detached', 'archived', 'loaded'))"""
    ).fetchone()
    if row is None or row[0] is not True or row[1] or row[2]:
        raise Refused(
            "it cannot be undone any longer: a partition was dropped, detached or archived, and its sessions with it. "
            "`radmeter partitions restore` brings archived ones back"
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


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Keep radmeter's own writers out: shippers wait, and what they have stays in the journals."""
    writers = (
        (advisory_locks.JOBS, "`radmeter jobs run` is at work: stop it"),
        (advisory_locks.BACKFILL, "`radmeter backfill` is at work: stop it"),
        (advisory_locks.INGEST, "radmeter.ingest is at work: stop `radmeter ship`"),
    )
    with ExitStack() as stack:
        for name, reason in writers:
            if not stack.enter_context(advisory_locks.held(connection, name, patience_seconds=10)):
                raise Refused(f"{reason}, then undo again")
        yield


def _tidy(operation: Operation, adoption: Adoption) -> list[str]:
    """Take away what the adoption made, down to the columns."""
    for name in NAMES:
        outside_transaction(
            operation.connection,
            f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
            what=f"dropping the index {name}",
            patience_seconds=operation.patience_seconds,
            said=operation.said,
        )

    def work(connection: Connection) -> list[str]:
        run = connection.execute
        run("SET LOCAL client_min_messages = warning")
        exclusively(connection)
        run("DROP TRIGGER IF EXISTS radmeter_divert ON public.radacct")
        columns = [column.name for column in OURS] + list(adoption.saved["columns_added"])
        run(
            f"ALTER TABLE public.radacct {', '.join(f'DROP COLUMN IF EXISTS {name}' for name in columns)}".encode()
        )
        if operation.owner != adoption.saved["owner"]:
            run(sql.SQL("REVOKE ALL ON public.radacct FROM {}").format(sql.Identifier(operation.owner)))
        run("DROP TABLE IF EXISTS radmeter.radacct CASCADE")
        run("DELETE FROM radmeter.sql_file")  # views went with it
        tables = run(
            """SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
               WHERE relkind = 'r' AND relnamespace = 'radmeter'::regnamespace AND relname ~ %s""",
            (COUNTED,),
        ).fetchone()
        assert tables is not None
        run(f"TRUNCATE public.user_quota_usage, public.router_daily_usage, {tables[0]}".encode())
        row = run(
            "SELECT coalesce(saved -> 'renamed', '[]') FROM radmeter.adoption WHERE undone_at IS NULL"
        ).fetchone()
        # Not by radmeter.audit, which an adoption that has just begun has not made yet.
        run(
            """INSERT INTO public.audit_log (operator, action, detail)
               VALUES (nullif(current_setting('radmeter.operator', true), ''), 'adopt undo', '{"table": "radacct"}')"""
        )
        run(
            "UPDATE radmeter.adoption SET state = 'undone', undone_at = clock_timestamp() WHERE undone_at IS NULL"
        )
        note(connection, "adoption", "undone", None)
        return list(row[0]) if row else []

    renamed: list[str] = operation.retried("tidying up", work)
    return renamed
