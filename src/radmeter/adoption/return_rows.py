"""Undoes an adoption: moves the rows of radmeter's partitions back into FreeRADIUS's table, in batches."""

from psycopg import sql

from radmeter.adoption import moves, ownership, state
from radmeter.adoption.moves import TABLE
from radmeter.adoption.operation import LEGACY_CHECK, Operation, Refused, exclusively
from radmeter.adoption.state import Adoption, remember_renamed
from radmeter.adoption.table import read
from radmeter.database.connection import Connection
from radmeter.schema import table_code
from radmeter.schema.ownership import OWNER


def turn_back(operation: Operation, adoption: Adoption) -> None:
    """Turn back before the swap: let radacct take open sessions again."""

    def work(connection: Connection) -> None:
        exclusively(connection)
        table = read(connection)
        if operation.owner not in (adoption.saved["owner"], table.owner):
            # The adoption had not yet taken the table. What its owner added would run when rows are moved.
            ownership.take(connection, operation.owner, adoption.saved["owner"], table)
            if found := table_code.of_table(connection, table.oid):
                raise Refused(f"it cannot be undone as it is: {found[0]}")
        connection.execute(f"ALTER TABLE ONLY public.radacct DROP CONSTRAINT IF EXISTS {LEGACY_CHECK}")
        state.go_on(connection, "returning")

    operation.retried("turning back", work)


def return_rows(operation: Operation, adoption: Adoption) -> None:
    """Move the rows of the tables that inherit back into radacct, in batches. Drop each table when it is empty."""
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
            while True:

                def work(opened: Connection, name: str = name) -> int:
                    opened.execute("LOCK TABLE ONLY public.radacct IN SHARE ROW EXCLUSIVE MODE")
                    return _return_batch(opened, name)

                moved = operation.retried(f"moving sessions of {name} back", work)
                bar.advance(moved)
                if moved == 0:
                    break

        def drop(opened: Connection, name: str = name) -> None:
            # A writer may have added rows since the last batch. They are moved first.
            exclusively(opened)
            if _return_batch(opened, name) == 0:
                opened.execute(f"ALTER TABLE {name} NO INHERIT public.radacct".encode())
                opened.execute(f"DROP TABLE {name}".encode())

        operation.retried(f"dropping {name}", drop)


def _return_batch(connection: Connection, name: str) -> int:
    """Move a batch of rows. Of two sessions with the same id the open one keeps it, else the one in radacct."""
    ids = [
        row[0]
        for row in connection.execute(
            sql.SQL(
                "SELECT radacctid FROM ONLY {} ORDER BY acctstoptime NULLS LAST, radacctid LIMIT %s"
            ).format(sql.Identifier(*name.split("."))),
            (moves.BATCH,),
        )
    ]
    if not ids:
        return 0
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
