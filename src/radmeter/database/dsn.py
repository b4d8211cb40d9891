"""Parses PostgreSQL's connection strings, in libpq's forms, and hides their passwords."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection


def parse(dsn: str) -> dict[str, Any]:
    """Return the keywords and values of a connection string. Raises ValueError, without any of them in its message."""
    # Imported here because psycopg loads slowly, and most commands never parse a connection string.
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return conninfo_to_dict(dsn)
    except ProgrammingError:
        # libpq's own message repeats parts of the string, perhaps the password.
        raise ValueError("a libpq connection string, such as postgresql://user@host/database") from None


def with_password(dsn: str, password: str) -> str:
    """Return a connection string with another password. What it leaves out still comes from libpq's variables."""
    from psycopg.conninfo import make_conninfo

    return make_conninfo(dsn, password=password)


def of_connection(connection: "Connection[Any]", **other: object) -> str:
    """Return the connection string of an open connection, with its password. `other` replaces keywords."""
    from psycopg.conninfo import make_conninfo

    # ConnectionInfo.dsn of psycopg would ask for the user's home directory, and there may be none.
    given = {
        option.keyword.decode(): option.val.decode()
        for option in connection.pgconn.info
        if option.val is not None
    }
    return make_conninfo(**{**given, **other})  # type: ignore[arg-type]  # libpq's own keywords


def redacted(dsn: str) -> str:
    """Return a connection string for logs: keywords and values, with passwords and keys as ``***``."""
    try:
        parts = parse(dsn)
    except ValueError:
        return "***"
    return " ".join(
        f"{key}={'***' if any(word in key for word in ('password', 'secret', '_key')) else value}"
        for key, value in parts.items()
    )
