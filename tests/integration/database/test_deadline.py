"""A server that is frozen, or that packets no longer reach, is given up after the deadline. One that works is not."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psycopg
import pytest
from support.frozen import Relay, family, stopped
from support.processes import OTHERS_ENVIRONMENT, Shipper, eventually
from support.servers import Server
from support.shipping import fill, totals

from radmeter.database import advisory_locks, deadline, waiting
from radmeter.database.connection import connect
from radmeter.database.deadline import Deadline
from radmeter.database.waiting import NoAnswerError, WaitingConnection, server_pid
from radmeter.errors import NoAnswer, StoreUnavailable
from radmeter.ingest.store import Store

pytestmark = pytest.mark.timeout(240, func_only=True)

NEVER = 3600.0

# Runs a command in whose connection the process of the server stops as soon as it is open. It prints the process.
FREEZING_COMMAND = """
import os, signal
from radmeter.database import connection, deadline
opened = connection.connect
def connect(*given, **more):
    made = opened(*given, **more)
    os.kill(made.info.backend_pid, signal.SIGSTOP)
    print(made.info.backend_pid, flush=True)
    return made
connection.connect = connect
deadline.WORKING = 1
from radmeter.cli.main import main
main(['usage', 'user', 'alice'])
"""


@pytest.fixture
def two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortest deadline that the setting allows, and one second for each question whether the server works."""
    monkeypatch.setattr(deadline, "_seconds", 2.0)
    monkeypatch.setattr(waiting, "PROBE_SECONDS", 1)


def frozen(connection: WaitingConnection, statement: str = "SELECT 1") -> float:
    """Return after how long the connection gave up."""
    began = time.monotonic()
    with pytest.raises(NoAnswerError):
        connection.execute(statement.encode())
    assert connection.closed
    return time.monotonic() - began


def through(relay: Relay, dsn: str) -> str:
    """The connection string for a relay before the server."""
    return psycopg.conninfo.make_conninfo(dsn, host="127.0.0.1", port=relay.port)


def test_a_stopped_process_of_the_server_is_given_up_at_the_deadline(
    own_database: str, two_seconds: None
) -> None:
    connection = connect(own_database, deadline=deadline.prompt())
    with stopped(server_pid(connection)):
        assert 2 <= frozen(connection) < 60
    # The server itself works.
    with connect(own_database) as another:
        assert another.execute("SELECT 1").fetchone() == (1,)


