"""Puts packets into a database as the shipper does, and reads what was counted."""

import contextlib
import json
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Json

from radmeter.errors import RecordsRefused
from radmeter.ingest.records import as_json, as_rejected
from radmeter.ingest.rows import Rows
from radmeter.ingest.store import Progress, Store
from radmeter.plugin.journal.packet_text import to_text
from radmeter.plugin.journal.reader import Entry as JournalEntry

Pairs = Sequence[tuple[str, str]]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

TABLES = (
    "radacct, routers, plans, subscribers, user_quota_usage, router_daily_usage, ingest_checkpoint, rejected_packet, "
    "accounting_anomaly, radmeter.session_slice, radmeter.session_alias, radmeter.kept_per_hour, "
    "radmeter.discovery_count, radmeter.router_network, radmeter.journal_segment, radmeter.journal_incident, "
    "radmeter.quota_account, radmeter.quota_booked, radmeter.quota_change, radmeter.quota_notice, "
    "radmeter.disconnect_queue, top_ups, radmeter.plan_history, radmeter.plan_prices"
)


class Entry(NamedTuple):
    """A packet in a node's journal."""

    seq: int
    received_us: int
    pairs: Pairs


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def segment_id(node: str) -> str:
    """Return the id of the one segment that tests use of a node's journal."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, node))


def progress(database: Store | psycopg.Connection[Any], node: str) -> Progress:
    """Return how far the segment of a node is ingested. It is registered if it is new."""
    header = {"id": segment_id(node), "node": node, "format": 2, "first_seq": 1, "previous": None}
    if isinstance(database, Store):
        (found,) = [row for row in database.open_segments(node, [header]) if row.given]
        return found.progress
    row = database.execute(
        "SELECT last_seq, digest FROM radmeter.open_segments(%s, %s::json) WHERE given",
        (node, json.dumps([header])),
    ).fetchone()
    assert row is not None
    return Progress(*row)


def ingest(
    database: Store | psycopg.Connection[Any],
    node: str,
    records: Sequence[dict[str, Any]] | Json | str,
    *rest: Any,
) -> int:
    """Ingest a batch of a node's one segment, without the records that are counted already.

    Parameters
    ----------
    database
        The shipper's connection, or another one.
    records
        As the database takes them. A text is sent as it is.
    rest
        For `Store.ingest`.
    """
    after = progress(database, node)
    given = records.obj if isinstance(records, Json) else records
    if isinstance(given, str):
        with contextlib.suppress(ValueError, RecursionError):
            parsed = json.loads(given)
            if isinstance(parsed, list) and any(_is_counted(each, after) for each in parsed):
                given = json.dumps([each for each in parsed if not _is_counted(each, after)])
    else:
        given = [each for each in given if not _is_counted(each, after)]
    digest = zlib.crc32(repr(given).encode(errors="surrogatepass"), after.digest or 0)
    if isinstance(database, Store):
        assert not isinstance(given, str)
        return database.ingest(segment_id(node), after, given, digest, *rest)
    row = database.execute(
        "SELECT radmeter.ingest(%s::uuid, %s::bigint, %s::bigint, %s::json, %s::bigint)",
        (segment_id(node), *after, given if isinstance(given, str) else json.dumps(given), digest),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _is_counted(record: Any, after: Progress) -> bool:
    return (
        isinstance(record, Mapping) and isinstance(record.get("seq"), int) and 1 <= record["seq"] <= after.seq
    )


def ship(store: Store, node: str, entries: Iterable[Entry], new_clients: Sequence[int] = ()) -> None:
    """Ingest a batch as the shipper does, without the records that are counted already.

    The records are copied. If the database says that it refuses some, they are marked and sent as JSON.
    `new_clients`: the places of the records that the shipper marks as new_client.
    """
    after = progress(store, node)
    journal = [
        JournalEntry(seq, received_us, to_text(pairs))
        for seq, received_us, pairs in entries
        if seq > after.seq
    ]
    if not journal:
        return
    try:
        digest = zlib.crc32(repr(journal).encode(errors="surrogatepass"), after.digest or 0)
        store.ingest_copied(segment_id(node), after, Rows(journal).copied(new_clients), digest)
    except RecordsRefused as refused:
        reasons = refused.reasons
        ingest(
            store,
            node,
            [
                as_rejected(entry, reasons[entry.seq]) if entry.seq in reasons else as_json(entry)
                for entry in journal
            ],
        )


def empty(connection: psycopg.Connection[Any], *, timezone: str = "UTC", stale_minutes: int = 10) -> None:
    """Make the database as new, except for its partitions."""
    present = [
        name
        for name in TABLES.replace(",", " ").split()
        if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,)
    ]
    # Documents and audit_log are guarded against it.
    connection.execute("SET session_replication_role = replica")
    connection.execute(f"TRUNCATE {', '.join(present)} RESTART IDENTITY CASCADE")
    connection.execute("RESET session_replication_role")
    for name, value in (("timezone", timezone), ("stale_minutes", str(stale_minutes))):
        connection.execute("UPDATE radmeter.setting SET value = %s WHERE name = %s", (value, name))
    believe_old_arrivals(connection)


def believe_old_arrivals(connection: psycopg.Connection[Any]) -> None:
    """Let journals be as old as they want: for tests whose dates are fixed."""
    connection.execute(
        "INSERT INTO radmeter.setting (name, value) VALUES ('arrival_oldest_days', 'off') ON CONFLICT DO NOTHING"
    )


def register(connection: psycopg.Connection[Any], name: str, **columns: Any) -> int:
    """Register a router; return its id."""
    names = ["name", *columns]
    row = connection.execute(
        f"INSERT INTO public.routers ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) RETURNING id",
        (name, *columns.values()),
    ).fetchone()
    assert row is not None
    return int(row[0])


def subscribe(
    connection: psycopg.Connection[Any], username: str, quota_start: str = "2026-01-01", **plan: Any
) -> None:
    """Give a user their own plan."""
    names = ["name", *plan]
    connection.execute(
        f"""WITH plan AS (
                INSERT INTO plans ({", ".join(names)}) VALUES ({", ".join(["%s"] * len(names))}) RETURNING id)
            INSERT INTO subscribers (username, plan_id, quota_start) SELECT %s, id, %s FROM plan""",
        (f"plan of {username}", *plan.values(), username, quota_start),
    )


def close_stale(connection: psycopg.Connection[Any], at: datetime) -> int:
    """Run the reaper as if the time were `at`; return how many sessions it closed."""
    row = connection.execute(
        """SELECT radmeter.close_stale(
               (SELECT coalesce(array_agg(radacctid), '{}') FROM radmeter.stale_sessions(%s)), %s)""",
        (at, at),
    ).fetchone()
    assert row is not None
    return int(row[0])


def users(connection: psycopg.Connection[Any]) -> Mapping[tuple[str, str], tuple[int, int]]:
    """Return octets by user name and first day of the period, without periods that have none."""
    rows = connection.execute(
        """SELECT username, period_start::text, bytes_in, bytes_out FROM user_quota_usage
           WHERE bytes_in <> 0 OR bytes_out <> 0"""
    )
    return {(user, period): (bytes_in, bytes_out) for user, period, bytes_in, bytes_out in rows}


def days(connection: psycopg.Connection[Any]) -> Mapping[tuple[str, str], tuple[int, int]]:
    """Return octets by router name and day, without days that have none."""
    rows = connection.execute(
        """SELECT router.name, usage_date::text, bytes_in, bytes_out
           FROM router_daily_usage AS usage JOIN routers AS router ON router.id = usage.router_id
           WHERE bytes_in <> 0 OR bytes_out <> 0"""
    )
    return {(router, day): (bytes_in, bytes_out) for router, day, bytes_in, bytes_out in rows}
