"""No command runs a function or operator that somebody has made in `public`: all connections search pg_catalog only."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from support import shadows, stock
from support.commands import NODE, Packets, packet, radmeter
from support.ledger import ingest
from support.schemas import psql
from support.servers import Connection, Server

from radmeter.database import connection as connections
from radmeter.ingest.store import Store
from radmeter.jobs import runner


@pytest.fixture(scope="module")
def planted(server: Server) -> Iterator[str]:
    """The name of a database without radmeter, in which everything has a shadow in `public`."""
    name = "planted_in_test"
    with psycopg.connect(server.dsn(), autocommit=True) as opened:
        opened.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        with psycopg.connect(server.dsn(name), autocommit=True) as opened:
            functions, operators = shadows.plant(opened)
            assert functions > 1000
            assert operators > 1000
        yield name
    finally:
        with psycopg.connect(server.dsn(), autocommit=True) as opened:
            opened.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def hostile(server: Server, planted: str) -> Iterator[str]:
    """The connection string of a copy of that database."""
    with server.clone(planted) as dsn:
        yield dsn


class Once(threading.Event):
    """Lets the jobs run once."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


def run(dsn: str, *arguments: str | Path, codes: tuple[int, ...] = (0,)) -> str:
    done = radmeter(dsn, *arguments)
    assert done.exit_code in codes, (arguments, done.output, done.errors)
    assert shadows.RAN not in done.output + done.errors, (arguments, done.output, done.errors)
    return done.output


