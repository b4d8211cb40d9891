"""Turns FreeRADIUS's own radacct into radmeter's partitioned one, while rlm_sql writes to it (docs/adoption.md).

The steps are in `states`. Each step has transactions of its own, and radmeter.adoption says how far the adoption is.
So it can be killed anywhere, and the next call goes on from there. The closed rows are never copied: their table
becomes the oldest partition.
"""

import datetime

from radmeter.adoption import obstacles, state, states
from radmeter.adoption.columns import STOCK
from radmeter.adoption.operation import Operation, Refused
from radmeter.adoption.state import Adoption
from radmeter.adoption.table import Table, read
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, translated_errors
from radmeter.schema import table_code, upgrade
from radmeter.schema.migration_log import note
from radmeter.schema.ownership import OWNER, refuse_strangers
from radmeter.schema.revisions import run_revisions


def survey(connection: Connection) -> tuple[Table, datetime.datetime]:
    """Read the table and check that it can be adopted. Return the table and the boundary. Changes nothing.

    Raises
    ------
    Refused
        The table cannot be adopted. The message has all reasons, and what to do about each.
    StoreError
        There is no such table.
    """
    refuse_strangers(connection)
    with translated_errors(), connection.transaction():
        table_code.hold(connection, "public.radacct")
        table = read(connection)
        if table.relkind != "r":
            kinds = {"p": "is partitioned already", "v": "is a view", "f": "is a foreign table"}
            raise Refused(f"public.radacct {kinds.get(table.relkind, 'is not an ordinary table')}")
        boundary = state.next_boundary(connection)
        found, rows_read = obstacles.find(connection, table, boundary)
    if found:
        raise Refused(
            "radacct cannot be adopted as it is, and nothing was changed:",
            *(
                line
                for number, obstacle in enumerate(found, 1)
                for line in (f"{number}. {obstacle.reason}", f"    {obstacle.remedy}")
            ),
            *(
                []
                if rows_read
                else [
                    "The rows are read once this is done: the same command then says what is wrong with them."
                ]
            ),
        )
    return table, boundary


def adopt(operation: Operation) -> Adoption:
    """Adopt the table, or go on with its adoption, up to the swap if that is postponed.

    Raises
    ------
    Refused
        The table cannot be adopted, and nothing was changed.
    StoreError
        A step could not get its locks in time, or the server failed. The same call goes on from there.
    """
    connection = operation.connection
    with translated_errors():
        advisory_locks.take_upgrade_lock(connection, operation.said)
        refuse_strangers(connection)
        adoption = state.in_force(connection)
        if adoption is None:
            # The table may have changed since the plan was shown, while we waited for the answer and for the lock.
            operation.table, _ = survey(connection)
        elif adoption.state == "done":
            return adoption
        elif adoption.state not in states.ADOPT:
            raise Refused(
                "the adoption is being undone: finish that with `radmeter adopt --undo`, then adopt radacct again"
            )
        else:
            operation.table = read(connection)
        operation.owner = _become_ready(operation)
        if adoption is None:
            _begin(operation)
        if operation.postpone is not None:
            state.postpone_swap(connection, operation.postpone)
        return states.walk(operation, states.ADOPT, "done")


def _become_ready(operation: Operation) -> str:
    """Make radmeter's roles and tables. Return the role that will own radacct."""
    connection = operation.connection
    acting = upgrade.prepare(connection, operation.said, operation.patience_seconds)
    # After the swap, ingest and the triggers use what a revision may rename. Before it no function is in use, and the
    # swap's preparation applies the files.
    swapped = connection.execute(
        "SELECT relkind = 'p' FROM pg_class WHERE oid = 'public.radacct'::regclass"
    ).fetchone() == (True,)
    run_revisions(
        connection,
        said=operation.said,
        patience_seconds=operation.patience_seconds,
        apply_files=upgrade.apply_files if swapped else None,
    )
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
