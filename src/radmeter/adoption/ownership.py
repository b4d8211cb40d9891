"""Makes radmeter's owner the owner of FreeRADIUS's radacct while it is adopted, and gives it back.

An adoption changes rows of radacct as radmeter's owner, or as the superuser who runs the command. The owner of a table
can give it triggers, rules, policies, defaults and checks. Their functions run as the role that changes the rows. So
FreeRADIUS's role may go on reading and writing, but it cannot change the table itself. `schema.table_code` finds what
the table had before.
"""

from psycopg import sql

from radmeter.adoption.table import Table
from radmeter.database.connection import Connection


def take(connection: Connection, owner: str, former: str, table: Table) -> None:
    """Make `owner` the owner of public.radacct, unless it is. The former owner may go on reading and writing."""
    if owner in (former, table.owner):
        return
    connection.execute(sql.SQL("ALTER TABLE public.radacct OWNER TO {}").format(sql.Identifier(owner)))
    let_write(connection, former)
    if table.sequence is not None:
        give_sequence(connection, table.sequence, "public.radacct", owner, former)


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
