"""Turns FreeRADIUS's own radacct into the partitioned one while rlm_sql goes on writing to it (docs/adoption.md).

Step by step (`states`), each in transactions of its own and written down in radmeter.adoption, so that it can be
killed anywhere and goes on when it is called again. The closed rows are never copied: their table becomes the oldest
partition.
"""

import datetime

from radmeter.adoption import obstacles, state, states
from radmeter.adoption.columns import STOCK
from radmeter.adoption.operation import Operation, Refused
from radmeter.adoption.state import Adoption
from radmeter.adoption.table import Table, read
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, translated_errors
from radmeter.schema import upgrade
from radmeter.schema.ownership import OWNER
from radmeter.schema.revisions import note, run_revisions


def survey(connection: Connection) -> tuple[Table, datetime.datetime]:
    """Look at the table without touching anything.

    Raises
    ------
    Refused
        With all the reasons, and what to do about each.
    StoreError
        There is no such table.
    """
    with translated_errors():
        table = read(connection)
        if table.relkind != "r":
            kinds = {"p": "is partitioned already", "v": "is a view", "f": "is a foreign table"}
            raise Refused(f"public.radacct {kinds.get(table.relkind, 'is no ordinary table')}")
        boundary = state.next_boundary(connection)
        found = obstacles.refusals(connection, table, boundary)
    if found:
        reasons = "\n".join(f"{number}. {refusal}" for number, refusal in enumerate(found, 1))
        raise Refused(f"radacct cannot be taken over as it is, and nothing was touched:\n{reasons}")
    return table, boundary


def adopt(operation: Operation) -> Adoption:
    """Take the table over, or go on with it.

    Raises
    ------
    Refused
        It cannot be, and nothing was touched.
    StoreError
        A lock was not to be had in time, or the server failed; the same call goes on from there.
    """
    connection = operation.connection
    with translated_errors():
        advisory_locks.take_upgrade_lock(connection, operation.said)
        adoption = state.in_force(connection)
        if adoption is None:
            # Anew, whatever the plan has shown: the operator took time to answer, and another command the lock.
            operation.table, _ = survey(connection)
        elif adoption.state == "done":
            return adoption
        elif adoption.state not in states.ADOPT:
            raise Refused(
                "it is being undone: `radmeter adopt --undo` finishes that; then it can be taken over again"
            )
        else:
            operation.table = read(connection)
        operation.owner = _become_ready(operation)
        if adoption is None:
            _begin(operation)
        return states.walk(operation, states.ADOPT, "done")


def _become_ready(operation: Operation) -> str:
    """Make roles, tables and functions of radmeter's; return the role that is to own radacct."""
    connection = operation.connection
    acting = upgrade.prepare(connection, operation.said, operation.patience_seconds)
    run_revisions(connection, said=operation.said, patience_seconds=operation.patience_seconds)
    connection.execute("RESET ROLE")
    return OWNER if acting else operation.table.owner


def _begin(operation: Operation) -> None:
    table = operation.table
    unique = table.unique_id()
    present = {column.name for column in table.columns}
    saved = {
        "owner": table.owner,
        "rows": table.rows,
        "columns_added": [column.name for column in STOCK if column.name not in present],
        "widened": obstacles.widened(table),
        "unique": None
        if unique is None
        else {"name": unique.name, "constraint": unique.constraint, "definition": unique.definition},
        "sequence": table.sequence,
        "comment": table.comment,
    }

    def work(connection: Connection) -> None:
        state.begin(connection, state.next_boundary(connection), saved)
        note(connection, "adoption", "began", None)

    operation.retried("beginning", work)
