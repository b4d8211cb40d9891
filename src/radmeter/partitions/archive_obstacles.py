"""Reasons why a partition cannot be archived yet: usage that would be lost, or objects that depend on it."""

from psycopg import sql

from radmeter.database.connection import Connection, explained_errors
from radmeter.partitions.archive import Candidate
from radmeter.partitions.dependents import dependents
from radmeter.partitions.split_catalog import refusal, under_way


def obstacles(connection: Connection, candidate: Candidate) -> list[str]:
    """Return the obstacles to archiving a partition, each with its remedy."""
    split = under_way(connection)
    with explained_errors("radmeter_owner"):
        found = [refusal(split)] if split is not None and split.name == candidate.name else []
        found += dependents(connection, candidate.relid)
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
