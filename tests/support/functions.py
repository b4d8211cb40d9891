"""Calls a SQL function, or any expression, and returns its one value."""

from typing import Any

from support.servers import Connection


def value(connection: Connection, expression: str, *arguments: object) -> Any:
    row = connection.execute(f"SELECT {expression}".encode(), arguments or None).fetchone()
    assert row is not None
    return row[0]
