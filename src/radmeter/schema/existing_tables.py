"""Adopts existing tables of a home-made system that have the names of ours, or refuses them before any change.

Our tables are made beside them in the schema radmeter, compared by the catalog, and dropped again. So the revisions
stay the only place that defines a table.
"""

import importlib
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import psycopg
from alembic import context, op

from radmeter.database.connection import Connection
from radmeter.database.identifiers import quoted
from radmeter.database.lock_retries import GAVE_WAY, with_lock_retries
from radmeter.errors import StoreError
from radmeter.schema import name_conflicts, table_code
from radmeter.schema.migration_log import note
from radmeter.schema.ownership import OWNER

# Tables that may exist before the revision that makes them, in the order of their foreign keys.
OWN = ("plans", "routers", "subscribers", "invoices")
REVISIONS = {"0001": ("0001_tables", "TABLES"), "0004": ("0004_money", "INVOICES")}

# Type changes that change no value: (theirs, ours).
WIDENED = {
    ("character varying", "text"), ("character", "text"), ("smallint", "bigint"), ("integer", "bigint"),
    ("smallint", "integer"), ("smallint", "numeric"), ("integer", "numeric"), ("bigint", "numeric"),
}  # fmt: skip
# Types that stay as they are: (theirs, ours). Doubles are converted later, see `decimal_columns`.
AS_IT_IS = {
    ("double precision", "numeric"), ("real", "numeric"), ("numeric", "numeric"), ("integer", "smallint"),
}  # fmt: skip

COLUMNS = """
SELECT attname, format_type(atttypid, NULL), format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
       attidentity::text
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
CONSTRAINTS = """
SELECT conname, contype::text, pg_get_constraintdef(oid),
       ARRAY (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey) ORDER BY attname)
FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype <> 'n' ORDER BY contype <> 'p', conname"""
INDEXES = """
SELECT relname, pg_get_indexdef(indexrelid), indisunique AND indpred IS NULL AND indisvalid AND indexprs IS NULL,
       ARRAY (SELECT attname FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey) ORDER BY attname),
       EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u')), indisprimary
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = to_regclass(%s) ORDER BY relname"""


# Who may have made a table that is adopted: the role that migrates, radmeter's owner, the database's, a superuser.
OWNED = """
SELECT pg_class.oid, rolname::text, rolsuper OR rolname IN (session_user, %(ours)s)
           OR pg_roles.oid = (SELECT datdba FROM pg_database WHERE datname = current_database())
FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner WHERE pg_class.oid = to_regclass(%(name)s)"""
REFUSAL = (
    "existing tables with the names of radmeter's tables cannot be adopted, nothing was changed:",
    "correct that (or rename the table), then run `radmeter migrate up` again",
)

TAKEN = (
    "your tables or columns have names that the new schema needs, nothing was changed:",
    "rename them, and in the programs that use them; then run `radmeter migrate up` again",
)


class ExistingColumn(NamedTuple):
    name: str
    base: str
    type: str
    not_null: bool
    default: str | None
    identity: str


def own_tables(connection: Connection, names: Iterable[str] = OWN) -> list[str]:
    """Return the tables that exist already, before the revision that makes them."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s)",
        (list(names),),
    ).fetchall()
    return [name for name in names if (name,) in rows]


def pending(connection: Connection, revisions: Iterable[str]) -> list[str]:
    """Return the existing tables that the pending `revisions` would adopt."""
    return own_tables(connection, [name for ddl in _ddls(revisions).values() for name in _made_by(ddl)])


def check(connection: Connection, revisions: Iterable[str]) -> dict[str, list[str]]:
    """Return the statements that adopt the existing tables, one list for each revision.

    All statements are run once and rolled back.

    Raises
    ------
    StoreError
        A table cannot be adopted, or has a name that a pending revision needs. Nothing was changed.
    """
    conflicts = name_conflicts.find(connection, adoptable=(*OWN, "radacct"))
    if conflicts:
        raise StoreError(*TAKEN[:1], *(f"  {conflict}" for conflict in conflicts), *TAKEN[1:])
    ddls = _ddls(revisions)
    if not pending(connection, ddls):
        return {}
    return with_lock_retries(
        connection, partial(_rehearse, ddls), what="rehearsing the adoption of your existing tables"
    )


def _rehearse(ddls: dict[str, str], connection: Connection) -> dict[str, list[str]]:
    statements: dict[str, list[str]] = {}
    problems: list[str] = []
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL client_min_messages = warning")
        if connection.execute("SELECT to_regnamespace('radmeter')").fetchone() == (None,):
            connection.execute("CREATE SCHEMA radmeter")
        refused = _refused(connection, pending(connection, ddls))
        if refused:
            # Nothing of these tables is run or altered, not even to find what else is in the way.
            raise StoreError(*REFUSAL[:1], *(f"  {problem}" for problem in refused), *REFUSAL[1:])
        for revision, ddl in ddls.items():
            found: list[str] = []
            statements[revision] = _statements(connection, ddl, found)
            problems += found or _failures(connection, statements[revision])
    if problems:
        raise StoreError(*REFUSAL[:1], *(f"  {problem}" for problem in problems), *REFUSAL[1:])
    return statements


