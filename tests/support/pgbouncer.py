"""PgBouncer before a test's server, on a free port of the loopback."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from radmeter.embedded.programs import server_user
from radmeter.supervisor import end_with_parent

from .servers import START_SECONDS, Server
from .tcp import free_tcp_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "pgbouncer"


class PgBouncer(NamedTuple):
    """A running PgBouncer."""

    port: int
    pid: int
    log: Path

    def dsn(self, dsn: str) -> str:
        """Return a connection string that goes through it."""
        return psycopg.conninfo.make_conninfo(dsn, host="127.0.0.1", port=self.port)


@contextmanager
def pgbouncer(server: Server, pool_mode: str, **settings: object) -> Iterator[PgBouncer]:
    """Run PgBouncer for the block. It has all databases of the server."""
    port = free_tcp_port()
    base = Path(tempfile.mkdtemp(prefix="radmeter-test-", dir=server.base.parent))
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        user = server_user()
        assert user is not None
        os.chown(base, user.pw_uid, user.pw_gid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    options = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": pool_mode,
        "logfile": base / "pgbouncer.log",
        **settings,
    }
    lines = [f"{name} = {value}" for name, value in options.items()]
    (base / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.base} port=5432 user=postgres\n[pgbouncer]\n"
        + "\n".join(lines)
        + "\n"
    )
    (base / "pgbouncer.ini").chmod(0o644)
    process = subprocess.Popen(
        [PROGRAM, "-q", str(base / "pgbouncer.ini")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: end_with_parent(signal.SIGTERM),
        **identity,
    )
    running = PgBouncer(port, process.pid, base / "pgbouncer.log")
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(running.dsn(server.dsn()), connect_timeout=5).close()
                break
            except psycopg.OperationalError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = running.log.read_text() if running.log.exists() else ""
                    raise RuntimeError(f"PgBouncer does not start: {error}\n{said}") from error
                time.sleep(0.02)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait(30)
        shutil.rmtree(base, ignore_errors=True)
