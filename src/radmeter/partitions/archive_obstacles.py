"""Reasons why a partition cannot be archived yet: usage that would be lost, or objects that depend on it."""

from psycopg import sql

from radmeter.database.connection import Connection, explained_errors
from radmeter.partitions.archive import Candidate

# Views and materialized views (by their rule), foreign keys, and a sequence that would be dropped with its column.
DEPENDENTS = """
SELECT DISTINCT CASE reader.relkind WHEN 'm' THEN 'the materialized view ' ELSE 'the view ' END
       || reader.oid::regclass::text || ' reads it: DROP or redefine it'
FROM pg_depend JOIN pg_rewrite ON classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = objid
JOIN pg_class AS reader ON reader.oid = ev_class
WHERE refclassid = 'pg_class'::regclass AND refobjid = %(relid)s AND reader.oid <> refobjid
UNION
SELECT 'the foreign key ' || conname || ' of ' || conrelid::regclass::text || ' refers to it: drop that constraint'
FROM pg_constraint WHERE contype = 'f' AND confrelid = %(relid)s
UNION
SELECT 'the sequence ' || sequence.oid::regclass::text || ' belongs to it and would be dropped with it: ALTER SEQUENCE '
       || sequence.oid::regclass::text || ' OWNED BY public.radacct.radacctid'
FROM pg_depend JOIN pg_class AS sequence ON classid = 'pg_class'::regclass AND sequence.oid = objid
WHERE relkind = 'S' AND refclassid = 'pg_class'::regclass AND refobjid = %(relid)s AND deptype = 'a'"""


def obstacles(connection: Connection, candidate: Candidate) -> list[str]:
    """Return the obstacles to archiving a partition, each with its remedy."""
    with explained_errors("radmeter_owner"):
        found = [row[0] for row in connection.execute(DEPENDENTS, {"relid": candidate.relid})]
        if _has_uncounted(connection, candidate):
            found.append(
                "its sessions from before the adoption are not all counted, and their usage would be lost: "
                "run `radmeter backfill` first"
            )
    return found


def _has_uncounted(connection: Connection, candidate: Candidate) -> bool:
    """Return whether the partition has adopted sessions that are not in the counters yet."""
    if not _one(
        connection,
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = %s AND attname = 'adopted' AND NOT attisdropped)",
        candidate.relid,
    ):
        return False
    counted = "'{}'::int8multirange"
    if _one(
        connection,
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('radmeter.backfill')"
        " AND attname = 'counted' AND attnum > %s)",
        0,
    ):
        counted = "coalesce((SELECT range_agg(counted) FROM radmeter.backfill), '{}'::int8multirange)"
    about = {"table": sql.Identifier("public", candidate.name), "counted": sql.SQL(counted)}
    # The lowest and the highest id nearly always suffice. All sessions are read only if a part is uncounted.
    whole = sql.SQL(
        "SELECT coalesce({counted} @> int8range(min(radacctid), max(radacctid), '[]'), true) FROM {table}"
    ).format(**about)
    row = connection.execute(whole).fetchone()
    if row and row[0]:
        return False
    row = connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {table} WHERE adopted AND NOT {counted} @> radacctid)").format(
            **about
        )
    ).fetchone()
    return bool(row and row[0])


def _one(connection: Connection, query: str, value: int) -> bool:
    row = connection.execute(query.encode(), (value,)).fetchone()
    return bool(row and row[0])
