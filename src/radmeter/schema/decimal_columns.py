"""Converts money and reported volumes from double precision to decimals, and keeps the values that change.

PostgreSQL shows a double as the shortest text that is the same double. A customer has seen that text. So the text is
rounded, not the double behind it: 2.675 is 2.674999.. as a double, was shown as 2.675, and becomes 2.68.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import psycopg

from radmeter.database.connection import Connection
from radmeter.database.identifiers import literal, quoted
from radmeter.errors import StoreError
from radmeter.schema import table_code

# Table, column, number of digits, digits after the point. They are converted in this order.
# None: the column holds any currency. Doubles have been shown with two digits, and get them.
COLUMNS: tuple[tuple[str, str, int | None, int], ...] = (
    ("plans", "price", None, 2),
    ("invoices", "amount", None, 2),
    ("invoices", "usage", 12, 2),
    ("routers", "total_usage", 12, 2),
)
# What revision 0029 bounds amounts to.
MOST_DIGITS_BEFORE_THE_POINT = 16

# Constraints of ours, as revision 0029 makes them. PostgreSQL would keep the cast to double precision in them.
OWN_CHECKS = {
    "invoices.amount": (
        "invoices_amount_check",
        "CHECK (amount = net + tax AND scale(net) <= digits AND scale(tax) <= digits AND abs(amount) < 1e16) NOT VALID",
    ),
}

# The text of a double depends on this setting. 1 is the default: the shortest text that is the same double.
AS_SHOWN = "SET LOCAL extra_float_digits = 1"


class DecimalColumn(NamedTuple):
    """A column in double precision or real."""

    table: str
    column: str
    precision: int | None
    scale: int
    type: str
    rows: int
    pages: int
    not_null: bool
    default: str | None
    comment: str | None
    key: str
    begun: bool

    @property
    def name(self) -> str:
        """Table and column."""
        return f"{self.table}.{self.column}"

    @property
    def decimal(self) -> str:
        """The type that the column gets."""
        return decimal_type(self.precision, self.scale)

    @property
    def rounded(self) -> str:
        """SQL: the rounded value."""
        return f"round({self.column}::text::numeric, {self.scale})"

    @property
    def new(self) -> str:
        """The column that holds the decimals until it gets the old column's name."""
        return f"{self.column}_decimal"


def decimal_type(precision: int | None, scale: int) -> str:
    """Return the type of a column that has so many digits; None: as many as a value has."""
    return "numeric" if precision is None else f"numeric({precision},{scale})"


class Change(NamedTuple):
    """A value whose decimal form differs from what was shown."""

    table: str
    column: str
    key: str
    shown: str
    value: Decimal


FIND = """
SELECT format_type(atttypid, NULL), attnotnull, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum),
       pg_relation_size(attrelid) / current_setting('block_size')::bigint,
       EXISTS (SELECT FROM pg_attribute AS made WHERE made.attrelid = pg_attribute.attrelid AND made.attname = %(new)s
                 AND NOT made.attisdropped),
       ARRAY (SELECT ARRAY[part.attname::text, quote_ident(part.attname)]
              FROM pg_index JOIN pg_attribute AS part
                  ON part.attrelid = indrelid AND part.attnum = ANY (indkey::int2[])
              WHERE indrelid = pg_attribute.attrelid AND indisprimary
              ORDER BY array_position(indkey::int2[], part.attnum))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = to_regclass(%(table)s) AND attname = %(column)s AND NOT attisdropped AND relkind = 'r'
  AND atttypid IN ('float4'::regtype, 'float8'::regtype)"""

# What depends on the column's type. PostgreSQL would refuse to change the type in the middle of the conversion.
DEPENDENTS = """
SELECT DISTINCT CASE classid
    WHEN 'pg_rewrite'::regclass THEN (SELECT 'the view ' || ev_class::regclass FROM pg_rewrite WHERE oid = objid)
    WHEN 'pg_trigger'::regclass THEN (SELECT 'the trigger ' || quote_ident(tgname) FROM pg_trigger WHERE oid = objid)
    WHEN 'pg_policy'::regclass THEN (SELECT 'the policy ' || quote_ident(polname) FROM pg_policy WHERE oid = objid)
    WHEN 'pg_attrdef'::regclass THEN 'a generated column'
    WHEN 'pg_constraint'::regclass
        THEN (SELECT 'the constraint ' || quote_ident(conname) FROM pg_constraint WHERE oid = objid)
    WHEN 'pg_proc'::regclass THEN 'the function ' || objid::regprocedure
    ELSE 'the index ' || objid::regclass END
FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass(%(table)s) AND attname = %(column)s
  AND (classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass)
       OR classid = 'pg_attrdef'::regclass AND deptype = 'n'
       OR %(all)s AND (classid = 'pg_constraint'::regclass
               AND (SELECT contype <> 'n' FROM pg_constraint WHERE oid = objid)
           OR classid = 'pg_class'::regclass AND objsubid = 0
               AND (SELECT relkind = 'i' FROM pg_class WHERE oid = objid)))
ORDER BY 1"""

