"""The role radmeter_owner owns our objects. A member of it can do all that an upgrade needs, and is no superuser."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import psycopg
from psycopg import sql

from radmeter.database.connection import Connection, translated_errors
from radmeter.database.identifiers import quoted
from radmeter.database.lock_retries import PATIENCE_SECONDS, log, with_lock_retries
from radmeter.errors import StoreError
from radmeter.schema import table_code
from radmeter.schema.sql_files import GRANTEES, roles_file

OWNER = "radmeter_owner"
ROLES = (OWNER, *GRANTEES)
# A message names so many objects.
LISTED = 10

# Our tables in the schema public. In the schema radmeter everything is ours. Partitions belong to their table.
PUBLIC_TABLES = (
    "accounting_anomaly",
    "audit_log",
    "credit_note_lines",
    "credit_notes",
    "ingest_checkpoint",
    "invoice_lines",
    "invoice_usage",
    "invoices",
    "plan_tiers",
    "plans",
    "radacct",
    "rejected_packet",
    "router_daily_usage",
    "routers",
    "subscriber_plans",
    "subscribers",
    "top_ups",
    "user_quota_usage",
)
PUBLIC_FUNCTIONS = ("public.get_user_total_usage(text,timestamp with time zone)",)

# A column's sequence changes its owner with the table (PostgreSQL manual, ALTER TABLE), so it is not listed.
FOREIGN = """
WITH ours AS (
    SELECT CASE WHEN relkind = 'v' THEN 'VIEW' WHEN relkind = 'm' THEN 'MATERIALIZED VIEW'
                WHEN relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
           format('%%I.%%I', nspname, relname) AS name, relowner AS owner
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
      -- FreeRADIUS's own radacct keeps its owner until it is adopted.
      AND NOT (nspname = 'public' AND relname = 'radacct' AND relkind = 'r')
      AND (nspname = 'radmeter'
           OR nspname = 'public' AND relkind IN ('r', 'p') AND (relname = ANY (%(tables)s)
               OR relispartition AND pg_class.oid IN (
                   SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass('public.radacct'))))
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                        AND relkind = 'S' AND deptype IN ('a', 'i'))
    UNION ALL
    SELECT 'ROUTINE', pg_proc.oid::regprocedure::text, proowner
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    -- In public a function of the same name with other arguments is not ours.
    WHERE nspname = 'radmeter'
       OR pg_proc.oid IN (SELECT to_regprocedure(function) FROM unnest(%(functions)s::text[]) AS function)
    UNION ALL
    SELECT 'SCHEMA', 'radmeter', nspowner FROM pg_namespace WHERE nspname = 'radmeter'
)
SELECT kind, name, rolname, rolsuper, pg_has_role(session_user, owner, 'USAGE'),
       rolsuper OR rolname = session_user
           -- The rows of a table are what counts. Its code is looked at when it is handed over.
           OR kind = 'TABLE' AND name LIKE 'public.%%'
              AND owner = (SELECT datdba FROM pg_database WHERE datname = current_database()) AS trusted
