"""Parses PostgreSQL's connection strings, in libpq's forms, and hides their passwords."""

from typing import Any


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
