"""The state `opening`: open sessions move to radacct_open, until radacct has only closed sessions."""

from psycopg import sql

from radmeter.adoption import obstacles, state
from radmeter.adoption.moves import OPEN, TABLE
from radmeter.adoption.operation import LEGACY_CHECK, Operation, Refused, has_constraint
from radmeter.adoption.state import Adoption
from radmeter.database.connection import Connection

NOT_MOVED = "acctstoptime IS NULL OR acctstoptime >= %(boundary)s"


def move_boundary(operation: Operation, adoption: Adoption) -> None:
    """Move the boundary if the adoption stood still for weeks: the end of radacct_legacy must be in the future."""
    if adoption.boundary > state.next_boundary(operation.connection, days=-27):
        return

    def work(connection: Connection) -> None:
        connection.execute(f"ALTER TABLE ONLY public.radacct DROP CONSTRAINT IF EXISTS {LEGACY_CHECK}")
        connection.execute(
            "UPDATE radmeter.adoption SET boundary = %s, state = 'opening' WHERE undone_at IS NULL",
            (state.next_boundary(connection),),
        )

    operation.retried("moving the boundary", work, "ACCESS EXCLUSIVE")


def move_open(operation: Operation, adoption: Adoption) -> None:
    """Move the open sessions, and those that stopped beyond the boundary."""
    # Without a unique index, duplicates may have come between the first check and the trigger.
    if adoption.saved["unique"] is None:
        found = list(obstacles.duplicates(operation.connection, operation.table))
        if found:
            raise Refused(f"new since the adoption began: {found[0]}")
    boundary = {"boundary": adoption.boundary}
    operation.move("moving open sessions", TABLE, OPEN, NOT_MOVED, boundary)


def bound(operation: Operation, adoption: Adoption) -> None:
    """Let radacct itself take only closed rows from now on.

    The CHECK is NOT VALID: it holds for new rows, and PostgreSQL reads none to add it. A writer with the trigger off
    may have added open sessions since they were moved. No more can come now. So they are found without a strong lock,
    and move as the others did. Until then an UPDATE of one of them fails. The next state checks the other old rows.
    """

    def add(connection: Connection) -> None:
        connection.execute(
            sql.SQL(
                "ALTER TABLE ONLY public.radacct ADD CONSTRAINT {} "
                "CHECK (acctstoptime IS NOT NULL AND acctstoptime < {}) NO INHERIT NOT VALID"
            ).format(sql.Identifier(LEGACY_CHECK), sql.Literal(adoption.boundary))
        )

    if not has_constraint(operation.connection, TABLE, LEGACY_CHECK):
        operation.retried("bounding radacct", add, "ACCESS EXCLUSIVE")
    boundary = {"boundary": adoption.boundary}
    operation.move("moving open sessions that came meanwhile", TABLE, OPEN, NOT_MOVED, boundary)
    operation.retried("bounding radacct", lambda connection: state.go_on(connection, "bounding"))
