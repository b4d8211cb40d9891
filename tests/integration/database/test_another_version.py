"""The recipes of docs/operators/upgrading.md for another version of PostgreSQL, run while packets arrive."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Self

import psycopg
import pytest
from support.commands import radmeter
from support.doctoring import faults
from support.documents import block
from support.functions import value
from support.looking import pause_after
from support.servers import Connection, Server, installed, machines_own

from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.schema import upgrade

DATABASE = "radmeter"
USERS = 20
STEP = 1000  # octets between two interims of a user
DEADLINE_SECONDS = 100.0
pytestmark = pytest.mark.timeout(300, func_only=True)


class Routers:
    """Routers that send without a pause for as long as the block runs. What they count is the truth."""

    def __init__(self, journal: Path) -> None:
        self.octets = dict.fromkeys((f"user{number}" for number in range(USERS)), 0)
        self.packets = 0
        self._writer = JournalWriter(journal, sync="interval")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="routers")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._writer.close()

    def _send(self) -> None:
        for number in count():
            if self._stop.wait(0.002):
                return
            # Every fifth packet ends a session, so that rows move from one partition to another.
            user, turn = f"user{number % USERS}", number // USERS
            self.octets[user] += STEP
            stop = turn % 5 == 4
            pairs = {
                "User-Name": user,
                "Acct-Status-Type": "Stop" if stop else "Interim-Update",
                "Acct-Session-Id": f"{user}-{turn // 5}",
                "NAS-IP-Address": "192.0.2.1",
                "Called-Station-Id": "AA-BB-CC-DD-EE-FF:Lobby",
                "Acct-Input-Octets": str(STEP * (turn % 5 + 1)),
            }
            self._writer.append(time.time_ns() // 1000, json.dumps(list(pairs.items())))
            self.packets += 1


@contextmanager
def shipping(journal: Path, dsn: str, *, until_empty: bool = False) -> Iterator[None]:
    """Ship the journal to a database for as long as the block runs, or until it is empty."""
    reader, stop = JournalReader(journal), threading.Event()
    shipper = Shipper(reader, lambda: Store(dsn), batch_records=20, batch_seconds=0.01)

    def run() -> None:
        with reader.lock():
            shipper.run(stop, until_empty=until_empty)

    thread = threading.Thread(target=run, name="shipper")
    thread.start()
    try:
        yield
    finally:
        if not until_empty:
            stop.set()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive(), f"the shipper does not end; its trouble: {shipper._trouble}"
        reader.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (began := time.monotonic()) and not condition():
        assert time.monotonic() < deadline, f"timed out: {what}"
        pause_after(began)


def run(name: str, server: Server, programs: Path, **environment: str) -> None:
    """Run a block of the documentation as the user of the server."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block("operators/upgrading.md", name)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
        cwd=server.base,  # pg_upgrade puts its sockets there
        env={"PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **environment},
        **server.identity,
    )
    assert done.returncode == 0, f"{name}:\n{done.stdout}"


def counted(connection: Connection) -> int:
    packets = value(connection, "coalesce(sum(records), 0)::bigint FROM radmeter.nodes")
    assert isinstance(packets, int)
    return packets


