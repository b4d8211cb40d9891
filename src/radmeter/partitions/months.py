"""The partitions of radacct: lists them with their sizes, and makes those of the coming months."""

import datetime
from typing import NamedTuple

from psycopg.rows import class_row

from radmeter.database.connection import Connection, explained_errors
from radmeter.database.lock_retries import with_lock_retries

# Partitions are made for so many months after this one.
MONTHS_AHEAD = 3


class Partition(NamedTuple):
    """A partition of radacct. The default partition has the open sessions, and no span."""

    name: str
    kind: str  # open; legacy: before the first month of radmeter's own; current, ahead, past; archived: in a file
    first_day: datetime.date | None  # None: no beginning
    end_day: datetime.date | None  # the first day after it
    rows_estimate: int | None  # as of the last ANALYZE; None: it has rows but was never analyzed
    bytes_total: int | None  # with its indexes
    last_autovacuum: datetime.datetime | None
    file: str | None


class Month(NamedTuple):
    """A month in UTC, and its name, such as ``2026-03``."""

    begins_at: datetime.datetime
    name: str


# Months are months of UTC, so a span is shown in days of UTC. -infinity is not a day.
PARTITIONS = """
WITH known AS (
    SELECT part.name, part.from_at, part.to_at,
           CASE WHEN part.from_at IS NULL THEN 'open'
                WHEN part.from_at = '-infinity' THEN 'legacy'
                WHEN part.to_at <= now() THEN 'past'
                WHEN part.from_at > now() THEN 'ahead' ELSE 'current' END AS kind,
           CASE WHEN relation.reltuples >= 0 THEN relation.reltuples::bigint
                WHEN pg_relation_size(part.relid) = 0 THEN 0 END AS rows_estimate,
           pg_total_relation_size(part.relid) AS bytes_total,
           stat.last_autovacuum, NULL AS file
    FROM radmeter.partitions AS part JOIN pg_class AS relation ON relation.oid = part.relid
    LEFT JOIN pg_stat_user_tables AS stat ON stat.relid = part.relid
    UNION ALL
    SELECT name, from_at, to_at, 'archived', session_rows, file_bytes, NULL, file
    FROM radmeter.archives WHERE state IN ('detached', 'archived', 'loaded')
)
SELECT name, kind,
       CASE WHEN isfinite(from_at) THEN (from_at AT TIME ZONE 'UTC')::date END AS first_day,
       CASE WHEN isfinite(to_at) THEN (to_at AT TIME ZONE 'UTC')::date END AS end_day,
       rows_estimate, bytes_total, last_autovacuum, file
FROM known ORDER BY from_at NULLS LAST, file NULLS LAST"""


def partitions(connection: Connection) -> list[Partition]:
    """Return the partitions, oldest first, with those in files. The partition of the open sessions comes last."""
    with explained_errors("radmeter_reader"), connection.cursor(row_factory=class_row(Partition)) as cursor:
        return cursor.execute(PARTITIONS).fetchall()


def missing_months(connection: Connection, ahead: int = MONTHS_AHEAD) -> list[Month]:
    """Return the months that no partition covers, of this one and the next `ahead`."""
    rows = connection.execute("SELECT month, name FROM radmeter.missing_months(%s)", (ahead,))
    return [Month(*row) for row in rows]


def first_month(connection: Connection) -> datetime.datetime | None:
    """Return the beginning of the first partition of a month. None: there is none."""
    with explained_errors("radmeter_owner"):
        row = connection.execute(
            "SELECT min(from_at) FROM radmeter.partitions WHERE isfinite(from_at)"
        ).fetchone()
    return row[0] if row else None


def ensure_partitions(connection: Connection, months: int = MONTHS_AHEAD) -> int:
    """Make the missing partitions of this month and the next `ahead`. Return how many were made."""
    with explained_errors("radmeter_owner"):
        missing = missing_months(connection, months)
    return sum(ensure(connection, month.begins_at) for month in missing)


def ensure(connection: Connection, at: datetime.datetime) -> bool:
    """Make the partition of an instant's month, unless a partition covers it. Return whether it was made.

    Attaching it locks the open sessions for an instant. So it waits only briefly for the lock (`with_lock_retries`).
    """

    def make(connection: Connection) -> bool:
        row = connection.execute("SELECT radmeter.ensure_partition(%s)", (at,)).fetchone()
        return bool(row and row[0])

    with explained_errors("radmeter_owner"):
        return with_lock_retries(connection, make, what=f"making the partition of {at:%Y-%m}")
