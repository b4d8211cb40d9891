"""Opens connections to PostgreSQL, and turns psycopg's errors into radmeter's."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors

from radmeter import waits
from radmeter.database import settings
from radmeter.database.deadline import Deadline, ordinary
from radmeter.database.far_times import load_far_times_as_none
from radmeter.database.poolers import refuse_transaction_pooling
from radmeter.database.tenant_roles import GROUPS, standing
from radmeter.database.transactions import TransactionsConnection
from radmeter.database.waiting import NoAnswerError, ServerProcess
from radmeter.errors import (
    NoAnswer,
    ProgressMoved,
    RecordRefused,
    RecordsRefused,
    RowConflict,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    UnusableDsn,
)
from radmeter.printable import one_line

log = logging.getLogger(__name__)

# A connection whose rows are tuples.
Connection = psycopg.Connection[tuple[Any, ...]]

# With these, a server that is gone without closing the connection (a switch-over, a firewall) is noticed within about a
# minute instead of hours. `target_session_attrs=read-write` in a multi-host DSN is libpq's own option and works too.
CONNECTION_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "application_name": "radmeter",
    # Else libpq takes that of the database, and a database in LATIN1 would take UTF-8 for other characters.
    "client_encoding": "utf8",
}

# The same call may be tried again: the server is away or stopping, or it aborted this transaction in favour of another.
TRANSIENT = (
    psycopg.OperationalError,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
    errors.ReadOnlySqlTransaction,  # the old primary after a switch-over
    errors.InternalError_,
)


def connection_string(dsn: str) -> str:
    """Return `dsn` with radmeter's defaults for the options that it does not set.

    Raises
    ------
    UnusableDsn
        `dsn` is not a libpq connection string.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise UnusableDsn(f"the DSN is not a PostgreSQL connection string: {one_line(str(error))}") from None
    return psycopg.conninfo.make_conninfo(**{**CONNECTION_DEFAULTS, **given})  # type: ignore[arg-type] # its own output


# Everybody may have been allowed to make functions in `public`. One with a better signature than PostgreSQL's own would
# run as the role that connects (CVE-2018-1058). So only pg_catalog is searched, and statements name their schemas.
SEARCH_PATH = "SET search_path = pg_catalog"
# A client that hangs must not hold the lock of ingest for ever. A shorter time of the server stays.
IDLE_TIMEOUT = """SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', '15min', {local})
WHERE pg_catalog.current_setting('idle_in_transaction_session_timeout') OPERATOR(pg_catalog.=) '0'"""
# One statement for a direct connection. A pooler gives the client another process id than the server's own, and nothing
# is set then. The server's process is kept, to ask about it over another connection. Times are numbers here, since the
# DateStyle may still be one that psycopg does not read.
BEGIN = """
SELECT pg_catalog.pg_backend_pid(), EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()),
       CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {pid} THEN
           pg_catalog.set_config('search_path', '{path}', false) END,
       CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {pid}
            AND pg_catalog.current_setting('idle_in_transaction_session_timeout') OPERATOR(pg_catalog.=) '0' THEN
           pg_catalog.set_config('idle_in_transaction_session_timeout', '15min', false) END,
       {groups}, ({settings})"""


def connect(
    dsn: str,
    *,
    autocommit: bool = True,
    deadline: Deadline | None = None,
    any_pooler: bool = False,
    **options: Any,
) -> TransactionsConnection:
    """Open a connection. It finds types, functions and operators in pg_catalog only.

    Parameters
    ----------
    deadline
        How long it waits for each answer.
    any_pooler
        Nothing that this connection does reaches beyond a transaction, so a pooler may pool transactions.

    Raises
    ------
    PoolsTransactions
        A pooler between here and the server pools transactions, and `any_pooler` is not set.
    StoreUnavailable
        No server of the DSN can be reached, or the DSN asks for a writable server and none is.
    """
    try:
        string = connection_string(dsn)
        with waits.waiting_for(f"a connection to the database{_place(string)}"):
            connection = TransactionsConnection.connect(string, autocommit=True, **options)
        try:
            connection.deadline = deadline or ordinary()
            load_far_times_as_none(connection)
            _begin(connection, any_pooler)
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the database cannot be reached: {one_line(str(error))}") from error
    return connection


def _place(string: str) -> str:
    given = psycopg.conninfo.conninfo_to_dict(string)
    host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST")
    return f" on {host}" if host else ""


