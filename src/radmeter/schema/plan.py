"""Says what an upgrade would do to a database: each step, what it locks, and for how long."""

from collections.abc import Iterator
from typing import NamedTuple

from radmeter.database.connection import Connection
from radmeter.database.lock_retries import LOCK_WAIT_MS
from radmeter.partitions.months import MONTHS_AHEAD, missing_months
from radmeter.schema import decimal_columns, decimal_conversion, existing_tables, manifest
from radmeter.schema.decimal_columns import Change, DecimalColumn
from radmeter.schema.known_revisions import Revision, current_revision, pending_revisions
from radmeter.schema.ownership import OWNER, ROLES, foreign, refuse_strangers, will_revoke_temporary
from radmeter.schema.revisions import indexes_ahead
from radmeter.schema.sql_files import (
    RADACCT,
    changed_files,
    current_files,
    is_so_already,
    statements,
    trigger_of,
)
from radmeter.units import counted

# What each revision locks of the tables that existed before it. A revision may also say so itself, in `locks`.
LOCKS: dict[str, dict[str, str]] = {
    "0003": {"public.routers": "ACCESS EXCLUSIVE", "public.accounting_anomaly": "SHARE"},
    "0004": {"public.plans": "SHARE ROW EXCLUSIVE"},
}

# Seconds for: a step in any case; one row of an index that is made under a lock (measured: 0.4 us to 2.5 us); one row
# that is rewritten (4-6 us); one row that a batch converts (3-4 us, and the pauses between batches); one SQL file.
# The numbers for a row are on the high side, since they were measured on a server without fsync.
STEP_SECONDS = 0.02
INDEX_ROW_SECONDS = 2.5e-6
REWRITTEN_ROW_SECONDS = 1.5e-5
CONVERTED_ROW_SECONDS = 4e-5
FILE_SECONDS = 0.004


class Lock(NamedTuple):
    """A lock on a table that others use, and how long it is held."""

    relation: str
    mode: str
    seconds: float

    def __str__(self) -> str:
        held = f"{self.seconds * 1000:.0f} ms" if self.seconds < 1 else f"{self.seconds:.1f} s"
        return f"{self.mode} on {self.relation} for about {held}"


class Step(NamedTuple):
    """A step of an upgrade: one transaction, or several small ones that belong together."""

    kind: str
    name: str
    what: str
    locks: tuple[Lock, ...]
    seconds: float


class Plan(NamedTuple):
    """All steps of an upgrade."""

    current: str | None
    newest: str
    steps: tuple[Step, ...]
    changes: tuple[Change, ...]

    @property
    def seconds(self) -> float:
        """The estimate for all steps, without the time to wait for locks."""
        return sum(step.seconds for step in self.steps)


def plan(connection: Connection, *, reapply: bool = False) -> Plan:
    """Return what an upgrade would do. Reads only.

    Parameters
    ----------
    reapply
        Apply the SQL files even if none changed.

    Raises
    ------
    StoreError
        The upgrade would be refused, and would change nothing.
    """
    refuse_strangers(connection)
    pending = pending_revisions(connection)
    adopting = existing_tables.check(connection, [script.revision for script in pending])
    columns = decimal_conversion.check(connection)
    steps = [
        *_roles(connection),
        *_handed_over(connection),
        *_existing_tables(connection, adopting),
        *_indexes_ahead(connection, pending),
        *(_revision(connection, script) for script in pending),
        *(_conversion(column) for column in columns),
        *_files(connection, reapply),
        *_partitions(connection),
    ]
    changes = [change for column in columns for change in decimal_columns.changes(connection, column)]
    newest = pending[-1].revision if pending else current_revision(connection)
    assert newest is not None
    return Plan(current_revision(connection), newest, tuple(steps), tuple(changes))


def _roles(connection: Connection) -> Iterator[Step]:
    rows = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (list(ROLES),)
    ).fetchall()
    if missing := [role for role in ROLES if (role,) not in rows]:
        yield Step("roles", "roles", f"make the roles {', '.join(missing)} (without login)", (), STEP_SECONDS)
    if will_revoke_temporary(connection):
        what = f"revoke TEMPORARY on the database from PUBLIC: only {OWNER} needs temporary tables"
        yield Step("roles", "TEMPORARY", what, (), STEP_SECONDS)


def _handed_over(connection: Connection) -> Iterator[Step]:
    things = [thing for thing in foreign(connection) if thing.movable]
    if things:
        locks = tuple(
            Lock(thing.name, "ACCESS EXCLUSIVE", 0.002)
            for thing in things
            if thing.kind not in ("ROUTINE", "SCHEMA")
        )
        owners = ", ".join(sorted({thing.owner for thing in things}))
        what = f"hand {len(things)} objects of {owners} over to {OWNER}, one at a time"
        yield Step("ownership", OWNER, what, locks, 0.005 * len(things))


def _existing_tables(connection: Connection, adopting: dict[str, list[str]]) -> Iterator[Step]:
    for table in existing_tables.pending(connection, adopting):
        found = [text for texts in adopting.values() for text in texts if f"public.{table} " in text]
        altered = [text for text in found if text.startswith(("ALTER", "CREATE"))]
        seconds = STEP_SECONDS + _rows(connection, f"public.{table}") * REWRITTEN_ROW_SECONDS
        yield Step(
            "takeover", table, f"adopt the existing table public.{table}: {len(altered)} changes",
            (Lock(f"public.{table}", "ACCESS EXCLUSIVE", seconds),), seconds,
        )  # fmt: skip


