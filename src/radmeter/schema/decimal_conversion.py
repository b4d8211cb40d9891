"""Converts the columns of `decimal_columns` in a live database."""

import time
from collections.abc import Callable
from functools import partial

from radmeter.database.connection import Connection
from radmeter.database.lock_retries import PATIENCE_SECONDS, log, with_lock_retries
from radmeter.errors import StoreError
from radmeter.schema import decimal_columns
from radmeter.schema.decimal_columns import DecimalColumn
from radmeter.schema.known_revisions import pending_revisions
from radmeter.schema.migration_log import note

# To rewrite so many rows with their indexes takes about 30 ms. The table is locked during that time.
# docs/decisions.md says why small tables are converted in another way than large ones (two ways to convert a double).
ROWS_AT_ONCE = 2_000
# Pages of 8 KiB. One batch is a transaction of some milliseconds.
PAGES_A_BATCH = 16


def is_online(column: DecimalColumn) -> bool:
    """Tell whether a column is converted in batches: its table is large, or a conversion in batches has begun."""
    return column.begun or column.rows > ROWS_AT_ONCE


def check(connection: Connection) -> list[DecimalColumn]:
    """Return the columns to convert, after a check that all of them can be converted.

    Raises
    ------
    StoreError
        One of them cannot be converted. Nothing was changed.
    """
    if any(script.revision == "0029" for script in pending_revisions(connection)):
        decimal_columns.check_widening(connection)
    columns = decimal_columns.find(connection)
    for column in columns:
        decimal_columns.check(connection, column, online=is_online(column))
    return columns


def convert(
    connection: Connection,
    column: DecimalColumn,
    *,
    said: Callable[[str], None] = log.info,
    patience_seconds: float = PATIENCE_SECONDS,
    done: Callable[[float], None] = lambda rows: None,
) -> None:
    """Convert one column. If it is killed at any point, the next call goes on from there."""
    began = time.monotonic()
    default = decimal_columns.decimal_default(connection, column)
    what = f"converting {column.name} to {column.decimal}"

    def step(*statements: str) -> None:
        with_lock_retries(
            connection, partial(_run, statements), what=what, patience_seconds=patience_seconds, said=said
        )

    if is_online(column):
        if not column.begun:
            step(*decimal_columns.begin(column))
        for first in range(0, column.pages + 1, PAGES_A_BATCH):
            last = first + PAGES_A_BATCH - 1
            step(decimal_columns.AS_SHOWN, decimal_columns.fill(column, first, last))
            done(column.rows * PAGES_A_BATCH / (column.pages + 1))
        _nothing_left(connection, column)
        for statement in decimal_columns.prove(column):
            step(statement)
        last_statements = decimal_columns.swap(column, default)
    else:
        last_statements = decimal_columns.at_once(column, default)
        done(column.rows)

    def finish(opened: Connection) -> None:
        _run(last_statements, opened)
        note(opened, "decimals", column.name, time.monotonic() - began)

    with_lock_retries(connection, finish, what=what, patience_seconds=patience_seconds, said=said)


def _nothing_left(connection: Connection, column: DecimalColumn) -> None:
    row = connection.execute(
        f"SELECT count(*) FROM public.{column.table} "
        f"WHERE {column.new} IS NULL AND {column.column} IS NOT NULL".encode()
    ).fetchone()
    if row != (0,):
        raise StoreError(
            f"public.{column.name}: a session that fires no triggers (session_replication_role) wrote "
            f"{row[0] if row else 'some'} rows meanwhile: run `radmeter migrate up` again"
        )


def _run(statements: tuple[str, ...] | list[str], connection: Connection) -> None:
    for statement in statements:
        connection.execute(statement.encode())
