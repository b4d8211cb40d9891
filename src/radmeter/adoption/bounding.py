"""The state `bounding`: it is proven that radacct has closed sessions only, and it becomes a partition."""

from radmeter.adoption import moves, parent
from radmeter.adoption.moves import OPEN, TABLE
from radmeter.adoption.operation import LEGACY_CHECK, VACUUM_GIVES_WAY, Operation, set_total
from radmeter.adoption.state import Adoption
from radmeter.adoption.swap import swap
from radmeter.adoption.table import read
from radmeter.database.connection import Connection

GOES_BACK = "acctstoptime < %(boundary)s"


def validate(operation: Operation, adoption: Adoption) -> None:
    """Prove it online: VALIDATE reads every row, and keeps nobody from writing."""
    valid = operation.connection.execute(
        "SELECT convalidated FROM pg_constraint WHERE conname = %s AND conrelid = 'public.radacct'::regclass",
        (LEGACY_CHECK,),
    ).fetchone()
    if valid == (True,):
        return

    def work(connection: Connection) -> None:
        connection.execute(VACUUM_GIVES_WAY)
        connection.execute(f"ALTER TABLE ONLY public.radacct VALIDATE CONSTRAINT {LEGACY_CHECK}")

    with operation.progress("looking at every closed session once", None, "rows"):
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
    """Make the partitioned table ready as radmeter.radacct, and give it the name."""
    boundary = {"boundary": adoption.boundary}
    operation.move("moving sessions that have stopped since", OPEN, TABLE, GOES_BACK, boundary)
    # Read anew, and made anew: the indexes took their time, in which the operator may have granted, commented, or made
    # an index. What comes between this and the swap is the swap's own to see.
    table = read(operation.connection)
    operation.retried(
        "preparing radmeter.radacct", lambda connection: parent.make(connection, table, operation.owner)
    )
    # A row that was closed a moment ago is moved in the swap itself: few, since this was just done.
    operation.move("moving sessions that have stopped since", OPEN, TABLE, GOES_BACK, boundary)
    operation.said("the swap")
    seconds: float = operation.retried(
        "the swap", lambda connection: swap(connection, adoption, operation.owner)
    )
    operation.connection.execute(
        "UPDATE radmeter.adoption SET lock_seconds = %s WHERE undone_at IS NULL", (seconds,)
    )