def _refused(connection: Connection, tables: Iterable[str]) -> list[str]:
    """Lock existing tables, and return what about their owners and their own code is in the way."""
    problems: list[str] = []
    for table in tables:
        name = f"public.{table}"
        kind = connection.execute(
            "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(%s)", (name,)
        ).fetchone()
        if kind != (True,):
            continue  # `_table` refuses it, and reads nothing of it
        connection.execute(f"LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE".encode())
        row = connection.execute(OWNED, {"name": name, "ours": OWNER}).fetchone()
        assert row is not None
        oid, owner, trusted = row
        if not trusted:
            problems.append(
                f"{name} belongs to {quoted(owner)}, who is neither a superuser nor the owner of the database: "
                f"look at it (\\d+ {name} in psql), then ALTER TABLE {name} OWNER TO {OWNER} (or to a superuser)"
            )
        problems += map(str, table_code.of_table(connection, oid))
    return problems


def _failures(connection: Connection, statements: list[str]) -> list[str]:
    failures = []
    for statement in statements:
        try:
            with connection.transaction():
                connection.execute(statement.encode())
        except psycopg.errors.UndefinedTable:
            pass  # the table of a revision that is not applied yet
        except GAVE_WAY:
            raise
        except psycopg.Error as error:
            detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
            failures.append(f"{_shortened(statement)}: {error.diag.message_primary}{detail}")
    return failures


def create(ddl: str) -> None:
    """Run the DDL of a revision, or adopt the tables that exist already. A revision calls this."""
    if context.is_offline_mode():
        planned = context.config.attributes.get("existing_tables", {})
        for statement in planned.get(context.config.attributes.get("step"), [ddl]):
            op.execute(statement)
        return
    connection = op.get_bind().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    own = own_tables(connection, _made_by(ddl))
    if not own:
        connection.execute(ddl.encode())
        return
    # A table may have changed since the rehearsal. Locked, it cannot.
    problems = _refused(connection, own)
    statements = [] if problems else _statements(connection, ddl, problems)
    if problems:
        raise StoreError("; ".join(problems))
    for statement in statements:
        connection.execute(statement.encode())
    note(connection, "takeover", ", ".join(own), None)


def _ddls(revisions: Iterable[str]) -> dict[str, str]:
    """Return the DDL of the revisions that make tables which may exist before, by revision."""
    wanted = set(revisions)
    return {
        revision: getattr(importlib.import_module(f"radmeter.schema.migrations.versions.{module}"), name)
        for revision, (module, name) in REVISIONS.items()
        if revision in wanted
    }


def _made_by(ddl: str) -> list[str]:
    return [name for name in OWN if f"CREATE TABLE public.{name} (" in ddl]


def _split(ddl: str) -> list[str]:
    bare = re.sub(r"^--.*$", "", ddl, flags=re.MULTILINE)
    return [statement.strip() for statement in bare.split(";\n") if statement.strip()]


def _makes(statement: str, tables: list[str]) -> bool:
    """Tell whether a statement makes one of the tables, or an index on one."""
    table = rf"public\.({'|'.join(tables)}) "
    return re.match(rf"CREATE TABLE {table}|CREATE (UNIQUE )?INDEX \w+ ON {table}", statement) is not None


def _statements(connection: Connection, ddl: str, problems: list[str]) -> list[str]:
    """Return the statements that change existing tables to be like ours, and the DDL that makes the other tables."""
    made = _made_by(ddl)
    own = own_tables(connection, made)
    adapted: list[str] = []
    with connection.transaction(force_rollback=True):
        for statement in _split(ddl):
            if _makes(statement, made):
                text = re.sub(rf"\bpublic\.({'|'.join(made)})\b", r"radmeter.\1", statement)
                # Only the form of the table matters here, not the table that its foreign key points to.
                text = re.sub(r" REFERENCES public\.plans \(id\)", "", text) if made == ["invoices"] else text
                connection.execute(text.encode())
        for table in own:
            adapted += _table(connection, table, problems)
    # Foreign keys come last: they may name a table that is made only now.
    keys = [statement for statement in adapted if "FOREIGN KEY" in statement]
    columns = [statement for statement in adapted if statement not in keys]
    rest = [statement for statement in _split(ddl) if not own or not _makes(statement, own)]
    return [*columns, *rest, *keys]


