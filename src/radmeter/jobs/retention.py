"""Removes what is older, or takes more room, than the limits allow, and what dropped months left in other tables."""

import json
import logging
from collections.abc import Callable
from typing import NamedTuple

import psycopg

from radmeter.database.connection import explained_errors

log = logging.getLogger(__name__)

# Rows removed in one transaction. Nobody waits for it: ingest only adds rows.
EXPIRE_BATCH = 1000


class Expiring(NamedTuple):
    """Rows of a kind that are to be removed, for a reason (``age`` or ``size``): those with ids up to `until_id`."""

    kind: str
    reason: str
    until_id: int


class Expired(NamedTuple):
    """How many rows of a kind were removed, or would be, and why."""

    kind: str
    reason: str
    rows: int


SEGMENT = "journal segment"
# Rows of sessions that were dropped with their month: the table, and what its rows are called.
SWEPT = {
    "session_slice": "session slice",
    "adoption_baseline": "adoption baseline",
    "accounting_anomaly": "anomaly",
}
# Rows that are looked at in one transaction.
SWEEP_BATCH = 5000
TABLES = {
    "rejected packet": "public.rejected_packet",
    "anomaly": "public.accounting_anomaly",
    "request to a router": "(SELECT id FROM radmeter.disconnect_queue WHERE ended_at IS NOT NULL) AS ended",
    "quota notice": "radmeter.quota_notice",
    "webhook delivery": "(SELECT id FROM radmeter.webhook_delivery WHERE ended_at < now()"
    " - radmeter.limit_value('webhook_keep_days') * interval '1 day') AS ended",
    "alert": "(SELECT id FROM radmeter.alerts WHERE resolved_at < now()"
    " - radmeter.limit_value('alerts_keep_days') * interval '1 day') AS ended",
    "mail about alerts": "(SELECT id FROM radmeter.alert_mail WHERE ended_at < now()"
    " - radmeter.limit_value('webhook_keep_days') * interval '1 day') AS ended",
    "mute of alerts": "(SELECT id FROM radmeter.alert_mutes WHERE until_at < now()"
    " - radmeter.limit_value('alerts_keep_days') * interval '1 day') AS ended",
}


def expiring(connection: psycopg.Connection) -> list[Expiring]:
    """Return what is to be removed."""
    with explained_errors("radmeter_owner"):
        rows = connection.execute("SELECT kind, reason, until_id FROM radmeter.expiring()")
        return [Expiring(*row) for row in rows]


def would_expire(connection: psycopg.Connection) -> list[Expired]:
    """Return what `expire` would remove now. A row that is too old and too many counts under each reason."""
    found = []
    for each in expiring(connection):
        with explained_errors("radmeter_owner"):
            row = connection.execute(
                f"SELECT count(*) FROM {TABLES[each.kind]} WHERE id <= %s".encode(),  # noqa: S608  # constants
                (each.until_id,),
            ).fetchone()
        found.append(Expired(each.kind, each.reason, row[0] if row else 0))
    with explained_errors("radmeter_owner"):
        row = connection.execute("SELECT count(*) FROM radmeter.old_segments()").fetchone()
    if row and row[0]:
        found.append(Expired(SEGMENT, "age", row[0]))
    return found


def expire(connection: psycopg.Connection, *, stopping: Callable[[], bool] = lambda: False) -> list[Expired]:
    """Remove what is too old or too much, in batches, each in one transaction. audit_log notes what was removed.

    Parameters
    ----------
    stopping
        Tells before each batch whether to stop. What is left is removed the next time.
    """
    removed = []
    for each in expiring(connection):
        rows = 0
        while not stopping() and (batch := _remove(connection, each)):
            rows += batch
        if rows:
            removed.append(Expired(each.kind, each.reason, rows))
    if rows := _drop_segments(connection, stopping):
        removed.append(Expired(SEGMENT, "age", rows))
    while not stopping():
        with explained_errors("radmeter_owner"):
            row = connection.execute("SELECT radmeter.drop_sent_usernames(%s)", (EXPIRE_BATCH,)).fetchone()
        if row is None or not row[0]:
            break
    removed += _sweep(connection, stopping)
    with explained_errors("radmeter_owner"):
        connection.execute(
            "SELECT radmeter.note_expired(%s::jsonb)", (json.dumps([each._asdict() for each in removed]),)
        )
    return removed


def _remove(connection: psycopg.Connection, what: Expiring) -> int:
    with explained_errors("radmeter_owner"):
        row = connection.execute(
            "SELECT radmeter.expire(%s, %s, %s)", (what.kind, what.until_id, EXPIRE_BATCH)
        ).fetchone()
    return row[0] if row else 0


def _sweep(connection: psycopg.Connection, stopping: Callable[[], bool]) -> list[Expired]:
    """Remove the rows of sessions that are gone, if a month was dropped since the last time."""
    with explained_errors("radmeter_owner"):
        dropped = connection.execute("SELECT month, made FROM radmeter.dropped_months()").fetchall()
        if not dropped:
            return []
        detached = [row[0] for row in connection.execute("SELECT name FROM radmeter.detached_tables()")]
        if detached:
            log.info("rows of dropped months stay, since %s may be attached again", ", ".join(detached))
            return []
        removed: list[Expired] = []
        for table, kind in SWEPT.items():
            rows, last = 0, None
            while True:
                if stopping():
                    return removed
                row = connection.execute(
                    "SELECT last, removed FROM radmeter.sweep(%s, %s, %s)", (table, last, SWEEP_BATCH)
                ).fetchone()
                if row is None or row[1] is None:
                    return removed  # a partition is being attached or detached: the next time
                rows += row[1]
                if row[0] is None:
                    break
                last = row[0]
            if rows:
                removed.append(Expired(kind, "dropped month", rows))
        # Not if a table was detached or loaded meanwhile: then rows stayed.
        connection.execute(
            """INSERT INTO radmeter.swept_month (month, made) SELECT * FROM unnest(%s::date[], %s::integer[])
               WHERE NOT EXISTS (SELECT FROM radmeter.detached_tables())
               ON CONFLICT (month) DO UPDATE SET made = excluded.made, swept_at = now()""",
            ([row[0] for row in dropped], [row[1] for row in dropped]),
        )
    return removed


def _drop_segments(connection: psycopg.Connection, stopping: Callable[[], bool]) -> int:
    """Remove the rows of segments that were all counted long ago. Their totals stay."""
    rows = 0
    while not stopping():
        with explained_errors("radmeter_owner"):
            row = connection.execute("SELECT radmeter.drop_segments(%s)", (EXPIRE_BATCH,)).fetchone()
        if row is None or not row[0]:
            break
        rows += row[0]
    return rows
