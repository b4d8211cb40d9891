"""Checks how many connections are in use, of those that the server, the database and the roles allow."""

from radmeter.doctor.commands import identifier
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller, first_of

tell = Teller("server")

NEARLY, FULL = 0.8, 0.95

# reserved_connections came with PostgreSQL 16. A session's type is hidden from a role without pg_read_all_stats.
SERVER = """
SELECT (SELECT count(*) FROM pg_stat_activity
        WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'),
       current_setting('max_connections')::integer,
       current_setting('superuser_reserved_connections')::integer
       + coalesce(current_setting('reserved_connections', true), '0')::integer"""

WHO = """
SELECT coalesce(usename, '')::text || coalesce(', ' || nullif(application_name, ''), ''), count(*),
       count(*) FILTER (WHERE state = 'idle')
FROM pg_stat_activity
WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
GROUP BY 1 ORDER BY 2 DESC, 1"""

LIMITED = """
SELECT 'DATABASE', datname::text, datconnlimit,
       (SELECT count(*) FROM pg_stat_activity WHERE datid = pg_database.oid
          AND coalesce(backend_type, 'client backend') = 'client backend')
FROM pg_database WHERE datname = current_database() AND datconnlimit > 0
UNION ALL
SELECT 'ROLE', rolname, rolconnlimit, (SELECT count(*) FROM pg_stat_activity WHERE usesysid = pg_roles.oid)
FROM pg_roles
WHERE rolconnlimit > 0 AND NOT rolsuper AND (rolname = current_user OR EXISTS (
    SELECT FROM pg_roles AS ours
    WHERE ours.rolname ~ '^radmeter_' AND pg_has_role(pg_roles.oid, ours.oid, 'MEMBER')))"""


def faults(context: Context) -> Findings:
    """Find connections that are nearly used up. Then a shipper that has lost its own gets none."""
    used, most, reserved = context.row(SERVER)
    allowed = most - reserved
    if used >= NEARLY * allowed:
        who = context.rows(WHO)
        level = tell.red if used >= FULL * allowed else tell.yellow
        yield level(
            f"{used} of {allowed} connections are in use (max_connections {most}, {reserved} of them reserved): "
            + first_of(
                [f"{name or 'unknown'} has {count}, {idle} of them idle" for name, count, idle in who]
            ),
            context.remedy.psql(
                f"ALTER SYSTEM SET max_connections = {2 * most}", user=context.remedy.superuser
            ),
            *(f"{name or 'unknown'}: {count}, {idle} idle" for name, count, idle in who),
            note="Then restart PostgreSQL. Better, let the programs with many idle connections open fewer.",
        )
    for kind, name, limit, connected in context.rows(LIMITED):
        if connected >= NEARLY * limit:
            level = tell.red if connected >= FULL * limit else tell.yellow
            yield level(
                f"{connected} of {limit} connections of the {kind.lower()} {name} are in use",
                context.remedy.psql(
                    f"ALTER {kind} {identifier(name)} CONNECTION LIMIT {2 * limit}",
                    user=context.remedy.superuser,
                ),
            )
