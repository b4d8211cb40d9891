"""Behind PgBouncer: what works in each of its modes, and what is refused."""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from support.commands import Packets, radmeter
from support.frozen import stopped
from support.pgbouncer import PgBouncer, pgbouncer
from support.processes import Jobs, Shipper, eager_jobs, eventually
from support.servers import Server
from support.shipping import fill, totals

from radmeter.database import deadline
from radmeter.database.connection import connect
from radmeter.database.views import reading
from radmeter.database.waiting import server_pid
from radmeter.errors import PoolsTransactions, StoreUnavailable
from radmeter.ingest.store import Store
from radmeter.jobs.lease import Lease

pytestmark = pytest.mark.timeout(240, func_only=True)


@pytest.fixture
def by_session(own_server: Server) -> Iterator[PgBouncer]:
    with pgbouncer(own_server, "session") as running:
        yield running


@pytest.fixture
def by_transaction(own_server: Server) -> Iterator[PgBouncer]:
    with pgbouncer(own_server, "transaction") as running:
        yield running


LEADER = "SELECT program FROM radmeter.lease WHERE expires_at > clock_timestamp()"


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_each_packet_counts_once_with_two_shippers_and_another_program_in_the_pool(
    own_server: Server, own_database: str, mode: str, tmp_path: Path
) -> None:
    fill(tmp_path / "first", range(1000))
    fill(tmp_path / "second", range(1000, 2000))
    # Fewer processes of the server than clients, in turn: each transaction gets another one.
    settings = {"default_pool_size": 3, "server_round_robin": 1}
    with pgbouncer(own_server, mode, **settings) as pooler, ExitStack() as stack:
        for name in ("first", "second"):
            stack.enter_context(
                Shipper(
                    tmp_path / f"{name}.log",
                    tmp_path / name,
                    pooler.dsn(own_database),
                    RADMETER_BATCH_RECORDS="20",
                ).start()
            )
        eventually(lambda: totals(own_database), (2000, 2000, 2000, 14000))


def test_a_pooler_that_pools_transactions_is_refused_where_a_session_is_needed(
    own_database: str, by_transaction: PgBouncer
) -> None:
    dsn = by_transaction.dsn(own_database)
    for _ in range(5):
        with pytest.raises(PoolsTransactions, match="pool_mode = session"):
            connect(dsn)
    for command in (("migrate", "up"), ("jobs", "close-stale"), ("verify",), ("backfill", "--yes")):
        done = radmeter(dsn, *command)
        assert done.exit_code == 1
        assert "a pooler that pools transactions" in done.errors
    found = radmeter(dsn, "doctor", "--only", "connection")
    assert "a pooler that pools transactions" in found.output


@pytest.mark.parametrize("round_robin", [0, 1])
@pytest.mark.parametrize("idle", [0, 1, 7])
def test_it_is_recognised_whatever_the_pool_does(
    own_server: Server, own_database: str, round_robin: int, idle: int
) -> None:
    with pgbouncer(own_server, "transaction", server_round_robin=round_robin) as pooler:
        dsn = pooler.dsn(own_database)
        with ExitStack() as stack:  # leaves free processes behind
            for _ in range(idle):
                stack.enter_context(psycopg.connect(dsn)).execute("SELECT 1")
        with pytest.raises(PoolsTransactions):
            connect(dsn)


@pytest.mark.parametrize("idle", [0, 1, 7])
def test_one_that_pools_sessions_is_not(own_server: Server, own_database: str, idle: int) -> None:
    with pgbouncer(own_server, "session") as pooler:
        dsn = pooler.dsn(own_database)
        with ExitStack() as stack:
            for _ in range(idle):
                stack.enter_context(psycopg.connect(dsn)).execute("SELECT 1")
        with connect(dsn) as connection:
            assert connection.execute("SHOW search_path").fetchone() == ("pg_catalog",)
            assert server_pid(connection) != connection.info.backend_pid
            assert connection.execute("SELECT pg_backend_pid()").fetchone() == (server_pid(connection),)


