"""Periodic work beside the packet path: stale sessions, partitions ahead. One runner at a time, by advisory lock."""

import logging
import threading
from collections.abc import Callable

import psycopg

from radmeter.errors import StoreError
from radmeter.store import connect, translated_errors

log = logging.getLogger(__name__)

# Any 64-bit number that is ours alone: whoever holds it runs the jobs, the others stand by.
JOBS_LOCK = 0x7261_646D_6A6F_6273  # "radmjobs"
# Rows closed in one transaction: ingest waits for no more than one of these.
CLOSE_BATCH = 500
MONTHS_AHEAD = 3
STANDBY_SECONDS = 5.0


def stale_sessions(connection: psycopg.Connection) -> list[int]:
    """Return the radacctid of every open session that was not heard of for too long."""
    with translated_errors():
        return [row[0] for row in connection.execute("SELECT radacctid FROM radmeter.stale_sessions()")]


def close_stale(connection: psycopg.Connection, progress: Callable[[int], None] = lambda _: None) -> int:
    """Close the stale sessions in bounded batches; return how many. `progress` is told the size of each batch done."""
    closed = 0
    stale = stale_sessions(connection)
    for begin in range(0, len(stale), CLOSE_BATCH):
        batch = stale[begin : begin + CLOSE_BATCH]
        with translated_errors():
            row = connection.execute("SELECT radmeter.close_stale(%s)", (batch,)).fetchone()
        closed += row[0] if row else 0
        progress(len(batch))
    return closed


def ensure_partitions(connection: psycopg.Connection) -> int:
    """Make the partitions of this month and the next ones; return how many were missing."""
    with translated_errors():
        row = connection.execute(
            """SELECT count(*) FILTER (WHERE radmeter.ensure_partition(now() + month * interval '1 month'))
               FROM generate_series(0, %s) AS month""",
            (MONTHS_AHEAD,),
        ).fetchone()
    return row[0] if row else 0


def run(dsn: str, stop: threading.Event, *, interval_seconds: float) -> None:
    """Run the jobs every `interval_seconds` while this is the one runner; stand by while another is."""
    trouble: str | None = None
    while not stop.is_set():
        try:
            with connect(dsn) as connection:
                if not _acquire(connection):
                    stop.wait(STANDBY_SECONDS)
                    continue
                log.info("running the periodic jobs")
                trouble = None
                while not stop.is_set():
                    made, closed = ensure_partitions(connection), close_stale(connection)
                    if made or closed:
                        log.info("%d partitions made, %d stale sessions closed", made, closed)
                    stop.wait(interval_seconds)
        except StoreError as error:
            if str(error) != trouble:
                log.warning("the jobs wait: %s", error)
            trouble = str(error)
            stop.wait(STANDBY_SECONDS)


def _acquire(connection: psycopg.Connection) -> bool:
    with translated_errors():
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (JOBS_LOCK,)).fetchone()
    return bool(row and row[0])
