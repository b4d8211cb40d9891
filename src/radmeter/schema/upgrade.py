"""Upgrades a database to the newest schema: Alembic revisions for the tables, then the files under `sql/`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from radmeter.database.advisory_locks import take_upgrade_lock
from radmeter.database.connection import Connection, connect, translated_errors
from radmeter.database.deadline import patient
from radmeter.database.lock_retries import PATIENCE_SECONDS, bounded_waits, log, with_lock_retries
from radmeter.errors import DiskFull, StoreError
from radmeter.partitions.months import MONTHS_AHEAD
from radmeter.progress import Listener, Quiet
from radmeter.schema import decimal_conversion, existing_tables, table_code
from radmeter.schema.known_revisions import pending_revisions
from radmeter.schema.migration_log import note
from radmeter.schema.ownership import (
    OWNER,
    act_as_owner,
    hand_over,
    make_roles,
    may_act_as_owner,
    refuse_strangers,
)
from radmeter.schema.revisions import bootstrap, run_revisions
from radmeter.schema.sql_files import RADACCT, apply_sql_files, changed_files


def upgrade(
    dsn: str,
    *,
    timezone: str | None = None,
    listener: Listener | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
    options: str | None = None,
    reapply: bool = False,
) -> None:
    """Upgrade the database at `dsn` to the newest schema. Safe to run twice, and from two places at once.

    Parameters
    ----------
    dsn
        libpq connection string or URI of a role that may create tables and roles, or of a member of radmeter_owner.
    timezone
        An IANA name that becomes the installation's time zone. None: it stays.
    listener
        Is told of the progress. None: it goes to the log.
    patience_seconds
        How long to try to get a lock.
    options
        libpq's `options` for the connection: settings of the session.
    reapply
        Apply the SQL files even if none has changed.

    Raises
    ------
    StoreUnavailable
        The database cannot be reached.
    LockTimeout
        A step could not get a lock within `patience_seconds`.
    DiskFull
        The disk of the server is full.
    StoreError
        The database cannot be upgraded as it is.
    """
    listener = listener or Quiet()
    given: dict[str, Any] = {} if options is None else {"options": options}
    with (
        connect(dsn, deadline=patient(), **given) as connection,
        bounded_waits(connection, patience_seconds, said=listener.say, what="migrating"),
        _full_disk(),
        translated_errors(),
    ):
        take_upgrade_lock(connection, listener.say)
        # Find what cannot be done before anything is changed. A stranger's tables are not even read.
        refuse_strangers(connection)
        refuse_stock_table(connection)
        existing_tables.check(connection, [script.revision for script in pending_revisions(connection)])
        decimal_conversion.check(connection)
        prepare(connection, listener.say, patience_seconds)
        listener.advance()
        run_revisions(
            connection,
            said=listener.say,
            patience_seconds=patience_seconds,
            done=listener.advance,
            apply_files=apply_files,
        )
        for column in decimal_conversion.check(connection):
            decimal_conversion.convert(
                connection, column, said=listener.say, patience_seconds=patience_seconds
            )
            listener.advance()
        with_lock_retries(
            connection,
            lambda opened: apply_files(opened, reapply),
            what="applying the SQL files",
            patience_seconds=patience_seconds,
            said=listener.say,
        )
        listener.advance()
        _make_partitions(connection, listener, patience_seconds)
        if timezone is not None:
            _set_timezone(connection, timezone)


@contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        if isinstance(error.__cause__, psycopg.errors.DiskFull):
            raise DiskFull(
                f"the disk of the server is full ({error}): make room, then run the same command again"
            ) from error
        raise


def steps(revisions_and_columns: int) -> int:
    """Return how often a listener advances: once for roles, each revision, column, the SQL files, each partition."""
    return 1 + revisions_and_columns + 1 + MONTHS_AHEAD + 1


def refuse_stock_table(connection: Connection) -> None:
    """Refuse a database whose radacct is not radmeter's.

    Raises
    ------
    StoreError
        public.radacct is FreeRADIUS's own table, or no table.
    """
    row = connection.execute(
        "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", (RADACCT,)
    ).fetchone()
    if row == ("r",) and _is_being_undone(connection):
        raise StoreError("the adoption of radacct is being undone: `radmeter adopt --undo` finishes that")
    if row == ("r",):
        raise StoreError(
            "public.radacct is FreeRADIUS's own table: `radmeter adopt --from radacct` adopts it, with its sessions"
        )
    if row not in (None, ("p",)):
        raise StoreError("public.radacct is not a table: rename it, then run `radmeter migrate up` again")


def _is_being_undone(connection: Connection) -> bool:
    if not table_code.is_table(connection, "radmeter.adoption"):
        return False
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM radmeter.adoption WHERE undone_at IS NULL AND state = 'returning')"
    ).fetchone()
    return row == (True,)


def prepare(
    connection: Connection,
    said: Callable[[str], None] = log.info,
    patience_seconds: float = PATIENCE_SECONDS,
) -> bool:
    """Make the roles and the schema radmeter, hand our objects over to radmeter_owner, and act as it from now on.

    Returns
    -------
    bool
        Whether the session acts as radmeter_owner. If the role that logged in may not, it owns what is made.
    """
    make_roles(connection, said)
    if connection.execute("SELECT to_regnamespace('radmeter')").fetchone() == (None,):
        connection.execute("CREATE SCHEMA radmeter")
    began = time.monotonic()
    if not may_act_as_owner(connection):
        said(f"warning: new objects belong to the role that logged in, since it may not act as {OWNER}")
        bootstrap(connection)
        return False
    moved = hand_over(connection, said=said, patience_seconds=patience_seconds)
    act_as_owner(connection)
    bootstrap(connection)
    if moved > 1:
        note(connection, "ownership", f"{moved} objects to {OWNER}", time.monotonic() - began)
    return True


def apply_files(connection: Connection, reapply: bool = False) -> None:
    """Apply the SQL files if one changed, or all if asked, and note it in migration_log."""
    began = time.monotonic()
    changed = changed_files(connection)
    if apply_sql_files(connection, reapply=reapply):
        name = "all again" if reapply else f"{len(changed)} changed"
        note(connection, "files", name, time.monotonic() - began)


def _make_partitions(connection: Connection, listener: Listener, patience_seconds: float) -> None:
    """Make the partitions ahead, so that they exist before the jobs first run. Later the jobs make them.

    Each has a transaction of its own: to attach a partition locks the open sessions until the transaction ends.
    """
    for month in range(MONTHS_AHEAD + 1):

        def make(opened: Connection, month: int = month) -> None:
            began = time.monotonic()
            row = opened.execute(
                """SELECT radmeter.ensure_partition(at), to_char(at AT TIME ZONE 'UTC', 'YYYY-MM')
                   FROM (SELECT now() + %s * interval '1 month' AS at) AS months""",
                (month,),
            ).fetchone()
            if row and row[0]:
                note(opened, "partitions", row[1], time.monotonic() - began)

        with_lock_retries(
            connection, make, what="making a partition", patience_seconds=patience_seconds, said=listener.say
        )
        listener.advance()


def _set_timezone(connection: Connection, timezone: str) -> None:
    connection.execute(
        "UPDATE radmeter.setting SET value = %(tz)s, changed_at = now() WHERE name = 'timezone' AND value <> %(tz)s",
        {"tz": timezone},
    )
