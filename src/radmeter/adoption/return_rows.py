"""Undoes an adoption: moves the rows of radmeter's partitions back into FreeRADIUS's table, in batches."""

from psycopg import sql

from radmeter.adoption import moves, ownership, state
from radmeter.adoption.moves import TABLE
from radmeter.adoption.operation import LEGACY_CHECK, Operation, Refused, has_constraint
from radmeter.adoption.state import Adoption, remember_renamed
from radmeter.adoption.table import read
from radmeter.database.connection import Connection
from radmeter.progress import Listener
from radmeter.schema import table_code
from radmeter.schema.ownership import OWNER

# To find rows, PostgreSQL reads the whole table. So many are found at once.
FOUND_AT_ONCE = 100_000
EMPTIED = "radmeter_is_empty"


def turn_back(operation: Operation, adoption: Adoption) -> None:
    """Turn back before the swap: let radacct take open sessions again."""

    def work(connection: Connection) -> None:
        table = read(connection)
        if operation.owner not in (adoption.saved["owner"], table.owner):
            # The adoption had not yet taken the table. What its owner added would run when rows are moved.
            ownership.take(connection, operation.owner, adoption.saved["owner"], table)
            if found := table_code.of_table(connection, table.oid):
                raise Refused(f"it cannot be undone as it is: {found[0]}")
        connection.execute(f"ALTER TABLE ONLY public.radacct DROP CONSTRAINT IF EXISTS {LEGACY_CHECK}")
        state.go_on(connection, "returning")

    operation.retried("turning back", work, "ACCESS EXCLUSIVE")


def return_rows(operation: Operation, adoption: Adoption) -> None:
    """Move the rows of the tables that inherit back into radacct, in batches. Drop each table when it is empty.

    A table that seems empty gets a CHECK that refuses every row. So nobody has to read it once more under the lock of
    the transaction that drops it.
    """
    connection = operation.connection
    while True:
        child = connection.execute(
            """SELECT format('%I.%I', nspname, relname), pg_get_userbyid(relowner)::text
               FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
               JOIN pg_namespace ON pg_namespace.oid = relnamespace
               WHERE inhparent = 'public.radacct'::regclass ORDER BY 1 LIMIT 1"""
        ).fetchone()
        if child is None:
            return
        name, owner = child
        if owner not in (operation.owner, OWNER):
            raise Refused(
                f"{name} of {owner} inherits from radacct: ALTER TABLE {name} NO INHERIT public.radacct;"
            )
        with operation.progress(
            f"moving the sessions of {name.removeprefix('public.')} back", None, "sessions"
        ) as bar:
            _return_all(operation, name, bar)
            _refuse_rows(operation, name)
            _return_all(operation, name, bar)

        def drop(opened: Connection, name: str = name) -> None:
            opened.execute(f"ALTER TABLE {name} NO INHERIT public.radacct".encode())
            opened.execute(f"DROP TABLE {name}".encode())

        operation.retried(f"dropping {name}", drop, "ACCESS EXCLUSIVE")


def _refuse_rows(operation: Operation, name: str) -> None:
    """Let a table take no more rows. The CHECK is NOT VALID: those that it has are not read."""
    if has_constraint(operation.connection, name, EMPTIED):
        return
    add = f"ALTER TABLE ONLY {name} ADD CONSTRAINT {EMPTIED} CHECK (false) NO INHERIT NOT VALID"
    operation.retried(f"closing {name}", lambda connection: connection.execute(add.encode()))


def _return_all(operation: Operation, name: str, bar: Listener) -> None:
    """Move all rows of a table back, in batches. They are found before a lock is taken."""
    find = sql.SQL(
        "SELECT radacctid FROM ONLY {} ORDER BY acctstoptime NULLS LAST, radacctid LIMIT %s"
    ).format(sql.Identifier(*name.split(".")))
    while ids := [row[0] for row in operation.connection.execute(find, (FOUND_AT_ONCE,))]:
        for begin in range(0, len(ids), moves.BATCH):

            def work(opened: Connection, batch: list[int] = ids[begin : begin + moves.BATCH]) -> int:
                return _return_batch(opened, name, batch)

            what = f"moving sessions of {name} back"
            bar.advance(operation.retried(what, work, "SHARE ROW EXCLUSIVE", batch=True))


def _return_batch(connection: Connection, name: str, ids: list[int]) -> int:
    """Move a batch of rows. Of two sessions with the same id the open one keeps it, else the one in radacct."""
    moves.by_index(connection)
    values = {"ids": ids}
    origin = sql.Identifier(*name.split("."))
    renamed = connection.execute(
        sql.SQL(
            """UPDATE ONLY public.radacct AS known SET acctuniqueid = known.acctuniqueid || '-' || known.radacctid
               FROM ONLY {} AS session
               WHERE session.radacctid = ANY (%(ids)s) AND session.acctstoptime IS NULL
                 AND known.acctuniqueid = session.acctuniqueid
               RETURNING known.acctuniqueid"""
        ).format(origin),
        values,
    ).fetchall()
    renamed += connection.execute(
        sql.SQL(
            """UPDATE ONLY {origin} AS session SET acctuniqueid = session.acctuniqueid || '-' || session.radacctid
               WHERE session.radacctid = ANY (%(ids)s)
                 AND (EXISTS (SELECT FROM ONLY public.radacct AS known WHERE known.acctuniqueid = session.acctuniqueid)
                      OR EXISTS (SELECT FROM ONLY {origin} AS other
                                 WHERE other.acctuniqueid = session.acctuniqueid AND other.radacctid < session.radacctid
                                   AND other.radacctid = ANY (%(ids)s)))
               RETURNING session.acctuniqueid"""
        ).format(origin=origin),
        values,
    ).fetchall()
    remember_renamed(connection, [row[0] for row in renamed])
    return moves.move_now(connection, name, TABLE, "true", values)
