"""Plans a split: which months a partition of radacct is split into, what it takes, and what is in the way."""

import datetime
from typing import NamedTuple

from psycopg import sql

from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import StoreError
from radmeter.partitions.dependents import dependents
from radmeter.partitions.span import MOST_MONTHS

# Of a large partition so many rows are looked at, to find its first month.
SAMPLE_ROWS = 500_000
# A month with a smaller share of the sessions is not taken for the first one, nor is one before a gap of a year: the
# stops of such months are those of wrong clocks.
FIRST_MONTH_SHARE = 0.001


class Span(NamedTuple):
    """A month to be made: its name, and its bounds as SQL text."""

    name: str
    from_at: str
    to_at: str


class Source(NamedTuple):
    """A partition that can be split."""

    name: str
    relid: int
    from_at: str
    to_at: str
    rows_estimate: int
    bytes_total: int


SOURCES = """
SELECT part.name, part.relid, part.from_at::text, part.to_at::text,
       greatest(pg_class.reltuples, 0)::bigint, pg_total_relation_size(part.relid)
FROM radmeter.partitions AS part JOIN pg_class ON pg_class.oid = part.relid
WHERE isfinite(part.to_at) AND NOT (isfinite(part.from_at) AND part.to_at <= part.from_at + interval '1 month')
ORDER BY part.to_at"""


def sources(connection: Connection) -> list[Source]:
    """Return the partitions that cover more than a month, oldest first."""
    with explained_errors("radmeter_owner"):
        return [Source(*row) for row in connection.execute(SOURCES)]


def reaching_over(connection: Connection, before: datetime.datetime) -> list[str]:
    """Return the names of the partitions of more than a month that begin before an instant and end after it."""
    with explained_errors("radmeter_owner"):
        return [
            row[0]
            for row in connection.execute(
                f"SELECT name FROM ({SOURCES}) AS part (name, relid, from_at, to_at)"  # noqa: S608 # a constant
                " WHERE from_at::timestamptz < %(before)s AND to_at::timestamptz > %(before)s".encode(),
                {"before": before},
            )
        ]


# The months are those of UTC. The first piece begins where the partition begins, the last one ends where it ends. If
# the partition has no beginning, what is before the first month is a piece of its own.
SPANS = """
WITH limits AS (
    SELECT greatest(%(from)s::timestamptz, %(first)s::timestamptz) AS first, %(to)s::timestamptz AS to_at
), month AS (
    SELECT greatest(at, first) AS from_at, least(at + interval '1 month', to_at) AS to_at, at
    FROM limits, generate_series(date_trunc('month', first), to_at - interval '1 microsecond', interval '1 month') AS at
), piece AS (
    SELECT 'radacct_' || to_char(at, 'YYYY_MM') AS name, from_at, to_at FROM month
    UNION ALL
    SELECT 'radacct_before_' || to_char(first, 'YYYY_MM'), '-infinity', first FROM limits
    WHERE %(from)s::timestamptz = '-infinity'
)
SELECT name, from_at::text, to_at::text FROM piece ORDER BY piece.from_at"""


def spans(connection: Connection, source: Source, first: str | None = None) -> list[Span]:
    """Return the months that a partition is split into.

    Parameters
    ----------
    first
        The beginning of the first month. None: it is found from the sessions.

    Raises
    ------
    StoreError
        There would be too many.
    """
    with explained_errors("radmeter_owner"), connection.transaction():
        connection.execute("SET LOCAL timezone = 'UTC'")
        connection.execute("SET LOCAL datestyle = 'ISO'")
        if first is None:
            first = _first_month(connection, source)
        rows = connection.execute(SPANS, {"from": source.from_at, "to": source.to_at, "first": first})
        found = [Span(*row) for row in rows]
    if len(found) > MOST_MONTHS:
        raise StoreError(
            f"{source.name} would be split into {len(found)} months, more than {MOST_MONTHS}: give a later first month "
            "(--from)"
        )
    return found


def _first_month(connection: Connection, source: Source) -> str:
    """Return the first month of the sessions, apart from those of wrong clocks; the last month if there are none."""
    share = min(100.0, 100.0 * SAMPLE_ROWS / max(source.rows_estimate, 1))
    row = connection.execute(
        sql.SQL(
            """WITH month AS (
                   SELECT date_trunc('month', acctstoptime) AS at, count(*) AS sessions
                   FROM public.{} TABLESAMPLE SYSTEM (%(share)s) REPEATABLE (0)
                   WHERE isfinite(acctstoptime) GROUP BY 1
               ), common AS (
                   SELECT at, lag(at) OVER (ORDER BY at) AS before FROM month
                   WHERE sessions >= (SELECT sum(sessions) FROM month) * %(part)s)
               SELECT coalesce(max(at), date_trunc('month', %(to)s::timestamptz - interval '1 microsecond'))::text
               FROM common WHERE before IS NULL OR at > before + interval '13 months'"""
        ).format(sql.Identifier(source.name)),
        {"share": share, "to": source.to_at, "part": FIRST_MONTH_SHARE},
    ).fetchone()
    assert row is not None
    return str(row[0])


def obstacles(connection: Connection, source: Source) -> list[str]:
    """Return what is in the way of a split, each with its remedy."""
    with explained_errors("radmeter_owner"):
        found = dependents(connection, source.relid)
        found += [
            f"its trigger {name} would be lost: DROP TRIGGER {name} ON public.{source.name}, or make it on radacct"
            for (name,) in connection.execute(
                """SELECT tgname::text FROM pg_trigger
                   WHERE tgrelid = %s AND NOT tgisinternal AND tgparentid = 0 AND tgname !~ '^radmeter_'""",
                (source.relid,),
            )
        ]
        by_id = connection.execute(
            """SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
                              WHERE indrelid = %s AND indisvalid AND indpred IS NULL AND attname = 'radacctid')""",
            (source.relid,),
        ).fetchone()
        if by_id != (True,):
            found.append(
                f"it has no index on radacctid: CREATE INDEX CONCURRENTLY ON public.{source.name} (radacctid)"
            )
        undoing = connection.execute(
            "SELECT state FROM radmeter.adoption WHERE undone_at IS NULL AND state <> 'done'"
        ).fetchone()
        if undoing is not None:
            found.append("an adoption is under way, or is being undone: finish that first (radmeter adopt)")
    return found
