"""The partition of the open sessions. Without it no packet of a session can be counted."""

from psycopg import sql

from radmeter.database.connection import Connection, explained_errors
from radmeter.database.lock_retries import with_lock_retries
from radmeter.database.revision_constants import constant

IS_ATTACHED = """
SELECT EXISTS (SELECT FROM pg_inherits
               WHERE inhparent = parent.oid AND inhrelid = to_regclass('public.radacct_open') AND NOT inhdetachpending),
       to_regclass('public.radacct_open') IS NOT NULL, pg_get_userbyid(parent.relowner)
FROM pg_class AS parent WHERE oid = to_regclass('public.radacct') AND relkind = 'p'"""
CREATE = """
CREATE TABLE public.radacct_open PARTITION OF public.radacct
    (CONSTRAINT radacct_open_is_open CHECK (acctstoptime IS NULL)) DEFAULT
    WITH (fillfactor = 60, autovacuum_vacuum_cost_delay = 0)"""

# Its indexes, as statements; those of revision 0020 by their definitions there.
INDEXES = (
    "CREATE UNIQUE INDEX radacct_open_radacctid_idx ON public.radacct_open (radacctid)",
    *(f"CREATE {text.format('')}" for text in constant("0020_identity", "INDEXES").values()),
    "CREATE INDEX radacct_open_router_id_idx ON public.radacct_open (router_id)",
    "CREATE INDEX radacct_open_username_idx ON public.radacct_open (username)",
)


def ensure_open(connection: Connection) -> bool:
    """Attach radacct_open if it is no partition of radacct, or make it. Return whether either was done.

    A table that is made has its indexes and its replica identity, too.
    """

    def attach(connection: Connection) -> bool:
        row = connection.execute(IS_ATTACHED).fetchone()
        if row is None or row[0]:
            return False
        if row[1]:
            connection.execute("ALTER TABLE public.radacct ATTACH PARTITION public.radacct_open DEFAULT")
        else:
            connection.execute(CREATE)
            for statement in INDEXES:
                connection.execute(statement.encode())
            connection.execute("SELECT radmeter.set_replica_identity('public.radacct_open'::regclass)")
            connection.execute(
                sql.SQL("ALTER TABLE public.radacct_open OWNER TO {}").format(sql.Identifier(row[2]))
            )
        return True

    with explained_errors("radmeter_owner"):
        return with_lock_retries(connection, attach, what="attaching radacct_open")
