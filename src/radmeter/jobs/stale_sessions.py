"""Finds stale sessions, and closes them: open sessions without a packet for too long."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg

from radmeter.database.connection import explained_errors
from radmeter.units import verb

# Sessions closed in one transaction. Ingest waits for at most one such transaction.
CLOSE_BATCH = 200
_STALE = (
    "SELECT radacctid, acctuniqueid, username, router_id, last_update FROM radmeter.stale_sessions(NULL, %s)"
)


class StaleSession(NamedTuple):
    """An open session without a packet for too long."""

    radacctid: int
    acctuniqueid: str
    username: str | None
    router_id: int | None
    last_update: object


class LaggingNode(NamedTuple):
    """A node whose shipper works through a backlog, and the arrival that it has reached."""

    node: str
    received_at: datetime


def lagging_nodes(connection: psycopg.Connection) -> list[LaggingNode]:
    """Return the nodes that lag, the one furthest behind first: sessions are judged as of what it has reached."""
    with explained_errors("radmeter_owner"):
        rows = connection.execute("SELECT node, received_at FROM radmeter.lagging_nodes()")
        return [LaggingNode(*row) for row in rows]


def held_back(connection: psycopg.Connection) -> str | None:
    """Return, for people, which nodes lag and as of when sessions are judged. None if no node lags."""
    lagging = lagging_nodes(connection)
    if not lagging:
        return None
    names = ", ".join(each.node for each in lagging)
    reached = lagging[0].received_at.astimezone(UTC)
    return (
        f"{names} {verb(len(lagging), 'has', 'have')} packets still to ship. Sessions are judged as of "
        f"{reached:%Y-%m-%d %H:%M:%S} UTC, when the next of these packets arrived"
    )


def stale_sessions(connection: psycopg.Connection, minutes: int | None = None) -> list[StaleSession]:
    """Return the stale sessions. While a node lags, they are those that were stale at the arrival it has reached.

    `minutes`: the shortest silence that counts; None: the installation's setting.
    """
    with explained_errors("radmeter_owner"):
        rows = connection.execute(_STALE, (minutes,))
        return [StaleSession(*row) for row in rows]


def close_stale(
    connection: psycopg.Connection,
    minutes: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Close the stale sessions in batches, each in one transaction; return how many were closed.

    After each batch, `progress` is called with the number done and the number of all.
    """
    with explained_errors("radmeter_owner"):
        connection.execute("SELECT radmeter.observe_intervals()")
    stale = [session.radacctid for session in stale_sessions(connection, minutes)]
    closed = 0
    for begin in range(0, len(stale), CLOSE_BATCH):
        batch = stale[begin : begin + CLOSE_BATCH]
        with explained_errors("radmeter_owner"):
            row = connection.execute("SELECT radmeter.close_stale(%s, NULL, %s)", (batch, minutes)).fetchone()
        closed += row[0] if row else 0
        progress(begin + len(batch), len(stale))
    return closed