BOUNDED = """
SELECT FROM pg_attribute WHERE attrelid = to_regclass(%(table)s) AND attname = %(column)s AND NOT attisdropped
  AND atttypid = 'numeric'::regtype AND atttypmod <> -1"""
KEY_WITH_USERNAME = """
SELECT quote_ident(conname) FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
WHERE conrelid = to_regclass('public.invoices') AND contype = 'p' AND attname = 'username'"""

# A default is evaluated to convert it, maybe by a superuser. It must run nothing.
DEFAULT_TREE = """
SELECT adbin::text FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE adrelid = to_regclass(%(table)s) AND attname = %(column)s"""


def find(connection: Connection) -> list[DecimalColumn]:
    """Return the columns that must become decimals."""
    found = []
    for table, column, precision, scale in COLUMNS:
        with connection.transaction():
            table_code.hold(connection, f"public.{table}")
            row = connection.execute(
                FIND, {"table": f"public.{table}", "column": column, "new": f"{column}_decimal"}
            ).fetchone()
            if row is None:
                continue
            kind, not_null, default, comment, pages, begun, key = row
            counted = connection.execute(f"SELECT count(*) FROM public.{table}".encode()).fetchone()
        found.append(
            DecimalColumn(
                table, column, precision, scale, kind, counted[0] if counted else 0, pages, not_null, default,
                comment, _key(key), begun,
            )
        )  # fmt: skip
    return found


def _key(columns: list[list[str]]) -> str:
    """Return SQL for the text that names a row: ``name=value`` of each column of its primary key.

    The expression is part of the script for a DBA, so a name's control characters are escapes.
    """
    if not columns:
        return "'ctid=' || ctid"
    return " || ', ' || ".join(
        f"{literal(f'{name}=')} || coalesce({ident if name.isprintable() else quoted(name)}::text, 'NULL')"
        for name, ident in columns
    )


def check(connection: Connection, column: DecimalColumn, *, online: bool) -> None:
    """Refuse a column that cannot be converted, before anything is changed.

    Raises
    ------
    StoreError
        A value does not fit into the digits of the decimal, or something depends on the column's type.
    """
    with connection.transaction():
        connection.execute(AS_SHOWN)
        before_the_point = (
            MOST_DIGITS_BEFORE_THE_POINT if column.precision is None else column.precision - column.scale
        )
        limit = 10**before_the_point
        # NaN and infinity are found too: PostgreSQL sorts infinity after all other numbers, and NaN after infinity.
        bad = connection.execute(
            f"""SELECT {column.key}, {column.column}::text FROM public.{column.table}
                WHERE abs(round({column.column}::text::numeric, {column.scale})) >= {limit}
                ORDER BY 1 LIMIT 4""".encode()
        ).fetchall()
    if bad:
        rows = "; ".join(f"{key}: {shown}" for key, shown in bad[:3]) + ("; .." if len(bad) > 3 else "")
        key, _ = bad[0]
        raise StoreError(
            f"public.{column.name} cannot become {column.decimal}, nothing was changed: {rows}. Correct it, for "
            f"example UPDATE public.{column.table} SET {column.column} = 0 WHERE {_condition(key)}, "
            "then run `radmeter migrate up` again"
        )
    named = {"table": f"public.{column.table}", "column": column.column, "all": online}
    tree = connection.execute(DEFAULT_TREE, named).fetchone()
    if tree is not None and not table_code.harmless(connection, tree[0]):
        raise StoreError(
            f"public.{column.name} cannot become {column.decimal}, nothing was changed: its default ({column.default}) "
            f"is not a constant. ALTER TABLE public.{column.table} ALTER COLUMN {column.column} DROP DEFAULT, "
            "run `radmeter migrate up`, and set it again"
        )
    dependents = [
        row[0] for row in connection.execute(DEPENDENTS, named) if row[0] not in _own_dependents(column)
    ]
    if dependents:
        raise StoreError(
            f"public.{column.name} cannot become {column.decimal}, nothing was changed: it is used by "
            f"{', '.join(dependents)}. Drop that, run `radmeter migrate up`, and make it again"
        )