FROM ours JOIN pg_roles ON pg_roles.oid = owner
WHERE rolname <> %(owner)s
ORDER BY kind = 'SCHEMA', kind = 'ROUTINE', kind <> 'TABLE', name"""

SEQUENCES = """
SELECT objid::regclass::text FROM pg_depend JOIN pg_class ON pg_class.oid = objid
WHERE classid = 'pg_class'::regclass AND refobjid = to_regclass(%s) AND relkind = 'S' AND deptype IN ('a', 'i')"""


class Foreign(NamedTuple):
    """One of our objects that another role owns.

    `movable`: the role that logged in may hand it over. `trusted`: that cannot give its owner the rights of ours.
    """

    kind: str
    name: str
    owner: str
    superuser: bool
    movable: bool
    trusted: bool

    @property
    def remedy(self) -> str:
        """What to do about an object that is not trusted."""
        move = f"ALTER {self.kind} {self.name} OWNER TO {OWNER};"
        other = {
            "SCHEMA": "ALTER SCHEMA radmeter RENAME TO ..;",
            "TABLE": f"ALTER TABLE {self.name} RENAME TO ..;",
        }
        drop = other.get(self.kind, f"DROP {self.kind} {self.name};")
        return f"if you do not know it: {drop} else read it, and {move}"


def make_roles(connection: Connection, said: Callable[[str], None] = log.info) -> None:
    """Make the missing roles, as far as the role that logged in may. Say what it may not do."""

    def warn(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            said(f"warning: {diagnostic.message_primary}")

    connection.add_notice_handler(warn)
    try:
        with translated_errors():
            connection.execute(roles_file().encode())
    finally:
        connection.remove_notice_handler(warn)


def will_revoke_temporary(connection: Connection) -> bool:
    """Tell whether the file of the roles will take the right to make temporary tables from PUBLIC."""
    row = connection.execute(
        """SELECT pg_has_role(datdba, 'USAGE')
               AND EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))
                           WHERE grantee = 0 AND privilege_type = 'TEMPORARY')
           FROM pg_database WHERE datname = current_database()"""
    ).fetchone()
    return row == (True,)


def may_act_as_owner(connection: Connection) -> bool:
    """Tell whether the role that logged in can make objects that radmeter_owner owns."""
    kind = "SET" if connection.info.server_version >= 160_000 else "MEMBER"
    row = connection.execute(
        """SELECT pg_has_role(session_user, oid, %s) AND has_schema_privilege(oid, 'public', 'CREATE')
           FROM pg_roles WHERE rolname = %s""",
        (kind, OWNER),
    ).fetchone()
    return row == (True,)


def act_as_owner(connection: Connection) -> bool:
    """Act as radmeter_owner from now on, if the role that logged in may. Return whether it may."""
    if not may_act_as_owner(connection):
        return False
    connection.execute(f"SET ROLE {OWNER}")
    return True


# Who may act as the role that owns our objects is no stranger, nor is a superuser. pg_database_owner is whoever owns
# the database. Before the first adoption our role is not there yet: the role that logged in will make it, or own all.
STRANGERS = """
SELECT what, name, rolname
FROM (SELECT 'DATABASE' AS what, datname AS name, datdba AS owner FROM pg_database WHERE datname = current_database()
      UNION ALL
      SELECT 'SCHEMA', nspname, nspowner FROM pg_namespace WHERE nspname = 'public') AS thing
JOIN pg_roles ON pg_roles.oid = thing.owner
WHERE rolname <> 'pg_database_owner'
  AND NOT coalesce(pg_has_role(thing.owner, to_regrole(quote_ident(%s))::oid, 'MEMBER'),
                   rolsuper OR rolname = session_user)
