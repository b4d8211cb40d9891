"""Writes an upgrade as an SQL script, for a DBA who runs it by hand."""

import io
from typing import Any

from psycopg import sql

from radmeter import __version__
from radmeter.database.advisory_locks import UPGRADE
from radmeter.database.connection import SEARCH_PATH, Connection
from radmeter.database.lock_retries import LOCK_WAIT_MS
from radmeter.errors import ConfigurationError, StoreError
from radmeter.partitions.months import MONTHS_AHEAD
from radmeter.schema import decimal_columns, decimal_conversion, existing_tables, ownership
from radmeter.schema.known_revisions import all_revisions, current_revision
from radmeter.schema.plan import partitions_to_make
from radmeter.schema.revisions import BOOTSTRAP, alembic_upgrade, revisions
from radmeter.schema.sql_files import changed_files, current_files, is_so_already, roles_file, statements

# Names are looked up in pg_catalog only, as in our own connections.
PATH = SEARCH_PATH.replace("SET ", "SET LOCAL ")

HEADER = """-- radmeter {version}: from {begin} to revision {end}.
-- One transaction: psql -X -f FILE (with or without -1). The result is the same as that of `radmeter migrate up`.
-- It holds its locks until its end, which `radmeter migrate up` avoids, and waits at most {wait} ms for each lock.
-- If it ends with a lock timeout, nothing was done: run it again.
BEGIN;
{path};
SET LOCAL lock_timeout = '{wait}ms';
SET LOCAL client_min_messages = warning;
SELECT pg_advisory_xact_lock(hashtextextended('{lock}', 0));
"""

GUARD = """DO $script$
DECLARE
    v_revision text;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = to_regclass('public.radacct')) = 'r' THEN
        RAISE EXCEPTION 'public.radacct is a table of FreeRADIUS: radmeter adopt --from radacct adopts it';
    END IF;
    IF to_regclass('radmeter.alembic_version') IS NOT NULL THEN
        SELECT version_num INTO v_revision FROM radmeter.alembic_version;
    END IF;
    IF v_revision IS DISTINCT FROM {revision} THEN
        RAISE EXCEPTION 'this script is for a database at revision {name}, and this one is at %',
            coalesce(v_revision, 'base');
    END IF;
END;
$script$;
"""


def script(connection: Connection) -> str:
    """Return the script that upgrades a database from its present state. Without anything to do it is one comment.

    Raises
    ------
    StoreError
        The database cannot be upgraded as it is.
    """
    ownership.refuse_strangers(connection)
    begin = current_revision(connection)
    pending = [each.revision for each in _after(begin)]
    adopting = existing_tables.check(connection, pending)
    columns = decimal_conversion.check(connection)
    if any(column.begun for column in columns):
        raise StoreError(
            "`radmeter migrate up` was interrupted while it converted a column in batches: run it again to the end"
        )
    conversions = [
        statement
        for column in columns
        for statement in decimal_columns.at_once(column, decimal_columns.decimal_default(connection, column))
    ]
    conversions += [_note("decimals", column.name) for column in columns]
    triggers = [
        text
        for file in current_files()
        if file.path.startswith("triggers/")
        for text in statements(file)
        if begin is None or not is_so_already(connection, text)
    ]
    if not pending and not columns and not partitions_to_make(connection) and not changed_files(connection):
        return f"-- radmeter {__version__}: the database is up to date, there is nothing to do\n"
    return _text(begin, adopting, conversions, triggers)


def script_from(begin: str) -> str:
    """Return the script that upgrades from a revision, or from ``base``, for a database that cannot be reached.

    Raises
    ------
    ConfigurationError
        There is no such revision.
    """
    known = [each.revision for each in all_revisions()]
    if begin != "base" and begin not in known:
        raise ConfigurationError(f"there is no revision {begin}: base, {', '.join(known)}")
    triggers = [
        text for file in current_files() if file.path.startswith("triggers/") for text in statements(file)
    ]
    return _text(None if begin == "base" else begin, {}, [], triggers)


def _after(begin: str | None) -> list[Any]:
    scripts = all_revisions()
    if begin is None:
        return scripts
    return scripts[[script.revision for script in scripts].index(begin) + 1 :]


def _text(
    begin: str | None, adopting: dict[str, list[str]], conversions: list[str], triggers: list[str]
) -> str:
    name = begin or "base"
    end = all_revisions()[-1].revision
    literal = "NULL" if begin is None else sql.Literal(begin).as_string()
    parts = [
        HEADER.format(version=__version__, begin=name, end=end, wait=LOCK_WAIT_MS, lock=UPGRADE, path=PATH),
        GUARD.format(revision=literal, name=name),
        roles_file(),
        "DO $script$ BEGIN\n"
        "    IF to_regnamespace('radmeter') IS NULL THEN CREATE SCHEMA radmeter; END IF;\nEND; $script$;",
        ownership.script(),
        BOOTSTRAP + ";",
        *(_revision(begin, adopting) if begin != end else []),
        *(statement.rstrip(";") + ";" for statement in conversions),
        "SET LOCAL check_function_bodies = off;",
    ]
    files = current_files()
    parts += [file.text for file in files if not file.path.startswith("triggers/")]
    parts += [text.rstrip(";") + ";" for text in triggers]
    values = ",\n    ".join(f"('{file.path}', '{file.checksum}')" for file in files)
    parts += [
        "DELETE FROM radmeter.sql_file;",
        f"INSERT INTO radmeter.sql_file (path, checksum) VALUES\n    {values};",
        _note("files", f"{len(files)} by script") + ";",
        # Partitions come last: to attach one locks the open sessions.
        f"SELECT radmeter.ensure_partition(month) FROM radmeter.missing_months({MONTHS_AHEAD});",
        "COMMIT;",
    ]
    return "\n".join(part.strip() + "\n" for part in parts)


def _revision(begin: str | None, adopting: dict[str, list[str]]) -> list[str]:
    parts = []
    last = begin or "base"
    for each in _after(begin):
        buffer = io.StringIO()
        config = revisions()
        config.output_buffer = buffer
        config.attributes["existing_tables"] = adopting
        config.attributes["step"] = each.revision
        alembic_upgrade(config, each.revision, sql_after=last)
        parts += [buffer.getvalue(), _note("revision", each.revision) + ";"]
        last = each.revision
    return parts


def _note(kind: str, name: str) -> str:
    return f"INSERT INTO radmeter.migration_log (kind, name, version) VALUES ('{kind}', '{name}', '{__version__}')"
