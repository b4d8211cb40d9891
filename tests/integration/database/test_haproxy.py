"""Behind HAProxy: the primary freezes, a standby is promoted, and the shipper is still connected to the frozen one."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.frozen import family, stopped
from support.processes import Shipper, eventually
from support.servers import Server
from support.standby import PROGRAMS, Standby
from support.tcp import free_tcp_port

from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(240, func_only=True)

PROGRAM = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "haproxy"
# The second server gets new connections when the first one does not answer. Old connections stay where they are.
CONFIGURATION = """
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
listen postgresql
  bind 127.0.0.1:{port}
  option pgsql-check user postgres
  server first unix@{first}/.s.PGSQL.5432 check inter 500ms fall 2
  server second unix@{second}/.s.PGSQL.5432 check inter 500ms fall 2 backup
"""


@contextmanager
def haproxy(directory: Path, first: Server, second: Server) -> Iterator[int]:
    """Run HAProxy before two servers; yield its port."""
    port = free_tcp_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(port=port, first=first.base, second=second.base))
    with subprocess.Popen([PROGRAM, "-db", "-f", configuration], stdin=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.kill()


class Journal:
    """A journal with Stops of twenty users, each with 7 octets."""

    def __init__(self, directory: Path) -> None:
        self._writer = JournalWriter(directory, sync="interval")
        self.packets = 0

    def add(self, packets: int) -> None:
        for _ in range(packets):
            self.packets += 1
            attributes = {
                "User-Name": f"user{self.packets % 20}",
                "Acct-Status-Type": "Stop",
                "Acct-Session-Id": f"session{self.packets}",
                "NAS-IP-Address": "192.0.2.1",
                "Acct-Input-Octets": "7",
            }
            self._writer.append(time.time_ns() // 1000, json.dumps(list(attributes.items())))

    def close(self) -> None:
        self._writer.close()


def counted(dsn: str) -> tuple[Any, ...] | None:
    """Records and bytes."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            """SELECT (SELECT coalesce(sum(records), 0)::bigint FROM radmeter.nodes),
                      coalesce(sum(bytes_in), 0)::bigint FROM public.user_quota_usage"""
        ).fetchone()


def test_the_shipper_leaves_a_frozen_primary_for_the_promoted_standby(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(300)
    with Server(PROGRAMS) as primary:
        primary.make_template()
        with Standby(primary) as standby, primary.clone() as dsn:
            standby.catch_up()
            promoted = standby.dsn(str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]))
            with haproxy(tmp_path, primary, standby) as port:
                through = psycopg.conninfo.make_conninfo(
                    dsn, host="127.0.0.1", port=port, target_session_attrs="read-write"
                )
                log = tmp_path / "ship.log"
                with Shipper(log, tmp_path / "journal", through, RADMETER_ANSWER_SECONDS="3").start() as ship:
                    eventually(lambda: counted(dsn), (300, 2100))
                    standby.catch_up()
                    with stopped(*family(primary.pid)):
                        with psycopg.connect(standby.dsn(), autocommit=True) as promoting:
                            promoting.execute("SELECT pg_promote()")
                        journal.add(300)
                        eventually(lambda: counted(promoted), (600, 4200))
                    assert ship.lines("no answer from the server")
                    assert not ship.lines("half as many")
    journal.close()
