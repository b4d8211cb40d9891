"""Finds stale sessions, and closes them: open sessions without a packet for too long."""

from collections.abc import Callable
from typing import NamedTuple

import psycopg

from radmeter.database.connection import explained_errors

# Sessions closed in one transaction. Ingest waits for at most one such transaction.
CLOSE_BATCH = 200
# An adopted session may have a time that Python has no date for, such as infinity.
_STALE = """
SELECT radacctid, acctuniqueid, username, router_id,
       CASE WHEN last_update BETWEEN '0001-01-02Z' AND '9999-12-30Z' THEN last_update END
FROM radmeter.stale_sessions(now(), %s)"""


class StaleSession(NamedTuple):
    """An open session without a packet for too long."""

    radacctid: int
    acctuniqueid: str
    username: str | None
    router_id: int | None
    last_update: object


def stale_sessions(connection: psycopg.Connection, minutes: int | None = None) -> list[StaleSession]:
    """Return the stale sessions. `minutes`: the shortest silence that counts; None: the installation's setting."""
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
            row = connection.execute(
                "SELECT radmeter.close_stale(%s, now(), %s)", (batch, minutes)
            ).fetchone()
        closed += row[0] if row else 0
        progress(begin + len(batch), len(stale))
    return closed
