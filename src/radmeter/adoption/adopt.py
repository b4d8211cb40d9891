"""Turns FreeRADIUS's own radacct into the partitioned one while rlm_sql goes on writing to it (docs/adoption.md).

Step by step, each in transactions of its own and written down in radmeter.adoption, so that it can be killed anywhere
and goes on when it is called again. The closed rows are never copied: their table becomes the oldest partition.
"""

import datetime
import time

from psycopg import sql

from radmeter.adoption import moves, obstacles, parent, state, swap
from radmeter.adoption.columns import OURS, STOCK
from radmeter.adoption.indexes import needed, progress_of
from radmeter.adoption.moves import OPEN, TABLE
from radmeter.adoption.operation import (
    DIVERT,
    LEGACY_CHECK,
    VACUUM_GIVES_WAY,
    Operation,
    Refused,
    exclusively,
    set_total,
)
from radmeter.adoption.state import Adoption
from radmeter.adoption.table import Table, read
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, translated_errors
from radmeter.database.lock_retries import create_index_with_lock_retries
from radmeter.partitions.months import MONTHS_AHEAD
from radmeter.schema import upgrade
from radmeter.schema.ownership import OWNER
from radmeter.schema.revisions import note

NOT_MOVED = "acctstoptime IS NULL OR acctstoptime >= %(boundary)s"
GOES_BACK = "acctstoptime < %(boundary)s"


def survey(connection: Connection) -> tuple[Table, datetime.datetime]:
    """Look at the table without touching anything.

    Raises
    ------
    Refused
        With all the reasons, and what to do about each.
    """
    with translated_errors():
        table = read(connection)
        if table is None:
            raise Refused(
                "there is no table public.radacct: `radmeter migrate up` makes one in a new database"
            )
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
    with translated_errors():
        advisory_locks.take_upgrade_lock(operation.connection, operation.said)
        adoption = state.in_force(operation.connection)
        if adoption is None:
            survey(operation.connection)
        elif adoption.state in ("undoing", "returning"):
            raise Refused(
                "it is being undone: `radmeter adopt --undo` finishes that; then it can be taken over again"
            )
        elif adoption.state == "done":
            return adoption
        operation.owner = _become_ready(operation)
        adoption = adoption or _begin(operation)
        if adoption.state == "preparing":
            _add_columns(operation)
            _make_indexes(operation)
            _open_child(operation, adoption)
            adoption = _now(operation)
        if adoption.state in ("opening", "bounding"):
            adoption = _move_boundary(operation, adoption)
        if adoption.state == "opening":
            _move_open(operation, adoption)
            _bound(operation, adoption)
            adoption = _now(operation)
        if adoption.state == "bounding":
            _validate(operation)
            _route(operation)
            _swap(operation, adoption)
            adoption = _now(operation)
        if adoption.state == "swapped":
            _finish(operation)
            adoption = _now(operation)
    return adoption


def _now(operation: Operation) -> Adoption:
    adoption = state.in_force(operation.connection)
    assert adoption is not None
    return adoption


def _become_ready(operation: Operation) -> str:
    """Make roles, tables and functions of radmeter's; return the role that is to own radacct."""
    connection = operation.connection
    acting = upgrade.prepare(connection, operation.said, operation.patience_seconds)
    upgrade.run_revisions(connection, said=operation.said, patience_seconds=operation.patience_seconds)
    connection.execute("RESET ROLE")
    if acting:
        return OWNER
    table = read(connection)
    assert table is not None
    return table.owner


def _begin(operation: Operation) -> Adoption:
    table = read(operation.connection)
    assert table is not None
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

    def work(connection: Connection) -> Adoption:
        adoption = state.begin(connection, state.next_boundary(connection), saved)
        note(connection, "adoption", "began", None)
        return adoption

    adoption: Adoption = operation.retried("beginning", work)
    return adoption


def _add_columns(operation: Operation) -> None:
    """All at once, and in the catalog only: no row is written, none is read."""
    table = read(operation.connection)
    assert table is not None
    present = {column.name for column in table.columns}
    changes = [
        f"ADD COLUMN {column.name} {column.definition}"
        for column in (*STOCK, *OURS)
        if column.name not in present
    ]
    changes += [f"ALTER {column} TYPE text" for column in obstacles.widened(table)]
    if not changes:
        return

    def work(connection: Connection) -> None:
        exclusively(connection)
        connection.execute(f"ALTER TABLE public.radacct {', '.join(changes)}".encode())

    operation.said("adding radmeter's columns")
    operation.retried("adding columns to radacct", work)


def _make_indexes(operation: Operation) -> None:
    table = read(operation.connection)
    assert table is not None
    for name, statement in needed(table):
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


