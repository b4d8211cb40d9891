"""Behind HAProxy: the primary freezes, a standby is promoted, and the shipper is still connected to the frozen one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.frozen import family, stopped
from support.processes import Shipper, eventually
from support.servers import Server
from support.shipping import append, totals
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


def test_the_shipper_leaves_a_frozen_primary_for_the_promoted_standby(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "journal", sync="interval")
    append(journal, range(300))
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
                    eventually(lambda: totals(dsn), (300, 300, 300, 2100))
                    standby.catch_up()
                    with stopped(*family(primary.pid)):
                        with psycopg.connect(standby.dsn(), autocommit=True) as promoting:
                            promoting.execute("SELECT pg_promote()")
                        append(journal, range(300, 600))
                        eventually(lambda: totals(promoted), (600, 600, 600, 4200))
                    assert ship.lines("no answer from the server")
                    assert not ship.lines("half as many")
    journal.close()
