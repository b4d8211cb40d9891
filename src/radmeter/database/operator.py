"""Connections for changes by an operator: audit_log records the login name beside the database role."""

import getpass

import psycopg

from radmeter.database.connection import connect
from radmeter.database.deadline import patient


def connect_as_operator(dsn: str) -> psycopg.Connection:
    """Open a connection in autocommit mode that passes the operator's login name to the database.

    Raises
    ------
    StoreUnavailable
        The database cannot be reached.
    """
    connection = connect(dsn, deadline=patient())
    connection.execute("SELECT set_config('radmeter.operator', %s, false)", (login_name(),))
    return connection


def login_name() -> str:
    """Return the login name; empty if the user id has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
