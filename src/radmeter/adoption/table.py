"""Reads what the catalog says about FreeRADIUS's radacct. Reads only."""

from dataclasses import dataclass, field
from typing import NamedTuple

from radmeter.database.connection import Connection
from radmeter.errors import StoreError

LEGACY = "public.radacct_legacy"


class TableColumn(NamedTuple):
    """A column, as the catalog describes it."""

    name: str
    kind: str
    not_null: bool
    has_default: bool
    identity: str
    generated: str


class Index(NamedTuple):
    """An index. `columns` are in order, "" for an expression. `names` are all columns of it and its condition."""

    name: str
    definition: str
    columns: list[str]
    names: list[str]
    unique: bool
    partial: bool
    valid: bool
    constraint: str | None

    def is_on(self, *columns: str) -> bool:
        """Tell whether it is valid, has all rows, and is on exactly these columns."""
        return self.valid and not self.partial and self.columns == list(columns)


class View(NamedTuple):
    """A view that reads the table, with what is needed to define it again."""

    name: str
    options: str | None
    definition: str
    owner: str

    @property
    def statement(self) -> str:
        """The statement that binds it to the table that now has the name. Its owner, grants and comment stay."""
        options = f" WITH ({self.options})" if self.options else ""
        return f"CREATE OR REPLACE VIEW {self.name}{options} AS {self.definition}"


@dataclass
class Table:
    """What the catalog says about the table."""

    oid: int
    relkind: str
    owner: str
    comment: str | None
    rows: int
    heap_bytes: int
    index_bytes: int
    columns: list[TableColumn] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    sequence: str | None = None

    def column(self, name: str) -> TableColumn | None:
        """Return the column of a name, None if there is none."""
        return next((column for column in self.columns if column.name == name), None)

    def unique_id(self) -> Index | None:
        """Return the index that keeps acctuniqueid unique, None if there is none."""
        return next((each for each in self.indexes if each.unique and each.is_on("acctuniqueid")), None)


_COLUMNS = """
SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, atthasdef, attidentity::text, attgenerated::text
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""

_INDEXES = """
SELECT indexed.relname::text, pg_get_indexdef(indexrelid),
       ARRAY(SELECT coalesce(attname::text, '') FROM unnest(indkey::int2[]) WITH ORDINALITY AS key (attnum, place)
             LEFT JOIN pg_attribute ON attrelid = indrelid AND pg_attribute.attnum = key.attnum AND key.attnum > 0
             ORDER BY place),
       ARRAY(SELECT DISTINCT attname::text
             FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
             WHERE classid = 'pg_class'::regclass AND objid = indexrelid AND refobjid = indrelid AND refobjsubid > 0
             UNION SELECT attname::text FROM pg_constraint, unnest(conkey) AS key
             JOIN pg_attribute ON attnum = key
             WHERE conindid = indexrelid AND attrelid = indrelid AND conrelid = indrelid),
       indisunique, indpred IS NOT NULL, indisvalid AND indisready AND indislive,
       (SELECT conname::text FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid
        AND contype IN ('p', 'u', 'x'))
FROM pg_index JOIN pg_class AS indexed ON indexed.oid = indexrelid
WHERE indrelid = %s ORDER BY indexed.relname"""

_VIEWS = """
SELECT DISTINCT format('%%I.%%I', nspname, view.relname), array_to_string(view.reloptions, ', '),
       pg_get_viewdef(view.oid), pg_get_userbyid(view.relowner)::text
FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid
JOIN pg_class AS view ON view.oid = ev_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_depend.classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = %s
  AND view.oid <> refobjid AND view.relkind = 'v'
ORDER BY 1"""

_SEQUENCE = """
SELECT format('%%I.%%I', nspname, relname)
FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
JOIN pg_depend ON pg_depend.classid = 'pg_attrdef'::regclass AND pg_depend.objid = pg_attrdef.oid
  AND refclassid = 'pg_class'::regclass
JOIN pg_class ON pg_class.oid = refobjid AND relkind = 'S' JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE adrelid = %s AND attname = 'radacctid'"""


def read_views(connection: Connection, table: Table) -> list[View]:
    """Read the views of the table. Under ACCESS EXCLUSIVE they stay as they are until the transaction ends."""
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        return [View(*each) for each in connection.execute(_VIEWS, (table.oid,))]


def read(connection: Connection) -> Table:
    """Read public.radacct.

    Raises
    ------
    StoreError
        There is none.
    """
    row = connection.execute(
        """SELECT oid, relkind::text, pg_get_userbyid(relowner)::text, obj_description(oid, 'pg_class'),
                  greatest(reltuples, 0)::bigint,
                  CASE WHEN relkind = 'r' THEN pg_table_size(oid) ELSE 0 END,
                  CASE WHEN relkind = 'r' THEN pg_indexes_size(oid) ELSE 0 END
           FROM pg_class WHERE oid = to_regclass('public.radacct')"""
    ).fetchone()
    if row is None:
        raise StoreError(
            "there is no table public.radacct: `radmeter migrate up` makes one in a new database"
        )
    table = Table(*row)
    # With this search path PostgreSQL prints all names with their schema.
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        table.columns = [TableColumn(*each) for each in connection.execute(_COLUMNS, (table.oid,))]
        table.indexes = [Index(*each) for each in connection.execute(_INDEXES, (table.oid,))]
        table.views = [View(*each) for each in connection.execute(_VIEWS, (table.oid,))]
        sequence = connection.execute(_SEQUENCE, (table.oid,)).fetchone()
    table.sequence = sequence[0] if sequence else None
    return table