def test_one_that_pools_statements_is_refused(own_server: Server, own_database: str) -> None:
    with (
        pgbouncer(own_server, "statement") as pooler,
        pytest.raises(PoolsTransactions, match="pools statements"),
    ):
        connect(pooler.dsn(own_database))


def test_a_pool_without_a_free_connection_is_said(own_server: Server, own_database: str) -> None:
    with (
        pgbouncer(own_server, "session", default_pool_size=1) as pooler,
        pytest.raises(StoreUnavailable, match="gives no second connection"),
    ):
        connect(pooler.dsn(own_database))


def test_nothing_of_a_session_stays_behind_for_the_next_program(
    own_database: str, own_server: Server, tmp_path: Path
) -> None:
    """One process of the server for all: what the shipper sets, another program would find."""
    fill(tmp_path / "journal", range(100))
    with pgbouncer(own_server, "transaction", default_pool_size=1) as pooler:
        dsn = pooler.dsn(own_database)
        settings = """SELECT name, setting FROM pg_settings
                      WHERE source NOT IN ('default', 'configuration file', 'command line', 'override')
                        AND name <> 'application_name' ORDER BY 1"""
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        with psycopg.connect(dsn, autocommit=True) as other:
            before = other.execute(settings.encode()).fetchall()
            with Shipper(tmp_path / "ship.log", tmp_path / "journal", dsn).start() as shipper:
                eventually(lambda: totals(own_database)[0], 100)
                assert radmeter(dsn, "usage", "user", "user1").exit_code == 0
                assert other.execute(settings.encode()).fetchall() == before
                assert other.execute(locks.encode()).fetchone() == (0,)
                assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
                shipper.stop()
            assert other.execute(settings.encode()).fetchall() == before


def test_what_the_shipper_sets_is_set_in_each_of_its_transactions(
    own_database: str, by_transaction: PgBouncer
) -> None:
    store = Store(by_transaction.dsn(own_database))
    found = store._connection.execute(
        """SELECT current_setting('search_path'), current_setting('statement_timeout'),
                  current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"""
    ).fetchone()
    store.close()
    assert found == ("pg_catalog", "1min", "30s", "15min")
    with reading(by_transaction.dsn(own_database)) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("pg_catalog",)
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("repeatable read",)
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_reading_commands_work_in_each_mode(own_server: Server, own_database: str, mode: str) -> None:
    with Packets(own_database) as packets:
        packets.add("Start", "s1", User_Name="alice")
        packets.add("Stop", "s2", User_Name="alice", Acct_Input_Octets=5)
    radmeter(own_database, "plans", "add", "basic", "--quota", "10MB")
    radmeter(own_database, "users", "add", "bob", "--plan", "basic")
    commands = [
        ("usage", "user", "alice"),
        ("usage", "users"),
        ("explain", "alice"),
        ("report", "usage", "--user", "alice"),
        ("report", "top", "routers"),
        ("report", "compare"),
        ("sessions",),
        ("routers", "list"),
        ("plans", "list"),
        ("users", "list"),
        ("users", "show", "bob"),
        ("limits", "list"),
        ("quota", "over"),
        ("login", "list"),
        ("audit", "list"),
        ("audit", "verify"),
        ("tenants", "logins"),
        ("partitions", "list"),
        ("rejected", "list"),
        ("journal", "incidents"),
        ("status", "--sample", "0"),
    ]
    with pgbouncer(own_server, mode, server_round_robin=1) as pooler:
        for command in commands:
            direct = radmeter(own_database, *command, "--format", "csv")
            pooled = radmeter(pooler.dsn(own_database), *command, "--format", "csv")
            assert (pooled.exit_code, pooled.output) == (direct.exit_code, direct.output), command


