"""RADIUS over TLS: a proxy at a site sends accounting with a certificate, and the plugin records it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.documents import block
from support.processes import Database, Shipper, eventually, free_port
from support.radius_proxy import Radiusd, start_proxy
from support.wire import Router, Value

from radmeter import resources
from radmeter.config import Settings
from radmeter.freeradius import private_server
from radmeter.plugin.journal.reader import JournalReader

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

# A FreeRADIUS at a site: it takes accounting from the loopback, and hands it on over TLS.
PROXY = """
home_server radmeter {{
	type = acct
	ipaddr = 127.0.0.1
	port = {upstream}
	proto = tcp
	secret = radsec
	response_window = 10
	status_check = none
	tls {{
		{certificate}
		ca_file = {tls}/ca.crt
		tls_min_version = "1.2"
		tls_max_version = "1.2"
		cipher_list = "DEFAULT"
	}}
}}
home_server_pool radmeter {{
	type = fail-over
	home_server = radmeter
}}
realm radmeter {{
	acct_pool = radmeter
}}
server proxy {{
	listen {{
		type = acct
		ipaddr = 127.0.0.1
		port = {port}
	}}
	preacct {{
		update control {{
			&Proxy-To-Realm := "radmeter"
		}}
	}}
	accounting {{
	}}
}}
"""


def certificates(directory: Path) -> Path:
    """Make the certificates as the document says."""
    directory.mkdir(parents=True)
    script = block("security.md", "radsec")
    subprocess.run(["bash", "-euc", script], cwd=directory, check=True, capture_output=True)
    return directory


class Site:
    """The server with RadSec, and proxies that send to it."""

    def __init__(self, directory: Path, journal: Path, stack: ExitStack) -> None:
        self.directory, self._stack = directory, stack
        raddb = directory / "raddb"
        shutil.copytree(resources.directory("radius"), raddb)
        self.tls = certificates(raddb / "tls")
        self.port = free_port()
        site = raddb / "sites-available" / "radsec"
        site.write_text(site.read_text().replace("port = 2083", f"port = {self.port}"))
        with (raddb / "radiusd.conf").open("a") as file:
            file.write("$INCLUDE sites-available/radsec\n")
        settings = Settings.load({}, journal=journal, acct_port=free_port(), secret="a secret of our own")
        environment = private_server.prepare(directory / "run", settings).environment
        self.server = stack.enter_context(Radiusd(directory / "server.log"))
        self.server.start(raddb, environment)

    def proxy(self, name: str, certificate: str) -> Router:
        """Start a proxy; return a router that sends to it."""
        raddb, port = self.directory / name, free_port()
        raddb.mkdir()
        site = PROXY.format(upstream=self.port, port=port, tls=self.tls, certificate=certificate)
        start_proxy(self._stack.enter_context(Radiusd(raddb / "proxy.log")), raddb, site)
        return self._stack.enter_context(Router(("127.0.0.1", port)))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, tmp_path / "journal", stack)


def named(directory: Path, name: str) -> str:
    return f"private_key_file = {directory}/{name}.key\n\t\tcertificate_file = {directory}/{name}.crt"


STOP: dict[str, Value] = {
    "Acct-Status-Type": "Stop",
    "User-Name": "anna",
    "Acct-Session-Id": "s",
    "NAS-Identifier": "lobby",
    "Acct-Input-Octets": 100,
    "Acct-Output-Octets": 200,
    "Acct-Session-Time": 60,
}


def test_a_packet_over_tls_is_recorded_before_it_is_answered(
    site: Site, tmp_path: Path, database: Database
) -> None:
    router = site.proxy("proxy", named(site.tls, "router"))
    packet = router.packet(STOP)
    eventually(lambda: router.answered(packet), True)
    router.insist(packet)  # sent again
    reader = JournalReader(tmp_path / "journal")
    entries = [each for segment in reader.segments() for each in reader.read(segment, 0, 10)]
    # The address of the TLS connection.
    assert ["Tmp-IP-Address-0", "127.0.0.1"] in json.loads(entries[0].pairs)
    with Shipper(tmp_path / "ship.log", tmp_path / "journal", database.dsn) as shipper:
        shipper.start()
        eventually(lambda: database.user("anna"), [(100, 200)])


def test_without_a_certificate_of_the_authority_nothing_gets_through(site: Site, tmp_path: Path) -> None:
    other = certificates(tmp_path / "other")
    for name, certificate in (("stranger", named(other, "router")), ("nobody", "")):
        router = site.proxy(name, certificate)
        assert not router.send(STOP, seconds=3)
    assert not (tmp_path / "journal").exists()
