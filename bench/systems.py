"""The systems under test: each is a FreeRADIUS on its own port, with its database and, for radmeter, a shipper."""

import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from bench.database import Databases
from bench.load import Generator, Load
from bench.processes import Child, Use, free_port, use
from bench.redirect import redirected
from bench.traffic import Population, Traffic
from radmeter.config import Settings
from radmeter.database.connection import Connection
from radmeter.freeradius import private_server
from radmeter.freeradius.private_server import Logins

SECRET = "testing123"
READY = "Ready to process requests"
HERE = Path(__file__).parent
ARRIVES_SECONDS = 600.0

# Called in the same way as radmeter's plugin, but does nothing. It shows the highest rate that rlm_python3 allows.
EMPTY_PLUGIN = """
import os
import radiusd

def instantiate(p):
    return 0

def accounting(p):
    return radiusd.RLM_MODULE_OK

def detach(*_):
    os._exit(0)
"""


@dataclass(frozen=True)
class System:
    """One way to do accounting."""

    name: str
    kind: str
    """The kind of database: stock, triggers or radmeter; ``empty`` has none."""
    sync: str = "packet"
    threads: bool = True
    """Whether radiusd has a pool of threads; else it runs with ``-t``."""
    processes: int = 1
    """How many radiusd there are behind one port, each with a journal and a shipper of its own."""

    @property
    def ships(self) -> bool:
        """Whether packets are acknowledged before they are in the database."""
        return self.kind == "radmeter"


