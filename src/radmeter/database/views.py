"""The read interface: read-only connections, and queries on the views of ``sql/views.sql``.

Plain psycopg: a command that reads one row must not take longer to load than to read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from radmeter.database.connection import Connection, connect, explained_errors
from radmeter.database.deadline import Deadline
from radmeter.database.tenant_roles import Standing, refuse_staff, refuse_unbound
from radmeter.errors import StoreError

Row = dict[str, Any]


class NotKnown(StoreError):
    """There is no such user, router or session, or more than one."""


@contextmanager
def reading(dsn: str, deadline: Deadline | None = None) -> Iterator[Connection]:
    """Open a read-only connection for the block. It sees one state of the database until `Connection.rollback`.

    `deadline` is how long it waits for each answer.

    Raises
    ------
    StoreUnavailable
        The database cannot be reached.
    NotForTenants
        The role is a tenant's, and may not read them.
    SeesOneTenant
        The role is of the staff, and would see the rows of one tenant only; or of a tenant, and is bound to none.
    StoreError
        The database has no tables of radmeter, or the role may not read them.
    """
    with (
        explained_errors("radmeter_reader"),
        connect(dsn, autocommit=False, any_pooler=True, deadline=deadline) as connection,
    ):
        # Two queries must see the same state: a session that closes between them is in both or in neither.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        if connection.standing is not Standing.EVERYBODY:
            (refuse_staff if connection.standing is Standing.STAFF else refuse_unbound)(connection)
            connection.rollback()
        yield connection


def rows(connection: Connection, query: str, values: Mapping[str, Any] | None = None) -> list[Row]:
    """Return the rows of a query as dictionaries. `values` are its parameters, such as ``%(name)s``."""
    cursor = connection.execute(query.encode(), values)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def page(
    connection: Connection, query: str, values: Mapping[str, Any], limit: int
) -> tuple[Sequence[Row], bool]:
    """Return the first `limit` rows of an ordered query, and whether there are more."""
    found = rows(connection, limited(query), {**values, "most": limit + 1})
    return found[:limit], len(found) > limit


def limited(query: str) -> str:
    """Return a query that gives at most the parameter `most` rows."""
    return f"{query} LIMIT %(most)s"
