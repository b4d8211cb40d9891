"""Many requests at once: in parallel, bounded for each router, none lost and none sent twice."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from support.processes import OTHERS_ENVIRONMENT
from support.quota_queue import (
    QUICK,
    ask,
    in_state,
    many,
    session,
    set_coa,
    wait_for,
    wait_for_state,
    working,
)
from support.rows_read import rows_read
from support.scripted_nas import SECRET, Nas, Received, acknowledges, is_silent, scripted_nas
from support.servers import Connection, Server

from radmeter.quotas import coa, queue
from radmeter.quotas.secrets import add_key
from radmeter.quotas.sending import Outcome, Sender
from radmeter.quotas.worker import Pace

MANY = 10_000 if os.environ.get("RADMETER_LONG") == "1" else 1_000
PROFILE = coa.Profile("generic", 3799, (("User-Name", "Acct-Session-Id"),))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "coa.key"
    add_key(path)
    return path


def make(identifier: int, name: str = "bob") -> coa.Request:
    return coa.make(
        "disconnect",
        {"User-Name": name, "Acct-Session-Id": "s"},
        PROFILE,
        identifier=identifier,
        secret=SECRET,
        at=1_800_000_000,
    )


def test_300_requests_under_way_to_one_router_have_identifiers_of_their_own() -> None:
    """A socket has 256 identifiers: a second one is opened."""
    answers = threading.Event()

    def script(nas: Nas, received: Received) -> None:
        if len({each.datagram for each in nas.received}) == 300:
            answers.set()
        if answers.is_set():
            for each in nas.requests():
                nas.answer(each, {40: 41})
            nas.script = acknowledges

    async def run(nas: Nas) -> list[Outcome]:
        sender = Sender((1.0, 2.0, 4.0, 8.0, 16.0), per_router=300)
        try:
            return await asyncio.gather(
                *(
                    sender.send(partial(make, name=f"user{user}"), (nas.address, nas.port))
                    for user in range(300)
                )
            )
        finally:
            sender.close()
            await asyncio.sleep(0)

    with scripted_nas(script) as nas:
        outcomes = asyncio.run(run(nas))
        assert all(each.answer is not None for each in outcomes)
        first: dict[tuple[int, int], bytes] = {}
        for each in nas.received:
            first.setdefault((each.sender[1], each.packet.id), each.datagram)
        assert len(first) == 300
        assert len({port for port, _ in first}) == 2


def test_a_router_has_a_bounded_number_under_way() -> None:
    most = 0
    waiting: list[Received] = []

    def script(nas: Nas, received: Received) -> None:
        nonlocal most
        waiting.append(received)
        most = max(most, len(waiting))
        if len(waiting) == 4:
            while waiting:
                nas.answer(waiting.pop(), {40: 41})

    async def run(nas: Nas) -> list[Outcome]:
        sender = Sender((5.0, 5.0), per_router=4)
        try:
            return await asyncio.gather(
                *(
                    sender.send(partial(make, name=f"user{user}"), (nas.address, nas.port))
                    for user in range(40)
                )
            )
        finally:
            sender.close()
            await asyncio.sleep(0)

    with scripted_nas(script) as nas:
        assert all(each.answer is not None for each in asyncio.run(run(nas)))
    assert most == 4


def test_nothing_is_sent_after_the_claim_is_over() -> None:
    async def run(nas: Nas) -> Outcome:
        sender = Sender((0.05, 0.05, 0.05))
        try:
            return await sender.send(make, (nas.address, nas.port), until=time.monotonic() - 1)
        finally:
            sender.close()
            await asyncio.sleep(0)

    with scripted_nas() as nas:
        assert asyncio.run(run(nas)).answer is None
        assert nas.received == []


def test_a_source_address_of_another_machine_is_said(
    database: str, connection: Connection, key_file: Path
) -> None:
    with scripted_nas() as nas:
        session(database)
        set_coa(connection, key_file, address=nas.address, port=nas.port, source_address="192.0.2.1")
        ask(connection)
        with working(database, key_file):
            row = wait_for_state(connection, "waiting")
        assert "cannot send from 192.0.2.1" in row["error"]
        set_coa(connection, key_file, source_address="127.0.0.9")
        with working(database, key_file):
            wait_for_state(connection, "acknowledged")
        assert {each.sender[0] for each in nas.received} == {"127.0.0.9"}


def test_50_dead_routers_of_300_delay_no_other(connection: Connection, database: str, key_file: Path) -> None:
    with scripted_nas() as nas, scripted_nas(is_silent, address="0.0.0.0") as dead:
        routers = {
            f"r{number}": (f"127.1.0.{number}", dead.port) if number < 50 else ("127.0.0.1", nas.port)
            for number in range(300)
        }
        many(connection, key_file, routers, each=2)
        with working(database, key_file, Pace(poll_seconds=0.2, pauses=(2.0, 4.0, 8.0))):
            wait_for(lambda: in_state(connection, "acknowledged") == 500)
            # None of the silent ones has been given up yet: 500 answers came while they were waited for.
            assert in_state(connection, "sent") == 100
            wait_for(lambda: in_state(connection, "waiting") == 100)
            row = connection.execute(
                "SELECT count(*), max(failures) FROM radmeter.router_coa_state WHERE silent_since IS NOT NULL"
            ).fetchone()
            assert row == (50, 1)


def test_many_requests_are_worked_off_in_parallel(
    connection: Connection, database: str, key_file: Path
) -> None:
    with scripted_nas() as nas:
        many(
            connection,
            key_file,
            {f"r{number}": (nas.address, nas.port) for number in range(100)},
            each=MANY // 100,
        )
        begun = time.monotonic()
        pace = Pace(poll_seconds=0.2, pauses=(5.0, 5.0, 10.0), per_router=16)
        with working(database, key_file, pace):
            wait_for(lambda: in_state(connection, "acknowledged") == MANY, seconds=240)
        print(f"{MANY} requests in {time.monotonic() - begun:.1f} s")
        sent = Counter(str(each.get("Acct-Session-Id")) for each in nas.requests())
        assert len(sent) == MANY
        assert set(sent.values()) == {1}


def test_a_look_costs_no_more_if_many_requests_wait(
    connection: Connection, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade each user who is over waits for a router without a secret."""
    monkeypatch.setattr(queue, "LOOK_AT_MOST", 50)
    # As with tables that are too large to be read as a whole.
    connection.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")

    def read() -> int:
        return rows_read(connection, lambda: queue.claim(connection, uuid.uuid4()))

    def wait(name: str, sessions: int) -> None:
        connection.execute("DELETE FROM radmeter.disconnect_queue")
        many(connection, key_file, {name: ("127.0.0.1", 9)}, sessions)
        connection.execute("UPDATE radmeter.router_coa SET secret = NULL")
        while due(connection):
            queue.claim(connection, uuid.uuid4())

    wait("a few", 200)
    few = read()
    wait("many", 2000)

    def costs_no_more() -> bool:
        # Entries of rows that are gone cost once, as soon as nobody else can see these rows.
        connection.execute("VACUUM (ANALYZE, INDEX_CLEANUP ON) radmeter.disconnect_queue, radacct")
        return read() < 2 * few

    wait_for(costs_no_more, 30)


