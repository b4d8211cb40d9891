"""A server that strangers could send to is not started, and the message names the variable and the remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from radmeter import resources
from radmeter.config import Settings
from radmeter.errors import ConfigurationError
from radmeter.freeradius import exposure, private_server
from radmeter.freeradius.raddb import read

OWN = "a secret of our own"


def found(
    directory: Path, text: str, *, loopback_clients: bool = False, **environment: str
) -> list[exposure.Exposed]:
    (directory / "radiusd.conf").write_text(text)
    root = read(directory)
    return list(exposure.find(root, environment, loopback_clients=loopback_clients))


def listen(address: str) -> str:
    return f"server x {{\n\tlisten {{\n\t\ttype = acct\n\t\tipaddr = {address}\n\t}}\n}}\n"


def client(network: str, secret: str, more: str = "") -> str:
    return f'client x {{\n\tipaddr = {network}\n\tsecret = "{secret}"\n{more}}}\n'


@pytest.mark.parametrize("address", ["*", "0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "radius.example"])
@pytest.mark.parametrize(
    ("network", "secret"),
    [
        ("0.0.0.0/0", OWN),
        ("*", OWN),
        ("::/0", OWN),
        ("128.0.0.0/1", OWN),
        ("2000::/3", OWN),
        ("192.0.2.0/24", "testing123"),
        ("192.0.2.7", "changeme"),
        ("router.example", ""),
    ],
)
def test_strangers_are_found(tmp_path: Path, address: str, network: str, secret: str) -> None:
    (fault,) = found(tmp_path, listen(address) + client(network, secret))
    assert address in fault.said
    assert network in fault.said or "secret of client x" in fault.said
    assert (fault.path, fault.line) == (tmp_path / "radiusd.conf", 7)


@pytest.mark.parametrize(
    ("address", "network", "secret"),
    [
        ("127.0.0.1", "0.0.0.0/0", "testing123"),
        ("127.0.0.53", "::/0", "testing123"),
        ("::1", "0.0.0.0/0", "testing123"),
        ("localhost", "*", ""),
        ("*", "127.0.0.1", "testing123"),
        ("*", "::1", "testing123"),
        ("*", "10.0.0.0/8", OWN),
        ("*", "fc00::/7", OWN),
        ("*", "router.example", OWN),
    ],
)
def test_others_are_not(tmp_path: Path, address: str, network: str, secret: str) -> None:
    assert found(tmp_path, listen(address) + client(network, secret)) == []


def test_the_loopback_counts_if_asked(tmp_path: Path) -> None:
    text = listen("*") + client("127.0.0.1", "testing123")
    assert len(found(tmp_path, text, loopback_clients=True)) == 1


def test_one_address_among_others_is_enough(tmp_path: Path) -> None:
    text = listen("127.0.0.1") + listen("192.0.2.1") + client("192.0.2.0/24", "testing123")
    assert len(found(tmp_path, text)) == 1


def test_the_address_is_everywhere_if_none_is_given(tmp_path: Path) -> None:
    text = "listen {\n\ttype = acct\n}\nclient 192.0.2.0/24 {\n\tsecret = testing123\n}\n"
    assert len(found(tmp_path, text)) == 1


def test_radsec_has_the_secret_of_its_rfc(tmp_path: Path) -> None:
    assert found(tmp_path, listen("*") + client("0.0.0.0/0", "radsec", "\tproto = tls\n")) == []


def test_an_old_netmask_counts(tmp_path: Path) -> None:
    text = listen("*") + client("192.0.2.0", OWN, "\tnetmask = 0\n")
    assert len(found(tmp_path, text)) == 1


@pytest.mark.parametrize("published", ["127.0.0.1", "::1", "[::1]", "localhost"])
def test_a_published_loopback_hides_the_containers_own_address(tmp_path: Path, published: str) -> None:
    text = listen("0.0.0.0") + client("0.0.0.0/0", "testing123")
    assert found(tmp_path, text, RADIUS_PUBLISH=published) == []
    assert len(found(tmp_path, text, RADIUS_PUBLISH="192.0.2.1")) == 2


@pytest.mark.parametrize(
    ("host", "secret", "starts"),
    [
        ("127.0.0.1", "testing123", True),
        ("::1", "testing123", True),
        ("0.0.0.0", OWN, True),
        ("0.0.0.0", "testing123", False),
        ("192.0.2.1", "testing123", False),
        ("::", "testing123", False),
    ],
)
def test_the_private_server_is_refused(tmp_path: Path, host: str, secret: str, starts: bool) -> None:
    settings = Settings.load({}, acct_host=host, secret=secret)
    if starts:
        private_server.prepare(tmp_path / "run", settings)
        return
    with pytest.raises(
        ConfigurationError, match=r"RADIUS_SECRET.*testing123.*RADIUS_ACCT_HOST.*set RADIUS_SECRET"
    ):
        private_server.prepare(tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def start(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "radmeter.freeradius.start", *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_starter_refuses_in_one_line() -> None:
    environment = {"RADIUS_ACCT_HOST": "0.0.0.0", "RADIUS_SECRET": "testing123"}
    done = start(resources.directory("radius"), **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "set RADIUS_SECRET to a secret of your own, or RADIUS_ACCT_HOST to 127.0.0.1" in done.stderr


def test_the_starter_says_what_it_needs(tmp_path: Path) -> None:
    assert "name the directory" in start().stderr
    assert "cannot be read" in start(tmp_path / "nothing").stderr
