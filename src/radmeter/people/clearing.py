"""Retention by age: personal attributes of old sessions are cleared (limit `personal_keep_days`)."""

from collections.abc import Callable
from typing import NamedTuple

from psycopg import sql

from radmeter.database.connection import Connection, explained_errors

# Sessions cleared in one transaction.
BATCH = 500

# Each partition with closed sessions older than the limit, unless it was cleared less than a day ago, or is cleared up
# to its end and has not changed since. The server's counters of changes may be reset: that costs one more reading.
DUE = """
SELECT part.relid, least(part.to_at, cutoff.at), changes.number
FROM radmeter.radacct_partitions() AS part
CROSS JOIN (SELECT now() - least(radmeter.limit_value('personal_keep_days'), 2000000) * interval '1 day' AS at)
    AS cutoff
CROSS JOIN LATERAL (SELECT pg_stat_get_tuples_inserted(part.relid) + pg_stat_get_tuples_updated(part.relid) AS number)
    AS changes
LEFT JOIN radmeter.cleared_partition AS cleared ON cleared.partition = part.relid
WHERE part.from_at < cutoff.at
  AND (cleared.partition IS NULL
       OR cleared.cleared_at < now() - interval '1 day'
          AND (cleared.cleared_to < least(part.to_at, cutoff.at) OR cleared.changes <> changes.number))
ORDER BY part.from_at"""

TO_CLEAR = """
SELECT radacctid, acctstoptime FROM {}
WHERE acctstoptime < %s AND num_nonnulls(connectinfo_start, connectinfo_stop, callingstationid, framedipaddress,
    framedipv6address, framedipv6prefix, framedinterfaceid, delegatedipv6prefix, class) > 0"""


class _Partition(NamedTuple):
    relid: int
    before: object
    changes: int


def keep_days(connection: Connection) -> int | None:
    """Return the limit in days; None if it is off."""
    with explained_errors("radmeter_owner"):
        row = connection.execute("SELECT radmeter.limit_value('personal_keep_days')").fetchone()
    return None if row is None else row[0]


def clear_old(
    connection: Connection, *, stopping: Callable[[], bool] = lambda: False, batch: int = BATCH
) -> int:
    """Clear the personal attributes of sessions that stopped longer ago than the limit. Return how many.

    Each partition is read at most once a day. Nothing is done while the limit is off.

    Parameters
    ----------
    stopping
        Tells between two batches whether to stop. What is left is done the next time.
    """
    if keep_days(connection) is None:
        return 0
    cleared = 0
    with explained_errors("radmeter_owner"):
        connection.execute(
            """DELETE FROM radmeter.cleared_partition
               WHERE partition NOT IN (SELECT relid FROM radmeter.radacct_partitions())"""
        )
        for part in map(_Partition._make, connection.execute(DUE).fetchall()):
            done, complete = _clear(connection, part, stopping, batch)
            cleared += done
            if not complete:
                return cleared
    return cleared


def _clear(
    connection: Connection, part: _Partition, stopping: Callable[[], bool], size: int
) -> tuple[int, bool]:
    """Clear a partition; return how many sessions were cleared, and whether that got to the partition's end."""
    name = connection.execute(
        """SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
           WHERE pg_class.oid = %s""",
        (part.relid,),
    ).fetchone()
    if name is None:  # archived or dropped just now
        return 0, True
    cleared = skipped = 0
    with connection.cursor("old_sessions", withhold=True) as found:
        found.execute(sql.SQL(TO_CLEAR).format(sql.Identifier(*name)), (part.before,))
        while rows := found.fetchmany(size):
            if stopping():
                return cleared, False
            row = connection.execute(
                "SELECT radmeter.clear_attributes(%s, %s)",
                ([row[0] for row in rows], [row[1] for row in rows]),
            ).fetchone()
            done = int(row[0]) if row else 0
            cleared, skipped = cleared + done, skipped + len(rows) - done
    # -1: sessions that another writer held are left, so the partition is read again, in a day.
    connection.execute(
        """INSERT INTO radmeter.cleared_partition AS known (partition, cleared_to, changes, sessions)
           VALUES (%s, %s, %s, %s)
           ON CONFLICT (partition) DO UPDATE SET
               cleared_to = excluded.cleared_to, changes = excluded.changes,
               sessions = known.sessions + excluded.sessions, cleared_at = now()""",
        (part.relid, part.before, -1 if skipped else part.changes, cleared),
    )
    return cleared, True
