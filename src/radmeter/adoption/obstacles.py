"""Finds what prevents the adoption of a table, before anything is changed, each with its remedy. Reads only."""

import datetime
import re
from collections.abc import Iterator

from radmeter.adoption.columns import ESSENTIAL, NEVER_NULL, OURS, STOCK
from radmeter.adoption.table import Table
from radmeter.database.connection import Connection
from radmeter.database.identifiers import listed, quoted
from radmeter.database.revision_constants import MIGRATIONS
from radmeter.schema import table_code
from radmeter.schema.table_code import Obstacle
from radmeter.units import counted, verb

VARCHAR = re.compile(r"character varying(\(\d+\))?")
OLDEST_SERVER = 150_000


def find(connection: Connection, table: Table, boundary: datetime.datetime) -> tuple[list[Obstacle], bool]:
    """Return all obstacles that the catalog shows. If there are none, read the rows and return theirs.

    Return also whether the rows were read.
    """
    found = [
        *_server(connection, table),
        *_columns(connection, table),
        *_keys(table),
        *in_catalog(connection, table),
    ]
    found += _names_in_the_way(connection)
    return (found, False) if found else (list(_rows(connection, table, boundary)), True)


def widened(table: Table) -> list[str]:
    """Return the columns that are varchar where radmeter has text."""
    stock = {column.name: column.kind for column in STOCK}
    return [
        each.name for each in table.columns if stock.get(each.name) == "text" and VARCHAR.fullmatch(each.kind)
    ]


def _server(connection: Connection, table: Table) -> Iterator[Obstacle]:
    if connection.info.server_version < OLDEST_SERVER:
        yield Obstacle("the server is older than PostgreSQL 15", "upgrade the server first")
    row = connection.execute(
        "SELECT pg_has_role(session_user, %s, 'USAGE'), has_schema_privilege(session_user, 'public', 'CREATE')",
        (table.owner,),
    ).fetchone()
    if row != (True, True):
        yield Obstacle(
            f"radacct belongs to {quoted(table.owner)}, and the role that logged in may not change it",
            f"log in as a superuser, or as a member of {quoted(table.owner)} that may create tables in public",
        )
    for view in table.views:
        row = connection.execute("SELECT pg_has_role(session_user, %s, 'USAGE')", (view.owner,)).fetchone()
        if row != (True,):
            yield Obstacle(
                f"the view {view.name} belongs to {quoted(view.owner)}, and the role that logged in may not change it",
                f"log in as a superuser, or as a member of {quoted(view.owner)}",
            )


def _columns(connection: Connection, table: Table) -> Iterator[Obstacle]:
    for wanted in STOCK:
        column = table.column(wanted.name)
        if column is None:
            if wanted.name in ESSENTIAL:
                yield Obstacle(
                    f"radacct has no column {wanted.name}",
                    "compare it with FreeRADIUS's own schema.sql, and rename or add the column",
                )
            continue
        if column.kind != wanted.kind and not (wanted.kind == "text" and VARCHAR.fullmatch(column.kind)):
            using = (
                f" USING {wanted.name} AT TIME ZONE '<zone of the server>'"
                if column.kind == "timestamp without time zone"
                else f" USING nullif({wanted.name}::text, '')::{wanted.definition.split()[0]}"
                if wanted.kind == "inet"
                else ""
            )
            yield Obstacle(
                f"{wanted.name} is {column.kind}, not {wanted.kind}: to change the type rewrites all rows",
                "in a maintenance window: "
                + _without_views(
                    _views_that_read(connection, table, [wanted.name]),
                    f"ALTER TABLE radacct ALTER {wanted.name} TYPE {wanted.kind}{using};",
                ),
            )
        if column.not_null and wanted.name not in NEVER_NULL:
            yield Obstacle(
                f"{wanted.name} is NOT NULL, but some packets have no value for it",
                f"ALTER TABLE radacct ALTER {wanted.name} DROP NOT NULL;",
            )
    stock = {column.name for column in STOCK}
    ours = {column.name: column.kind for column in OURS}
    for column in table.columns:
        if column.generated:
            yield Obstacle(
                f"{quoted(column.name)} is a generated column, which the partitions cannot share",
                f"drop it and compute it in a view: ALTER TABLE radacct DROP COLUMN {quoted(column.name)};",
            )
        elif column.name in ours:
            yield Obstacle(
                f"radacct has a column {quoted(column.name)}, and radmeter adds a column of that name",
                f"ALTER TABLE radacct RENAME {quoted(column.name)} TO {quoted(f'my_{column.name}')};",
            )
        elif column.name not in stock and column.not_null and not column.has_default:
            yield Obstacle(
                f"{quoted(column.name)} is NOT NULL and has no default: radmeter does not know what to write into it",
                f"ALTER TABLE radacct ALTER {quoted(column.name)} DROP NOT NULL; or give it a default",
            )


