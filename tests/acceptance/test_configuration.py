"""The configuration under `radius/`: clean by itself, and in a server that was there before."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Child, Database, FreeRadius, Shipper, eventually, free_port
from wire import Router

import radmeter
from radmeter import freeradius, resources
from radmeter.config import Settings
from radmeter.journal_reader import JournalReader

STOCK = Path("/etc/freeradius/3.0")  # Debian's


def test_the_check_is_clean_and_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = Settings.load({}, journal=tmp_path / "journal", acct_port=free_port())
    server = freeradius.prepare(tmp_path / "run", settings)
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
    packet = {
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
PREACCT = "radmeter_preacct"
ACCOUNTING = "radmeter_accounting"


class StockServer(Child):
    """Debian's configuration in a copy, on free ports, with the lines of radius/README.md."""

    def __init__(self, base: Path, journal: Path) -> None:
        super().__init__(base / "radius.log")
        self.raddb = base / "raddb"
        self.journal = journal
        shutil.copytree(STOCK, self.raddb, symlinks=True)
        self._edit("radiusd.conf", r"(?m)^(\s*(user|group) = .*)$", r"#\1")
        self._edit("radiusd.conf", r"(?m)^raddbdir = .*$", f"raddbdir = {self.raddb}")
        self._edit("radiusd.conf", r"(?m)^logdir = .*$", f"logdir = {base}")
        self._edit("radiusd.conf", r"(?m)^run_dir = .*$", f"run_dir = {base}")
        self._edit("sites-available/inner-tunnel", "port = 18120", f"port = {free_port()}")
        site = self.raddb / "sites-available" / "default"
        text = re.sub(r"(?m)^(\s*)ipaddr = \*", r"\1ipaddr = 127.0.0.1", site.read_text())
        text = re.sub(r"(?m)^(\s*)port = 0", lambda match: f"{match[1]}port = {free_port()}", text)
        site.write_text(text)

    def _edit(self, name: str, pattern: str, replacement: str) -> None:
        path = self.raddb / name
        path.write_text(re.sub(pattern, replacement, path.read_text()))

    def install(self) -> None:
        """Do what the README says."""
        for name in ("mods-available/radmeter", "policy.d/radmeter"):
            shutil.copy(resources.directory("radius") / name, self.raddb / name)
        (self.raddb / "mods-enabled" / "radmeter").symlink_to("../mods-available/radmeter")
        self._edit("sites-available/default", r"(?m)^preacct \{$", "preacct {\n\t" + PREACCT)
        self._edit(
            "sites-available/default", r"(?ms)^(accounting \{\n.*?)^\}$", r"\1" + f"\t{ACCOUNTING}\n}}"
        )

    def proxy(self, realm: str, home: tuple[str, int]) -> None:
        """Pass a realm's accounting on to another server."""
        with (self.raddb / "proxy.conf").open("a") as file:
            file.write(
                f"""
                home_server radmeter_home {{
                    type = acct
                    ipaddr = {home[0]}
                    port = {home[1]}
                    secret = testing123
                    status_check = none
                }}
                home_server_pool radmeter_pool {{
                    home_server = radmeter_home
                }}
                realm {realm} {{
                    acct_pool = radmeter_pool
                }}
                """
            )

    @property
    def address(self) -> tuple[str, int]:
        """Where accounting is served on IPv4."""
        lines = self.lines("Listening on acct address 127.0.0.1")
        return "127.0.0.1", int(lines[0].split(" port ")[1].split()[0])

    def start(self) -> None:
        site_packages = Path(radmeter.__file__).parent.parent
        self.spawn(
            ["freeradius", "-f", "-l", "stdout", "-xx", "-d", str(self.raddb)],
            {"RADMETER_PYTHON_PATH": str(site_packages), "RADMETER_JOURNAL": str(self.journal)},
        )
        eventually(lambda: bool(self.lines("Ready to process requests")), True)


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
    stop = {"Acct-Status-Type": "Stop", "Acct-Session-Id": "s", "Acct-Input-Octets": 5}
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
    stop = {"Acct-Status-Type": "Stop", "Acct-Session-Id": "s", "User-Name": "alice@example.org"}
    with Router(stock_server.address) as router:
        place.rmdir()
        place.touch()  # in the way of the journal
        assert not router.send(stop, seconds=1)
        assert JournalReader(server.journal).depth(0).records == 0
        place.unlink()
        router.insist(router.packet(stop))
        assert JournalReader(stock_server.journal).depth(0).records > 0
        assert JournalReader(server.journal).depth(0).records > 0