@pytest.mark.parametrize("command", ["migrate plan", "doctor", "migrate sql"])
def test_with_public_in_the_path_the_shadows_run(
    server: Server, hostile: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Else the tests below would not see anything."""
    monkeypatch.setattr(connections, "SEARCH_PATH", 'SET search_path = "$user", public')
    log = shadows.Log(server)
    radmeter(hostile, *command.split())
    assert log.ran()


def test_no_command_runs_a_shadow(server: Server, hostile: str, tmp_path: Path) -> None:
    log = shadows.Log(server)
    run(hostile, "doctor", codes=(0, 3))
    run(hostile, "migrate", "status", codes=(3,))
    run(hostile, "migrate", "plan")
    script = run(hostile, "migrate", "sql")
    run(hostile, "migrate", "up", "--yes", "--timezone", "Europe/Berlin")
    with server.clone("template0") as other, psycopg.connect(other, autocommit=True) as plain:
        plain.execute("CREATE SCHEMA mine")
        assert psql(server, other, script).returncode == 0
    for command in ("status", "history", "plan", "sql"):
        run(hostile, "migrate", command)

    with Packets(hostile) as packets:
        for number, router in enumerate(("east", "west", "02-00-00-00-00-07:hotel")):
            packets.add("Start", f"s{number}", ago=90_000, User_Name="alice", NAS_Identifier=router)
            packets.add("Interim-Update", f"s{number}", ago=80_000, User_Name="alice", NAS_Identifier=router,
                        Acct_Session_Time=10_000, Acct_Input_Octets=4_000_000_000)  # fmt: skip
            packets.add("Interim-Update", f"s{number}", ago=70_000, User_Name="alice", NAS_Identifier=router,
                        Acct_Session_Time=20_000, Acct_Input_Octets=5)  # fmt: skip
        packets.add("Stop", "s0", ago=60, User_Name="alice", NAS_Identifier="east", Acct_Input_Octets=9)
        packets.add("Start", "s1", ago=50, User_Name="alice", NAS_Identifier="west")
        packets.add("Accounting-On", "x", ago=40, NAS_Identifier="west")
        packets.add("Interim-Update", "s0", ago=30, User_Name="alice", NAS_Identifier="east",
                    Acct_Input_Octets=10)  # fmt: skip
    store = Store(hostile)
    ingest(
        store,
        NODE,
        [{"seq": 1000, "received_us": 1, "reason": "unknown", "pairs": [["Acct-Status-Type", "x"]]}],
    )
    ingest(store, NODE, [packet(1001, "Stop", "old", ago=5, User_Name="bob", Acct_Input_Octets=9)])
    store.close()
    detail = tmp_path / "detail"
    detail.write_text(
        'Mon Jun  3 10:00:00 2024\n\tAcct-Status-Type = Stop\n\tAcct-Session-Id = "d1"\n\tUser-Name = "carol"\n'
        "\tNAS-IP-Address = 10.0.0.1\n\tAcct-Input-Octets = 7\n\tTimestamp = 1717408800\n\n"
    )
    run(hostile, "replay", "--yes", detail)

    run(hostile, "status", codes=(1,))  # no journal
    run(hostile, "usage", "user", "alice")
    run(hostile, "usage", "router", "east")
    run(hostile, "sessions", "--user", "alice")
    run(hostile, "verify", codes=(0, 3))
    run(hostile, "verify", "--repair", "--yes", codes=(0, 3))
    run(hostile, "jobs", "close-stale")
    runner.run(hostile, Once(), interval_seconds=1)
    run(hostile, "rejected", "list")
    run(hostile, "rejected", "show", "1")
    run(hostile, "rejected", "retry", "--all", codes=(0, 1, 3))
    run(hostile, "rejected", "drop", "1", "--yes", codes=(0, 1))

    run(hostile, "routers", "list")
    run(hostile, "routers", "add", "--name", "lobby", "--mac", "02:00:00:00:00:08", "--timezone", "UTC")
    run(hostile, "routers", "claim", "east", "--name", "East")
    run(hostile, "routers", "show", "East")
    run(hostile, "routers", "rename", "East", "Orient")
    run(hostile, "routers", "set", "Orient", "--timezone", "UTC")
    run(hostile, "routers", "merge", "west", "Orient", "--yes")
    inventory = tmp_path / "routers.csv"
    inventory.write_text("name,mac\nhotel,02:00:00:00:00:07\nnew,02:00:00:00:00:09\n")
    run(hostile, "routers", "import", inventory)
    run(hostile, "routers", "retire", "new", "--yes")

    run(hostile, "partitions", "list")
    run(hostile, "partitions", "ensure", "--months", "5")
    with psycopg.connect(hostile, autocommit=True) as opened:
        opened.execute("SET search_path = pg_catalog")
        opened.execute("SELECT radmeter.ensure_partition(now() - interval '3 months')")
    run(hostile, "partitions", "archive", "--before", f"{datetime.now(UTC):%Y-%m}", "--to", tmp_path, "--yes")
    file = min(tmp_path.glob("*.parquet"))
    run(hostile, "partitions", "restore", file, "--yes")
    run(hostile, "doctor", "--verbose", codes=(0, 3))
    run(hostile, "migrate", "up", "--yes", "--reapply")
    assert log.ran() == set()


def test_an_adoption_runs_no_shadow(server: Server, hostile: str) -> None:
    with psycopg.connect(hostile, autocommit=True) as opened:
        opened.execute("SET search_path = pg_catalog")
        opened.execute("CREATE SCHEMA stock; SET search_path = stock, pg_catalog")
        opened.execute(stock.RADACCT)
        stock.fill(opened, 300, open_sessions=20, zombies=5)
        opened.execute("ALTER TABLE stock.radacct SET SCHEMA public")
        opened.execute("ALTER TABLE public.radacct ADD ticket text DEFAULT 'none'")
    log = shadows.Log(server)
    run(hostile, "doctor", codes=(0, 3))
    run(hostile, "adopt", "--from", "radacct", "--plan")
    run(hostile, "adopt", "--from", "radacct", "--yes")
    run(hostile, "adopt", "--status")
    run(hostile, "backfill", "--yes")
    run(hostile, "backfill", "--status")
    run(hostile, "verify")
    run(hostile, "doctor", codes=(0, 3))
    run(hostile, "adopt", "--undo", "--yes")
    assert log.ran() == set()
    _no_public(hostile)


def _no_public(dsn: str) -> None:
    """The connection that all commands open has the path at once, and keeps it after a rollback."""
    opened: Connection = connections.connect(dsn, autocommit=False)
    with opened:
        opened.execute("SELECT 1")
        opened.rollback()
        assert opened.execute("SHOW search_path").fetchone() == ("pg_catalog",)
