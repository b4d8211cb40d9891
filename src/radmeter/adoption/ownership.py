"""Makes radmeter's owner the owner of FreeRADIUS's radacct while it is adopted, and gives it back.

An adoption changes rows of radacct as radmeter's owner, or as the superuser who runs the command. The owner of a table
can give it triggers, rules, policies, defaults and checks. Their functions run as the role that changes the rows. So
FreeRADIUS's role may go on reading and writing, but it cannot change the table itself. `foreign_code` finds what the
table had before.
"""

from psycopg import sql

from radmeter.database.connection import Connection
from radmeter.schema.ownership import OWNER

# Functions, operators and types that a default, an index, a statistics object or a column of the table uses, and that
# belong to a role which is no superuser: that role can change what they do at any time.
FOREIGN_CODE = """
SELECT DISTINCT what, name, owner FROM (
    SELECT CASE classid WHEN 'pg_attrdef'::regclass THEN 'a default'
                        WHEN 'pg_statistic_ext'::regclass THEN 'a statistics object'
                        WHEN 'pg_class'::regclass THEN
                            CASE objid WHEN %(oid)s THEN 'a column' ELSE 'the index ' || objid::regclass END
           END AS what,
           CASE refclassid WHEN 'pg_proc'::regclass THEN 'the function ' || refobjid::regprocedure
                           WHEN 'pg_operator'::regclass THEN 'the operator ' || refobjid::regoperator
                           WHEN 'pg_type'::regclass THEN 'the type ' || refobjid::regtype END AS name,
           CASE refclassid WHEN 'pg_proc'::regclass THEN (SELECT proowner FROM pg_proc WHERE oid = refobjid)
                           WHEN 'pg_operator'::regclass THEN (SELECT oprowner FROM pg_operator WHERE oid = refobjid)
                           WHEN 'pg_type'::regclass THEN (SELECT typowner FROM pg_type WHERE oid = refobjid
                                                          AND typtype <> 'e') END AS owned_by
    FROM pg_depend
    WHERE classid = 'pg_attrdef'::regclass AND objid IN (SELECT oid FROM pg_attrdef WHERE adrelid = %(oid)s)
       OR classid = 'pg_statistic_ext'::regclass
          AND objid IN (SELECT oid FROM pg_statistic_ext WHERE stxrelid = %(oid)s)
       OR classid = 'pg_class'::regclass AND objid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(oid)s)
       OR classid = 'pg_class'::regclass AND objid = %(oid)s AND refclassid = 'pg_type'::regclass
) AS used JOIN LATERAL (SELECT rolname::text AS owner, rolsuper FROM pg_roles WHERE oid = owned_by) AS roles ON true
WHERE NOT rolsuper AND owner <> %(owner)s AND owner <> session_user
ORDER BY 1, 2"""


def foreign_code(connection: Connection, oid: int) -> list[tuple[str, str, str]]:
    """Return what of the table uses a function, operator or type of another role: what, of what name, whose."""
    return connection.execute(FOREIGN_CODE, {"oid": oid, "owner": OWNER}).fetchall()


def take(connection: Connection, owner: str, former: str, sequence: str | None) -> None:
    """Make `owner` the owner of public.radacct. The former owner may go on reading and writing."""
    if owner == former:
        return
    connection.execute(sql.SQL("ALTER TABLE public.radacct OWNER TO {}").format(sql.Identifier(owner)))
    let_write(connection, former)
    if sequence is not None:
        give_sequence(connection, sequence, "public.radacct", owner, former)


def let_write(connection: Connection, former: str) -> None:
    """Let FreeRADIUS's role read and write public.radacct."""
    connection.execute(
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON public.radacct TO {}").format(sql.Identifier(former))
    )


def give_back(connection: Connection, owner: str, former: str) -> None:
    """Make FreeRADIUS's role the owner of public.radacct again. Its sequence belongs to a column and goes with it."""
    if owner == former:
        return
    connection.execute(sql.SQL("ALTER TABLE public.radacct OWNER TO {}").format(sql.Identifier(former)))
    connection.execute(sql.SQL("REVOKE ALL ON public.radacct FROM {}").format(sql.Identifier(owner)))


def give_sequence(connection: Connection, name: str, target: str, owner: str, former: str) -> None:
    """Give the sequence to another table and owner. Its numbers go on, and the former owner may still use it."""
    sequence = sql.Identifier(*name.split("."))
    connection.execute(sql.SQL("ALTER SEQUENCE {} OWNED BY NONE").format(sequence))
    connection.execute(sql.SQL("ALTER SEQUENCE {} OWNER TO {}").format(sequence, sql.Identifier(owner)))
    connection.execute(
        sql.SQL("ALTER SEQUENCE {} OWNED BY {}.radacctid").format(
            sequence, sql.Identifier(*target.split("."))
        )
    )
    if former != owner:
        connection.execute(
            sql.SQL("GRANT USAGE, SELECT ON SEQUENCE {} TO {}").format(sequence, sql.Identifier(former))
        )
