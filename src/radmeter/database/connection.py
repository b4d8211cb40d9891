"""PostgreSQL: connections, and the calls on the packet path. The only module there that speaks psycopg."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy
from psycopg import errors

from radmeter.errors import RecordRefused, StoreError, StoreUnavailable, UnusableDsn

log = logging.getLogger(__name__)

# Rows are tuples, whatever is in them.
Connection = psycopg.Connection[tuple[Any, ...]]

# A peer that vanished without a word (a switch-over, a firewall) is noticed within about a minute instead of hours.
# `target_session_attrs=read-write` of a multi-host DSN is libpq's own and works as written in the DSN.
CONNECTION_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "application_name": "radmeter",
}

# Tried again as they are: the server is away, is stopping, or chose this transaction to give way to another.
TRANSIENT = (
    psycopg.OperationalError,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
    errors.ReadOnlySqlTransaction,  # the old primary after a switch-over
    errors.InternalError_,
)


def connection_string(dsn: str) -> str:
    """Return `dsn` with radmeter's defaults for what it leaves open.

    Raises
    ------
    UnusableDsn
        It is no libpq connection string.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise UnusableDsn(f"the DSN is not a PostgreSQL connection string: {str(error).strip()}") from None
    return psycopg.conninfo.make_conninfo(**{**CONNECTION_DEFAULTS, **given})  # type: ignore[arg-type] # its own output


def connect(dsn: str, *, autocommit: bool = True, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection.

    Raises
    ------
    StoreUnavailable
        No server of the DSN can be reached, or none of them takes writes where the DSN asks for that.
    """
    try:
        return psycopg.connect(connection_string(dsn), autocommit=autocommit, **options)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the database cannot be reached: {str(error).strip()}") from error


def sqlalchemy_engine(dsn: str) -> sqlalchemy.Engine:
    """Return an engine that opens its connections as `connect` does; it pools none."""
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(dsn, autocommit=False),
        poolclass=sqlalchemy.NullPool,
    )


# SQLSTATE classes that are about a value: data exception, integrity constraint, program limit (PostgreSQL manual,
# appendix A). Anything else (a missing function, a missing right) is about the installation.
VALUE_CLASSES = ("22", "23", "54")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's errors into ours.

    `StoreUnavailable` for what may be tried again as it is, `RecordRefused` for a value the database will never take,
    else `StoreError`.
    """
    try:
        yield
    except psycopg.Error as error:
        message = error.diag.message_primary or str(error).strip()
        # First, since psycopg counts a row too long for its index among the operational errors.
        if (error.sqlstate or "")[:2] in VALUE_CLASSES:
            raise RecordRefused(message) from error
        if isinstance(error, TRANSIENT):
            raise StoreUnavailable(message) from error
        raise StoreError(message) from error


@contextmanager
def explained_errors(role: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with the remedy where the schema or a grant of `role` is missing."""
    try:
        with translated_errors():
            yield
    except StoreError as error:
        cause = error.__cause__
        if isinstance(cause, errors.UndefinedTable | errors.UndefinedFunction | errors.InvalidSchemaName):
            raise StoreError(
                f"the database is not up to date ({error}): run `radmeter migrate up`"
            ) from error
        if isinstance(cause, errors.InsufficientPrivilege):
            raise StoreError(f"{error}: grant {role} to the database role in use") from error
        raise
