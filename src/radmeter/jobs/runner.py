"""Runs the periodic jobs: close stale sessions, make and archive partitions, finish a backfill, remove old rows.

A lease lets only one runner work at a time.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Protocol

import psycopg

from radmeter.adoption import backfill
from radmeter.billing import assignments
from radmeter.database.connection import connect, explained_errors, translated_errors
from radmeter.database.transactions import TransactionsConnection
from radmeter.errors import StoreError
from radmeter.jobs import retention
from radmeter.jobs.archiving import ArchivingByAge
from radmeter.jobs.lease import ALERTS, QUOTAS, RENEW_SECONDS, Lease
from radmeter.jobs.stale_sessions import close_stale, held_back
from radmeter.jobs.waiting_sessions import close_waiting
from radmeter.partitions.months import ensure_partitions
from radmeter.people.clearing import clear_old
from radmeter.quotas.due import looking
from radmeter.units import counted

log = logging.getLogger(__name__)

STANDBY_SECONDS = 5.0

# For monitoring: when each job succeeded last. A job that fails ends the round, and what follows is not noted either.
DONE = """
INSERT INTO radmeter.job_result AS result (job, command, succeeded_at) VALUES (%s, 'jobs run', clock_timestamp())
ON CONFLICT (job) DO UPDATE SET
    command = excluded.command, succeeded_at = excluded.succeeded_at, failed_at = NULL, error = NULL"""


class Worker(Protocol):
    """What works in a thread of its own."""

    def start(self) -> None:
        """Begin."""

    def end(self) -> None:
        """Stop, and wait until it has."""


def settle_history(connection: psycopg.Connection) -> int:
    """Move the usage of adopted sessions to their new user or router; return how many changes were settled.

    `radmeter backfill` does this itself. This job settles changes that were committed just after it ended.
    """
    settled = 0
    while found := backfill.settle(connection):
        settled += found
    return settled


def run(
    dsn: str,
    stop: threading.Event,
    *,
    interval_seconds: float,
    stale_minutes: int | None = None,
    archiving: ArchivingByAge | None = None,
    quotas: Callable[[], Worker] | None = None,
    webhooks: Worker | None = None,
    alerts: Callable[[Callable[[TransactionsConnection], Lease]], Worker] | None = None,
) -> None:
    """Run the jobs every `interval_seconds` while this process has the lease; stand by while another has it.

    `quotas` makes what works beside the jobs as long as this process has the lease. `webhooks` works beside them, too;
    it can be started again. `alerts` makes what looks for alerts meanwhile, with a lease of its own.
    """
    said: str | None = None
    holder = uuid.uuid4()
    while not stop.is_set():
        try:
            with connect(dsn) as connection, translated_errors():
                lease = Lease(connection, holder)
                if not lease.take():
                    said = _say(said, "standing by: another runner has the jobs", logging.INFO)
                    stop.wait(STANDBY_SECONDS)
                    continue
                said = _say(said, "running the periodic jobs", logging.INFO)
                worker = None if quotas is None else quotas()
                watch = None if alerts is None else alerts(lambda own: Lease(own, holder, ALERTS))
                if webhooks is not None:
                    webhooks.start()
                try:
                    if watch is not None:
                        watch.start()
                    if worker is not None:
                        worker.start()
                    with looking(dsn, lambda own: Lease(own, holder, QUOTAS)):
                        _run_while_leader(connection, lease, stop, interval_seconds, stale_minutes, archiving)
                finally:
                    if watch is not None:
                        watch.end()
                    if webhooks is not None:
                        webhooks.end()
                    if worker is not None:
                        worker.end()
                    # Only the process that has the lease archives by age.
                    if archiving is not None:
                        archiving.end()
                lease.end()
        except StoreError as error:
            said = _say(said, f"the jobs wait: {error}", logging.WARNING)
            stop.wait(STANDBY_SECONDS)


def _done(connection: psycopg.Connection, job: str) -> None:
    """Note that a job succeeded."""
    with explained_errors("radmeter_owner"):
        connection.execute(DONE, (job,))


def _run_while_leader(
    connection: psycopg.Connection,
    lease: Lease,
    stop: threading.Event,
    interval_seconds: float,
    stale_minutes: int | None,
    archiving: ArchivingByAge | None,
) -> None:
    while not stop.is_set():
        if made := ensure_partitions(connection):
            log.info("%s made", counted(made, "partition"))
        _done(connection, "partitions")
        if closed := close_waiting(connection):
            log.info("%s closed that waited for the partition of their month", counted(closed, "session"))
        if settled := settle_history(connection):
            log.info("%s that changed hands moved the usage", counted(settled, "adopted session"))
        _done(connection, "history")
        if moved := assignments.apply(connection):
            log.info("%s changed tenants today", counted(moved, "router"))
        _done(connection, "assignments")
        # Wait before closing sessions. After an outage of the database, its interims are still in the journals, and
        # all sessions look stale until the shippers have caught up.
        if _wait(lease, stop, interval_seconds):
            return
        if lagging := held_back(connection):
            log.info("%s", lagging)
        if closed := close_stale(connection, stale_minutes):
            log.info("%s closed", counted(closed, "stale session"))
        _done(connection, "close-stale")
        for kind, reason, rows in retention.expire(connection, stopping=stop.is_set):
            log.info("%s of the kind %s removed because of the %s", counted(rows, "row"), kind, reason)
        _done(connection, "expire")
        if cleared := clear_old(connection, stopping=stop.is_set):
            log.info("%s cleared of personal attributes", counted(cleared, "old session"))
        _done(connection, "clear-personal")
        if archiving is not None:
            archiving.step(connection)


def _wait(lease: Lease, stop: threading.Event, seconds: float) -> bool:
    """Wait, and renew the lease meanwhile. Return whether to stop."""
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        if stop.wait(min(left, RENEW_SECONDS)):
            return True
        lease.renew()
        if left <= RENEW_SECONDS:
            return False


def _say(said: str | None, message: str, level: int) -> str:
    """Log a change of state, once."""
    if message != said:
        log.log(level, "%s", message)
    return message
