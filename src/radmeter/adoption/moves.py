"""Moves rows between FreeRADIUS's radacct and the tables that inherit from it, in batches that writers wait for.

Writers are kept out for one batch at a time. An UPDATE that meets a row while it is moved would skip the row
(PostgreSQL manual, READ COMMITTED): an Accounting-On, for example, would leave the session open.
"""

from collections.abc import Callable
from typing import Any, Protocol

from psycopg import sql
from psycopg.types.json import Json

from radmeter.database.connection import Connection
from radmeter.packet.router_key import leading_mac

# A batch takes about 10 ms, during which writers wait.
BATCH = 500
ROUTER_BATCH = 500

TABLE = "public.radacct"
OPEN = "public.radacct_open"


class Retried(Protocol):
    """Does work in a transaction that has locked radacct so that writers wait, with lock retries."""

    def __call__(self, what: str, work: Callable[[Connection], int], lock: str, *, batch: bool) -> int:
        """Return what the work returns. `what` names it in messages, `lock` is the mode. `batch`: rest after it."""


def columns(connection: Connection, table: str = TABLE) -> sql.Composed:
    """Return the names of a table's columns, for a statement."""
    rows = connection.execute(
        """SELECT attname::text FROM pg_attribute
           WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
        (table,),
    )
    return sql.SQL(", ").join(sql.Identifier(name) for (name,) in rows)


def move(
    connection: Connection,
    origin: str,
    target: str,
    which: str,
    parameters: dict[str, Any],
    *,
    retried: Retried,
    found: Callable[[int], None],
    moved: Callable[[int], None],
) -> int:
    """Move the rows of `origin` that meet the condition `which` to `target`, in batches. Return how many.

    The rows are found before a lock is taken. A batch is then read by its ids.
    """
    condition = sql.SQL(which)
    find = sql.SQL("SELECT radacctid FROM ONLY {} WHERE {} ORDER BY radacctid").format(
        _table(origin), condition
    )
    ids = [row[0] for row in connection.execute(find, parameters)]
    found(len(ids))
    names = columns(connection)
    done = 0
    for begin in range(0, len(ids), BATCH):
        batch = ids[begin : begin + BATCH]

        def work(opened: Connection, batch: list[int] = batch) -> int:
            return move_now(opened, origin, target, which, {**parameters, "ids": batch}, names)

        done += retried(f"moving sessions from {origin} to {target}", work, "SHARE ROW EXCLUSIVE", batch=True)
        moved(len(batch))
    return done


def move_now(
    connection: Connection,
    origin: str,
    target: str,
    which: str,
    parameters: dict[str, Any],
    names: sql.Composed | None = None,
) -> int:
    """Move rows in the transaction of the caller. Return how many. `ids` in the parameters limits it to these rows."""
    names = names or columns(connection)
    only = sql.SQL("")
    if "ids" in parameters:
        only = sql.SQL("radacctid = ANY (%(ids)s) AND ")
        by_index(connection)
    connection.execute("SET LOCAL radmeter.moving = 'on'")
    done = connection.execute(
        sql.SQL(
            "WITH moved AS (DELETE FROM ONLY {origin} WHERE {only}({which}) RETURNING {names}) "
            "INSERT INTO {target} ({names}) SELECT {names} FROM moved"
        ).format(
            origin=_table(origin),
            target=_table(target),
            only=only,
            which=sql.SQL(which),
            names=names,
        ),
        parameters,
    ).rowcount
    connection.execute("SET LOCAL radmeter.moving = 'off'")
    return done


def by_index(connection: Connection) -> None:
    """Let the statements of this transaction find rows by an index, even if the statistics are old or missing."""
    connection.execute("SET LOCAL enable_seqscan = off")


def route_open(connection: Connection, found: Callable[[int], None], advance: Callable[[int], None]) -> None:
    """Give the sessions of radacct_open their router_id: the router is matched or discovered from their rows."""
    pairs = connection.execute(
        """SELECT DISTINCT coalesce(calledstationid, ''), nasipaddress::text FROM ONLY public.radacct_open
           WHERE router_id IS NULL ORDER BY 1, 2"""
    ).fetchall()
    for begin in range(0, len(pairs), ROUTER_BATCH):
        batch = pairs[begin : begin + ROUTER_BATCH]
        connection.execute(
            "SELECT radmeter.backfill_routers(%s)",
            (
                Json(
                    [
                        {"calledstationid": called, "nasipaddress": address, "mac": leading_mac(called)}
                        for called, address in batch
                    ]
                ),
            ),
        )
    # A session without any time, or with one in the future, would never become stale. Now counts as its arrival, so
    # that the reaper can close it. A router whose clock began in 1970 may still send for its session.
    connection.execute(
        """UPDATE ONLY public.radacct_open SET arrived_at = now()
           WHERE arrived_at IS NULL
             AND (coalesce(acctupdatetime, acctstarttime) BETWEEN '1998-12-01Z' AND now()) IS NOT TRUE"""
    )
    ids = [
        row[0]
        for row in connection.execute(
            "SELECT radacctid FROM ONLY public.radacct_open WHERE router_id IS NULL ORDER BY radacctid"
        )
    ]
    found(len(ids))
    for begin in range(0, len(ids), BATCH):
        connection.execute(
            """UPDATE ONLY public.radacct_open AS session SET router_id = known.router_id
               FROM radmeter.adopted_router AS known
               WHERE session.radacctid = ANY (%s) AND session.router_id IS NULL
                 AND known.calledstationid = coalesce(session.calledstationid, '')
                 AND known.nasipaddress = session.nasipaddress""",
            (ids[begin : begin + BATCH],),
        )
        advance(len(ids[begin : begin + BATCH]))


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))
