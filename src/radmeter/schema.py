"""Brings a database to the newest schema: Alembic revisions for the tables, then the files under `sql/`."""

import hashlib
import logging
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config

from radmeter import resources
from radmeter.errors import StoreError
from radmeter.jobs import MONTHS_AHEAD
from radmeter.store import sqlalchemy_engine, translated_errors

log = logging.getLogger(__name__)

# Any 64-bit number that is ours alone: two upgrades of one database wait for each other on it.
UPGRADE_LOCK = 0x7261_646D_6574_6572  # "radmeter"

# Functions before the triggers and views that name them; grants last, over all of it.
ORDER = ("functions", "triggers", "views.sql", "grants.sql")


def upgrade(dsn: str, *, timezone: str | None = None) -> None:
    """Bring the database at `dsn` to the newest schema; safe to run twice and from two places at once.

    Parameters
    ----------
    dsn
        libpq connection string or URI of a role that may create tables and roles.
    timezone
        IANA name; when given it becomes the installation's default time zone.

    Raises
    ------
    StoreUnavailable
        The database cannot be reached.
    """
    with sqlalchemy_engine(dsn).connect() as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": UPGRADE_LOCK})
        connection.execute(sqlalchemy.text("CREATE SCHEMA IF NOT EXISTS radmeter"))
        connection.commit()
        _run_revisions(connection)
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError(f"the engine's driver is {type(driver).__name__}, not psycopg")
        with driver.transaction():
            _apply_sql_files(driver)
            # The jobs keep making them; a database is whole before they first run.
            driver.execute(
                "SELECT radmeter.ensure_partition(now() + n * interval '1 month') FROM generate_series(0, %s) AS n",
                (MONTHS_AHEAD,),
            )
            if timezone is not None:
                _set_timezone(driver, timezone)


def revisions(connection: sqlalchemy.Connection | None = None) -> Config:
    """Return the Alembic configuration of the package's revisions, bound to `connection` if one is given."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def sql_files() -> list[tuple[str, str]]:
    """Return ``(path, text)`` of every file under ``sql/``, in the order in which they are applied."""
    root = resources.directory("sql")
    paths: list[Path] = []
    for name in ORDER:
        entry = root / name
        paths.extend(sorted(entry.glob("*.sql")) if entry.is_dir() else [entry])
    return [(str(path.relative_to(root)), path.read_text(encoding="utf-8")) for path in paths]


def _run_revisions(connection: sqlalchemy.Connection) -> None:
    command.upgrade(revisions(connection), "head")
    connection.commit()


def _apply_sql_files(connection: psycopg.Connection) -> None:
    """Apply all files when any changed: they are written to be applied twice, and together they are one state."""
    files = [(path, text, hashlib.sha256(text.encode()).hexdigest()) for path, text in sql_files()]
    applied: dict[str, str] = dict(
        connection.execute("SELECT path, checksum FROM radmeter.sql_file").fetchall()
    )
    if applied == {path: checksum for path, _, checksum in files}:
        return
    log.info("applying %d SQL files", len(files))
    # Bodies are checked when they first run: one function may name another that comes later in the list.
    connection.execute("SET LOCAL check_function_bodies = off")
    connection.execute("SET LOCAL client_min_messages = warning")
    for path, text, _ in files:
        try:
            with translated_errors():
                connection.execute(text.encode())
        except StoreError as error:
            raise type(error)(f"sql/{path} cannot be applied: {error}") from error
    connection.execute("DELETE FROM radmeter.sql_file")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO radmeter.sql_file (path, checksum) VALUES (%s, %s)",
            [(path, checksum) for path, _, checksum in files],
        )


def _set_timezone(connection: psycopg.Connection, timezone: str) -> None:
    connection.execute(
        "UPDATE radmeter.setting SET value = %(tz)s, changed_at = now() WHERE name = 'timezone' AND value <> %(tz)s",
        {"tz": timezone},
    )
