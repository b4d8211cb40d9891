"""The files under ``sql/``: functions, views, grants and triggers. All are applied again when one has changed."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from radmeter import resources
from radmeter.database.connection import Connection, translated_errors
from radmeter.errors import StoreError
from radmeter.schema import table_code

ROLES = "roles.sql"
GRANTS = "grants.sql"
POLICIES = "policies.sql"
# Functions come first: views, triggers and bodies in the form RETURN need the functions that they name. Views lock
# themselves, triggers lock radacct and policies the counters, so they come last: what ingest uses is locked for the
# shortest time.
ORDER = (
    "functions/shared",
    "functions/counters",
    "functions/routers",
    "functions/ingest",
    "functions/jobs",
    "functions/partitions",
    "functions/adoption",
    "functions/verify",
    "functions/people",
    "functions/quotas",
    "functions/billing",
    "functions/webhooks",
    "functions/alerts",
    "functions/keys",
    "views.sql",
    GRANTS,
    "triggers",
    POLICIES,
)
RADACCT = "public.radacct"
# The roles to which the grants give something.
GRANTEES = (
    "radmeter_ingest",
    "radmeter_reader",
    "radmeter_noc",
    "radmeter_billing",
    "radmeter_login",
    "radmeter_tenant",
    "radmeter_api",
)


class SqlFile(NamedTuple):
    """A file: its path below ``sql/``, its text, and the text's SHA-256."""

    path: str
    text: str
    checksum: str


def sql_files() -> list[tuple[str, str]]:
    """Return ``(path, text)`` of every file under ``sql/``, in the order in which they are applied."""
    root = resources.directory("sql")
    paths: list[Path] = []
    for name in ORDER:
        entry = root / name
        paths.extend(sorted(entry.rglob("*.sql")) if entry.is_dir() else [entry])
    if forgotten := {*root.rglob("*.sql")} - {*paths, root / ROLES}:
        raise AssertionError(f"ORDER names no room for {', '.join(sorted(map(str, forgotten)))}")
    return [(str(path.relative_to(root)), path.read_text(encoding="utf-8")) for path in paths]


def roles_file() -> str:
    """Return the text of the file that makes the roles. It runs each time, before the others, as the login role."""
    return (resources.directory("sql") / ROLES).read_text(encoding="utf-8")


def current_files() -> list[SqlFile]:
    """Return the files with their checksums, in the order in which they are applied."""
    return [SqlFile(path, text, hashlib.sha256(text.encode()).hexdigest()) for path, text in sql_files()]


def changed_files(connection: Connection) -> list[str]:
    """Return the paths of files that differ from what the database has: changed, new or removed.

    The grants are among them, too, if a role was made after they were applied.
    """
    applied: dict[str, str] = {}
    if table_code.is_table(connection, "radmeter.sql_file"):
        applied = dict(connection.execute("SELECT path, checksum FROM radmeter.sql_file").fetchall())
    if _roles_without_rights(connection):
        for path in (GRANTS, POLICIES):
            applied.pop(path, None)
    files = {file.path: file.checksum for file in current_files()}
    return [path for path in files | applied if files.get(path) != applied.get(path)]


def _roles_without_rights(connection: Connection) -> bool:
    """Tell whether one of radmeter's roles has no right of its own on the schema radmeter."""
    row = connection.execute(
        """SELECT EXISTS (
               SELECT FROM pg_roles AS role, pg_namespace AS schema
               WHERE nspname = 'radmeter' AND role.oid <> nspowner AND rolname = ANY (%s)
                 AND NOT EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee = role.oid))""",
        (list(GRANTEES),),
    ).fetchone()
    return row == (True,)


def apply_sql_files(connection: Connection, radacct: str = RADACCT, *, reapply: bool = False) -> bool:
    """Apply all files if any has changed, in the transaction of the caller. Return whether they were applied.

    A file may be applied twice. All files together are one state, so they are always applied together.

    Parameters
    ----------
    radacct
        The table that will become public.radacct. An adoption prepares it under another name.
    reapply
        Apply the files even if none has changed.
    """
    files = current_files()
    if not reapply and not changed_files(connection):
        return False
    # Bodies are not checked before they run: a function may name another one that comes later in the list.
    connection.execute("SET LOCAL check_function_bodies = off")
    connection.execute("SET LOCAL client_min_messages = warning")
    for file in files:
        try:
            with translated_errors():
                for statement in statements(file, radacct):
                    if not is_so_already(connection, statement):
                        connection.execute(statement.encode())
        except StoreError as error:
            raise type(error)(f"sql/{file.path} cannot be applied: {error}") from error.__cause__
    connection.execute("DELETE FROM radmeter.sql_file")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO radmeter.sql_file (path, checksum) VALUES (%s, %s)",
            [(file.path, file.checksum) for file in files],
        )
    return True


def apply_grants(connection: Connection) -> None:
    """Give radmeter's roles their rights again. The database has the other files already, unchanged."""
    with translated_errors():
        for file in current_files():
            if file.path in (GRANTS, POLICIES):
                connection.execute(file.text.encode())


def statements(file: SqlFile, radacct: str = RADACCT) -> Iterator[str]:
    """Yield the statements of a file: triggers one by one, any other file as a whole."""
    text = file.text
    # The name in a function's text is looked up when the function runs. Then the table has the name. A parsed body
    # (BEGIN ATOMIC) is bound to the table itself, like a view.
    if radacct != RADACCT and (not file.path.startswith("functions/") or "\nBEGIN ATOMIC\n" in text):
        text = re.sub(r"\bpublic\.radacct\b", radacct, text)
    if file.path.startswith("triggers/") and "$$" not in text:
        bare = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
        yield from (statement.strip() for statement in bare.split(";") if statement.strip())
    else:
        yield text


def trigger_of(statement: str) -> tuple[str, str]:
    """Return the name and the table of the trigger that a statement makes; both empty if it makes none."""
    match = re.match(r"CREATE OR REPLACE TRIGGER (\w+)\s.*?\sON ([\w.]+)\s", statement, re.DOTALL)
    return (match[1], match[2]) if match else ("", "")


def is_so_already(connection: Connection, statement: str) -> bool:
    """Tell whether the trigger of a statement exists unchanged. To make it again would lock its table for nothing."""
    name, table = trigger_of(statement)
    if not name:
        return False
    row = connection.execute(
        """SELECT pg_get_triggerdef(oid) FROM pg_trigger
           WHERE tgname = %s AND tgrelid = to_regclass(%s) AND NOT tgisinternal""",
        (name, table),
    ).fetchone()
    wanted = " ".join(statement.replace("CREATE OR REPLACE TRIGGER", "CREATE TRIGGER").split())
    return row is not None and row[0] == wanted
