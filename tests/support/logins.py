"""Database roles that log in, for tests of what a role may do."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from support.servers import Connection


@contextmanager
def login_role(connection: Connection, *member_of: str) -> Iterator[str]:
    """Make a role that logs in, a member of other roles, for the block; yield its name."""
    name = f"login_{secrets.token_hex(4)}"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    try:
        for group in member_of:
            connection.execute(sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, (group, name))))
        yield name
    finally:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def as_role(dsn: str, role: str) -> str:
    """Return the DSN of a test's database, with another role that logs in."""
    return dsn.replace("postgres@", f"{role}@", 1)