def _keys(table: Table) -> Iterator[Obstacle]:
    column = table.column("radacctid")
    if column is None:
        return
    if column.identity:
        yield Obstacle(
            "radacctid is an identity column, which a partition cannot have on PostgreSQL 15",
            "SELECT max(radacctid) FROM radacct; ALTER TABLE radacct ALTER radacctid DROP IDENTITY; "
            "CREATE SEQUENCE radacct_radacctid_seq START <max + 1> OWNED BY radacct.radacctid; "
            "ALTER TABLE radacct ALTER radacctid SET DEFAULT nextval('radacct_radacctid_seq');",
        )
    elif table.sequence is None:
        yield Obstacle(
            "radacctid gets no numbers from a sequence",
            "SELECT max(radacctid) FROM radacct; "
            "CREATE SEQUENCE radacct_radacctid_seq START <max + 1> OWNED BY radacct.radacctid; "
            "ALTER TABLE radacct ALTER radacctid SET DEFAULT nextval('radacct_radacctid_seq');",
        )
    if not any(index.unique and index.is_on("radacctid") for index in table.indexes):
        yield Obstacle(
            "radacctid is not unique",
            "CREATE UNIQUE INDEX CONCURRENTLY radacct_radacctid_idx ON radacct (radacctid);",
        )
    for index in table.indexes:
        if index.unique and not index.is_on("radacctid") and not index.is_on("acctuniqueid"):
            drop = (
                f"ALTER TABLE radacct DROP CONSTRAINT {quoted(index.constraint)};" if index.constraint else ""
            )
            yield Obstacle(
                f"the index {quoted(index.name)} keeps ({listed(index.columns)}) unique, or is invalid: "
                "it cannot keep sessions unique over several partitions",
                (drop or f"DROP INDEX CONCURRENTLY {quoted(index.name)};")
                + " and make it again without UNIQUE",
            )


