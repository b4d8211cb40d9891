"""The state `preparing`: radacct gets radmeter's columns and indexes, and a table for open sessions beside it."""

from psycopg import sql

from radmeter.adoption import obstacles, ownership, parent, state
from radmeter.adoption.columns import OURS, STOCK
from radmeter.adoption.indexes import built_again, make_dropped, needed, progress_of
from radmeter.adoption.moves import OPEN
from radmeter.adoption.operation import DIVERT, Operation, Refused
from radmeter.adoption.state import Adoption
from radmeter.adoption.table import read
from radmeter.database.connection import Connection
from radmeter.database.lock_retries import create_index_with_lock_retries


def refuse_new(connection: Connection) -> None:
    """Refuse what its former owner has added since the survey. Only radmeter's owner can change the table now.

    Raises
    ------
    Refused
        Something is in the way. The transaction is rolled back.
    """
    if found := list(obstacles.in_catalog(connection, read(connection))):
        raise Refused(f"new since the adoption began: {found[0]}")


def add_columns(operation: Operation, adoption: Adoption) -> None:
    """Take the table from its owner, and add all columns at once. Only the catalog changes: no row is written or read.

    A change of a type runs the CHECKs and index expressions on the column. So the survey is repeated first, when
    nobody else can change the table any more.
    """

    def work(connection: Connection) -> None:
        table = read(connection)
        ownership.take(connection, operation.owner, adoption.saved["owner"], table)
        refuse_new(connection)
        present = {column.name for column in table.columns}
        changes = [
            f"ADD COLUMN {column.name} {column.definition}"
            for column in (*STOCK, *OURS)
            if column.name not in present
        ]
        changes += [f"ALTER {column} TYPE text" for column in obstacles.widened(table)]
        # PostgreSQL would build these again while everybody waits. The next step makes them, and nobody waits.
        if dropped := built_again(table, obstacles.widened(table)):
            state.remember_dropped(connection, {index.name: index.definition for index in dropped})
            for index in dropped:
                connection.execute(sql.SQL("DROP INDEX public.{}").format(sql.Identifier(index.name)))
        if changes:
            connection.execute(f"ALTER TABLE public.radacct {', '.join(changes)}".encode())

    operation.said("adding radmeter's columns")
    operation.retried("adding columns to radacct", work, "ACCESS EXCLUSIVE")


def make_indexes(operation: Operation, adoption: Adoption) -> None:
    """Make the indexes that the table lacks. Others can write meanwhile."""
    make_dropped(operation, adoption.saved.get("dropped", {}))
    for name, statement in needed(operation.table):
        with (
            operation.progress(f"index {name.removeprefix('public.')}", None, "blocks") as bar,
            progress_of(operation.connection, bar),
        ):
            create_index_with_lock_retries(
                operation.connection,
                name,
                statement,
                patience_seconds=operation.patience_seconds,
                said=operation.said,
            )


def make_open_table(operation: Operation, adoption: Adoption) -> None:
    """Make radacct_open, whose rows radacct shows as its own, and the trigger that sends new sessions there."""
    table = read(operation.connection)
    operation.said("making radmeter's views and functions")
    operation.retried(
        "preparing radmeter.radacct", lambda connection: parent.make(connection, table, operation.owner)
    )
    owner = sql.Identifier(operation.owner)

    def work(connection: Connection) -> None:
        run = connection.execute
        now = read(connection)
        # An adoption that an earlier version began: until here the table belonged to its former owner.
        ownership.take(connection, operation.owner, adoption.saved["owner"], now)
        refuse_new(connection)
        run(
            """CREATE TABLE public.radacct_open () INHERITS (public.radacct)
               WITH (fillfactor = 60, autovacuum_vacuum_cost_delay = 0)"""
        )
        run("CREATE UNIQUE INDEX radacct_open_radacctid_idx ON public.radacct_open (radacctid)")
        # As revision 0020 makes them.
        run(
            """CREATE UNIQUE INDEX radacct_open_identity_idx ON public.radacct_open
               (acctuniqueid, (coalesce(nullif(callingstationid, ''),
                   CASE acctsessionid WHEN 'erased' THEN radacctid::text ELSE calledstationid END)),
                (CASE WHEN callingstationid <> '' THEN NULL ELSE router_id END))
               NULLS NOT DISTINCT"""
        )
        run("CREATE INDEX radacct_open_device_idx ON public.radacct_open (acctsessionid, callingstationid)")
        run("CREATE INDEX radacct_open_router_id_idx ON public.radacct_open (router_id)")
        run("CREATE INDEX radacct_open_username_idx ON public.radacct_open (username)")
        for number, index in enumerate(parent.carried(table), 1):
            run(parent.index_on(index, OPEN, f"radacct_open_kept_{number}_idx").encode())
        run(sql.SQL("ALTER TABLE public.radacct_open OWNER TO {}").format(owner))
        run(DIVERT)
        state.go_on(connection, "opening")

    operation.retried("making radacct_open", work, "ACCESS EXCLUSIVE")