def assert_true(dsn: str, routers: Routers, identity: object) -> None:
    """Check that a database has counted what the routers did, each packet once, and is the same database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute("SELECT username, sum(bytes_in)::bigint FROM user_quota_usage GROUP BY 1")
        assert dict(found.fetchall()) == routers.octets
        assert counted(connection) == routers.packets
        assert value(connection, "sum(bytes_in)::bigint FROM router_daily_usage") == sum(
            routers.octets.values()
        )
        assert value(connection, "id FROM radmeter.database_identity") == identity
        assert value(connection, "count(*) - count(DISTINCT radacctid) FROM radacct") == 0
        assert value(connection, "count(*) FROM rejected_packet") == 0
    verified = radmeter(dsn, "verify")
    assert verified.exit_code == 0, verified.output + verified.errors
    assert not faults(dsn, "migrations", "schema", "triggers", "guarantees")


@pytest.fixture
def programs() -> tuple[Path, Path]:
    """The programs of the oldest version that the machine has, and of the newest."""
    own = machines_own()
    if not own:
        pytest.skip("only the embedded PostgreSQL is here")
    return own[min(own)], installed()["postgresql-18"]


@contextmanager
def old_database(programs: Path) -> Iterator[Server]:
    with Server(programs, wal_level="logical") as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        upgrade.upgrade(server.dsn(DATABASE))
        yield server


def test_a_logical_subscriber_takes_over_under_traffic(programs: tuple[Path, Path], tmp_path: Path) -> None:
    with ExitStack() as stack:
        old = stack.enter_context(old_database(programs[0]))
        new = stack.enter_context(Server(programs[1]))
        routers = stack.enter_context(Routers(tmp_path))
        before = stack.enter_context(psycopg.connect(old.dsn(DATABASE), autocommit=True))
        identity = value(before, "id FROM radmeter.database_identity")
        places = {
            "OLD": old.dsn(DATABASE),
            "NEW": new.dsn(DATABASE),
            "NEW_SERVER": new.dsn(),
        }
        with shipping(tmp_path, old.dsn(DATABASE)):
            wait_until(lambda: counted(before) > 200, "the old database counts")
            run("replicate", new, programs[1], **places)
            # A month that nobody expected, and a session in it.
            before.execute("SELECT radmeter.ensure_partition('2031-01-15Z')")
            before.execute(
                """INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstoptime)
                   VALUES ('far', 'far', '::1', '2031-01-15Z')"""
            )
            replicated = counted(before)
            wait_until(lambda: counted(before) > replicated + 300, "packets are counted while it replicates")
        at_switch = counted(before)
        # A difference: the subscription stays, and the block can be run again.
        with psycopg.connect(new.dsn(DATABASE), autocommit=True) as early:
            early.execute(
                "INSERT INTO user_quota_usage (username, period_start) VALUES ('early', '2020-01-01')"
            )
            with pytest.raises(AssertionError, match="> early"):
                run("switch", new, programs[1], **places)
            assert value(early, "count(*) FROM pg_subscription") == 1
            early.execute("DELETE FROM user_quota_usage WHERE username = 'early'")
        run("switch", new, programs[1], **places)
        with (
            shipping(tmp_path, new.dsn(DATABASE)),
            psycopg.connect(new.dsn(DATABASE), autocommit=True) as after,
        ):
            wait_until(lambda: counted(after) > at_switch + 300, "the new database counts")
            assert (
                value(after, "tableoid::regclass::text FROM radacct WHERE acctuniqueid = 'far'")
                == "radacct_2031_01"
            )
        routers.__exit__()
        with shipping(tmp_path, new.dsn(DATABASE), until_empty=True):
            pass
        assert_true(new.dsn(DATABASE), routers, identity)
        with psycopg.connect(old.dsn(DATABASE), autocommit=True) as left:
            assert counted(left) == at_switch
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                left.execute("UPDATE radacct SET class = 'x'")
        run("back", new, programs[1], **places)
        with psycopg.connect(old.dsn(DATABASE), autocommit=True) as left:
            left.execute("UPDATE radacct SET class = 'x'")


def test_pg_upgrade_between_two_batches(programs: tuple[Path, Path], tmp_path: Path) -> None:
    if not all((each / "pg_upgrade").exists() for each in programs):
        pytest.skip("pg_upgrade is not installed")
    with ExitStack() as stack:
        old = stack.enter_context(old_database(programs[0]))
        new = Server(programs[1])
        stack.callback(new.close)
        routers = stack.enter_context(Routers(tmp_path))
        with (
            psycopg.connect(old.dsn(DATABASE), autocommit=True) as before,
            shipping(tmp_path, old.dsn(DATABASE)),
        ):
            identity = value(before, "id FROM radmeter.database_identity")
            wait_until(lambda: counted(before) > 300, "the old database counts")
        run(
            "pg_upgrade",
            new,
            programs[1],
            OLD_PROGRAMS=str(programs[0]),
            NEW_PROGRAMS=str(programs[1]),
            OLD_DATA=str(old.base / "data"),
            NEW_DATA=str(new.base / "data"),
        )
        new.start()
        routers.__exit__()
        with shipping(tmp_path, new.dsn(DATABASE), until_empty=True):
            pass
        assert_true(new.dsn(DATABASE), routers, identity)
