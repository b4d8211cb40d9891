"""Checks how old the oldest transaction ids of the database are, and what keeps them old.

The oldest ``relfrozenxid`` of all tables is the database's ``datfrozenxid``. VACUUM renews it, but not for the
temporary table of another session, and not beyond a transaction that is still open.
"""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller

tell = Teller("autovacuum")

# PostgreSQL warns from 2^31 - 40 million on, and stops 3 million before the end.
OLD_AGE, FATAL_AGE = 500_000_000, 1_500_000_000
END = "writing ends at 2,147,483,648"
MOST_TABLES = 20

# The number in pg_temp_3 is that of the session. Its TOAST tables are in pg_toast_temp_3.
TEMPORARY = """
SELECT substring(nspname FROM '[0-9]+$')::integer AS session,
       min(relname) FILTER (WHERE relkind <> 't'),
       min(format('%%I.%%I', nspname, relname)) FILTER (WHERE relkind <> 't'),
       max(greatest(age(relfrozenxid), mxid_age(relminmxid)))::bigint
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relpersistence = 't' AND relkind IN ('r', 'm', 't')
GROUP BY session
HAVING max(greatest(age(relfrozenxid), mxid_age(relminmxid)))
       > current_setting('autovacuum_freeze_max_age')::bigint / 2
ORDER BY 4 DESC"""

SESSIONS = """
SELECT pid, coalesce(usename, '')::text, coalesce(application_name, '') FROM pg_stat_activity
WHERE pid = ANY (%s) AND datname = current_database() ORDER BY pid"""

# From PostgreSQL 16 on the functions take the number in the name of the schema.
NUMBERED = "SELECT pid FROM pg_stat_get_backend_pid(%s) AS pid WHERE pid IS NOT NULL"
# PostgreSQL 15 lists the sessions in the order of these numbers and leaves the gaps out. A session in a transaction,
# such as this one, shows its number in its locks. That bounds the numbers of the others.
BOUNDED = """
WITH session AS (
    SELECT rank, pg_stat_get_backend_pid(rank) AS pid FROM pg_stat_get_backend_idset() AS rank
), known AS (
    SELECT DISTINCT rank, split_part(virtualtransaction, '/', 1)::integer AS number
    FROM pg_locks JOIN session USING (pid) WHERE locktype = 'virtualxid'
), bounded AS (
    SELECT pid, rank + (SELECT coalesce(max(known.number - known.rank), 0)
                        FROM known WHERE known.rank <= session.rank) AS least,
           (SELECT min(known.number - known.rank) FROM known WHERE known.rank >= session.rank) + rank AS most
    FROM session
)
SELECT pid FROM bounded WHERE %s BETWEEN least AND coalesce(most, %s)"""

HOLDERS = """
SELECT 'process ' || pid || ' (' || coalesce(usename, '') || coalesce(', ' || nullif(application_name, ''), '') || ')',
       format('SELECT pg_catalog.pg_terminate_backend(%%s)', pid),
       greatest(age(backend_xid), age(backend_xmin))::bigint AS age
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
UNION ALL
SELECT 'the prepared transaction ' || gid, format('ROLLBACK PREPARED %%L', gid), age(transaction)
FROM pg_prepared_xacts WHERE database = current_database()
UNION ALL
SELECT 'the replication slot ' || slot_name, format('SELECT pg_catalog.pg_drop_replication_slot(%%L)', slot_name),
       greatest(age(xmin), age(catalog_xmin))
FROM pg_replication_slots
ORDER BY age DESC NULLS LAST LIMIT 1"""

TABLES = """
SELECT format('%%I.%%I', nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'm', 't') AND relpersistence <> 't'
  AND greatest(age(relfrozenxid), mxid_age(relminmxid)) > %s
ORDER BY greatest(age(relfrozenxid), mxid_age(relminmxid)) DESC LIMIT %s"""


def oldest_age(context: Context) -> int:
    """Return how many transactions ago the oldest transaction id of the database was given out."""
    (age,) = context.row(
        """SELECT greatest(age(datfrozenxid), mxid_age(datminmxid))::bigint FROM pg_database
           WHERE datname = current_database()"""
    )
    return int(age)


def faults(context: Context) -> Findings:
    """Find tables that need freezing, and what prevents it."""
    yield from _temporary(context)
    age = oldest_age(context)
    if age > OLD_AGE:
        level = tell.red if age > FATAL_AGE else tell.yellow
        for who, end, held in context.rows(HOLDERS):
            if (held or 0) <= OLD_AGE / 2:
                continue
            yield level(
                f"{who} has been open for {held:,} transactions: VACUUM cannot freeze what is newer, and {END}",
                context.remedy.psql(end, user=context.remedy.superuser),
            )
        tables = [name for (name,) in context.rows(TABLES, OLD_AGE / 2, MOST_TABLES)]
        if tables:
            yield level(
                f"{tables[0]} has not been frozen for {age:,} transactions; {END}",
                context.remedy.psql(f"VACUUM (FREEZE) {', '.join(tables)}", user=context.remedy.superuser),
            )


def _temporary(context: Context) -> Findings:
    """Find old temporary tables. Only the session that has made one can vacuum it, and few do."""
    for number, name, table, age in context.rows(TEMPORARY):
        level = tell.red if age > FATAL_AGE else tell.yellow
        sessions = _sessions(context, number)
        why = f"{age:,} transactions old. No other session can freeze it, and {END}"
        if not sessions:
            yield level(
                f"the temporary table {name or 'of a session'} is {why}. Its session has ended",
                context.remedy.psql(f"DROP TABLE {table}", user=context.remedy.superuser),
            )
            continue
        who = [
            f"{pid} ({user}{', ' + application if application else ''})"
            for pid, user, application in sessions
        ]
        processes = f"process {who[0]}" if len(who) == 1 else f"one of the processes {', '.join(who)}"
        ids = ", ".join(str(pid) for pid, _, _ in sessions)
        yield level(
            f"{processes} has a temporary table, {name}, that is {why}",
            context.remedy.psql(
                f"SELECT pg_catalog.pg_terminate_backend({ids})"
                if len(who) == 1
                else f"SELECT * FROM pg_catalog.pg_stat_activity WHERE pid IN ({ids})",  # noqa: S608  # numbers
                user=context.remedy.superuser,
            ),
        )


def _sessions(context: Context, number: int) -> list[tuple[int, str, str]]:
    """Return the process, role and application of the session with a number, or all that may have it."""
    if context.database.info.server_version >= 160000:
        pids = context.rows(NUMBERED, number)
    else:
        pids = context.rows(BOUNDED, number, number)
    return context.rows(SESSIONS, [pid for (pid,) in pids])
