"""Ingest, another writer, the jobs and an operator change the same users at once: no deadlock, no crossing is lost."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from support.commands import Packets
from support.quotas import apply_due, state
from support.servers import Connection

from radmeter.database.connection import connect
from radmeter.quotas.due import DueQuotas

USERS = 12
SECONDS = 6.0
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@contextmanager
def at_once(*works: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do the works in threads during the block. An error of one fails the test."""
    stop, errors = threading.Event(), list[BaseException]()

    def run(work: Callable[[threading.Event], None]) -> None:
        try:
            work(stop)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []


def test_no_two_writers_deadlock_and_no_crossing_is_missed(database: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 10000000);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 12) AS n;
           INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                acctinputoctets, acctoutputoctets)
           SELECT 'f' || n, 'f' || n, 'user' || n, '10.0.0.9', now(), now(), 0, 0 FROM generate_series(1, 12) AS n"""
    )

    def ingest(stop: threading.Event) -> None:
        octets = 0
        with Packets(database) as packets:
            while not stop.is_set():
                octets += 100_000
                for number in range(USERS, 0, -1):  # in another order than the foreign writer
                    for session in ("a", "b"):
                        packets.add("Interim-Update", f"{session}{number}", User_Name=f"user{number}",
                                    Acct_Input_Octets=octets)  # fmt: skip
                packets.ship()

    def write(stop: threading.Event) -> None:
        """As rlm_sql does: a session at a time, each a transaction."""
        with psycopg.connect(database, autocommit=True) as own:
            while not stop.is_set():
                for number in range(1, USERS + 1):
                    own.execute(
                        """UPDATE radacct SET acctoutputoctets = acctoutputoctets + 50000, acctupdatetime = now()
                           WHERE acctuniqueid = %s""",
                        (f"f{number}",),
                    )

    def jobs(stop: threading.Event) -> None:
        with connect(database) as own:
            due = DueQuotas(own)
            while not stop.is_set():
                due.apply(stop.wait)

    def operate(stop: threading.Event) -> None:
        """Change many users in one transaction, in no order, and hold it for a while."""
        with psycopg.connect(database) as own:
            while not stop.is_set():
                own.execute("UPDATE plans SET quota_bytes = quota_bytes + 1000000")
                own.execute(
                    "UPDATE subscribers SET suspended_at = now() WHERE username IN ('user7', 'user2')"
                )
                own.execute(
                    "INSERT INTO top_ups (username, bytes) VALUES ('user9', 200000), ('user3', 100000)"
                )
                stop.wait(0.02)
                own.execute("UPDATE subscribers SET suspended_at = NULL")
                own.commit()

    def end(stop: threading.Event) -> None:
        """As the sender of requests does: rows end while they are written."""
        with psycopg.connect(database, autocommit=True) as own:
            while not stop.is_set():
                own.execute(
                    """UPDATE radmeter.disconnect_queue SET state = 'failed', ended_at = now() - interval '1 hour'
                       WHERE id IN (SELECT id FROM radmeter.disconnect_queue WHERE ended_at IS NULL LIMIT 3
                                    FOR UPDATE SKIP LOCKED)"""
                )
                stop.wait(0.01)

    with at_once(ingest, write, jobs, operate, end):
        time.sleep(SECONDS)
    assert connection.execute(DEADLOCKS.encode()).fetchone() == (0,)
    connection.execute("UPDATE plans SET quota_bytes = 1")
    apply_due(connection)
    over = []
    for number in range(1, USERS + 1):
        name = f"user{number}"
        found = state(connection, name)
        (bought, paid) = connection.execute(
            "SELECT coalesce(sum(bytes), 0), coalesce(sum(used_bytes), 0) FROM top_ups WHERE username = %s",
            (name,),
        ).fetchone() or (0, 0)
        counted = connection.execute(
            "SELECT sum(acctinputoctets + coalesce(acctoutputoctets, 0)) FROM radacct WHERE username = %s",
            (name,),
        ).fetchone()
        assert counted == (found["used_bytes"],)
        assert paid == min(bought, found["used_bytes"] - 1)
        over += [name] if found["used_bytes"] > bought else []
    assert len(over) >= USERS - 2
    open_requests = connection.execute(
        """SELECT username, count(*), count(DISTINCT radacctid) FROM radmeter.disconnect_queue
           WHERE ended_at IS NULL AND act = 'disconnect' GROUP BY username"""
    ).fetchall()
    assert sorted(open_requests) == sorted((name, 3, 3) for name in over)