def check_widening(connection: Connection) -> None:
    """Refuse what revision 0029 cannot do with a table of the operator's, before anything is changed.

    It gives amounts as many digits as a currency has, and an invoice may be a tenant's.

    Raises
    ------
    StoreError
        Something depends on the type of a column, or the name of the user is in the primary key of invoices.
    """
    for table, column, precision, _ in COLUMNS:
        if precision is not None:
            continue
        named = {"table": f"public.{table}", "column": column, "all": False}
        if connection.execute(BOUNDED, named).fetchone() is None:
            continue  # a double: `check` looks at it
        dependents = [row[0] for row in connection.execute(DEPENDENTS, named)]
        if dependents:
            raise StoreError(
                f"public.{table}.{column} cannot become numeric, nothing was changed: it is used by "
                f"{', '.join(dependents)}. Drop that, run `radmeter migrate up`, and make it again"
            )
    for (key,) in connection.execute(KEY_WITH_USERNAME):
        raise StoreError(
            "public.invoices.username cannot become NULL for the invoices of tenants, nothing was changed: it is in "
            f"the primary key {key}. ALTER TABLE public.invoices DROP CONSTRAINT {key}, then run `radmeter migrate up`"
        )


def changes(connection: Connection, column: DecimalColumn) -> Iterator[Change]:
    """Yield the values whose decimal will differ from what was shown before."""
    with connection.transaction():
        connection.execute(AS_SHOWN)
        for key, shown, value in connection.execute(_differing(column).encode()):
            yield Change(column.table, column.column, key, shown, value)


def kept_changes(connection: Connection, since: int = 0) -> list[Change]:
    """Return the values that the conversion changed, from `radmeter.decimal_change`."""
    rows = connection.execute(
        "SELECT table_name, column_name, key, shown, value FROM radmeter.decimal_change WHERE id > %s ORDER BY id",
        (since,),
    )
    return [Change(*row) for row in rows]


def last_change(connection: Connection) -> int:
    """Return the id of the newest kept change."""
    if not table_code.is_table(connection, "radmeter.decimal_change"):
        return 0
    row = connection.execute("SELECT coalesce(max(id), 0) FROM radmeter.decimal_change").fetchone()
    return int(row[0]) if row else 0


def at_once(column: DecimalColumn, default: Decimal | None) -> list[str]:
    """Return the statements that convert a small table in one transaction, under one lock."""
    alter = [f"ALTER COLUMN {column.column} TYPE {column.decimal} USING {column.rounded}"]
    if column.default is not None:
        # PostgreSQL would convert the default by a cast, and show the cast as part of the default.
        alter = [f"ALTER COLUMN {column.column} DROP DEFAULT", *alter]
    if default is not None:
        alter.append(f"ALTER COLUMN {column.column} SET DEFAULT {default}")
    drop, add = _own_check(column)
    return [
        AS_SHOWN,
        f"LOCK TABLE public.{column.table} IN ACCESS EXCLUSIVE MODE",
        "INSERT INTO radmeter.decimal_change (table_name, column_name, key, shown, value)\n"
        f"SELECT '{column.table}', '{column.column}', differing.* FROM ({_differing(column)}) AS differing",
        *drop,
        f"ALTER TABLE public.{column.table}\n    " + ",\n    ".join(alter),
        *add,
    ]


def begin(column: DecimalColumn) -> list[str]:
    """Return the statements that add the new column, and the trigger that fills it in rows that change meanwhile."""
    function = f"radmeter.{_trigger(column)}"
    return [
        f"ALTER TABLE public.{column.table} ADD COLUMN {column.new} {column.decimal}",
        f"""CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
            AS 'BEGIN
                    NEW.{column.new} := round(NEW.{column.column}::text::numeric, {column.scale});
                    RETURN NEW;
                END'""",
        f"REVOKE EXECUTE ON FUNCTION {function}() FROM PUBLIC",
        f"""CREATE TRIGGER {_trigger(column)} BEFORE INSERT OR UPDATE ON public.{column.table}
            FOR EACH ROW EXECUTE FUNCTION {function}()""",
    ]