def _table(connection: Connection, table: str, problems: list[str]) -> Iterator[str]:
    name = f"public.{table}"
    kind = connection.execute(
        "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", (name,)
    ).fetchone()
    if kind != ("r",):
        problems.append(f"{name} is not an ordinary table")
        return
    ours = [ExistingColumn(*row) for row in connection.execute(COLUMNS, (f"radmeter.{table}",))]
    theirs = {row[0]: ExistingColumn(*row) for row in connection.execute(COLUMNS, (name,))}
    empty = connection.execute(f"SELECT NOT EXISTS (SELECT FROM {name})".encode()).fetchone() == (True,)
    for column in ours:
        there = theirs.get(column.name)
        if there is None:
            yield from _missing(name, column, empty, problems)
        else:
            yield from _present(connection, name, column, there, problems)
    known = {column.name for column in ours}
    for there in theirs.values():
        if there.name not in known and there.not_null and there.default is None and not there.identity:
            problems.append(
                f"{name}.{there.name} is NOT NULL without a default, and radmeter would insert no value: "
                f"ALTER TABLE {name} ALTER COLUMN {there.name} DROP NOT NULL, or SET DEFAULT"
            )
    yield from _keys(connection, table)


def _missing(name: str, column: ExistingColumn, empty: bool, problems: list[str]) -> Iterator[str]:
    if column.name == "id" or (column.not_null and column.default is None and not empty):
        problems.append(f"{name} has no column {column.name} ({column.type})")
        return
    default = f" DEFAULT {column.default}" if column.default is not None else ""
    not_null = " NOT NULL" if column.not_null else ""
    yield f"ALTER TABLE {name} ADD COLUMN {column.name} {column.type}{default}{not_null}"


def _present(
    connection: Connection, name: str, ours: ExistingColumn, theirs: ExistingColumn, problems: list[str]
) -> Iterator[str]:
    alter = f"ALTER TABLE {name} ALTER COLUMN {ours.name}"
    kinds = (theirs.base, ours.base)
    if ours.name == "id" and theirs.base in ("integer", "bigint"):
        if theirs.default is None and not theirs.identity:
            if not theirs.not_null:
                yield f"{alter} SET NOT NULL"
            yield f"{alter} ADD GENERATED BY DEFAULT AS IDENTITY"
            yield (
                f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name} HAVING max(id) IS NOT NULL"
            )
        return
    # A foreign key keeps the type of the column that it points to.
    if ours.name.endswith("_id") and theirs.base in ("integer", "bigint"):
        kinds = ("bigint", "bigint")
    if kinds in WIDENED:
        yield f"{alter} TYPE {ours.type}"
    elif kinds[0] != kinds[1] and kinds not in AS_IT_IS:
        problems.append(
            f"{name}.{ours.name} is {theirs.type} and must be {ours.type}: "
            f"{alter} TYPE {ours.type} USING {ours.name}::text::{ours.type}"
        )
        return
    if ours.default is not None and theirs.default is None:
        yield f"{alter} SET DEFAULT {ours.default}"
    if ours.not_null and not theirs.not_null:
        nulls = connection.execute(
            f"SELECT EXISTS (SELECT FROM {name} WHERE {ours.name} IS NULL)".encode()
        ).fetchone()
        if nulls == (True,):
            value = ours.default or "<value>"
            problems.append(
                f"{name}.{ours.name} is NULL in some rows: "
                f"UPDATE {name} SET {ours.name} = {value} WHERE {ours.name} IS NULL"
            )
        else:
            yield f"{alter} SET NOT NULL"


def _keys(connection: Connection, table: str) -> Iterator[str]:
    name = f"public.{table}"
    theirs = connection.execute(INDEXES, (name,)).fetchall()
    unique = [columns for _, _, is_unique, columns, _, _ in theirs if is_unique]
    has_primary = any(primary for *_, primary in theirs)
    defined = connection.execute(CONSTRAINTS, (name,)).fetchall()
    for constraint, kind, definition, columns in connection.execute(
        CONSTRAINTS, (f"radmeter.{table}",)
    ).fetchall():
        text = definition.replace("radmeter.", "public.")
        if kind in "pu":
            if columns in unique:
                continue
            if kind == "p" and has_primary:
                text = text.replace("PRIMARY KEY", "UNIQUE")
        elif any(
            (kind, text) == (other[1], other[2]) or (kind == other[1] == "f" and columns == other[3])
            for other in defined
        ):
            continue
        yield f"ALTER TABLE {name} ADD CONSTRAINT {constraint} {text}"
    shapes = {_shape(definition) for _, definition, *_ in theirs}
    for _, definition, _, _, of_constraint, _ in connection.execute(
        INDEXES, (f"radmeter.{table}",)
    ).fetchall():
        text = definition.replace("radmeter.", "public.")
        if not of_constraint and _shape(text) not in shapes:
            yield text
    if table == "invoices" and not any(other[1] == "f" and other[3] == ["plan_id"] for other in defined):
        key = "FOREIGN KEY (plan_id) REFERENCES public.plans(id)"
        yield f"ALTER TABLE {name} ADD CONSTRAINT invoices_plan_id_fkey {key}"


def _shape(definition: str) -> str:
    """Return an index's definition without its name."""
    return re.sub(r"INDEX \S+ ON", "INDEX ON", definition)


def _shortened(statement: str) -> str:
    return " ".join(statement.split())[:160]
