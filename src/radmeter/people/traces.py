"""What the database has about a person, by kind."""

import datetime
from pathlib import Path
from typing import NamedTuple

from radmeter.database.connection import Connection, explained_errors
from radmeter.people import packets
from radmeter.people.files import sessions_in_archive

REPLACED = "pseudonym"
REMOVED = "removed"
KEPT = "stays"

# A kind, what `radmeter people erase` does with it, and the query of its number, first and last time.
QUERIES = (
    (
        "open sessions",
        REPLACED,
        "SELECT count(*), min(acctstarttime), max(acctupdatetime) FROM public.radacct"
        " WHERE username = %(name)s AND acctstoptime IS NULL",
    ),
    (
        "closed sessions",
        REPLACED,
        "SELECT count(*), min(acctstarttime), max(acctstoptime) FROM public.radacct"
        " WHERE username = %(name)s AND acctstoptime IS NOT NULL",
    ),
    (
        "quota periods",
        REPLACED,
        "SELECT count(*), min(period_start)::timestamptz, max(last_updated) FROM public.user_quota_usage"
        " WHERE username = %(name)s",
    ),
    (
        "subscriber",
        REPLACED,
        "SELECT count(*), min(quota_start)::timestamptz, NULL::timestamptz FROM public.subscribers"
        " WHERE username = %(name)s",
    ),
    (
        "top-ups",
        REPLACED,
        "SELECT count(*), min(added_at), max(added_at) FROM public.top_ups WHERE username = %(name)s",
    ),
    (
        "plans so far",
        REPLACED,
        "SELECT count(*), min(at), max(at) FROM radmeter.plan_history WHERE username = %(name)s",
    ),
    (
        "rows of radcheck",
        REMOVED,
        "SELECT radmeter.login_rows(%(name)s), NULL::timestamptz, NULL::timestamptz",
    ),
    (
        "requests to routers",
        REMOVED,
        "SELECT count(*), min(created_at), max(created_at) FROM radmeter.disconnect_queue"
        " WHERE username = %(name)s",
    ),
    (
        "quota notices",
        REMOVED,
        "SELECT count(*), min(at), max(at) FROM radmeter.quota_notice WHERE username = %(name)s",
    ),
    (
        "anomalies",
        REPLACED,
        "SELECT count(*), min(detected_at), max(detected_at) FROM public.accounting_anomaly"
        " WHERE username = %(name)s",
    ),
    (
        "audit lines",
        REPLACED,
        "SELECT count(*), min(at), max(at) FROM radmeter.audit_lines_with(%(name)s)",
    ),
    (
        "names as sent",
        REMOVED,
        "SELECT count(*), min(noted_at), max(noted_at) FROM radmeter.sent_username AS sent"
        " JOIN public.radacct AS session USING (radacctid) WHERE session.username = %(name)s",
    ),
    (
        "webhook deliveries",
        REPLACED,
        "SELECT count(*), min(happened_at), max(happened_at) FROM radmeter.webhook_delivery"
        " WHERE subject = %(name)s",
    ),
    (
        "alerts and mutes",
        REPLACED,
        "SELECT count(*), min(at), max(at) FROM (SELECT fired_at AS at FROM radmeter.alerts WHERE username = %(name)s"
        " UNION ALL SELECT created_at FROM radmeter.alert_mutes WHERE username = %(name)s) AS about",
    ),
    (
        "invoices",
        KEPT,
        "SELECT count(*), min(issued_at), max(issued_at) FROM public.invoices WHERE username = %(name)s",
    ),
)


class Trace(NamedTuple):
    """Something that names a person. `number` is None if it cannot be known here."""

    kind: str
    number: int | None
    first: datetime.datetime | None
    last: datetime.datetime | None
    on_erase: str
    place: str | None = None


def traces(connection: Connection, username: str) -> list[Trace]:
    """Return what the tables have about a user, kinds without anything left out."""
    found = []
    with explained_errors("radmeter_reader"):
        for kind, on_erase, query in QUERIES:
            row = connection.execute(query.encode(), {"name": username}).fetchone()
            assert row is not None
            if row[0]:
                found.append(Trace(kind, row[0], row[1], row[2], on_erase))
    rejected = sum(
        packets.names(packet, username) for batch in packets.rejected_packets(connection) for packet in batch
    )
    if rejected:
        found.append(Trace("rejected packets", rejected, None, None, REPLACED))
    return found


def archives(connection: Connection, since: datetime.datetime | None, username: str) -> list[Trace]:
    """Return the archives that hold sessions of a user, or may hold some because they cannot be read here.

    Parameters
    ----------
    since
        The first time that the user was seen. Earlier archives are left out. None: not known.
    """
    with explained_errors("radmeter_reader"):
        rows = connection.execute(
            """SELECT file, CASE WHEN isfinite(from_at) THEN from_at END, to_at FROM radmeter.archives
               WHERE state <> 'writing' AND (%s::timestamptz IS NULL OR to_at > %s) ORDER BY to_at, id""",
            (since, since),
        ).fetchall()
    found = []
    for file, from_at, to_at in rows:
        sessions = sessions_in_archive(Path(file), username)
        if sessions != 0:
            found.append(Trace("archive", sessions, from_at, to_at, KEPT, file))
    return found


def first_seen(found: list[Trace]) -> datetime.datetime | None:
    """Return the earliest time of some traces."""
    return min((trace.first for trace in found if trace.first is not None), default=None)


def subscriber_columns(connection: Connection) -> list[str]:
    """Return the columns that an operator added to subscribers. Their values go with the user's row."""
    rows = connection.execute(
        """SELECT attname FROM pg_attribute WHERE attrelid = 'public.subscribers'::regclass AND attnum > 0
             AND NOT attisdropped
             AND attname NOT IN ('username', 'plan_id', 'quota_start', 'first_used_at', 'suspended_at')
           ORDER BY attnum"""
    ).fetchall()
    return [name for (name,) in rows]


def erasure_began(connection: Connection, username: str) -> datetime.datetime | None:
    """Return when an erasure of the user began that has not ended; None if there is none."""
    with explained_errors("radmeter_reader"):
        row = connection.execute("SELECT began_at FROM radmeter.erasures(%s)", (username,)).fetchone()
    return None if row is None else row[0]
