"""Makes the partitioned radacct that will replace the table, beside it as radmeter.radacct."""

import re

from psycopg import sql

from radmeter.adoption.columns import CHANGED_BY_INTERIMS, COMMENTS
from radmeter.adoption.table import Index, Table
from radmeter.database.connection import Connection
from radmeter.schema.ownership import OWNER
from radmeter.schema.sql_files import apply_sql_files

PARENT = "radmeter.radacct"

# The columns of radmeter's own indexes, which every partition has. No second index on these is made.
_PARTITION_INDEXES = (
    ["radacctid"],
    ["acctuniqueid"],
    ["username", "acctstarttime"],
    ["router_id", "acctstarttime"],
)


def carried(table: Table) -> list[Index]:
    """Return the table's indexes that all partitions get, without those that radmeter has itself.

    Two kinds stay on the old rows only. Indexes of open sessions: radacct_open makes them needless. Indexes by a
    column that every interim changes: each packet would write all indexes again (PostgreSQL, heap-only tuples).
    """
    return [
        index
        for index in table.indexes
        if index.valid
        and not index.unique
        and index.columns not in _PARTITION_INDEXES
        and "acctstoptime IS NULL" not in index.definition
        and not CHANGED_BY_INTERIMS.intersection(index.names)
    ]


def left_behind(table: Table) -> list[Index]:
    """Return the indexes that stay on the old rows only, because interims change their columns."""
    return [index for index in table.indexes if CHANGED_BY_INTERIMS.intersection(index.names)]


def index_on(index: Index, table: str, name: str) -> str:
    """Return the statement that makes an index like this one on another table."""
    return re.sub(
        r"^CREATE INDEX .+? ON (ONLY )?\S+ USING",
        f"CREATE INDEX {name} ON {table} USING",
        index.definition,
        count=1,
    )


def make(connection: Connection, table: Table, owner: str) -> None:
    """Make radmeter.radacct again with columns, defaults, comments, grants, indexes, views and triggers.

    In the caller's transaction. Reads the table's definition under ACCESS SHARE, which keeps nobody waiting.
    """
    run = connection.execute
    run("SET LOCAL client_min_messages = warning")
    run("DROP TABLE IF EXISTS radmeter.radacct CASCADE")
    run("DELETE FROM radmeter.sql_file")  # the views were dropped with it
    run(
        """CREATE TABLE radmeter.radacct (LIKE public.radacct
           INCLUDING DEFAULTS INCLUDING COMMENTS INCLUDING STORAGE INCLUDING COMPRESSION)
           PARTITION BY RANGE (acctstoptime)"""
    )
    run("ALTER TABLE radmeter.radacct ALTER adopted DROP DEFAULT")
    if table.comment is not None:
        run(sql.SQL("COMMENT ON TABLE radmeter.radacct IS {}").format(sql.Literal(table.comment)))
    commented = {
        row[0]
        for row in run(
            """SELECT attname::text FROM pg_attribute
               WHERE attrelid = %s AND col_description(attrelid, attnum) IS NOT NULL""",
            (table.oid,),
        )
    }
    for column, comment in COMMENTS:
        if column not in commented:
            run(f"COMMENT ON COLUMN radmeter.radacct.{column} IS '{comment}'".encode())
    for number, index in enumerate(carried(table), 1):
        run(index_on(index, PARENT, f"radacct_kept_{number}_idx").encode())
    run(sql.SQL("ALTER TABLE radmeter.radacct OWNER TO {}").format(sql.Identifier(owner)))
    for statement in _grants(connection, table, owner):
        run(statement.encode())
    if owner == OWNER:
        run(f"SET LOCAL ROLE {OWNER}")
    apply_sql_files(connection, radacct=PARENT)
    run("RESET ROLE")


def _grants(connection: Connection, table: Table, owner: str) -> list[str]:
    """Return the statements that grant on the new table what was granted on the old one.

    The old table's owner, FreeRADIUS's role, may read and write the new table, but does not own it.
    """
    statements = [
        f"GRANT {privileges}{column} ON radmeter.radacct TO {grantee}{option}"
        for privileges, column, grantee, option in connection.execute(
            """SELECT privilege_type, coalesce('(' || quote_ident(attname) || ')', ''),
                      CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                      CASE WHEN is_grantable AND grantee <> 0 THEN ' WITH GRANT OPTION' ELSE '' END
               FROM (SELECT acl.*, NULL::name AS attname, relowner FROM pg_class, aclexplode(relacl) AS acl
                     WHERE pg_class.oid = %(oid)s
                     UNION ALL
                     SELECT acl.*, attname, relowner FROM pg_attribute
                     JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl) AS acl
                     WHERE attrelid = %(oid)s AND NOT attisdropped) AS granted
               WHERE grantee <> relowner AND pg_get_userbyid(grantee) <> %(owner)s""",
            {"oid": table.oid, "owner": owner},
        )
    ]
    if table.owner != owner:
        quoted = connection.execute("SELECT quote_ident(%s)", (table.owner,)).fetchone()
        assert quoted is not None
        statements.append(f"GRANT SELECT, INSERT, UPDATE, DELETE ON radmeter.radacct TO {quoted[0]}")
    return statements