ORDER BY what"""


class Stranger(NamedTuple):
    """The database or its schema public, whose owner is none of ours: it may drop what is in it, and grant rights."""

    kind: str
    name: str
    owner: str


def strangers(connection: Connection, ours: str = OWNER) -> list[Stranger]:
    """Return the database and the schema public, if their owner may not act as `ours`. A superuser may."""
    return [Stranger(*row) for row in connection.execute(STRANGERS, (ours,))]


def foreign(connection: Connection) -> list[Foreign]:
    """Return our objects that another role owns."""
    values = {"tables": list(PUBLIC_TABLES), "functions": list(PUBLIC_FUNCTIONS), "owner": OWNER}
    return [Foreign(*row) for row in connection.execute(FOREIGN, values)]


def hand_over(
    connection: Connection,
    *,
    said: Callable[[str], None] = log.info,
    patience_seconds: float = PATIENCE_SECONDS,
    done: Callable[[], None] = lambda: None,
) -> int:
    """Make radmeter_owner the owner of our objects, as far as the role that logged in may. Return how many it got.

    The former owner of a table may still write to it. Tables are handed over one at a time: each is locked for a
    moment. Functions come last. They run as their owner, and the former owner may still write to the tables. A
    session that ingests has a temporary table of the former owner's. `radmeter.ingest` refuses it once, and the
    shipper connects again.
    """
    things = foreign(connection)
    _refuse([thing for thing in things if not thing.trusted])
    mine = [thing for thing in things if thing.movable]
    tables = [[thing] for thing in mine if thing.kind not in ("ROUTINE", "SCHEMA")]
    # Functions call each other as their owner, so all are handed over together. That keeps nobody waiting.
    functions = [thing for thing in mine if thing.kind in ("ROUTINE", "SCHEMA")]
    for together in [*tables, *([functions] if functions else [])]:
        what = together[0].name if len(together) == 1 else f"{len(together)} functions"
        with_lock_retries(
            connection,
            partial(_move, together),
            what=f"handing {what} over to {OWNER}",
            patience_seconds=patience_seconds,
            said=said,
        )
        done()
    for thing in things:
        if not thing.movable:
            said(
                f"warning: {thing.name} stays {thing.owner}'s: only that role or a superuser can hand it over"
            )
    return len(mine)


def refuse_strangers(connection: Connection) -> None:
    """Refuse objects with our names that a role owns whose code must not get the rights of radmeter's owner.

    Raises
    ------
    StoreError
        There are some. The message has each with its remedy. Nothing was changed.
    """
    _refuse([thing for thing in foreign(connection) if not thing.trusted])


def _refuse(strangers: list[Foreign]) -> None:
    if strangers:
        more = len(strangers) - LISTED
        raise StoreError(
            f"objects with names of radmeter's belong to roles that are no superuser, nothing was changed: {OWNER} "
            "would run their code",
            *(
                f"  {thing.kind.lower()} {thing.name} of {quoted(thing.owner)}: {thing.remedy}"
                for thing in strangers[:LISTED]
            ),
            *([f"  .. and {more} more"] if more > 0 else []),
        )


def _move(things: list[Foreign], connection: Connection) -> None:
    for thing in things:
        connection.execute(f"ALTER {thing.kind} {thing.name} OWNER TO {OWNER}".encode())
        if thing.kind == "TABLE":
            # Nobody else can change the table now. What it has was not looked at before.
            table_code.refuse(connection, thing.name)
        elif thing.kind in ("ROUTINE", "SCHEMA"):
            _reset_grants(connection, thing)
        # The role of another program may still read and write its table, and gets no other right. The role that
        # migrates needs none: it is a member of radmeter_owner.
        if thing.kind == "TABLE" and not thing.superuser and thing.owner != connection.info.user:
            role, table = sql.Identifier(thing.owner), thing.name
            rights = sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {}")
            connection.execute(rights.format(sql.SQL(table), role))
            for (sequence,) in connection.execute(SEQUENCES, (table,)).fetchall():
                rights = sql.SQL("GRANT USAGE, SELECT ON SEQUENCE {} TO {}")
                connection.execute(rights.format(sql.SQL(sequence), role))


def _reset_grants(connection: Connection, thing: Foreign) -> None:
    """Take from everybody but radmeter's own roles what the former owner granted. They keep what grants.sql gives."""
    query = (
        "SELECT nspacl, nspowner FROM pg_namespace WHERE nspname = 'radmeter'"
        if thing.kind == "SCHEMA"
        else "SELECT proacl, proowner FROM pg_proc WHERE oid = to_regprocedure(%(name)s)"
    )
    rows = connection.execute(
        f"""SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
            FROM ({query}) AS object (acl, owner), aclexplode(acl)
            WHERE grantee <> owner AND pg_get_userbyid(grantee) <> ALL (%(roles)s)""".encode(),  # noqa: S608
        {"name": thing.name, "roles": list(ROLES)},
    ).fetchall()
    for (grantee,) in rows:
        connection.execute(f"REVOKE ALL ON {thing.kind} {thing.name} FROM {grantee} CASCADE".encode())


def script() -> str:
    """Return SQL that does the same as `hand_over` and `act_as_owner`, for use in a transaction."""
    query = FOREIGN.replace("%%", "%")
    for name, value in {
        "tables": list(PUBLIC_TABLES),
        "functions": list(PUBLIC_FUNCTIONS),
        "owner": OWNER,
    }.items():
        query = query.replace(f"%({name})s", sql.Literal(value).as_string())
    return f"""DO $script$
DECLARE
    v_thing record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{OWNER}'
                     AND pg_has_role(session_user, oid, 'MEMBER')
                     AND has_schema_privilege(oid, 'public', 'CREATE')) THEN
        RAISE WARNING 'new objects belong to %', session_user;
        RETURN;
    END IF;
    FOR v_thing IN {query} LOOP
        IF NOT v_thing.trusted THEN
            RAISE EXCEPTION '% % has a name of radmeter''s and belongs to %: read it, then drop it or hand it over',
                v_thing.kind, v_thing.name, v_thing.rolname;
        END IF;
        EXECUTE format('ALTER %s %s OWNER TO {OWNER}', v_thing.kind, v_thing.name);
        IF v_thing.kind = 'TABLE' AND NOT v_thing.rolsuper AND v_thing.rolname <> session_user THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %s TO %I', v_thing.name, v_thing.rolname);
        END IF;
    END LOOP;
    PERFORM set_config('role', '{OWNER}', true);
END;
$script$;
"""
