"""The configuration under `radius/`: clean by itself, and in a server that was there before."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import Database, FreeRadius, Shipper, eventually, free_port
from support.stock_server import ACCOUNTING, PREACCT, STOCK, StockServer
from support.wire import Router, Value

from radmeter import resources
from radmeter.config import Settings
from radmeter.freeradius import private_server
from radmeter.plugin.journal.reader import JournalReader


def test_the_check_is_clean_and_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = Settings.load({}, journal=tmp_path / "journal", acct_port=free_port())
    server = private_server.prepare(tmp_path / "run", settings)
    before = sorted(resources.directory("radius").rglob("*"))
    checked = subprocess.run(
        [*server.command, "-C"],
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0
    # FreeRADIUS after 3.2.1 warns of a short secret, such as the one for trying out.
    said = [line for line in checked.stdout.splitlines() if ": Info: " not in line and "secret" not in line]
    assert said == []
    assert checked.stderr == ""
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "run"]
    assert sorted(resources.directory("radius").rglob("*")) == before


def test_a_terminated_server_ends_well_and_gives_its_port_back(server: FreeRadius) -> None:
    with Router(server.address) as router:
        assert router.send({"Acct-Status-Type": "Start", "User-Name": "u", "Acct-Session-Id": "s"})
    assert server.stop() == 0
    server.start()


def test_the_quarantine_file_shows_the_packet_as_it_came(server: FreeRadius, router: Router) -> None:
    packet: dict[str, Value] = {
        "Acct-Status-Type": "Start",
        "User-Name": b"caf\xe9",
        "Acct-Session-Id": "s",
        "Connect-Info": "11g",
    }
    assert router.send(packet)
    quarantine = server.run_directory / "radacct" / "radmeter-quarantine" / "detail"
    lines = [line.strip() for line in quarantine.read_text().splitlines()]
    assert 'User-Name = "caf\\351"' in lines
    assert 'Connect-Info = "11g"' in lines
    assert "Packet-Src-IP-Address = 127.0.0.1" in lines
    assert quarantine.stat().st_mode & 0o777 == 0o600


# In a server that was there before.

PYTHON_PATH = "RADMETER_PYTHON_PATH=/opt/radmeter/lib/python3.11/site-packages"


@pytest.fixture
def stock_server(tmp_path: Path) -> Iterator[StockServer]:
    if not os.access(STOCK / "radiusd.conf", os.R_OK):
        pytest.skip(f"{STOCK} is not there, or not ours to read")
    with StockServer(tmp_path, tmp_path / "journal") as server:
        server.install()
        yield server


def test_the_readme_names_the_lines_that_are_tested_here() -> None:
    readme = (resources.directory("radius") / "README.md").read_text()
    for line in (PYTHON_PATH, PREACCT, ACCOUNTING):
        assert f"| `{line}` |" in readme


def test_in_debians_own_configuration(stock_server: StockServer, tmp_path: Path, database: Database) -> None:
    stock_server.start()
    stop: dict[str, Value] = {"Acct-Status-Type": "Stop", "Acct-Session-Id": "s", "Acct-Input-Octets": 5}
    with (
        Router(stock_server.address) as router,
        Shipper(tmp_path / "ship.log", stock_server.journal, database.dsn) as shipper,
    ):
        assert router.send({**stop, "User-Name": "alice"})
        assert router.send(
            {**stop, "User-Name": b"caf\xe9", "Called-Station-Id": b"02-00-00-00-00-03:caf\xe9"}
        )
        shipper.start()
        eventually(lambda: database.user("alice"), [(5, 0)])
        eventually(lambda: database.user("caf\\xe9"), [(5, 0)])
        # The router sent no Event-Timestamp; preprocess added one.
        assert database.rows("SELECT count(*) FROM radacct WHERE clock_skew_seconds IS NOT NULL") == [(0,)]


def test_a_packet_that_cannot_be_kept_is_not_proxied_either(
    stock_server: StockServer, server: FreeRadius
) -> None:
    stock_server.journal = stock_server.log.parent / "place" / "journal"
    place = stock_server.journal.parent
    place.mkdir()
    stock_server.proxy("example.org", server.address)
    stock_server.start()
    stop: dict[str, Value] = {
        "Acct-Status-Type": "Stop",
        "Acct-Session-Id": "s",
        "User-Name": "alice@example.org",
    }
    with Router(stock_server.address) as router:
        place.rmdir()
        place.touch()  # in the way of the journal
        assert not router.send(stop, seconds=1)
        assert JournalReader(server.journal).depth({}).records == 0
        place.unlink()
        router.insist(router.packet(stop))
        assert JournalReader(stock_server.journal).depth({}).records > 0
        assert JournalReader(server.journal).depth({}).records > 0
