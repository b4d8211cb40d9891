"""One configuration file for radiusd, the shipper and the doctor: one journal, or a message that they differ."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import radmeter
from support.doctoring import faults, paste
from support.processes import Database, Shipper, eventually
from support.stock_server import STOCK, StockServer
from support.wire import Router, Value

STOP: dict[str, Value] = {
    "Acct-Status-Type": "Stop",
    "Acct-Session-Id": "s",
    "User-Name": "alice",
    "Acct-Input-Octets": 5,
}


@pytest.fixture
def file(tmp_path: Path, database: Database) -> Path:
    path = tmp_path / "radmeter.toml"
    path.write_text(f'journal = "{tmp_path / "of the file"}"\n[ship]\ndsn = "{database.dsn}"\nbatch_ms = 5\n')
    return path


@pytest.fixture
def server(tmp_path: Path, file: Path) -> Iterator[StockServer]:
    """Debian's own configuration with radmeter's three lines. Nothing in it names a journal."""
    if not os.access(STOCK / "radiusd.conf", os.R_OK):
        pytest.skip(f"{STOCK} is not there, or not ours to read")
    with StockServer(tmp_path, tmp_path / "of the file") as server:
        server.install()
        server.variables = {"RADMETER_CONFIG": str(file)}
        yield server


class Elsewhere(Shipper):
    """`radmeter ship` with the file only, started in another directory."""

    def __init__(self, directory: Path, file: Path, **variables: str) -> None:
        super().__init__(directory / "ship.log", directory, "")
        self._environment = {"RADMETER_CONFIG": str(file), **variables}


def test_radiusd_and_the_shipper_find_one_journal_by_the_file_alone(
    server: StockServer, file: Path, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "another place").mkdir()
    monkeypatch.chdir(tmp_path / "another place")
    server.start()
    said = f"configuration {file}, journal {server.journal}"
    assert len(server.lines(f"radmeter: {said}, sync = packet")) == 1
    with Router(server.address) as router, Elsewhere(tmp_path, file) as shipper:
        shipper.start()
        assert router.send(STOP)
        eventually(lambda: database.user("alice"), [(5, 0)])
        assert len(shipper.lines(said)) == 1
        assert shipper.lines(f"process {server.pid}") == []
    assert list((tmp_path / "another place").iterdir()) == []
    arguments = ("--raddb", server.raddb)
    assert not [
        each
        for each in faults(
            None, "freeradius", arguments=arguments, RADMETER_CONFIG=str(file), RADMETER_JOURNAL=""
        )
        if "journal" in each.said
    ]


def test_a_shipper_and_a_doctor_of_another_journal_name_the_one_that_radiusd_writes(
    server: StockServer, file: Path, tmp_path: Path, database: Database
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(file.read_text().replace("of the file", "other"))
    server.start()
    with Router(server.address) as router, Elsewhere(tmp_path, other) as shipper:
        shipper.start()
        # Before the first packet, the server's configuration says what it will do.
        named = f"radiusd (process {server.pid}) is configured for the journal {server.journal}"
        eventually(lambda: bool(shipper.lines(named)), True)
        assert router.send(STOP)
        shipper.stop()
        shipper.start()
        named = f"radiusd (process {server.pid}) writes to the journal {server.journal}"
        eventually(lambda: bool(shipper.lines(named)), True)
        (line,) = shipper.lines(named)
        assert f"This shipper reads {tmp_path / 'other'} (from {other})" in line

    def used_instead() -> list[str]:
        done = radmeter(None, "status", "--sample=0", RADMETER_CONFIG=str(other), RADMETER_JOURNAL="")
        return [each for each in done.output.splitlines() if each.startswith("  used instead ")]

    (line,) = used_instead()
    assert named in line

    def mismatch() -> list[tuple[str, str]]:
        found = faults(
            None,
            "freeradius",
            arguments=("--raddb", server.raddb),
            RADMETER_CONFIG=str(other),
            RADMETER_JOURNAL="",
        )
        return [(each.level, each.remedy) for each in found if str(server.journal) in each.said]

    ((level, remedy),) = mismatch()
    assert level == "red"
    paste(remedy.replace("sudo ", ""))
    assert mismatch() == []
    assert used_instead() == []
    with Elsewhere(tmp_path, other) as shipper:
        shipper.start()
        eventually(lambda: database.user("alice"), [(5, 0)])


def test_a_doctor_tells_that_the_journal_was_changed_after_the_start(
    server: StockServer, file: Path, tmp_path: Path
) -> None:
    def changed() -> list[str]:
        found = faults(
            None,
            "freeradius",
            arguments=("--raddb", server.raddb),
            RADMETER_CONFIG=str(file),
            RADMETER_JOURNAL="",
        )
        return [each.said for each in found if each.level == "red" and "after the start" in each.said]

    server.start()
    with Router(server.address) as router:
        assert router.send(STOP)
    assert changed() == []
    file.write_text(file.read_text().replace("of the file", "new"))
    assert changed() == [
        f"radiusd (process {server.pid}) writes to the journal {server.journal}, and its configuration names "
        f"{tmp_path / 'new'} (from {file}): it was changed after the start. If {tmp_path / 'new'} is right:"
    ]
    server.stop()
    assert changed() == []