def test_a_statement_on_which_the_server_works_may_take_longer(
    own_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(own_database, deadline=Deadline(0.3, None)) as connection:
        assert connection.execute("SELECT 'done' FROM pg_sleep(2)").fetchone() == ("done",)
    assert "the server has worked on one statement for" in caplog.text


def test_but_not_longer_than_its_limit(own_database: str) -> None:
    connection = connect(own_database, deadline=Deadline(0.3, 1.5))
    pid = server_pid(connection)
    assert 1.5 <= frozen(connection, f"SELECT pg_sleep({NEVER})") < 60
    # The statement was cancelled: nothing of it goes on.
    with connect(own_database) as beside:
        end = time.monotonic() + 60
        gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
        while beside.execute(gone, (pid,)).fetchone() != (True,):
            assert time.monotonic() < end


def test_each_piece_of_an_answer_counts(own_database: str) -> None:
    """Rows that come slowly are an answer, however long it takes."""
    with connect(own_database, deadline=Deadline(5.0, 5.0)) as connection:
        query = "DO $$ BEGIN FOR n IN 1..24 LOOP RAISE NOTICE '%', n; PERFORM pg_sleep(0.3); END LOOP; END $$"
        connection.execute(query.encode())


def test_a_frozen_server_is_given_up_also_by_a_long_statement(
    own_server: Server, own_database: str, two_seconds: None
) -> None:
    connection = connect(own_database, deadline=Deadline(0.5, None))
    with stopped(*family(own_server.pid)):
        assert frozen(connection, f"SELECT pg_sleep({NEVER})") < 60


def test_so_is_one_whose_answer_was_lost(own_server: Server, own_database: str, two_seconds: None) -> None:
    """The server waits for the client, which waits for the server."""
    with Relay(own_server.base / ".s.PGSQL.5432") as relay:
        connection = connect(through(relay, own_database), deadline=Deadline(0.5, None))
        relay.cut()
        assert frozen(connection) < 60


def test_and_one_from_which_the_network_is_cut_off(
    own_server: Server, own_database: str, two_seconds: None
) -> None:
    with Relay(own_server.base / ".s.PGSQL.5432") as relay:
        connection = connect(through(relay, own_database), deadline=Deadline(0.5, None))
        relay.cut(wholly=True)
        assert frozen(connection) < 60


def test_a_server_that_refuses_another_connection_is_not_frozen(
    own_server: Server, own_database: str
) -> None:
    with psycopg.connect(own_server.dsn(), autocommit=True) as admin:
        name = psycopg.conninfo.conninfo_to_dict(own_database)["dbname"]
        with connect(own_database, deadline=Deadline(0.3, None)) as connection:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            assert connection.execute("SELECT 'done' FROM pg_sleep(1.5)").fetchone() == ("done",)


@pytest.mark.parametrize("frozen_first", [True, False])
def test_of_several_hosts_the_frozen_one_is_passed_over(
    own_server: Server, own_database: str, frozen_first: bool
) -> None:
    with Relay(own_server.base / ".s.PGSQL.5432") as cut, Relay(own_server.base / ".s.PGSQL.5432") as whole:
        cut.cut(wholly=True)
        ports = (cut.port, whole.port) if frozen_first else (whole.port, cut.port)
        several = psycopg.conninfo.make_conninfo(
            own_database,
            host="127.0.0.1,127.0.0.1",
            port=",".join(map(str, ports)),
            target_session_attrs="read-write",
            connect_timeout=2,
        )
        with connect(several) as connection:
            assert connection.info.port == whole.port


def test_the_shipper_goes_on_when_the_server_does_and_every_packet_counts_once(
    own_server: Server, own_database: str, tmp_path: Path
) -> None:
    fill(tmp_path / "journal", range(5000), segment_bytes=64 << 20)
    environment = {"RADMETER_ANSWER_SECONDS": "2", "RADMETER_BATCH_RECORDS": "100"}
    with (
        connect(own_database) as admin,
        Shipper(tmp_path / "ship.log", tmp_path / "journal", own_database, **environment).start() as shipper,
    ):
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

        def said_more_than(before: int) -> bool:
            return len(shipper.lines("shipping waits")) > before

        def counted_more_than(before: object) -> bool:
            return totals(own_database) != before

        for _ in range(3):  # a batch is halved after the second timeout
            admin.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (advisory_locks.INGEST,))
            before = totals(own_database)
            eventually(lambda: admin.execute(waits).fetchone(), (1,))
            said = len(shipper.lines("shipping waits"))
            with stopped(*family(own_server.pid)):
                eventually(partial(said_more_than, said), True)
            advisory_locks.given_back(admin, advisory_locks.INGEST)
            # What waits goes on, and the next fault is said again.
            eventually(partial(counted_more_than, before), True)
        eventually(lambda: totals(own_database), (5000, 5000, 5000, 35000))
        assert not shipper.lines("half as many")


def test_the_store_says_which_of_both_it_was(own_database: str, two_seconds: None) -> None:
    """A slow server ends the statement itself, before the deadline. A frozen one does not."""
    store = Store(own_database)
    assert deadline.statement_ms() < 2000
    with stopped(server_pid(store._connection)), pytest.raises(NoAnswer):
        store.open_segments("radius1-00000001", [])
    with pytest.raises(StoreUnavailable):
        store.open_segments("radius1-00000001", [])


def test_a_command_ends_with_the_reason(own_server: Server, own_database: str) -> None:
    with stopped(*family(own_server.pid)):
        done = subprocess.run(
            [sys.executable, "-m", "radmeter", "usage", "user", "alice"],
            env=OTHERS_ENVIRONMENT | {"RADMETER_DSN": own_database, "RADMETER_ANSWER_SECONDS": "2"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert "error: the database cannot be reached" in done.stderr


def test_the_setting_reaches_every_connection(own_database: str) -> None:
    """The command's connection is open when its server freezes."""
    done = subprocess.run(
        [sys.executable, "-c", FREEZING_COMMAND],
        env=OTHERS_ENVIRONMENT | {"RADMETER_DSN": own_database, "RADMETER_ANSWER_SECONDS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for pid in done.stdout.split():
        os.kill(int(pid), signal.SIGCONT)
    assert done.returncode == 1
    assert "no answer from the server" in done.stderr


def test_ctrl_c_ends_a_command_whose_server_is_frozen(own_database: str) -> None:
    """A cancel request of libpq would wait for the server, too."""
    with subprocess.Popen(
        [sys.executable, "-c", FREEZING_COMMAND],
        env=OTHERS_ENVIRONMENT | {"RADMETER_DSN": own_database, "RADMETER_ANSWER_SECONDS": "3600"},
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            assert command.stdout is not None
            backend = int(command.stdout.readline())
            command.send_signal(signal.SIGINT)
            assert command.wait(100) == 130
        finally:
            os.kill(backend, signal.SIGCONT)
            command.kill()
