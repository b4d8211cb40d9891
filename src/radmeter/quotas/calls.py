"""Calls SQL functions that change plans, subscribers, tenants and their rates."""

from collections.abc import Mapping
from typing import Any

import psycopg

from radmeter.database.connection import explained_errors

ATTEMPTS = 5
# Another change at the same moment. The next attempt sees what it wrote.
_CONCURRENT = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


def call(
    connection: psycopg.Connection[Any],
    query: str,
    values: Mapping[str, Any],
    *,
    undo: bool = False,
    role: str = "radmeter_noc",
) -> list[tuple[Any, ...]]:
    """Return the rows of a query, in a transaction of its own. With `undo` it is rolled back.

    `role` is the group that may execute the function.

    Raises
    ------
    StoreError
        The function refuses it; the message is the reason.
    """
    with explained_errors(role):
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with connection.transaction(force_rollback=undo):
                    return connection.execute(query.encode(), values).fetchall()
            except _CONCURRENT:
                if attempt == ATTEMPTS:
                    raise
    raise AssertionError("unreachable")
