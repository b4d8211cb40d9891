"""The database dies while users come to their limits: no crossing is lost, and none is there twice."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from signal import SIGQUIT

import psycopg
import pytest
from support.commands import Packets
from support.quota_queue import in_state, many, wait_for, working
from support.quotas import MB, apply_due
from support.scripted_nas import ACK, Received, acknowledges, scripted_nas
from support.servers import Connection, Server, installed
from support.standby import Standby

from radmeter.database.connection import connect
from radmeter.errors import StoreError
from radmeter.quotas.due import DueQuotas
from radmeter.quotas.secrets import add_key
from radmeter.quotas.worker import Pace

USERS = 20
STEPS = (3, 6, 9, 12, 15)
# Of 20 MB, with two sessions.
KILLS = 25
NOTICES = [("warned", 80), ("over", 100)]


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with Server(next(iter(installed().values())), synchronous_commit="on") as server:
        server.make_template()
        yield server


@pytest.fixture
def own_database(own_server: Server) -> Iterator[str]:
    with own_server.clone() as dsn:
        yield dsn


def site(connection: Connection) -> None:
    connection.execute(
        f"""INSERT INTO plans (name, quota_bytes) VALUES ('basic', {20 * MB});
            INSERT INTO subscribers (username, plan_id)
            SELECT 'user' || n, 1 FROM generate_series(1, {USERS}) AS n""".encode()
    )


def report(dsn: str, megabytes: int) -> None:
    """Ship a packet of each of two sessions of each user. If it fails, and is done again, they come twice."""
    with Packets(dsn) as packets:
        for number in range(USERS):
            for session in ("a", "b"):
                packets.add(
                    "Interim-Update",
                    f"{session}{number}",
                    User_Name=f"user{number + 1}",
                    NAS_Identifier="lobby",
                    Acct_Input_Octets=megabytes * MB,
                )


def until_it_works(work: Callable[[], None]) -> int:
    """Do something as often as it takes; return how often it failed."""
    failed = 0
    while True:
        try:
            work()
        except (StoreError, psycopg.OperationalError):
            failed += 1
            assert failed < 200
        else:
            return failed


def expect_each_crossing_once(connection: Connection) -> None:
    requests = connection.execute(
        "SELECT username, act, count(*), count(DISTINCT radacctid) FROM radmeter.disconnect_queue GROUP BY 1, 2"
    ).fetchall()
    users = sorted(f"user{number}" for number in range(1, USERS + 1))
    assert sorted(requests) == [(name, "disconnect", 2, 2) for name in users]
    told: dict[str, list[tuple[str, int]]] = {}
    for name, kind, percent in connection.execute(
        "SELECT username, kind, percent FROM radmeter.quota_notice ORDER BY id"
    ):
        told.setdefault(name, []).append((kind, percent))
    assert told == dict.fromkeys(users, NOTICES)
    assert connection.execute("SELECT sum(bytes_in)::bigint FROM user_quota_usage").fetchone() == (
        2 * USERS * STEPS[-1] * MB,
    )


@contextmanager
def killer(dsn: str, seed: int) -> Iterator[None]:
    """End the sessions of ingest and of the jobs at random moments."""
    stop, chance = threading.Event(), random.Random(seed)

    def kill() -> None:
        with psycopg.connect(dsn, autocommit=True) as own:
            killed = 0
            while killed < KILLS and not stop.wait(chance.uniform(0.001, 0.4)):
                row = own.execute(
                    """SELECT count(*) FILTER (WHERE ended AND query ~ 'radmeter.ingest')
                       FROM (SELECT query, pg_terminate_backend(pid) AS ended FROM pg_stat_activity
                             WHERE datname = current_database() AND query ~ 'radmeter.ingest|apply_due_quotas'
                               AND pid <> pg_backend_pid() AND state = 'active') AS found"""
                ).fetchone()
                killed += row[0] if row else 0

    thread = threading.Thread(target=kill)  # not for ever: a batch needs its time
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("seed", range(2))
def test_killed_in_the_middle_of_a_crossing(database: str, connection: Connection, seed: int) -> None:
    site(connection)
    ended = threading.Event()

    def jobs() -> None:
        while not ended.is_set():
            with suppress(StoreError, psycopg.OperationalError), connect(database) as own:
                while not ended.wait(0.01):
                    DueQuotas(own).apply()

    thread = threading.Thread(target=jobs)
    thread.start()
    failed = 0
    try:
        with killer(database, seed):
            for megabytes in STEPS:
                failed += until_it_works(partial(report, database, megabytes))
                # Else a step counts with the next one, and a notice is rightly left out.
                assert connection.execute(
                    "SELECT sum(bytes_in)::bigint FROM user_quota_usage"
                ).fetchone() == (2 * USERS * megabytes * MB,)
            # The same numbers again change nothing. It takes as long as it takes to be hit once.
            wait_for(lambda: failed or until_it_works(partial(report, database, STEPS[-1])))
    finally:
        ended.set()
        thread.join()
    apply_due(connection)
    expect_each_crossing_once(connection)


def test_the_server_crashes_after_each_step(own_server: Server, own_database: str) -> None:
    with psycopg.connect(own_database, autocommit=True) as connection:
        site(connection)
    for megabytes in STEPS:
        until_it_works(partial(report, own_database, megabytes))
        own_server.stop(SIGQUIT)
        own_server.start()
    with psycopg.connect(own_database, autocommit=True) as connection:
        apply_due(connection)
        expect_each_crossing_once(connection)


def test_switched_over_in_the_middle(own_server: Server, own_database: str) -> None:
    """What the standby has is what the primary had; the packets of its last batch come again."""
    with psycopg.connect(own_database, autocommit=True) as connection:
        site(connection)
    name = psycopg.conninfo.conninfo_to_dict(own_database)["dbname"]
    with Standby(own_server) as copy:
        for megabytes in STEPS[:3]:
            report(own_database, megabytes)
        copy.catch_up()
        own_server.stop(SIGQUIT)
        with psycopg.connect(copy.dsn(), autocommit=True) as standby:
            standby.execute("SELECT pg_promote()")
        dsn = copy.dsn(str(name))
        for megabytes in STEPS[2:]:
            report(dsn, megabytes)
        with psycopg.connect(dsn, autocommit=True) as connection:
            apply_due(connection)
            expect_each_crossing_once(connection)


@pytest.mark.parametrize("lags", [False, True])
def test_switched_over_while_requests_are_under_way(
    own_server: Server, own_database: str, tmp_path: Path, lags: bool
) -> None:
    """A standby that lags does not know of the claims: such a request is sent again. None is lost."""
    key_file = tmp_path / "coa.key"
    add_key(key_file)
    name = psycopg.conninfo.conninfo_to_dict(own_database)["dbname"]
    pace = Pace(poll_seconds=0.1, pauses=(10.0, 10.0, 10.0))
    held: list[Received] = []
    with scripted_nas(lambda nas, received: held.append(received)) as nas, Standby(own_server) as copy:
        with psycopg.connect(own_database, autocommit=True) as connection:
            many(connection, key_file, {f"r{n}": (nas.address, nas.port) for n in range(4)}, each=50)
        copy.catch_up()
        if lags:
            with psycopg.connect(copy.dsn(), autocommit=True) as standby:
                standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
                standby.execute("SELECT pg_reload_conf()")
                wait_for(lambda: standby.execute("SELECT FROM pg_stat_wal_receiver").rowcount == 0)
        hosts = f"host={own_server.base},{copy.base} port=5432,5432"
        both = f"{hosts} dbname={name} user=postgres target_session_attrs=read-write"
        with working(both, key_file, pace):
            wait_for(lambda: len(nas.requests()) >= 16)
            own_server.stop(SIGQUIT)
            # Answers to requests of the old primary: their results cannot be recorded until there is another one.
            nas.script = acknowledges
            for each in list(held):
                nas.answer(each, ACK)
            with psycopg.connect(copy.dsn(), autocommit=True) as standby:
                standby.execute("SELECT pg_promote()")
            with psycopg.connect(copy.dsn(str(name)), autocommit=True) as connection:
                wait_for(lambda: in_state(connection, "acknowledged") == 200, seconds=120)
        asked = Counter(str(each.get("Acct-Session-Id")) for each in nas.requests())
    assert len(asked) == 200
    assert set(asked.values()) <= {1, 2}
    if lags:
        twice = {session for session, times in asked.items() if times == 2}
        assert {str(each.get("Acct-Session-Id")) for each in held} <= twice
