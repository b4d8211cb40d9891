"""Applies the revisions of the tables, by Alembic. `known_revisions` says which there are, and which are missing."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import sqlalchemy
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory

from radmeter import __version__
from radmeter.database.advisory_locks import INGEST, take_in_transaction
from radmeter.database.connection import Connection, translated_errors
from radmeter.database.lock_retries import (
    LOCK_WAIT_MS,
    PATIENCE_SECONDS,
    create_index_with_lock_retries,
    log,
    retry_until_locked,
)
from radmeter.database.revision_constants import MIGRATIONS
from radmeter.errors import DiskFull, LockTimeout, StoreError
from radmeter.schema import table_code
from radmeter.schema.known_revisions import Revision, pending_revisions
from radmeter.schema.migration_log import STATEMENT

# Must exist before the first revision, as Alembic's own table must. CREATE TABLE IF NOT EXISTS would need the right to
# create even if the table exists.
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


@functools.cache
def _directory() -> ScriptDirectory:
    """Return Alembic's view of the package's revisions, whose files it reads once."""
    return ScriptDirectory.from_config(revisions())


def alembic_upgrade(config: Config, upto: str, *, sql_after: str | None = None) -> None:
    """Do what `alembic.command.upgrade` does, which would read all revisions again for each that is applied.

    Parameters
    ----------
    sql_after
        Print the SQL of the revisions after this one, and apply nothing. ``base``: all of them.
    """
    directory = _directory()

    def steps(current: Any, _: Any) -> list[Any]:
        scripts = [*directory.iterate_revisions(upto, current, implicit_base=True)][::-1]
        return [MigrationStep.upgrade_from_script(directory.revision_map, script) for script in scripts]

    with EnvironmentContext(
        config,
        directory,
        fn=steps,
        as_sql=sql_after is not None,
        starting_rev=sql_after,
        destination_rev=upto,
    ):
        directory.run_env()


def bootstrap(connection: Connection) -> None:
    """Make what the first revision needs in the schema radmeter."""
    connection.execute(BOOTSTRAP)


def _note(alchemy: sqlalchemy.Connection, name: str, seconds: float) -> None:
    """Do what `migration_log.note` does, over SQLAlchemy's connection."""
    values = {"kind": "revision", "name": name, "seconds": seconds, "version": __version__}
    alchemy.execute(sqlalchemy.text(STATEMENT + "(:kind, :name, :seconds, :version)"), values)


def run_revisions(
    connection: Connection,
    *,
    upto: str = "head",
    said: Callable[[str], None] = log.info,
    patience_seconds: float = PATIENCE_SECONDS,
    done: Callable[[], None] = lambda: None,
    apply_files: Callable[[Connection], None] | None = None,
) -> list[str]:
    """Apply the pending revisions with lock retries, each in a transaction of its own.

    A revision that renames what the SQL files use says so (`with_sql_files`). From the first such revision on, all
    revisions and the files are one transaction. Else every batch between the two would be refused.

    A revision may name indexes of tables that exist already (`indexes_ahead`). They are made before all revisions,
    while others write. Such an index can use only columns that every version of its table has.

    Parameters
    ----------
    connection
        In autocommit mode.
    upto
        The last revision to apply.
    done
        Called after each revision.
    apply_files
        Applies the SQL files. None if no function of radmeter's is in use yet.
    """
    scripts = pending_revisions(connection)
    if upto != "head":
        scripts = scripts[: [script.revision for script in scripts].index(upto) + 1]
    for name, statement in indexes_ahead(connection, scripts):
        create_index_with_lock_retries(
            connection, name, statement, patience_seconds=patience_seconds, said=said
        )
    together = len(scripts)
    if apply_files is not None:
        renaming = (at for at, each in enumerate(scripts) if getattr(each.module, "with_sql_files", False))
        together = next(renaming, together)
    for script in scripts[:together]:
        _apply(connection, [script], said, patience_seconds)
        done()
    if scripts[together:]:
        _apply(connection, scripts[together:], said, patience_seconds, apply_files)
        for _ in scripts[together:]:
            done()
    return [script.revision for script in scripts]


def indexes_ahead(connection: Connection, scripts: Sequence[Revision]) -> list[tuple[str, str]]:
    """Return the indexes that are made before the revisions, as ``(name, CREATE INDEX CONCURRENTLY ..)``."""
    return [
        (name, statement)
        for script in scripts
        for name, (table, statement) in getattr(script.module, "indexes_ahead", {}).items()
        if table_code.is_table(connection, table)
    ]


def _apply(
    connection: Connection,
    scripts: Sequence[Revision],
    said: Callable[[str], None],
    patience_seconds: float,
    apply_files: Callable[[Connection], None] | None = None,
) -> None:
    name = ", ".join(f"revision {script.revision} ({script.title})" for script in scripts)

    with _alchemy(connection) as alchemy:

        def attempt() -> None:
            with _driver_errors(), alchemy.begin():
                alchemy.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'"))
                if apply_files is not None:
                    # A batch that had begun would go on with some old and some new functions. Batches take this lock
                    # first, too, so the locks on tables come after it.
                    take_in_transaction(connection, INGEST)
                for script in scripts:
                    began = time.monotonic()
                    alembic_upgrade(revisions(alchemy), script.revision)
                    _note(alchemy, script.revision, time.monotonic() - began)
                if apply_files is not None:
                    apply_files(connection)

        try:
            retry_until_locked(connection, attempt, what=name, patience_seconds=patience_seconds, said=said)
        except (LockTimeout, DiskFull):
            raise  # they name the revision already
        except StoreError as error:
            raise type(error)(f"{name} cannot be applied, nothing of it was done: {error}") from error


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Raise the driver's error in place of SQLAlchemy's, which wraps it. Lock retries know the driver's."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from error
        raise


@contextmanager
def _alchemy(connection: Connection) -> Iterator[sqlalchemy.Connection]:
    """Give psycopg's connection as SQLAlchemy's, which Alembic needs. In autocommit mode it would begin nothing."""
    connection.autocommit = False
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: connection, poolclass=sqlalchemy.StaticPool
    )
    try:
        with engine.connect() as alchemy:
            yield alchemy
    except sqlalchemy.exc.DBAPIError as error:
        # If the server ended the connection, tidying up fails as well. The first error is the one to report.
        first: BaseException | None = error
        while first is not None and not isinstance(first, StoreError):
            first = first.__context__
        if first is not None:
            raise first from None
        with translated_errors():
            raise (error.orig if isinstance(error.orig, psycopg.Error) else error) from None
    finally:
        with suppress(psycopg.Error):  # the error that ended the connection is reported already
            connection.rollback()
            connection.autocommit = True