def _indexes_ahead(connection: Connection, pending: list[Revision]) -> Iterator[Step]:
    for name, statement in indexes_ahead(connection, pending):
        table = statement.split(" ON ")[1].split()[0]
        seconds = STEP_SECONDS + _rows(connection, table) * INDEX_ROW_SECONDS
        lock = Lock(table, "SHARE UPDATE EXCLUSIVE", seconds)
        yield Step("indexes", name, f"make the index {name} while others write", (lock,), seconds)


def _revision(connection: Connection, script: Revision) -> Step:
    declared = {**LOCKS.get(script.revision, {}), **getattr(script.module, "locks", {})}
    reads_no_row = getattr(script.module, "catalog_only", False)
    seconds = {
        # A lock under which others may write is for a change of settings, not for an index.
        relation: STEP_SECONDS
        + (
            0.0
            if reads_no_row or mode == "SHARE UPDATE EXCLUSIVE"
            else _rows(connection, relation) * INDEX_ROW_SECONDS
        )
        for relation, mode in declared.items()
        if _is_there(connection, relation)
    }
    whole = max(STEP_SECONDS, sum(seconds.values()))
    locks = tuple(Lock(relation, declared[relation], whole) for relation in seconds)
    return Step("revision", script.revision, script.title, locks, whole)


def _conversion(column: DecimalColumn) -> Step:
    relation = f"public.{column.table}"
    if decimal_conversion.is_online(column):
        what = f"convert {column.name} from {column.type} to {column.decimal} in batches: {counted(column.rows, 'row')}"
        locks = (
            Lock(relation, "ACCESS EXCLUSIVE", STEP_SECONDS),
            Lock(f"rows of {relation}", "FOR NO KEY UPDATE", 0.05),
        )
        return Step("decimals", column.name, what, locks, STEP_SECONDS + column.rows * CONVERTED_ROW_SECONDS)
    seconds = STEP_SECONDS + column.rows * REWRITTEN_ROW_SECONDS
    what = (
        f"convert {column.name} from {column.type} to {column.decimal} at once: {counted(column.rows, 'row')}"
    )
    return Step("decimals", column.name, what, (Lock(relation, "ACCESS EXCLUSIVE", seconds),), seconds)


def _files(connection: Connection, reapply: bool) -> Iterator[Step]:
    changed = changed_files(connection)
    if not changed and not reapply:
        return
    files = current_files()
    what = f"apply the {len(files)} SQL files{' again' if reapply else ''}, of which {len(changed)} changed"
    if changed:
        what += ": " + ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
    locks = []
    if _is_there(connection, "radmeter.user_usage"):
        locks.append(Lock("the views of the schema radmeter", "ACCESS EXCLUSIVE", 0.1))
    if _is_there(connection, RADACCT):
        triggers = [text for file in files if file.path.startswith("triggers/") for text in statements(file)]
        tables = dict.fromkeys(
            trigger_of(text)[1]
            for text in triggers
            if trigger_of(text)[1] and not is_so_already(connection, text)
        )
        locks += [Lock(table, "SHARE ROW EXCLUSIVE", 0.01) for table in tables]
        locks += [Lock(table, "ACCESS EXCLUSIVE", 0.01) for table in _tables_without_row_security(connection)]
    yield Step("files", "sql", what, tuple(locks), FILE_SECONDS * len(files))


def _tables_without_row_security(connection: Connection) -> list[str]:
    """Return the tables that are there, and get their policies. To give them to a table locks it."""
    wanted = sorted({entry.table for entry in manifest.expected() if entry.kind == "policy"})
    rows = connection.execute(
        """SELECT name FROM unnest(%s::text[]) AS name JOIN pg_class ON pg_class.oid = to_regclass(name)
           WHERE NOT relrowsecurity ORDER BY name""",
        (wanted,),
    )
    return [name for (name,) in rows]


def _partitions(connection: Connection) -> Iterator[Step]:
    there = _is_there(connection, RADACCT)
    for month in partitions_to_make(connection):
        locks = (
            Lock(RADACCT, "SHARE UPDATE EXCLUSIVE", STEP_SECONDS),
            Lock("public.radacct_open", "ACCESS EXCLUSIVE", STEP_SECONDS),
        )
        yield Step(
            "partitions",
            month,
            f"make the partition for sessions that stop in {month}",
            locks if there else (),
            STEP_SECONDS,
        )


def partitions_to_make(connection: Connection) -> list[str]:
    """Return the months whose partition an upgrade makes.

    All months ahead if the database does not have the function that finds the missing ones: the upgrade brings it.
    """
    if connection.execute("SELECT to_regprocedure('radmeter.missing_months(integer)')").fetchone() == (None,):
        rows = connection.execute(
            "SELECT to_char(now() AT TIME ZONE 'UTC' + n * interval '1 month', 'YYYY-MM')"
            " FROM generate_series(0, %s) AS n",
            (MONTHS_AHEAD,),
        )
        return [name for (name,) in rows]
    return [month.name for month in missing_months(connection)]


def _is_there(connection: Connection, relation: str) -> bool:
    return connection.execute("SELECT to_regclass(%s)", (relation,)).fetchone() != (None,)


def _rows(connection: Connection, relation: str) -> float:
    """Return about how many rows a table has: from its statistics, or from its size if it has none."""
    row = connection.execute(
        """SELECT CASE WHEN reltuples > 0 THEN reltuples ELSE pg_relation_size(oid) / 100 END
           FROM pg_class WHERE oid = to_regclass(%s)""",
        (relation,),
    ).fetchone()
    return float(row[0]) if row else 0.0


def advice() -> str:
    """Return a sentence on how the locks are taken."""
    return (
        f"A step waits at most {LOCK_WAIT_MS} ms for a lock, so nobody waits behind it for longer. "
        "A step that does not get its locks is rolled back and tried again."
    )
