"""Several FreeRADIUS behind one port, by the rules of deploy/several: exact, and each router keeps one of them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.commands import radmeter
from support.processes import Database, FreeRadius, Shipper, eventually, free_port
from support.wire import Router

RULES = Path(__file__).parents[2] / "deploy" / "several" / "radmeter-accounting.nft"
ROUTERS = 24  # that a hash sends all of them to one of two: once in 2 ** 23
UPDATES = 5


def nft(*options: str, rules: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["nft", *options], input=rules, text=True, capture_output=True, check=False)


@pytest.fixture
def tables() -> Iterator[list[str]]:
    """The tables of the test, which are deleted after it."""
    if shutil.which("nft") is None or nft("list", "tables").returncode:
        pytest.skip("nftables is not installed (scripts/setup ha), or needs root")
    made: list[str] = []
    yield made
    for table in made:
        assert nft("delete", "table", "inet", table).returncode == 0


@pytest.mark.usefixtures("two_clients")
def test_each_routers_packets_come_to_one_of_them_and_all_are_counted(
    tmp_path: Path, database: Database, tables: list[str]
) -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                FreeRadius(tmp_path / f"run{number}", tmp_path / f"journal{number}", options=("-t",))
            ).start()
            for number in range(2)
        ]
        port = free_port()
        ports = [server.address[1] for server in servers]
        table = f"radmeter_test_{port}"
        text = RULES.read_text().replace("radmeter_accounting", table)
        for before, now in zip((1813, 18131, 18132), (port, *ports), strict=True):
            text, found = re.subn(rf"(?<=[ ]){before}\b(?=[ ,])", str(now), text)
            assert found >= 2
        done = nft("-f", "-", rules=text)
        assert done.returncode == 0, done.stderr
        tables.append(table)

        for update in range(UPDATES):
            if update == UPDATES // 2:  # as after a reboot
                assert nft("-f", "-", rules=text).returncode == 0
            for number in range(ROUTERS):
                # With a port that the kernel does not remember.
                with Router(("127.0.0.1", port), source=f"127.0.2.{number + 1}") as router:
                    assert router.send(packet(number, update))

        # Nothing is shipped yet: what each of the two has kept, and of whom.
        seen = [
            re.findall(
                rb"router (\d+) of the test",
                b"".join(segment.read_bytes() for segment in server.journal.glob("segment-*.log")),
            )
            for server in servers
        ]
        assert sum(map(len, seen)) == ROUTERS * UPDATES
        assert not set(seen[0]) & set(seen[1])
        assert seen[0]
        assert seen[1]

        for server in servers:
            stack.enter_context(
                Shipper(tmp_path / f"ship-{server.address[1]}.log", server.journal, database.dsn)
            ).start()
        eventually(database.records, ROUTERS * UPDATES)
        for number in range(ROUTERS):
            assert database.user(f"user {number}") == [(1000 * (UPDATES - 1) + number, 10 * number)]

        # They share a configuration. Each is judged by its own environment.
        for server in servers:
            said = radmeter(
                database.dsn, "doctor", "--only", "freeradius", RADMETER_JOURNAL=str(server.journal)
            ).output
            assert f"(of process {server.pid}): radmeter takes every Accounting-Request" in said, said


def packet(number: int, update: int) -> dict[str, str | int]:
    """A report of a session whose octets are nobody else's."""
    return {
        "Acct-Status-Type": "Interim-Update" if update else "Start",
        "User-Name": f"user {number}",
        "Acct-Session-Id": f"session {number}",
        "NAS-Identifier": f"router {number} of the test",
        "Acct-Session-Time": 60 * update,
        "Acct-Input-Octets": 1000 * update + number if update else 0,
        "Acct-Output-Octets": 10 * number if update else 0,
    }
