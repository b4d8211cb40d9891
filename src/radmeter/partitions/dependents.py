"""Objects that depend on a partition of radacct, and hinder that it is dropped."""

from radmeter.database.connection import Connection

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


def dependents(connection: Connection, relid: int) -> list[str]:
    """Return what depends on a partition, each with what to do about it."""
    return [row[0] for row in connection.execute(DEPENDENTS, {"relid": relid})]