# Reason, remedy and query. The query returns the names for reason and remedy, for the table with the oid %(oid)s.
_CATALOG = (
    (
        "the trigger {0} would not fire for sessions in other partitions as it does now",
        "DROP TRIGGER {0} ON radacct; and create it again afterwards, unless radmeter's counters replace it",
        """SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = %(oid)s AND NOT tgisinternal
           AND tgname <> 'radmeter_divert'""",
    ),
    (
        "the rule {0} rewrites what is written to radacct",
        "DROP RULE {0} ON radacct;",
        "SELECT quote_ident(rulename) FROM pg_rewrite WHERE ev_class = %(oid)s",
    ),
    (
        "row level security is on: {0}",
        "ALTER TABLE radacct DISABLE ROW LEVEL SECURITY; and drop its policies",
        """SELECT 'enabled' FROM pg_class WHERE oid = %(oid)s AND relrowsecurity
           UNION SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = %(oid)s""",
    ),
    (
        "the foreign key {0} cannot be kept over the partitions",
        "ALTER TABLE {1} DROP CONSTRAINT {0};",
        """SELECT quote_ident(conname), conrelid::regclass::text FROM pg_constraint
           WHERE contype = 'f' AND %(oid)s IN (conrelid, confrelid)""",
    ),
    (
        "the constraint {0} could refuse rows that radmeter writes",
        "ALTER TABLE radacct DROP CONSTRAINT {0};",
        "SELECT quote_ident(conname) FROM pg_constraint WHERE contype IN ('c', 'x') AND conrelid = %(oid)s",
    ),
    (
        "the materialized view {0} would go on reading the old rows only",
        "DROP MATERIALIZED VIEW {0}; and create it again afterwards (its definition: \\d+ {0} in psql)",
        """SELECT DISTINCT view.oid::regclass::text FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
           JOIN pg_class AS view ON view.oid = ev_class
           WHERE classid = 'pg_rewrite'::regclass AND refobjid = %(oid)s AND view.relkind = 'm'""",
    ),
    (
        "the view {0} groups by the primary key, and selects what depends on it",
        "write all columns of its select list into its GROUP BY, or drop it and create it again afterwards",
        """SELECT DISTINCT ev_class::regclass::text FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid
           JOIN pg_constraint ON pg_constraint.oid = refobjid
           WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_constraint'::regclass AND conrelid = %(oid)s""",
    ),
    (
        "the function {0} is bound to the table itself, not to its name (its body is BEGIN ATOMIC, or it takes or "
        "returns rows of radacct)",
        "DROP FUNCTION {0}; and create it again afterwards",
        """SELECT DISTINCT objid::regprocedure::text FROM pg_depend
           WHERE classid = 'pg_proc'::regclass
             AND (refclassid = 'pg_class'::regclass AND refobjid = %(oid)s
                  OR refclassid = 'pg_type'::regclass AND refobjid IN (SELECT unnest(ARRAY[reltype, typarray])
                      FROM pg_class JOIN pg_type ON pg_type.oid = reltype WHERE pg_class.oid = %(oid)s))""",
    ),
    (
        "{0} has a column whose type is a row of radacct",
        "drop that column, or the table or view",
        """SELECT DISTINCT attrelid::regclass::text FROM pg_attribute WHERE NOT attisdropped AND attnum > 0
             AND atttypid IN (SELECT unnest(ARRAY[reltype, typarray])
                 FROM pg_class JOIN pg_type ON pg_type.oid = reltype WHERE pg_class.oid = %(oid)s)""",
    ),
    (
        "the publication {0} publishes radacct, and logical replication cannot follow the adoption",
        "ALTER PUBLICATION {0} DROP TABLE radacct; (or drop it), and add it again afterwards",
        """SELECT quote_ident(pubname) FROM pg_publication WHERE puballtables
           OR oid IN (SELECT prpubid FROM pg_publication_rel WHERE prrelid = %(oid)s)
           OR oid IN (SELECT pnpubid FROM pg_publication_namespace WHERE pnnspid = 'public'::regnamespace)""",
    ),
    (
        "radacct inherits from or to {0}",
        "ALTER TABLE <child> NO INHERIT <parent>;",
        """SELECT (CASE inhrelid WHEN %(oid)s THEN inhparent ELSE inhrelid END)::regclass::text FROM pg_inherits
           WHERE %(oid)s IN (inhrelid, inhparent)""",
    ),
)


def in_catalog(connection: Connection, table: Table) -> Iterator[Obstacle]:
    """Yield what the catalog shows to be in the way: triggers, rules, constraints, views, code of others."""
    yield from code(connection, table)
    for reason, remedy, query in _CATALOG:
        for names in connection.execute(query.encode(), {"oid": table.oid}):
            yield Obstacle(reason.format(*names), remedy.format(*names))
    columns = widened(table)
    if columns:
        for name in _views_that_read(connection, table, columns):
            yield Obstacle(
                f"the view {name} reads columns that are to become text ({', '.join(columns)})",
                _without_views([name]),
            )


def _views_that_read(connection: Connection, table: Table, columns: list[str]) -> list[str]:
    return [
        name
        for (name,) in connection.execute(
            """SELECT DISTINCT format('%%I.%%I', nspname, relname)
               FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
               JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
               JOIN pg_class AS view ON view.oid = ev_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
               WHERE classid = 'pg_rewrite'::regclass AND refobjid = %s AND attname = ANY (%s) AND relkind = 'v'
               ORDER BY 1""",
            (table.oid, columns),
        )
    ]


