"""The real programs under test: FreeRADIUS with the plugin, and the shipper. Each is ended by its own pid."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg

from radmeter.config import Settings
from radmeter.freeradius import private_server
from radmeter.freeradius.private_server import Logins

T = TypeVar("T")
READY = "Ready to process requests"
READY_SECONDS = 180.0
# Without the variables that the person who runs the tests has set for their own radmeter.
OTHERS_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "RAD"))}


def free_port(host: str = "127.0.0.1") -> int:
    """Return a free UDP port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def eventually(read: Callable[[], T | None], expected: T, seconds: float = 120.0) -> None:
    """Wait until `read` returns the expected value; fail with the last value after `seconds`."""
    deadline = time.monotonic() + seconds
    while (value := read()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert value == expected


def until(what: str, met: Callable[[], object], seconds: float = READY_SECONDS) -> None:
    """Wait until a condition is met; fail with its name after `seconds`."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


class Child:
    """A program under test. Its output goes to a file."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        # pytest shows this if the test fails.
        print(f"{self.log}:", *self.lines()[-20:], sep="\n  ")

    def spawn(self, command: list[str], environment: dict[str, str]) -> None:
        assert self.process is None
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=OTHERS_ENVIRONMENT | environment,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """End the program as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self, seconds: float = 60.0) -> int:
        """End the program as an operator would, and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(seconds)
        self.process = None
        return status

    def lines(self, containing: str = "") -> list[str]:
        """Return the lines of the log that contain a text."""
        if not self.log.exists():
            return []
        return [line for line in self.log.read_text(errors="replace").splitlines() if containing in line]


class FreeRadius(Child):
    """The private server from `radius/`, on a free port of the loopback."""

    def __init__(
        self,
        run_directory: Path,
        journal: Path,
        *,
        host: str = "127.0.0.1",
        python_path: Path | None = None,
        login_dsn: str | None = None,
        options: Sequence[str] = (),
        **settings: object,
    ) -> None:
        """`python_path`: where the plugin is, if it is another release's. `login_dsn`: it takes logins, too.

        `options`: further ones of radiusd's command line.
        """
        super().__init__(run_directory / "radius.log")
        self.run_directory = run_directory
        self.journal = journal
        self._plugin = {} if python_path is None else {"RADMETER_PYTHON_PATH": str(python_path)}
        self._settings: dict[str, Any] = {"acct_host": host, "journal": journal, **settings}
        self.address = (host, free_port(host))
        self.logins: Logins | None = None
        self._login_dsn = login_dsn
        self._options = options
        self.variables: dict[str, str] = {}  # further ones, from the next start on

    def start(self) -> Self:
        """Start on the same port as before. The first time it may be another port, if the port was taken meanwhile."""
        for _ in range(5):
            settings = Settings.load({}, **self._settings, acct_port=self.address[1])
            if self._login_dsn is not None:
                self.logins = Logins(
                    dsn=self._login_dsn, password="", auth_port=free_port(), cache_port=free_port()
                )
            server = private_server.prepare(self.run_directory, settings, self.logins)
            ready = len(self.lines(READY))
            self.spawn([*server.command, *self._options], server.environment | self._plugin | self.variables)
            if self._wait(ready):
                return self
            self.process = None
            if not any("Address already in use" in line for line in self.lines()[-10:]):
                break
            self.address = (self.address[0], free_port(self.address[0]))
        raise AssertionError("FreeRADIUS does not start:\n" + "\n".join(self.lines()))

    def _wait(self, ready: int) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < deadline:
            if len(self.lines(READY)) > ready:
                return True
            time.sleep(0.02)
        self.process.kill()
        self.process.wait()
        return False


class Shipper(Child):
    """`radmeter ship` for one journal and one database."""

    def __init__(self, log: Path, journal: Path, dsn: str, **environment: str) -> None:
        super().__init__(log)
        self._environment = {"RADMETER_JOURNAL": str(journal), "RADMETER_DSN": dsn, **environment}

    def start(self, *arguments: str) -> Self:
        self.spawn([sys.executable, "-m", "radmeter", "ship", *arguments], self._environment)
        return self


class Jobs(Child):
    """`radmeter jobs run` for one database."""

    def __init__(self, log: Path, dsn: str, **environment: str) -> None:
        super().__init__(log)
        self._environment = {"RADMETER_DSN": dsn, **environment}

    def start(self) -> Self:
        self.spawn([sys.executable, "-m", "radmeter", "jobs", "run"], self._environment)
        return self

    @property
    def program(self) -> str:
        """The name of the process in `radmeter.lease`."""
        return f"{socket.gethostname()}, process {self.pid}"


def eager_jobs(log: Path, dsn: str, **environment: str) -> Jobs:
    """Start `radmeter jobs run` with a second between its runs."""
    return Jobs(log, dsn, RADMETER_JOBS_SECONDS="1", **environment).start()


class Database:
    """The database of a test. Each query has its own connection, so that a restart of the server does no harm."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    @property
    def conninfo(self) -> str:
        """The connection string in libpq's keyword form, to which rlm_sql can append."""
        return psycopg.conninfo.make_conninfo(**psycopg.conninfo.conninfo_to_dict(self.dsn))  # type: ignore[arg-type]

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(sql.encode(), parameters).fetchall()

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.encode())

    def records(self) -> int:
        """Return how many packets the database has taken."""
        ((found,),) = self.rows("SELECT coalesce(sum(records), 0)::bigint FROM radmeter.nodes")
        assert isinstance(found, int)
        return found

    def user(self, username: str) -> list[tuple[Any, ...]]:
        """Return (bytes in, bytes out) of a user over all periods; an empty list if nothing is counted."""
        return self.rows(
            "SELECT sum(bytes_in)::bigint, sum(bytes_out)::bigint FROM user_quota_usage "
            "WHERE username = %s HAVING count(*) > 0",
            username,
        )

    def router(self, mac: str) -> list[tuple[Any, ...]]:
        """Return (day, bytes in, bytes out) of a router for each day."""
        return self.rows(
            "SELECT usage_date, bytes_in, bytes_out FROM router_daily_usage "
            "JOIN routers ON routers.id = router_id WHERE mac = %s::macaddr ORDER BY usage_date",
            mac,
        )


@dataclass
class Line:
    """All programs between a router's packet and a counter."""

    server: FreeRadius
    shipper: Shipper
    database: Database