def _begin(connection: TransactionsConnection, any_pooler: bool) -> None:
    """Set what each session has. Statements of their own: PgBouncer refuses `options=..` at the start of a connection.

    In autocommit mode, since a rollback would take it back.
    """
    shown = connection.info.backend_pid
    question = BEGIN.format(
        pid=shown,
        path=SEARCH_PATH.partition(" = ")[2],
        groups=GROUPS,
        settings=settings.set_for_session(f"pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {shown}"),
    )
    pid, started_at, *_, groups, _ = connection.execute(question.encode(), prepare=False).fetchall()[0]
    connection.standing = standing(groups)
    if pid == shown:
        connection.process = ServerProcess(pid, started_at)
    elif any_pooler:
        connection.behind_pooler = True
        connection.prepare_threshold = None
        connection.begin_with = (
            SEARCH_PATH.replace("SET", "SET LOCAL"),
            settings.set_for_transaction(connection.info.server_version),
            IDLE_TIMEOUT.format(local="true"),
        )
    else:
        refuse_transaction_pooling(connection)
        statements = (SEARCH_PATH, IDLE_TIMEOUT.format(local="false"), settings.set_for_session())
        connection.execute("; ".join(statements).encode(), prepare=False)
        connection.process = ServerProcess(pid, started_at)


# SQLSTATE classes for errors of a value: data exception, integrity constraint, program limit (PostgreSQL manual,
# appendix A). Other errors, such as a missing function or privilege, are errors of the installation.
VALUE_CLASSES = ("22", "23", "54")
CONSTRAINT_CLASS = "23"
# "Feature not supported": PostgreSQL says so of an infinite number, or of NaN, that must become an integer.
UNFIT_NUMBER = ("0A000", "numeric.c")
# radmeter.refuse_unbelieved: the detail is JSON, the numbers (seq) for each reason.
REFUSED_RECORDS = "RM011"
# radmeter.ingest and radmeter.finish_segment: the segment's progress is another one than the caller takes it for.
PROGRESS_MOVED = "RM004"


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn psycopg's errors into radmeter's.

    `StoreUnavailable`: the same call may be tried again. `StoreTimeout`: it may, or with less to do.
    `ProgressMoved`: it may, once the caller has asked for the segment's progress. `RowConflict`: it may, if another
    writer's row was in the way. `RecordRefused`: the database will never accept a value. `StoreError`: all others.
    """
    try:
        yield
    except psycopg.Error as error:
        message = error.diag.message_primary or one_line(str(error))
        if error.sqlstate == REFUSED_RECORDS:
            detail = json.loads(error.diag.message_detail or "{}")
            reasons = {int(seq): reason for reason, seqs in detail.items() for seq in seqs}
            raise RecordsRefused(next(iter(reasons.values()), message), reasons) from error
        if error.sqlstate == PROGRESS_MOVED:
            raise ProgressMoved(message) from error
        # Check this first: psycopg raises an OperationalError for a row that is too long for its index.
        if (error.sqlstate or "")[:2] == CONSTRAINT_CLASS:
            raise RowConflict(message) from error
        if (error.sqlstate or "")[:2] in VALUE_CLASSES or (
            error.sqlstate,
            error.diag.source_file,
        ) == UNFIT_NUMBER:
            raise RecordRefused(message) from error
        if isinstance(error, NoAnswerError):
            raise NoAnswer(message) from error
        if isinstance(error, errors.QueryCanceled):
            raise StoreTimeout(message) from error
        if isinstance(error, TRANSIENT):
            raise StoreUnavailable(message) from error
        raise StoreError(message) from error


@contextmanager
def explained_errors(role: str) -> Iterator[None]:
    """Turn psycopg's errors into radmeter's; name the remedy if the schema or a grant of `role` is missing."""
    try:
        with translated_errors():
            yield
    except StoreError as error:
        cause = error.__cause__
        missing = (
            errors.UndefinedTable,
            errors.UndefinedColumn,
            errors.UndefinedFunction,
            errors.InvalidSchemaName,
        )
        if isinstance(cause, missing):
            raise StoreError(
                f"the database is not up to date ({error}): run `radmeter migrate up`"
            ) from error
        if isinstance(cause, errors.InsufficientPrivilege):
            raise StoreError(f"{error}: grant {role} to the database role in use") from error
        raise