def test_two_runners_behind_a_pool_of_sessions_take_turns(
    own_database: str, by_session: PgBouncer, tmp_path: Path
) -> None:
    dsn = by_session.dsn(own_database)
    with psycopg.connect(own_database, autocommit=True) as connection:

        def leads(runner: Jobs) -> bool:
            return connection.execute(LEADER).fetchone() == (runner.program,)

        with eager_jobs(tmp_path / "first.log", dsn) as first:
            eventually(lambda: leads(first), True)
            with eager_jobs(tmp_path / "second.log", dsn) as second:
                eventually(lambda: second.lines("standing by") != [], True)
                first.kill()
                # As if its time had passed.
                connection.execute("UPDATE radmeter.lease SET expires_at = clock_timestamp()")
                eventually(lambda: leads(second), True)
                second.stop()
        # The pooler still has its connections to the server. Nobody is kept out by them.
        with eager_jobs(tmp_path / "third.log", dsn) as third:
            eventually(lambda: leads(third), True)


def test_a_runner_that_was_stopped_behind_a_pool_of_sessions_does_nothing_when_it_wakes_up(
    own_database: str, by_session: PgBouncer, tmp_path: Path
) -> None:
    dsn = by_session.dsn(own_database)
    with psycopg.connect(own_database, autocommit=True) as connection:
        leader = "SELECT program FROM radmeter.lease"
        with eager_jobs(tmp_path / "first.log", dsn) as first:
            eventually(lambda: connection.execute(leader).fetchone(), (first.program,))
            with eager_jobs(tmp_path / "second.log", dsn) as second:
                eventually(lambda: second.lines("standing by") != [], True)
                with stopped(first.pid):
                    # As if its time had passed.
                    connection.execute("UPDATE radmeter.lease SET expires_at = clock_timestamp()")
                    eventually(lambda: connection.execute(leader).fetchone(), (second.program,))
                eventually(lambda: first.lines("another process has taken over the lease") != [], True)
                eventually(lambda: first.lines("standing by") != [], True)
                assert connection.execute(leader).fetchone() == (second.program,)


def test_runners_behind_a_pool_of_transactions_say_why_they_wait(
    own_database: str, by_transaction: PgBouncer, tmp_path: Path
) -> None:
    with eager_jobs(tmp_path / "jobs.log", by_transaction.dsn(own_database)) as runner:
        eventually(lambda: runner.lines("a pooler that pools transactions") != [], True)
        with psycopg.connect(own_database) as connection:
            assert connection.execute("SELECT count(*) FROM radmeter.lease").fetchone() == (0,)


def test_if_the_pooler_were_not_recognised_two_runners_would_still_not_work_at_once(
    own_database: str, by_transaction: PgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is the process's, whichever process of the server its transactions get."""
    monkeypatch.setattr("radmeter.database.connection.refuse_transaction_pooling", lambda connection: None)
    dsn = by_transaction.dsn(own_database)
    with connect(dsn) as one, connect(dsn) as two:
        first, second = Lease(one, uuid.uuid4()), Lease(two, uuid.uuid4())
        assert first.take()
        for _ in range(5):
            assert not second.take()
            first.renew()
        first.end()
        assert second.take()
        with pytest.raises(psycopg.Error) as refused:
            one.execute("SELECT 1")
        assert refused.value.sqlstate == "RM006"


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_writable_server_may_be_asked_for_through_the_pooler(
    own_server: Server, own_database: str, mode: str
) -> None:
    with pgbouncer(own_server, mode) as pooler:
        dsn = psycopg.conninfo.make_conninfo(
            pooler.dsn(own_database), target_session_attrs="read-write", connect_timeout=5
        )
        store = Store(dsn)
        assert store.open_segments("radius1-00000001", []) == []
        store.close()


def test_a_frozen_server_behind_the_pooler_is_given_up(
    own_database: str, by_transaction: PgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "_seconds", 2.0)
    store = Store(by_transaction.dsn(own_database))
    assert store.open_segments("radius1-00000001", []) == []
    os.kill(by_transaction.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer from the server"):
        store.open_segments("radius1-00000001", [])
    assert time.monotonic() - began < 60
