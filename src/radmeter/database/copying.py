"""COPY .. TO STDOUT, many rows at a time. psycopg's own loop waits for each row, which costs more than the row."""

from collections.abc import Iterator

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait

from radmeter.database.connection import Connection
from radmeter.database.waiting import give_up

# So many rows are in memory at a time. More are not faster.
ROWS = 1_000


def blocks(connection: Connection, statement: psycopg.sql.Composed) -> Iterator[list[bytes]]:
    """Run a COPY and yield its rows as they come, at most `ROWS` at a time. The connection is in a transaction.

    If the caller stops before the end, the connection is closed: nothing else ends a COPY.
    """
    pgconn, complete = connection.pgconn, False
    try:
        pgconn.send_query(statement.as_bytes(connection))
        (result,) = connection.wait(generators.execute(pgconn))
        if result.status == pq.ExecStatus.FATAL_ERROR:
            complete = True
            raise psycopg.errors.error_from_result(result, encoding="utf-8")
        while True:
            rows, complete = connection.wait(_block(pgconn))
            if rows:
                yield rows
            if complete:
                return
    finally:
        if not complete:
            give_up(connection)


def _block(pgconn: PGconn) -> PQGen[tuple[list[bytes], bool]]:
    """Return the rows that have come, at least one, and whether the COPY is complete."""
    rows: list[bytes] = []
    while len(rows) < ROWS:
        size, row = pgconn.get_copy_data(1)
        if size > 0:
            rows.append(bytes(row))
        elif size < 0:
            for result in (yield from generators.fetch_many(pgconn)):
                if result.status == pq.ExecStatus.FATAL_ERROR:
                    raise psycopg.errors.error_from_result(result, encoding="utf-8")
            return rows, True
        elif rows:
            break
        else:
            yield Wait.R
            pgconn.consume_input()
    return rows, False
