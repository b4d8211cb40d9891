"""Alembic's revisions of the tables: which there are, which a database has, and how one is applied."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from radmeter import __version__
from radmeter.database.connection import Connection, translated_errors
from radmeter.database.lock_retries import LOCK_WAIT_MS, PATIENCE_SECONDS, log, retry_until_locked
from radmeter.errors import DiskFull, LockTimeout, StoreError

MIGRATIONS = Path(__file__).parent / "migrations"

# What there has to be before the first revision, as Alembic's own table has to; IF NOT EXISTS would still ask for the
# right to create.
BOOTSTRAP = """
DO $$
BEGIN
    IF to_regclass('radmeter.migration_log') IS NULL THEN
        CREATE TABLE radmeter.migration_log (
            id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at        timestamptz NOT NULL DEFAULT clock_timestamp(),
            who       text NOT NULL DEFAULT session_user,
            operator  text DEFAULT nullif(current_setting('radmeter.operator', true), ''),
            kind      text NOT NULL CHECK (kind IN
                ('revision', 'files', 'partitions', 'decimals', 'ownership', 'takeover', 'adoption')),
            name      text NOT NULL,
            seconds   numeric(10,3),
            version   text NOT NULL
        );
        COMMENT ON TABLE radmeter.migration_log IS 'what was changed about the schema: when, by whom, by which version';
        COMMENT ON COLUMN radmeter.migration_log.who IS 'the database role that logged in';
        COMMENT ON COLUMN radmeter.migration_log.operator IS 'the login name on the machine of the command line';
        COMMENT ON COLUMN radmeter.migration_log.seconds IS 'how long it took; NULL: by a script of a DBA';
        COMMENT ON COLUMN radmeter.migration_log.version IS 'of radmeter';
    END IF;
END;
$$"""


def revisions(connection: sqlalchemy.Connection | None = None) -> Config:
    """Return the Alembic configuration of the package's revisions, bound to `connection` if one is given."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def all_revisions() -> list[Script]:
    """Return every revision of the package, oldest first."""
    return list(ScriptDirectory.from_config(revisions()).walk_revisions())[::-1]


def current_revision(connection: Connection) -> str | None:
    """Return the revision that a database is at; None before the first.

    Raises
    ------
    StoreError
        A newer radmeter has migrated it.
    """
    if connection.execute("SELECT to_regclass('radmeter.alembic_version')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT version_num FROM radmeter.alembic_version").fetchone()
    if row is None:
        return None
    known = [script.revision for script in all_revisions()]
    if row[0] not in known:
        raise StoreError(
            f"the database is at revision {row[0]}, and radmeter {__version__} knows none after {known[-1]}: "
            "a newer radmeter has migrated it; install that one"
        )
    return str(row[0])


def pending_revisions(connection: Connection) -> list[Script]:
    """Return the revisions that a database lacks, oldest first."""
    current = current_revision(connection)
    scripts = all_revisions()
    if current is None:
        return scripts
    return scripts[[script.revision for script in scripts].index(current) + 1 :]


def bootstrap(connection: Connection) -> None:
    """Make what there has to be in the schema radmeter before the first revision."""
    connection.execute(BOOTSTRAP)


def note(connection: Connection | sqlalchemy.Connection, kind: str, name: str, seconds: float | None) -> None:
    """Keep a change of the schema in mind, in the transaction of the change."""
    statement = "INSERT INTO radmeter.migration_log (kind, name, seconds, version) VALUES "
    if isinstance(connection, sqlalchemy.Connection):
        values = {"kind": kind, "name": name, "seconds": seconds, "version": __version__}
        connection.execute(sqlalchemy.text(statement + "(:kind, :name, :seconds, :version)"), values)
    else:
        connection.execute(
            (statement + "(%s, %s, %s, %s)").encode(),
            (kind, name, seconds and round(seconds, 3), __version__),
        )


def run_revisions(
    connection: Connection,
    *,
    upto: str = "head",
    said: Callable[[str], None] = log.info,
    patience_seconds: float = PATIENCE_SECONDS,
    done: Callable[[], None] = lambda: None,
) -> list[str]:
    """Apply the pending revisions, each in a transaction of its own that waits for no lock longer than it may.

    Parameters
    ----------
    connection
        In autocommit mode.
    upto
        The last one to apply.
    done
        Called after each.
    """
    applied = []
    for script in pending_revisions(connection):
        _apply(connection, script, said, patience_seconds)
        applied.append(script.revision)
        done()
        if script.revision == upto:
            break
    return applied


def _apply(
    connection: Connection, script: Script, said: Callable[[str], None], patience_seconds: float
) -> None:
    name = f"revision {script.revision} ({title(script)})"

    with _alchemy(connection) as alchemy:

        def attempt() -> None:
            began = time.monotonic()
            with alchemy.begin():
                alchemy.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'"))
                command.upgrade(revisions(alchemy), script.revision)
                note(alchemy, "revision", script.revision, time.monotonic() - began)

        try:
            retry_until_locked(connection, attempt, what=name, patience_seconds=patience_seconds, said=said)
        except (LockTimeout, DiskFull):
            raise  # they name the revision already
        except StoreError as error:
            raise type(error)(f"{name} cannot be applied, nothing of it is done: {error}") from error


def title(script: Script) -> str:
    """Return what a revision is about, in one line."""
    return (script.doc or "").strip().splitlines()[0].rstrip(".")


@contextmanager
def _alchemy(connection: Connection) -> Iterator[sqlalchemy.Connection]:
    """Give psycopg's connection as SQLAlchemy's, which Alembic wants; in autocommit mode it would begin nothing."""
    connection.autocommit = False
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: connection, poolclass=sqlalchemy.StaticPool
    )
    try:
        with engine.connect() as alchemy:
            yield alchemy
    except sqlalchemy.exc.DBAPIError as error:
        # Tidying up after a connection that the server ended fails as well: what came before is the one to hear of.
        first: BaseException | None = error
        while first is not None and not isinstance(first, StoreError):
            first = first.__context__
        if first is not None:
            raise first from None
        with translated_errors():
            raise (error.orig if isinstance(error.orig, psycopg.Error) else error) from None
    finally:
        with suppress(psycopg.Error):  # the error that ended the connection is the one to hear of
            connection.rollback()
            connection.autocommit = True