def _open_child(operation: Operation, adoption: Adoption) -> None:
    """The table for open sessions, which radacct shows as its own rows, and the trigger that sends new ones there."""
    table = read(operation.connection)
    assert table is not None
    operation.said("making radmeter's views and functions")
    operation.retried(
        "preparing radmeter.radacct", lambda connection: parent.make(connection, table, operation.owner)
    )
    owner = sql.Identifier(operation.owner)

    def work(connection: Connection) -> None:
        run = connection.execute
        run(VACUUM_GIVES_WAY)
        run("SET LOCAL lock_timeout = '50ms'")
        run(
            """CREATE TABLE public.radacct_open () INHERITS (public.radacct)
               WITH (fillfactor = 60, autovacuum_vacuum_cost_delay = 0)"""
        )
        run("CREATE UNIQUE INDEX radacct_open_radacctid_idx ON public.radacct_open (radacctid)")
        run("CREATE UNIQUE INDEX radacct_open_acctuniqueid_idx ON public.radacct_open (acctuniqueid)")
        run("CREATE INDEX radacct_open_router_id_idx ON public.radacct_open (router_id)")
        run("CREATE INDEX radacct_open_username_idx ON public.radacct_open (username)")
        for number, index in enumerate(parent.carried(table), 1):
            run(parent.index_on(index, OPEN, f"radacct_open_kept_{number}_idx").encode())
        run(sql.SQL("ALTER TABLE public.radacct_open OWNER TO {}").format(owner))
        if operation.owner != table.owner:
            # For the trigger's function, which is radmeter's.
            run(sql.SQL("GRANT SELECT, UPDATE ON public.radacct TO {}").format(owner))
        run(DIVERT)
        state.go_on(connection, "opening")

    operation.retried("making radacct_open", work)


def _move_boundary(operation: Operation, adoption: Adoption) -> Adoption:
    """An adoption that was left alone for weeks: what radacct_legacy will hold must reach into the future still."""
    if adoption.boundary > state.next_boundary(operation.connection, days=-27):
        return adoption

    def work(connection: Connection) -> None:
        exclusively(connection)
        connection.execute(f"ALTER TABLE ONLY public.radacct DROP CONSTRAINT IF EXISTS {LEGACY_CHECK}")
        connection.execute(
            "UPDATE radmeter.adoption SET boundary = %s, state = 'opening' WHERE undone_at IS NULL",
            (state.next_boundary(connection),),
        )

    operation.retried("moving the boundary", work)
    return _now(operation)


def _move_open(operation: Operation, adoption: Adoption) -> None:
    # Between the look at the rows and the trigger duplicates may have come where nothing kept the ids unique.
    if adoption.saved["unique"] is None:
        table = read(operation.connection)
        assert table is not None
        found = list(obstacles.duplicates(operation.connection, table))
        if found:
            raise Refused(f"since the beginning: {found[0]}")
    boundary = {"boundary": adoption.boundary}
    operation.move("moving open sessions", TABLE, OPEN, NOT_MOVED, boundary)


def _bound(operation: Operation, adoption: Adoption) -> None:
    """From here on radacct itself takes closed rows only. NOT VALID: for new rows; the old ones are looked at next."""

    def work(connection: Connection) -> None:
        exclusively(connection)
        # What came in between the moving and this, by a writer that has the trigger off.
        moves.move_now(connection, TABLE, OPEN, NOT_MOVED, {"boundary": adoption.boundary})
        connection.execute(
            sql.SQL(
                "ALTER TABLE ONLY public.radacct ADD CONSTRAINT {} "
                "CHECK (acctstoptime IS NOT NULL AND acctstoptime < {}) NO INHERIT NOT VALID"
            ).format(sql.Identifier(LEGACY_CHECK), sql.Literal(adoption.boundary))
        )
        state.go_on(connection, "bounding")

    operation.retried("bounding radacct", work)


def _validate(operation: Operation) -> None:
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


def _route(operation: Operation) -> None:
    with operation.progress("finding the routers of open sessions", None, "sessions") as bar:
        moves.route_open(
            operation.connection,
            lambda count: set_total(bar, count),
            lambda count: None if bar is None else bar.advance(count),
        )


def _swap(operation: Operation, adoption: Adoption) -> None:
    boundary = {"boundary": adoption.boundary}
    operation.move("moving sessions that have stopped since", OPEN, TABLE, GOES_BACK, boundary)
    table = read(operation.connection)
    assert table is not None
    # Anew: the operator may have granted, or made an index, in the meantime.
    operation.retried(
        "preparing radmeter.radacct", lambda connection: parent.make(connection, table, operation.owner)
    )
    # A row that was closed a moment ago is moved in the swap itself: few, since this was just done.
    operation.move("moving sessions that have stopped since", OPEN, TABLE, GOES_BACK, boundary)
    operation.said("the swap")
    seconds: float = operation.retried(
        "the swap", lambda connection: swap.swap(connection, adoption, operation.owner)
    )
    operation.connection.execute(
        "UPDATE radmeter.adoption SET lock_seconds = %s WHERE undone_at IS NULL", (seconds,)
    )


def _finish(operation: Operation) -> None:
    began = time.monotonic()
    for month in range(MONTHS_AHEAD + 1):

        def make(connection: Connection, month: int = month) -> None:
            connection.execute("SELECT radmeter.ensure_partition(now() + %s * interval '1 month')", (month,))

        operation.retried("making a partition", make)
    operation.connection.execute("ANALYZE public.radacct_open")

    def work(connection: Connection) -> None:
        connection.execute(
            "SELECT radmeter.audit('adopt', jsonb_build_object('table', 'radacct', 'last_id', last_id)) "
            "FROM radmeter.adoption WHERE undone_at IS NULL"
        )
        note(connection, "adoption", "done", time.monotonic() - began)
        state.go_on(connection, "done")

    operation.retried("finishing", work)
