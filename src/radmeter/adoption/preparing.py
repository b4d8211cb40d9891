"""The state `preparing`: radacct gets radmeter's columns and indexes, and a table for open sessions beside it."""

from psycopg import sql

from radmeter.adoption import obstacles, ownership, parent, state
from radmeter.adoption.columns import OURS, STOCK
from radmeter.adoption.indexes import built_again, make_dropped, needed, progress_of
from radmeter.adoption.moves import OPEN
from radmeter.adoption.operation import DIVERT, Operation, Refused
from radmeter.adoption.state import Adoption
from radmeter.adoption.table import Table, read
from radmeter.database.connection import Connection
from radmeter.database.lock_retries import create_index_with_lock_retries
from radmeter.partitions.open_sessions import INDEXES


def lock_after_survey(operation: Operation, connection: Connection) -> Table:
    """Repeat the survey while nobody else can change the table's definition, then lock the table. Return the table.

    Readers and writers do not wait for the survey, which reads the catalog for up to 0.1 s.

    Raises
    ------
    Refused
        Something is in the way. The transaction is rolled back.
    """
    operation.let_vacuum_give_way(connection, "ONLY public.radacct")
    table = read(connection)
    if found := list(obstacles.in_catalog(connection, table)):
        raise Refused(f"new since the adoption began: {found[0]}")
    operation.exclusively(connection)
    return table


def add_columns(operation: Operation, adoption: Adoption) -> None:
    """Take the table from its owner, and add all columns at once. Only the catalog changes: no row is written or read.

    A change of a type runs the CHECKs and index expressions on the column. So the survey is repeated first, when
    nobody else can change the table any more.
    """

    def work(connection: Connection) -> None:
        table = lock_after_survey(operation, connection)
        ownership.take(connection, operation.owner, adoption.saved["owner"], table)
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
    operation.retried("adding columns to radacct", work)


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
        now = lock_after_survey(operation, connection)
        # An adoption that an earlier version began: until here the table belonged to its former owner.
        ownership.take(connection, operation.owner, adoption.saved["owner"], now)
        run(
            """CREATE TABLE public.radacct_open () INHERITS (public.radacct)
               WITH (fillfactor = 60, autovacuum_vacuum_cost_delay = 0)"""
        )
        for statement in INDEXES:
            run(statement.encode())
        for number, index in enumerate(parent.carried(table), 1):
            run(parent.index_on(index, OPEN, f"radacct_open_kept_{number}_idx").encode())
        run(sql.SQL("ALTER TABLE public.radacct_open OWNER TO {}").format(owner))
        run(DIVERT)
        state.go_on(connection, "opening")

    operation.retried("making radacct_open", work)