def due(connection: Connection) -> int:
    """Return how many requests are due."""
    row = connection.execute(
        "SELECT count(*) FROM radmeter.disconnect_queue WHERE ended_at IS NULL AND next_try_at <= now()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_two_leaders_never_send_a_request_twice(
    connection: Connection, database: str, key_file: Path
) -> None:
    with scripted_nas() as nas:
        many(connection, key_file, {f"r{number}": (nas.address, nas.port) for number in range(10)}, each=60)
        pace = Pace(poll_seconds=0.05, pauses=(10.0, 10.0))
        with working(database, key_file, pace), working(database, key_file, pace):
            wait_for(lambda: in_state(connection, "acknowledged") == 600)
        sent = Counter(str(each.get("Acct-Session-Id")) for each in nas.received)
        assert len(sent) == 600
        assert set(sent.values()) == {1}


WORKER = """
import sys, threading
from pathlib import Path
from radmeter.quotas.worker import Pace, QuotaWorker
worker = QuotaWorker(sys.argv[1], Path(sys.argv[2]), Pace(poll_seconds=0.1, pauses=(60.0,), claim_seconds=3))
worker.start()
threading.Event().wait()
"""


def test_a_worker_that_is_killed_in_mid_send_loses_nothing(
    connection: Connection, database: str, key_file: Path
) -> None:
    """Its claims are over after a time, and the next worker sends the requests again."""
    with scripted_nas(is_silent) as nas:
        many(connection, key_file, {"r1": (nas.address, nas.port)}, each=5)
        environment = {**OTHERS_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen([sys.executable, "-c", WORKER, database, str(key_file)], env=environment)
        try:
            wait_for(lambda: len(nas.received) == 5)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=30)
        assert in_state(connection, "sent") == 5
        nas.script = acknowledges
        with working(database, key_file, QUICK):
            wait_for(lambda: in_state(connection, "acknowledged") == 5)
        names = Counter(str(each.get("Acct-Session-Id")) for each in nas.requests())
        assert set(names.values()) == {2}


def test_a_request_without_a_notification_is_found(
    connection: Connection, database: str, key_file: Path
) -> None:
    """The row is written without a NOTIFY, as one that a failover lost."""
    with scripted_nas() as nas:
        session(database)
        set_coa(connection, key_file, address=nas.address, port=nas.port)
        with working(database, key_file, Pace(poll_seconds=0.5)):
            ask(connection)
            wait_for_state(connection, "acknowledged")


def test_all_connections_are_cut_in_mid_queue(server: Server, tmp_path: Path, key_file: Path) -> None:
    """Results that cannot be recorded at once are recorded later."""
    import psycopg

    with server.clone() as dsn, scripted_nas() as nas:
        with psycopg.connect(dsn, autocommit=True) as connection:
            many(
                connection, key_file, {f"r{number}": (nas.address, nas.port) for number in range(5)}, each=100
            )
        held: list[Received] = []
        nas.script = lambda nas, received: held.append(received)
        with working(dsn, key_file, Pace(poll_seconds=0.1, pauses=(20.0, 20.0))):
            wait_for(lambda: len(held) >= 16)
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(
                    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid()"""
                )
                nas.script = acknowledges
                for each in list(held):
                    nas.answer(each, {40: 41})
                wait_for(lambda: in_state(connection, "acknowledged") == 500, seconds=120)
        assert len({str(each.get("Acct-Session-Id")) for each in nas.received}) == 500
