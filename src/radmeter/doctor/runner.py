"""Runs the checks one after the other, each with a time limit. If one fails, the others still run."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import errors

from radmeter import waits
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller
from radmeter.errors import RadmeterError, StoreError, os_reason

STATEMENT_MS = 5_000
LOCK_MS = 200
# A frozen server (SIGSTOP, lost network) does not obey statement_timeout.
CHECK_SECONDS = 20.0
ALL_SECONDS = 90.0

Check = Callable[[Context], Findings]


class Named(NamedTuple):
    """A check, its name on the screen, and what it needs: a database, radmeter's schema, its partitioned radacct.

    `primary` says that only a primary shows it: locks, and what has just happened.
    """

    name: str
    check: Check
    needs_database: bool = True
    needs_schema: bool = False
    needs_partitions: bool = False
    primary: bool = False


def examine(context: Context, checks: Sequence[Named], tell: Callable[[Finding], None]) -> None:
    """Run the checks. Report each finding at once.

    If a check gets no answer in time, the connection of `context` is given up.
    """
    end = time.monotonic() + ALL_SECONDS
    for each in checks:
        teller = Teller(each.name)
        if each.needs_database and context.connection is None:
            continue  # the check of the connection says why
        if (each.needs_schema or each.needs_partitions) and not context.facts.has_schema:
            continue  # the check of the migrations says why
        if each.needs_partitions and context.facts.has_stock_radacct:
            continue  # the check of the migrations says why
        if each.primary and context.facts.is_standby:
            tell(teller.unknown("only the primary knows, and this is a standby"))
            continue
        left = end - time.monotonic()
        if left <= 0:
            tell(teller.unknown(f"not checked: the checks before took {ALL_SECONDS:.0f} s"))
            continue
        _run(context, each, teller, tell, min(left, CHECK_SECONDS))


def bounded(connection: psycopg.Connection) -> None:
    """Make the connection read-only, and limit how long it waits."""
    connection.execute("SET default_transaction_read_only = on")
    connection.execute(f"SET statement_timeout = {STATEMENT_MS}")
    connection.execute(f"SET lock_timeout = {LOCK_MS}")
    connection.execute("SET client_min_messages = error")


def _run(
    context: Context, named: Named, teller: Teller, tell: Callable[[Finding], None], seconds: float
) -> None:
    found: list[Finding] = []

    def run() -> None:
        try:
            found.extend(named.check(context))
        except Exception as error:
            found.append(_excuse(teller, error))

    thread = threading.Thread(target=run, daemon=True, name=f"doctor {named.name}")
    thread.start()
    with waits.waiting_for(f"the check {named.name}, for at most {seconds:.0f} s"):
        thread.join(seconds)
    if thread.is_alive():
        tell(teller.unknown(f"no answer within {seconds:.0f} s"))
        if named.needs_database:
            context.connection = None
        return
    for finding in found:
        tell(finding)
    if context.connection is not None and context.connection.broken:
        tell(teller.unknown("the connection to the database was lost meanwhile"))
        context.connection = None


def _excuse(teller: Teller, error: Exception) -> Finding:
    """Return why a check failed."""
    cause = error.__cause__ if isinstance(error, StoreError) and error.__cause__ else error
    said = os_reason(error) if isinstance(error, OSError) else str(error).strip().partition("\n")[0]
    if isinstance(cause, errors.InsufficientPrivilege):
        return teller.unknown(f"this role may not see it: {said}")
    if isinstance(cause, errors.QueryCanceled):
        return teller.unknown(f"no answer within {STATEMENT_MS // 1000} s")
    if isinstance(cause, errors.LockNotAvailable):
        return teller.unknown("locked by another session: try again")
    if isinstance(cause, errors.UndefinedTable | errors.UndefinedFunction | errors.UndefinedColumn):
        return teller.unknown(f"{said} (see schema)")
    if isinstance(error, psycopg.Error | RadmeterError | OSError):
        return teller.unknown(said)
    return teller.unknown(f"the check itself failed, please report it: {type(error).__name__}: {said}")