STOCK = System("rlm_sql", "stock")
TRIGGERS = System("rlm_sql + row triggers", "triggers")
PACKET = System("radmeter sync=packet", "radmeter", "packet")
INTERVAL = System("radmeter sync=interval", "radmeter", "interval")
ALONE = System("radmeter sync=packet, radiusd -t", "radmeter", threads=False)
TWO = System("radmeter sync=packet, two radiusd -t", "radmeter", threads=False, processes=2)
EMPTY = System("empty handler", "empty")
ALL = (STOCK, TRIGGERS, PACKET, INTERVAL, EMPTY)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs share."""

    directory: Path
    databases: Databases
    generator: Generator
    raddb: Path


class Run:
    """A running system under test, with its own population.

    `loopback_clients`: every address of the loopback network is a separate client, not only 127.0.0.1. `login_port`: it
    takes logins, too.
    """

    def __init__(
        self,
        bench: Bench,
        system: System,
        population: Population,
        *,
        loopback_clients: bool = False,
        login_port: int | None = None,
        **settings: Any,
    ) -> None:
        self.bench = bench
        self.system = system
        self.traffic = Traffic(population, secret=SECRET.encode(), base=bench.databases.base)
        self.port = free_port()
        self.database: str | None = None
        self.radiusd: Child | None = None  # the first one
        self.shipper: Child | None = None
        self._radiusds: list[Child] = []
        self._shippers: list[Child] = []
        self._loopback_clients = loopback_clients
        self._login_port = login_port
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        enter = self._stack.enter_context
        self.directory = Path(enter(TemporaryDirectory(prefix="run-", dir=self.bench.directory)))
        several = self.system.processes > 1
        places = (
            [self.directory / str(n) for n in range(self.system.processes)] if several else [self.directory]
        )
        self._journals = [place / "journal" for place in places]
        self.journal = self._journals[0]
        if self.system.kind != "empty":
            databases, population = self.bench.databases, self.traffic.population
            self.database = enter(databases.clone(self.system.kind, population))
            self.dsn = databases.server.dsn(self.database)
            self.connection = enter(databases.connect(self.database))
        ports = [free_port() for _ in places] if several else [self.port]
        for place, port in zip(places, ports, strict=True):
            rlm_sql = self.system.kind in ("stock", "triggers")
            command, environment = self._rlm_sql() if rlm_sql else self._radmeter(place, port)
            # rlm_python3 before 3.2.4 uses PYTHONPATH, which could load the real plugin.
            log = place / "radiusd.log"
            child = Child(command, environment={**environment, "PYTHONPATH": ""}, log=log)
            self._stack.callback(child.stop)
            self._radiusds.append(child)
        for child in self._radiusds:
            child.await_line(READY)
        self.radiusd = self._radiusds[0]
        if several:
            enter(redirected(self.port, ports))

    def _rlm_sql(self) -> tuple[list[str], dict[str, str]]:
        program = private_server.prepare(
            self.directory, self._radmeter_settings(self.journal, self.port)
        ).command[0]
        configuration = self.directory / "raddb"
        configuration.mkdir()
        (configuration / "radiusd.conf").write_text((HERE / "rlm_sql.conf").read_text())
        socket = self.bench.databases.socket_directory
        return [program, "-f", "-l", "stdout", "-d", str(configuration)], {
            "BENCH_RUN": str(self.directory),
            "BENCH_RADDB": str(self.bench.raddb),
            "BENCH_CONNINFO": f"host={socket} port=5432 user=postgres dbname={self.database}",
            "RADIUS_ACCT_HOST": "127.0.0.1",
            "RADIUS_ACCT_PORT": str(self.port),
            "RADIUS_SECRET": SECRET,
        }

    def _radmeter(self, place: Path, port: int) -> tuple[list[str], dict[str, str]]:
        taken = None
        if self._login_port is not None:
            socket = self.bench.databases.socket_directory
            dsn = f"host={socket} port=5432 user=postgres dbname={self.database}"
            taken = Logins(dsn=dsn, password="", auth_port=self._login_port, cache_port=free_port())
        server = private_server.prepare(place, self._radmeter_settings(place / "journal", port), taken)
        environment = server.environment
        if self.system.kind == "empty":
            package = self.directory / "python" / "radmeter"
            package.mkdir(parents=True)
            (package / "__init__.py").touch()
            (package / "plugin.py").write_text(EMPTY_PLUGIN)
            environment = {**environment, "RADMETER_PYTHON_PATH": str(package.parent)}
        command = list(server.command)
        if self._loopback_clients:
            raddb = self.directory / "raddb"
            shutil.copytree(command[-1], raddb)
            clients = raddb / "clients.conf"
            clients.write_text(clients.read_text().replace("ipaddr = 127.0.0.1\n", "ipaddr = 127.0.0.0/8\n"))
            command[-1] = str(raddb)
        return [*command, *([] if self.system.threads else ["-t"])], environment

    def _radmeter_settings(self, journal: Path, port: int) -> Settings:
        return Settings.load(
            {},
            state=self.directory,
            journal=journal,
            sync=self.system.sync,
            acct_host="127.0.0.1",
            acct_port=port,
            secret=SECRET,
            **self._settings,
        )

    def start_shipper(self) -> None:
        """Start `radmeter ship`. Until then acknowledged packets stay in the journal."""
        for journal in self._journals:
            child = Child(
                [sys.executable, "-m", "radmeter", "ship"],
                environment={"RADMETER_DSN": self.dsn, "RADMETER_JOURNAL": str(journal)},
                log=journal.parent / "shipper.log",
            )
            self._stack.callback(child.stop)
            self._shippers.append(child)
        self.shipper = self._shippers[0]

    def load(self, count: int, **options: Any) -> Load:
        """Begin to send up to `count` packets. Afterwards call `sent` with the number that the outcome says."""
        # Two packets of one session are this far apart, and the second must not overtake the first.
        return self.bench.generator.start(
            self.traffic.build(count), self.port, guard=self.traffic.population.places, **options
        )

    def sent(self, count: int) -> None:
        """Note how many packets were sent, so that the next load continues after them."""
        self.traffic.visits += count

    def arrived(self, connection: Connection | None = None) -> int:
        """Return how many packets of a system that ships are counted in PostgreSQL. A thread has its own connection."""
        query = "SELECT coalesce(sum(records), 0)::bigint FROM radmeter.nodes"
        row = (connection or self.connection).execute(query).fetchone()
        assert row is not None
        return int(row[0])

    def await_arrival(self, besides: int = 0) -> float:
        """Wait until all sent packets, and `besides` more, are counted; return the seconds that this took."""
        started, expected = time.monotonic(), self.traffic.visits + besides
        while self.system.ships and (arrived := self.arrived()) < expected:
            if time.monotonic() - started > ARRIVES_SECONDS:
                raise RuntimeError(f"{expected - arrived} packets are not counted:\n{self.logs()}")
            time.sleep(0.01)
        return time.monotonic() - started

    def check_totals(self) -> None:
        """Raise RuntimeError if a counter differs from what was sent."""
        if self.database is None:
            return
        self.await_arrival()
        found = self.bench.databases.differences(self.database, self.system.kind, self.traffic)
        if found:
            raise RuntimeError(
                f"{self.system.name} has wrong totals:\n" + "\n".join(found) + "\n" + self.logs()
            )

    def uses(self) -> dict[str, Use]:
        """Return what each program has used so far."""
        found = {"radiusd": _together(self._radiusds)}
        if self._shippers:
            found["shipper"] = _together(self._shippers)
        if self.database is not None:
            found["PostgreSQL"] = use(self.bench.databases.pid)
        return found

    def logs(self) -> str:
        """Return the last lines of the programs' logs."""
        return "\n".join(
            f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-10:])
            for path in sorted([*self.directory.glob("*.log"), *self.directory.glob("[0-9]/*.log")])
        )


def _together(children: list[Child]) -> Use:
    return sum((use(child.pid) for child in children), Use(0.0, 0))
