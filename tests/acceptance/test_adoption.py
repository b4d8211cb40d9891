"""A FreeRADIUS database in production becomes radmeter's while routers send: rlm_sql before, the plugin after."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support import stock
from support.processes import OTHERS_ENVIRONMENT, Database, Shipper, eventually
from support.servers import Server
from support.stock_server import STOCK, StockServer
from support.wire import Router

SCHEMA = STOCK / "mods-config" / "sql" / "main" / "postgresql" / "schema.sql"
HISTORY = 20_000


class Sites(threading.Thread):
    """Routers with users, one packet after the other, each sent until it is answered.

    About 100 a second: `radmeter backfill` lets packets go first, and so would not end while ingest is behind.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._leave = threading.Event()
        self._chance = random.Random(11)
        self._number = 0
        self.sent: Counter[str] = Counter()
        self.packets = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with Router(self._address) as router:
                self._play(router)
        except BaseException as error:
            self.failure = error

    def leave(self) -> None:
        """Let everybody stop; wait for it."""
        self._leave.set()
        self.join(120)
        assert not self.is_alive()
        assert self.failure is None

    def _play(self, router: Router) -> None:
        sessions: list[dict[str, int]] = []
        while sessions or not self._leave.is_set():
            if not self._leave.is_set() and len(sessions) < 20:
                self._number += 1
                sessions.append({"number": self._number, "began": int(time.time()) - 100, "in": 0, "out": 0})
                self._tell(router, sessions[-1], "Start")
            session = self._chance.choice(sessions)
            if self._leave.is_set() or self._chance.random() < 0.1:
                sessions.remove(session)
                self._tell(router, session, "Stop")
            else:
                self._tell(router, session, "Interim-Update")

    def _tell(self, router: Router, session: dict[str, int], status: str) -> None:
        now = int(time.time())
        user = f"live{session['number'] % 7}"
        if status != "Start":
            used = self._chance.randrange(1, 1_000_000), self._chance.randrange(1, 100_000_000)
            session["in"] += used[0]
            session["out"] += used[1]
        site = session["number"] % 3
        packet = router.packet(
            {
                "Acct-Status-Type": status,
                "User-Name": user,
                "NAS-IP-Address": bytes([10, 9, 0, site]),
                "Called-Station-Id": f"02-00-00-00-09-{site:02X}:hotspot",
                "Acct-Session-Id": f"live-{session['number']}",
                "Acct-Session-Time": now - session["began"],
                "Event-Timestamp": session["began"] if status == "Start" else now,
                "Acct-Input-Octets": session["in"] & 0xFFFFFFFF,
                "Acct-Output-Octets": session["out"] & 0xFFFFFFFF,
                "Acct-Input-Gigawords": session["in"] >> 32,
                "Acct-Output-Gigawords": session["out"] >> 32,
            }
        )
        router.insist(packet, seconds=60)
        self.packets += 1
        self._leave.wait(0.01)
        if status != "Start":
            self.sent[user] += used[0] + used[1]


@pytest.fixture
def production(postgresql: Server) -> Iterator[Database]:
    """FreeRADIUS's own schema with some years of sessions."""
    if not os.access(SCHEMA, os.R_OK) or not any(Path("/usr/lib").glob("*/rlm_sql_postgresql.so")):
        pytest.skip("freeradius-postgresql is not installed, or its configuration not ours to read")
    with postgresql.clone("template0") as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SCHEMA.read_bytes())
        stock.fill(connection, closed=HISTORY, open_sessions=200)
        yield Database(dsn)


def radmeter(dsn: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "radmeter", *arguments],
        env=OTHERS_ENVIRONMENT | {"RADMETER_DSN": dsn, "RADMETER_JOURNAL": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_rlm_sql_to_exact_counters_under_traffic(production: Database, tmp_path: Path) -> None:
    with StockServer(tmp_path, tmp_path / "journal") as server:
        server.install()
        server.write_with_rlm_sql(production.conninfo)
        server.start()
        sites = Sites(server.address)
        sites.start()
        eventually(
            lambda: production.rows("SELECT count(*) > 20 FROM radacct WHERE username LIKE 'live%%'"),
            [(True,)],
        )

        radmeter(production.dsn, "adopt", "--from", "radacct", "--yes")
        eventually(lambda: sites.packets > 300, True, 60)
        server.stop()
        server.leave_rlm_sql()
        server.start()

        with Shipper(tmp_path / "ship.log", server.journal, production.dsn) as shipper:
            shipper.start()
            radmeter(production.dsn, "backfill", "--yes", "--jobs", "2")
            before = sites.packets
            eventually(lambda: sites.packets > before + 100, True, 60)
            sites.leave()
            eventually(
                lambda: dict(
                    production.rows(
                        """SELECT username, sum(bytes_in + bytes_out)::bigint FROM user_quota_usage
                           WHERE username LIKE 'live%%' GROUP BY 1"""
                    )
                ),
                dict(sites.sent),
                60,
            )
            radmeter(production.dsn, "verify")
            # What history had is in the counters, too, once.
            assert production.rows(
                "SELECT sum(bytes_in + bytes_out) FROM user_quota_usage"
            ) == production.rows(
                """SELECT sum(coalesce(acctinputoctets, 0) + coalesce(acctoutputoctets, 0)) FROM radacct
                   WHERE username <> ''"""
            )
            assert production.rows("SELECT count(*) >= %s FROM radacct", HISTORY) == [(True,)]
