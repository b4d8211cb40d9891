"""The swap: in one short transaction radacct becomes the oldest partition of the table that gets its name."""

from psycopg import sql

from radmeter.adoption import moves
from radmeter.adoption.moves import OPEN, TABLE
from radmeter.adoption.operation import Operation, Refused
from radmeter.adoption.ownership import give_sequence
from radmeter.adoption.state import Adoption
from radmeter.adoption.table import Table, read, read_views
from radmeter.database.connection import Connection
from radmeter.errors import StoreError
from radmeter.schema import table_code
from radmeter.schema.migration_log import note
from radmeter.schema.table_code import Obstacle


def swap(operation: Operation, connection: Connection, adoption: Adoption) -> None:
    """Swap the tables in the caller's transaction.

    The locks are taken in the order of a query that reads radacct: first the table, then what inherits from it.
    """
    run, owner = connection.execute, operation.owner
    run("SET LOCAL search_path = pg_catalog")
    run("SET LOCAL client_min_messages = warning")
    operation.let_vacuum_give_way(connection, f"ONLY {TABLE}", f"ONLY {OPEN}")
    # Read the table again: from here on nobody can change an index until the swap is done.
    table = read(connection)
    _refuse(table_code.of_expressions(connection, table.oid))
    last = _last_id(connection, table)
    run("LOCK TABLE ONLY public.radacct IN ACCESS EXCLUSIVE MODE")
    operation.locked()
    run("LOCK TABLE ONLY public.radacct_open IN ACCESS EXCLUSIVE MODE")
    # The views can change until here: whoever owns one can replace it.
    table.views = read_views(connection, table)
    _refuse(table_code.of_views(connection, table.oid))
    _close(connection, adoption, table)
    run("ALTER TABLE public.radacct RENAME TO radacct_legacy")
    run("ALTER TABLE public.radacct_open NO INHERIT public.radacct_legacy")
    run("ALTER TABLE public.radacct_open ADD CONSTRAINT radacct_open_is_open CHECK (acctstoptime IS NULL)")
    for name in ("radacct_legacy", "radacct_open"):
        run("SELECT radmeter.set_replica_identity(%s::regclass)", (f"public.{name}",))
        run(f"ALTER TABLE public.{name} ALTER adopted DROP DEFAULT")
        run(sql.SQL("ALTER TABLE public.{} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(owner)))
    run("ALTER TABLE radmeter.radacct SET SCHEMA public")
    # The default partition comes first: while it is the only one, its rows need no check. CHECKs prove the other one.
    run("ALTER TABLE public.radacct ATTACH PARTITION public.radacct_open DEFAULT")
    legacy = (
        "ALTER TABLE public.radacct ATTACH PARTITION public.radacct_legacy FOR VALUES FROM (MINVALUE) TO ({})"
    )
    run(sql.SQL(legacy).format(sql.Literal(adoption.boundary)))
    assert table.sequence is not None
    give_sequence(connection, table.sequence, "public.radacct", owner, adoption.saved["owner"])
    _put_beyond(connection)
    for view in table.views:
        run(view.statement.encode())
    run(
        """INSERT INTO radmeter.session_month (month)
           VALUES ((%s::timestamptz AT TIME ZONE 'UTC' - interval '1 month')::date) ON CONFLICT (month) DO NOTHING""",
        (adoption.boundary,),
    )
    run(
        """UPDATE radmeter.adoption SET state = 'swapped', swapped_at = clock_timestamp(), last_id = %s,
               first_id = (SELECT min(radacctid) FROM public.radacct_legacy) WHERE undone_at IS NULL""",
        (last,),
    )
    note(connection, "adoption", "swapped", operation.locked_seconds())


def _refuse(found: list[Obstacle]) -> None:
    if found:
        raise Refused(f"new since the adoption began: {found[0]}")


def _last_id(connection: Connection, table: Table) -> int:
    row = connection.execute(
        f"SELECT greatest(last_value, (SELECT max(radacctid) FROM public.radacct)) FROM {table.sequence}".encode()  # noqa: S608
    ).fetchone()
    assert row is not None
    return int(row[0])


def _close(connection: Connection, adoption: Adoption, table: Table) -> None:
    """Move the last closed rows to their table. Remove the trigger and the unique index of FreeRADIUS's own table."""
    run = connection.execute
    boundary = {"boundary": adoption.boundary}
    moves.move_now(connection, OPEN, TABLE, "acctstoptime < %(boundary)s", boundary)
    if run(
        "SELECT EXISTS (SELECT FROM public.radacct_open WHERE acctstoptime >= %(boundary)s)", boundary
    ).fetchone() == (True,):
        # A router's clock was wrong: the session stopped in a month after those of radacct_legacy. Keep it in a
        # temporary table until its month has a partition.
        run(
            """CREATE TEMPORARY TABLE beyond ON COMMIT DROP AS
               SELECT * FROM public.radacct_open WHERE acctstoptime IS NOT NULL"""
        )
        run("DELETE FROM public.radacct_open WHERE acctstoptime IS NOT NULL")
    run("DROP TRIGGER radmeter_divert ON public.radacct")
    # A router may use an id again after a Stop. Ids are unique among open sessions only, by an index of radacct_open.
    unique = table.unique_id()
    if unique is not None and unique.constraint:
        run(
            sql.SQL("ALTER TABLE public.radacct DROP CONSTRAINT {}").format(sql.Identifier(unique.constraint))
        )
    elif unique is not None:
        run(sql.SQL("DROP INDEX public.{}").format(sql.Identifier(unique.name)))
    valid = {index.name for index in table.indexes if index.valid}
    if "radacct_legacy_acctuniqueid_idx" not in valid and not any(
        index.is_on("acctuniqueid") and not index.unique for index in table.indexes
    ):
        raise StoreError(
            "the index by acctuniqueid was dropped meanwhile: run `radmeter adopt --from radacct` again"
        )


def _put_beyond(connection: Connection) -> None:
    """Insert the sessions that stopped after the boundary into their months' partitions, as adopted rows.

    The partitions have no triggers, so nothing is counted.
    """
    if connection.execute("SELECT to_regclass('pg_temp.beyond')").fetchone() == (None,):
        return
    names = moves.columns(connection)
    months = connection.execute(
        "SELECT DISTINCT date_trunc('month', acctstoptime, 'UTC') FROM pg_temp.beyond ORDER BY 1"
    ).fetchall()
    for (month,) in months:
        connection.execute("SELECT radmeter.ensure_partition(%s)", (month,))
        row = connection.execute(
            "SELECT relid::regclass::text FROM radmeter.radacct_partitions() WHERE from_at <= %s AND to_at > %s",
            (month, month),
        ).fetchone()
        assert row is not None
        connection.execute(
            sql.SQL(
                "INSERT INTO {} ({names}) SELECT {names} FROM pg_temp.beyond "
                "WHERE date_trunc('month', acctstoptime, 'UTC') = %s"
            ).format(sql.Identifier(*row[0].split(".")), names=names),
            (month,),
        )
