"""Connections for changes by an operator: audit_log records the login name beside the database role."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from radmeter.database.connection import connect, explained_errors
from radmeter.database.deadline import patient
from radmeter.database.tenant_roles import NotForTenants, Standing, refuse_staff


def connect_as_operator(dsn: str) -> psycopg.Connection:
    """Open a connection in autocommit mode that passes the operator's login name to the database.

    Raises
    ------
    StoreUnavailable
        The database cannot be reached.
    NotForTenants
        The role is a tenant's. Nothing that an operator does is for it, and it is told so before anything else.
    SeesOneTenant
        The role is an operator's, and sees the rows of one tenant only.
    """
    connection = connect(dsn, deadline=patient())
    try:
        if connection.standing is Standing.TENANT:
            raise NotForTenants
        if connection.standing is Standing.STAFF:
            refuse_staff(connection)
        connection.execute("SELECT set_config('radmeter.operator', %s, false)", (login_name(),))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def operating(dsn: str, role: str) -> Iterator[psycopg.Connection]:
    """Open such a connection for the block. An error of the database names the remedy.

    Parameters
    ----------
    role
        The role of radmeter that the operator needs: it is named if a right is missing.

    Raises
    ------
    StoreError
        The database has no tables of radmeter, or the operator may not do what the block does.
    """
    with explained_errors(role), connect_as_operator(dsn) as connection:
        yield connection


def login_name() -> str:
    """Return the login name; empty if the user id has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
