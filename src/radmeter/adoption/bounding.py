"""The state `bounding`: a check proves that radacct has closed sessions only, and radacct becomes a partition."""

from radmeter.adoption import moves, parent
from radmeter.adoption.moves import OPEN, TABLE
from radmeter.adoption.operation import LEGACY_CHECK, Operation, set_total
from radmeter.adoption.state import Adoption
from radmeter.adoption.swap import swap
from radmeter.adoption.table import read
from radmeter.database.connection import Connection

GOES_BACK = "acctstoptime < %(boundary)s"


def validate(operation: Operation, adoption: Adoption) -> None:
    """Validate the CHECK: VALIDATE reads every row, and others can write meanwhile."""
    valid = operation.connection.execute(
        "SELECT convalidated FROM pg_constraint WHERE conname = %s AND conrelid = 'public.radacct'::regclass",
        (LEGACY_CHECK,),
    ).fetchone()
    if valid == (True,):
        return

    def work(connection: Connection) -> None:
        operation.let_vacuum_give_way(connection, f"ONLY {TABLE}")
        connection.execute(f"ALTER TABLE ONLY public.radacct VALIDATE CONSTRAINT {LEGACY_CHECK}")

    with operation.progress("reading every closed session once", None, "rows"):
        operation.retried("validating the constraint", work)


def find_routers(operation: Operation, adoption: Adoption) -> None:
    """Give the open sessions their router_id."""
    with operation.progress("finding the routers of open sessions", None, "sessions") as bar:
        moves.route_open(
            operation.connection,
            lambda count: set_total(bar, count),
            lambda count: None if bar is None else bar.advance(count),
        )


def swap_tables(operation: Operation, adoption: Adoption) -> None:
    """Make the partitioned table as radmeter.radacct, and give it the name public.radacct."""
    boundary = {"boundary": adoption.boundary}
    operation.move("moving sessions that have stopped since", OPEN, TABLE, GOES_BACK, boundary)
    # The table is read and radmeter.radacct is made again: while the indexes were built, the operator may have added a
    # grant, a comment or an index. The swap itself sees what changes between here and the swap.
    table = read(operation.connection)
    operation.retried(
        "preparing radmeter.radacct", lambda connection: parent.make(connection, table, operation.owner)
    )
    # The swap itself moves sessions that stop after this. They are few.
    operation.move("moving sessions that have stopped since", OPEN, TABLE, GOES_BACK, boundary)
    operation.said("the swap")
    operation.retried("the swap", lambda connection: swap(operation, connection, adoption))
    operation.connection.execute(
        "UPDATE radmeter.adoption SET lock_seconds = %s WHERE undone_at IS NULL",
        (operation.last_held_seconds,),
    )
