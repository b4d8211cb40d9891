"""One transaction of a request, as the role of its caller. Row-level security does the rest."""

import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import errors, sql

from radmeter.api.callers import Caller
from radmeter.api.connection import ANSWER_SECONDS, GRACE_SECONDS, ApiConnection
from radmeter.api.pools import SET_PATH, Pools, Use
from radmeter.api.problems import Problem, not_found, too_slow, unavailable
from radmeter.database.views import NotKnown

log = logging.getLogger(__name__)

READ_SECONDS = 5
WRITE_SECONDS = 10
CSV_SECONDS = 60
# A write that finds a row locked gives up before those that wait for its connection do (pools.WAIT_SECONDS).
READ_LOCK_SECONDS, WRITE_LOCK_SECONDS = 3, 2
# Whose part of the connections for keys the looks for all keys take that nobody has used yet.
NEW_KEYS = "keys that are not in use"
ROLES = {
    "reader": "radmeter_reader",
    "noc": "radmeter_noc",
    "billing": "radmeter_billing",
    "tenant": "radmeter_tenant",
}
# SQL functions refuse with it what cannot be done. The message says why.
REFUSED = "RM001"


@asynccontextmanager
async def transaction(
    pools: Pools, caller: Caller, *, writes: bool = False, seconds: int = READ_SECONDS
) -> AsyncIterator[ApiConnection]:
    """Lend a connection in a transaction that reads, or writes, as the caller's role. It commits at the end.

    It begins with the first statement.

    Raises
    ------
    Problem
        The database is away, or does not answer, or it refuses, or a statement takes longer than `seconds`.
    """
    use: Use = "write" if writes else "read"
    async with pools.shares[use].one(caller.share), pools.connection(use) as connection:
        try:
            connection.answer_seconds = seconds + GRACE_SECONDS
            connection.opening = _beginning(connection, caller, writes, seconds)
            yield connection
            if not connection.idle:
                await connection.execute("COMMIT", prepare=False)
        except (psycopg.Error, NotKnown) as error:
            raise _problem(error, seconds, connection) from error
        finally:
            connection.opening = None
            await _rolled_back(connection)
            connection.answer_seconds = ANSWER_SECONDS


@asynccontextmanager
async def plain(pools: Pools, use: Use) -> AsyncIterator[ApiConnection]:
    """Lend a connection as the server's own role, in autocommit mode: for keys, and answers that are kept."""
    async with pools.connection(use) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise _problem(error, ANSWER_SECONDS, connection) from error


@asynccontextmanager
async def as_server(connection: ApiConnection, caller: Caller) -> AsyncIterator[None]:
    """Have the server's own role for the block, within a transaction of a caller: for answers that are kept."""
    await connection.execute("SET LOCAL ROLE NONE", prepare=False)
    yield
    await connection.execute(f"SET LOCAL ROLE {ROLES[caller.role]}".encode(), prepare=False)


async def row_of_keys(
    pools: Pools, query: str, values: tuple[object, ...], *, in_use: bool
) -> tuple[Any, ...] | None:
    """Ask where keys are written, since a standby may not know yet that one was revoked; else the standby.

    Parameters
    ----------
    in_use
        It is about a key or a login that was proved before. The others share a part of the connections.

    Raises
    ------
    Problem
        Neither of them answers.
    """
    try:
        return await _row(pools, "keys", query, values, in_use)
    except Problem as problem:
        if problem.status < 500 or not pools.has_standby:
            raise
    return await _row(pools, "read", query, values, in_use)


async def _row(
    pools: Pools, use: Use, query: str, values: tuple[object, ...], in_use: bool
) -> tuple[Any, ...] | None:
    async with (
        contextlib.nullcontext() if in_use else pools.shares[use].one(NEW_KEYS),
        plain(pools, use) as connection,
    ):
        return await (await connection.execute(query.encode(), values)).fetchone()


def _beginning(connection: ApiConnection, caller: Caller, writes: bool, seconds: int) -> bytes:
    """Return the beginning of a transaction: one message to the server."""
    waits = WRITE_LOCK_SECONDS if writes else READ_LOCK_SECONDS
    text = (
        f"BEGIN ISOLATION LEVEL {'READ COMMITTED READ WRITE' if writes else 'REPEATABLE READ READ ONLY'}; {SET_PATH}"
        f"{connection.begin_with}SET LOCAL TIME ZONE 'UTC'; SET LOCAL ROLE {ROLES[caller.role]}; "
        f"SET LOCAL statement_timeout = '{seconds}s'; SET LOCAL lock_timeout = '{min(seconds, waits)}s'; "
        "SET LOCAL idle_in_transaction_session_timeout = '30s'"
    )
    if caller.tenant_id is not None:
        text += f"; SET LOCAL radmeter.tenant = '{caller.tenant_id:d}'"
    if writes:
        # audit_log has it beside the role that logged in.
        operator = sql.Literal(f"{caller.kind} {caller.name}").as_string(connection)
        text += f"; SET LOCAL radmeter.operator = {operator}"
    return text.encode()


async def _rolled_back(connection: ApiConnection) -> None:
    if not connection.closed and not connection.idle:
        try:
            await connection.execute("ROLLBACK", prepare=False)
        except psycopg.Error:
            await connection.close()


def _problem(error: Exception, seconds: float, connection: ApiConnection) -> Exception:
    """Return the problem that an error of the database is for the client. What it must not see is logged."""
    if isinstance(error, NotKnown):
        return not_found(str(error))
    assert isinstance(error, psycopg.Error)
    if error.sqlstate == REFUSED:
        return Problem(422, "refused", error.diag.message_primary or "the database refuses it")
    if isinstance(error, errors.LockNotAvailable | errors.SerializationFailure | errors.DeadlockDetected):
        return unavailable("another change is in the way: try again", 1)
    if isinstance(error, errors.QueryCanceled) or connection.was_cut:
        return too_slow(connection.answer_seconds if connection.was_cut else seconds)
    if isinstance(error, errors.InsufficientPrivilege):
        message = error.diag.message_primary
        log.error("the login of `radmeter serve` lacks a right: grant radmeter_api to it (%s)", message)
        return unavailable("the server may not read this in its database: its log says why", 60)
    if isinstance(error, errors.UndefinedTable | errors.UndefinedFunction | errors.UndefinedColumn):
        log.error(
            "the database is not up to date: run `radmeter migrate up` (%s)", error.diag.message_primary
        )
        return unavailable("the server's database is not up to date: its log says more", 60)
    if isinstance(error, psycopg.OperationalError | errors.InternalError_):
        log.warning(
            "the database cannot be reached: %s", str(error).splitlines()[0] if str(error) else type(error)
        )
        return unavailable()
    if (error.sqlstate or "")[:2] in ("22", "54"):
        return Problem(422, "refused", error.diag.message_primary or "the database does not take a value")
    return error
