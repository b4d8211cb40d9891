"""Undoes an adoption: gives FreeRADIUS's table its name back, in one short transaction."""

from psycopg import sql

from radmeter.adoption import ownership, state
from radmeter.adoption.indexes import progress_of
from radmeter.adoption.moves import TABLE
from radmeter.adoption.operation import DIVERT, LEGACY_CHECK, Operation, Refused
from radmeter.adoption.state import Adoption, remember_renamed
from radmeter.adoption.table import LEGACY, read, read_views
from radmeter.database.connection import Connection
from radmeter.database.lock_retries import create_index_with_lock_retries
from radmeter.schema import table_code
from radmeter.schema.migration_log import note


def begin_to_undo(operation: Operation, adoption: Adoption) -> None:
    """Write down that the adoption is being undone, so that `radmeter adopt` no longer goes on with it."""

    def work(connection: Connection) -> None:
        state.go_on(connection, "undoing")
        note(connection, "adoption", "giving back", None)

    operation.retried("beginning to undo", work)


def make_unique(operation: Operation, adoption: Adoption) -> None:
    """Make the unique index of the old table again, if it had one."""
    unique = adoption.saved["unique"]
    if unique is None:
        return
    _tell_apart(operation, adoption)
    statement = unique["definition"].replace("CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX CONCURRENTLY", 1)
    statement = statement.replace(" ON public.radacct ", f" ON {LEGACY} ", 1)
    with (
        operation.progress(f"index {unique['name']}", None, "blocks") as bar,
        progress_of(operation.connection, bar),
    ):
        create_index_with_lock_retries(
            operation.connection,
            f"public.{unique['name']}",
            statement,
            patience_seconds=operation.patience_seconds,
            said=operation.said,
        )


def swap_tables_back(operation: Operation, adoption: Adoption) -> None:
    """Give the old table its name back."""
    operation.said("swapping back")
    operation.retried("swapping back", lambda connection: _swap(operation, connection, adoption))


def _tell_apart(operation: Operation, adoption: Adoption) -> None:
    """If a router used an id again after a Stop: give the later session, among the old rows, another id."""

    def work(connection: Connection) -> None:
        rows = connection.execute(
            """UPDATE ONLY public.radacct_legacy AS later
               SET acctuniqueid = later.acctuniqueid || '-' || later.radacctid
               WHERE later.radacctid > %s AND EXISTS (
                   SELECT FROM ONLY public.radacct_legacy AS other
                   WHERE other.acctuniqueid = later.acctuniqueid AND other.radacctid < later.radacctid)
               RETURNING later.acctuniqueid""",
            (adoption.last_id,),
        ).fetchall()
        remember_renamed(connection, [row[0] for row in rows])

    operation.retried("telling sessions apart", work)


def _swap(operation: Operation, connection: Connection, adoption: Adoption) -> None:
    """Swap back: the partitions become tables that inherit from radacct. Later their rows move into it."""
    run, owner = connection.execute, operation.owner
    run("SET LOCAL search_path = pg_catalog")
    run("SET LOCAL client_min_messages = warning")
    operation.let_vacuum_give_way(connection, TABLE)
    table = read(connection)
    # The parent first: who reads radacct waits from here on.
    run("LOCK TABLE ONLY public.radacct IN ACCESS EXCLUSIVE MODE")
    operation.locked()
    run("LOCK TABLE public.radacct IN ACCESS EXCLUSIVE MODE")
    table.views = read_views(connection, table)
    if found := table_code.of_views(connection, table.oid):
        raise Refused(f"it cannot be undone as it is: {found[0]}")
    saved = adoption.saved
    names = [
        row[0]
        for row in run(
            """SELECT format('%I.%I', nspname, relname) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
               JOIN pg_namespace ON pg_namespace.oid = relnamespace
               WHERE inhparent = 'public.radacct'::regclass ORDER BY 1"""
        )
    ]
    for name in names:
        run(f"ALTER TABLE public.radacct DETACH PARTITION {name}".encode())
    # A sequence that a column owns would move to the other schema with its table.
    run(f"ALTER SEQUENCE {saved['sequence']} OWNED BY NONE".encode())
    run("ALTER TABLE public.radacct SET SCHEMA radmeter")
    run("ALTER TABLE public.radacct_legacy RENAME TO radacct")
    run(f"ALTER TABLE public.radacct DROP CONSTRAINT {LEGACY_CHECK}")
    unique = saved["unique"]
    if unique is not None and unique["constraint"]:
        run(
            sql.SQL("ALTER TABLE public.radacct ADD CONSTRAINT {} UNIQUE USING INDEX {}").format(
                sql.Identifier(unique["constraint"]), sql.Identifier(unique["name"])
            )
        )
    run("ALTER TABLE public.radacct_open DROP CONSTRAINT radacct_open_is_open")
    for name in names:
        if name != LEGACY:
            run(f"ALTER TABLE {name} INHERIT public.radacct".encode())
    # radmeter's owner keeps the table until it has changed the last row of it (see `ownership`).
    ownership.give_sequence(connection, saved["sequence"], TABLE, owner, saved["owner"])
    if owner != saved["owner"]:
        ownership.let_write(connection, saved["owner"])
    run(DIVERT)
    for view in table.views:
        if not view.name.startswith("radmeter."):
            run(view.statement.encode())
    state.go_on(connection, "returning")
    note(connection, "adoption", "swapped back", operation.locked_seconds())
