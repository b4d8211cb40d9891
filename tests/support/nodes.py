"""Two FreeRADIUS hosts before one cluster: each with its journal and its shipper, and the jobs beside them."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import psycopg
import pytest

from support.cluster import Cluster
from support.faults import Fault
from support.outage import Outage
from support.processes import OTHERS_ENVIRONMENT, Database, FreeRadius, Jobs, Shipper, until
from support.routers_with_ledger import Load, added, counted, differences

COUNTED_SECONDS = 150.0
ROUTERS = 8
# A server that sends nothing for so long is given up. 90 by default.
ANSWER_SECONDS = "30"


class Survived(NamedTuple):
    """What a fault did: seconds without writes and records that were gone, the greatest of all nodes."""

    seconds: float
    back: int


def command(dsn: str, *arguments: str | Path, **environment: str) -> str:
    """Run a radmeter command as a process of its own; fail unless it succeeds."""
    done = subprocess.run(
        [sys.executable, "-m", "radmeter", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        env={**OTHERS_ENVIRONMENT, "RADMETER_DSN": dsn, **environment},
    )
    assert done.returncode == 0, f"radmeter {' '.join(map(str, arguments))}\n{done.stdout}"
    return done.stdout


def wait_until_exact(loads: Sequence[Load], database: Database, shippers: Sequence[Shipper]) -> None:
    """Wait until the database has counted exactly the ledgers of all loads, and its own check finds nothing wrong."""
    expected = added(load.ledger() for load in loads)
    found: list[str] = ["nothing read yet"]

    def same() -> bool:
        with suppress(psycopg.OperationalError):
            found[:] = differences(expected, counted(database))
        return not found

    try:
        until("exact", same, COUNTED_SECONDS)
    except AssertionError as error:
        said = [line for shipper in shippers for line in shipper.lines()[-12:]]
        raise AssertionError("\n".join([f"{error}: {'; '.join(found)}", *said])) from None
    command(database.dsn, "verify")
    assert differences(expected, counted(database)) == [], "it was exact, and then no longer"


class Nodes:
    """Two nodes. The first reaches the leader through HAProxy, the second by a connection string with all hosts.

    The jobs reach it through PgBouncer. The ledger grows with each fault, and the database has to have all of it.
    """

    def __init__(self, cluster: Cluster, directory: Path, **settings: Any) -> None:
        self.cluster = cluster
        self.database = Database(cluster.through_haproxy())
        self._directory = directory
        self._settings = settings
        self._stack = ExitStack()
        self._loads: list[Load] = []

    def __enter__(self) -> Self:
        self.cluster.create_database()
        directory = self._directory / "passwords"
        leader = f"127.0.0.1:{self.cluster.leader_port}"
        self.cluster.documented("schema", {"127.0.0.1:5000": leader, "/etc/radmeter/secrets": str(directory)})
        passwords = {path.name: path.read_text().strip() for path in directory.iterdir()}
        answers = {"RADMETER_ANSWER_SECONDS": ANSWER_SECONDS}
        shippers = ("radmeter_shipper", passwords["radmeter_shipper"])
        try:
            self.servers = []
            self.shippers = []
            for name, way in (
                ("first", self.cluster.through_haproxy),
                ("second", self.cluster.with_all_hosts),
            ):
                place = self._directory / name
                server = self._stack.enter_context(
                    FreeRadius(place / "run", place / "journal", **self._settings)
                )
                self.servers.append(server.start())
                shipper = self._stack.enter_context(
                    Shipper(
                        place / "ship.log",
                        server.journal,
                        way(*shippers),
                        RADMETER_ANSWER_SECONDS=ANSWER_SECONDS,
                    )
                )
                self.shippers.append(shipper.start())
            bouncer = self.cluster.start_bouncer("radmeter_jobs", passwords["radmeter_jobs"])
            jobs = Jobs(self._directory / "jobs.log", bouncer, RADMETER_JOBS_SECONDS="5", **answers)
            self.jobs = self._stack.enter_context(jobs).start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def load(self, **options: float) -> Load:
        """Return routers that no load before had. Half of them begin with each node."""
        addresses = [server.address for server in self.servers]
        load = Load(addresses, first=len(self._loads) * ROUTERS, routers=ROUTERS, **options)
        self._loads.append(load)
        return load

    def exact(self) -> None:
        """Wait until everything that was answered is counted exactly once; fail with what is wrong."""
        wait_until_exact(self._loads, self.database, self.shippers)

    def incidents(self) -> set[str]:
        """Return the kinds of what the shippers found: `rewound` says that all came back, the others do not."""
        return {str(kind) for (kind,) in self.database.rows("SELECT kind FROM radmeter.journal_incidents")}

    def survive(self, fault: Fault, packets: int = 300) -> Survived:
        """Let a fault happen under load; wait until both nodes write again; check that all is exact."""
        with Outage(self.cluster.through_haproxy()) as outage:

            def written() -> None:
                since = datetime.now(UTC)
                until("both nodes write", lambda: outage.written_since(since))

            with self.load() as load:
                until("traffic before the fault", load.more(packets))
                written()
                outage.begin()
                fault(self.cluster, written)
                until("traffic after the fault", load.more(packets))
                written()
            self.exact()
        programs = (*self.servers, *self.shippers, self.jobs)
        assert [
            str(each.log) for each in programs if each.process is None or each.process.poll() is not None
        ] == []
        assert self.incidents() <= {"rewound"}
        return Survived(max(outage.seconds.values()), max(outage.back.values()))


def survive_and_say(nodes: Nodes, fault: Fault, capsys: pytest.CaptureFixture[str]) -> Survived:
    """Let a fault happen to a healthy cluster, check that all is exact, and print what docs/high-availability shows."""
    nodes.cluster.settle()
    survived = nodes.survive(fault)
    mode = "synchronous" if nodes.cluster.synchronous else "asynchronous"
    with capsys.disabled():
        gone = f", the database went back by {survived.back} records" if survived.back else ""
        print(f"\n{fault.__name__}, {mode}: no writes for {survived.seconds:.1f} s{gone}; exact")
    return survived