def fill(column: DecimalColumn, first_page: int, last_page: int) -> str:
    """Return the statement that fills the new column in some pages, and keeps the values that change.

    A row that is updated meanwhile moves out of its page. The trigger fills it. `AS_SHOWN` must be in force.
    """
    return f"""WITH converted AS (
            UPDATE public.{column.table} SET {column.new} = {column.rounded}
            WHERE ctid >= '({first_page},0)' AND ctid < '({last_page + 1},0)'
              AND {column.new} IS NULL AND {column.column} IS NOT NULL
            RETURNING {column.key} AS key, {column.column}::text AS shown, {column.new} AS value)
        INSERT INTO radmeter.decimal_change (table_name, column_name, key, shown, value)
        SELECT '{column.table}', '{column.column}', * FROM converted WHERE shown::numeric <> value"""


def prove(column: DecimalColumn) -> list[str]:
    """Return the statements that prepare NOT NULL, so that no scan happens under a lock. Each is a transaction."""
    if not column.not_null:
        return []
    table, name = f"ALTER TABLE public.{column.table}", _constraint(column)
    return [
        f"{table} DROP CONSTRAINT IF EXISTS {name}",
        f"{table} ADD CONSTRAINT {name} CHECK ({column.new} IS NOT NULL) NOT VALID",
        f"{table} VALIDATE CONSTRAINT {name}",
    ]


def swap(column: DecimalColumn, default: Decimal | None) -> list[str]:
    """Return the statements that replace the old column by the new one."""
    table, name = f"ALTER TABLE public.{column.table}", column.column
    drop, add = _own_check(column)
    statements = [
        *drop,
        f"DROP TRIGGER {_trigger(column)} ON public.{column.table}",
        f"DROP FUNCTION radmeter.{_trigger(column)}()",
        f"{table} DROP COLUMN {name}",
        f"{table} RENAME COLUMN {column.new} TO {name}",
        *add,
    ]
    if default is not None:
        statements.append(f"{table} ALTER COLUMN {name} SET DEFAULT {default}")
    if column.not_null:
        statements += [
            f"{table} ALTER COLUMN {name} SET NOT NULL",
            f"{table} DROP CONSTRAINT {_constraint(column)}",
        ]
    if column.comment is not None:
        statements.append(
            f"COMMENT ON COLUMN public.{column.name} IS {psycopg.sql.Literal(column.comment).as_string()}"
        )
    return statements


def decimal_default(connection: Connection, column: DecimalColumn) -> Decimal | None:
    """Return the default as a decimal."""
    if column.default is None:
        return None
    with connection.transaction():
        connection.execute(AS_SHOWN)
        row = connection.execute(
            f"SELECT round(({column.default})::text::numeric, {column.scale})".encode()
        ).fetchone()
    if row is None or row[0] is None:
        return None
    value: Decimal = row[0]
    return Decimal(int(value)) if value == int(value) else value


def _differing(column: DecimalColumn) -> str:
    """SQL: key, shown text and decimal of the values whose number changes."""
    return (
        f"SELECT {column.key}, {column.column}::text, {column.rounded} FROM public.{column.table} "
        f"WHERE {column.column}::text::numeric <> {column.rounded} ORDER BY 1"
    )


def _condition(key: str) -> str:
    parts = (part.partition("=") for part in key.split(", "))
    return " AND ".join(f"{name} = {psycopg.sql.Literal(value).as_string()}" for name, _, value in parts)


def _own_check(column: DecimalColumn) -> tuple[list[str], list[str]]:
    """Return the statements that drop our constraint on the column, and that make it again."""
    if column.name not in OWN_CHECKS:
        return [], []
    name, text = OWN_CHECKS[column.name]
    table = f"ALTER TABLE public.{column.table}"
    return [f"{table} DROP CONSTRAINT IF EXISTS {name}"], [f"{table} ADD CONSTRAINT {name} {text}"]


def _own_dependents(column: DecimalColumn) -> set[str]:
    """Return what depends on the column and goes along with it."""
    own = {f"the trigger {_trigger(column)}", f"the constraint {_constraint(column)}"}
    if column.name in OWN_CHECKS:
        own.add(f"the constraint {OWN_CHECKS[column.name][0]}")
    return own


def _trigger(column: DecimalColumn) -> str:
    return f"convert_{column.table}_{column.column}"


def _constraint(column: DecimalColumn) -> str:
    return f"convert_{column.table}_{column.column}_check"