def _without_views(names: list[str], statement: str = "") -> str:
    """Return what an operator does about a column whose type a view keeps."""
    if not names:
        return statement
    shown, pronoun = " and ".join(f"\\d+ {name}" for name in names), "it" if len(names) == 1 else "them"
    return (
        f"keep {'its definition' if not statement else 'the definition of ' + ', '.join(names)} "
        f"({shown} in psql), DROP VIEW {', '.join(names)};{' ' + statement if statement else ''} "
        f"and create {pronoun} again afterwards"
    )


def code(connection: Connection, table: Table) -> list[Obstacle]:
    """Return what of the table and its views would run code of others. Triggers and rules are in `_CATALOG`."""
    return table_code.of_expressions(connection, table.oid) + table_code.of_views(connection, table.oid)


def _names_in_the_way(connection: Connection) -> Iterator[Obstacle]:
    """Find tables and indexes in public with names that radmeter needs."""
    names = ["radacct_legacy", "radacct_open", "radacct_legacy_radacctid_idx"]
    if connection.execute("SELECT to_regclass('radmeter.alembic_version')").fetchone() == (None,):
        for path in sorted((MIGRATIONS / "versions").glob("*.py")):
            text = path.read_text(encoding="utf-8")
            # A table of FreeRADIUS's own, such as radcheck, is used as it is.
            made_if_missing = re.findall(r"to_regclass\('public\.(\w+)'\) IS NULL", text)
            names += set(re.findall(r"CREATE TABLE public\.(\w+)", text)) - set(made_if_missing)
    for (name,) in connection.execute(
        """SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s)
           AND relname <> 'radacct' ORDER BY 1""",
        (names,),
    ):
        yield Obstacle(
            f"there is a {name} in the schema public already, and radmeter needs that name",
            f"ALTER TABLE public.{name} RENAME TO my_{name}; or move it to another schema",
        )


def _rows(connection: Connection, table: Table, boundary: datetime.datetime) -> Iterator[Obstacle]:
    row = connection.execute(
        "SELECT count(*) FROM public.radacct WHERE acctstoptime >= %s", (boundary,)
    ).fetchone()
    if row and row[0]:
        day = f"{boundary:%Y-%m-%d}"
        yield Obstacle(
            f"{counted(row[0], 'session')} stopped in the future, after {boundary:%Y-%m-%d}: "
            f"a router's clock was wrong",
            f"SELECT radacctid, username, acctstoptime FROM radacct WHERE acctstoptime >= '{day}'; shows them, "  # noqa: S608
            "UPDATE radacct SET acctstoptime = least(now(), acctstarttime + "
            "least(greatest(acctsessiontime, 0), 400 * 86400) * interval '1 second') "
            f"WHERE acctstoptime >= '{day}'; corrects them",
        )
    yield from duplicates(connection, table)


def duplicates(connection: Connection, table: Table) -> Iterator[Obstacle]:
    """Yield an obstacle if acctuniqueid is not unique. A unique index makes the check needless."""
    if table.unique_id() is not None:
        return
    row = connection.execute(
        """SELECT count(*), coalesce(sum(times), 0) FROM (SELECT count(*) AS times FROM public.radacct
           WHERE acctuniqueid IS NOT NULL GROUP BY acctuniqueid HAVING count(*) > 1) AS double"""
    ).fetchone()
    if row and row[0]:
        yield Obstacle(
            f"{counted(row[0], 'value')} of acctuniqueid {verb(row[0])} in {counted(row[1], 'row')}: "
            "the sessions cannot be told apart",
            "SELECT acctuniqueid, count(*), array_agg(radacctid) FROM radacct GROUP BY 1 HAVING count(*) > 1; "
            "shows them. If they are sessions of their own, UPDATE radacct AS each SET acctuniqueid = "
            "each.acctuniqueid || '-' || radacctid FROM (SELECT acctuniqueid, max(radacctid) AS latest FROM radacct "
            "GROUP BY 1 HAVING count(*) > 1) AS double WHERE each.acctuniqueid = double.acctuniqueid "
            "AND radacctid < latest; gives all but the latest of each an id of its own. If they are copies of one "
            "session, delete all but one",
        )
