"""Connections of people who change something: audit_log gets their login name beside the database role."""

import getpass

import psycopg

from radmeter.database.connection import connect


def connect_as_operator(dsn: str) -> psycopg.Connection:
    """Open a connection in autocommit mode that knows who sits in front of it.

    Raises
    ------
    StoreUnavailable
        The database cannot be reached.
    """
    connection = connect(dsn)
    connection.execute("SELECT set_config('radmeter.operator', %s, false)", (login_name(),))
    return connection


def login_name() -> str:
    """Return the name of the user of this machine, empty if it has none (a container's bare number)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
