"""TLS to PostgreSQL with the commands of docs/security.md, and what `verify-full` refuses."""

import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.commands import radmeter
from support.documents import block, changed
from support.servers import Server, installed

from radmeter.errors import StoreUnavailable
from radmeter.schema.login_roles import Login, make_login_roles


def with_tls() -> Path | None:
    """Return the directory of an installed PostgreSQL that was built with OpenSSL. The embedded one was not."""
    for programs in installed().values():
        linked = subprocess.run(["ldd", programs / "postgres"], capture_output=True, text=True, check=False)
        if "libssl" in linked.stdout:
            return programs
    return None


pytestmark = pytest.mark.skipif(
    with_tls() is None or shutil.which("openssl") is None, reason="no PostgreSQL with TLS, or no openssl"
)


def certificates(directory: Path, host: str) -> Path:
    """Make an authority and a server's certificate as the document says, for a host."""
    directory.mkdir()
    script = block("security.md", "postgresql").replace("db.example", host)
    subprocess.run(["bash", "-euc", script], cwd=directory, check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates(tmp_path_factory.mktemp("tls") / "ours", "localhost")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def tls(place: Path) -> Iterator[Server]:
    """A server on TCP that takes connections with TLS only."""
    programs = with_tls()
    assert programs is not None
    with Server(programs, listen_addresses="127.0.0.1", port=str(free_port())) as server:
        server.make_template()
        with psycopg.connect(server.dsn("radmeter_template"), autocommit=True) as connection:
            make_login_roles(connection, [Login("radmeter_shipper", "radmeter_ingest", "a password")])
        use(server, place)
        rules = (
            block("security.md", "pg_hba").replace("192.0.2.0/24", "127.0.0.1/32").replace("peer", "trust")
        )
        (server.base / "data" / "pg_hba.conf").write_text(rules)
        psql = f"{shlex.quote(str(programs / 'psql'))} -d {shlex.quote(server.dsn())}"
        subprocess.run(["bash", "-euc", changed(block("security.md", "ssl"), {"psql": psql})], check=True)
        server.stop()
        server.start()
        yield server


def use(server: Server, certificate: Path) -> None:
    """Copy a certificate and its key into the data directory."""
    data = server.base / "data"
    for name in ("server.crt", "server.key"):
        shutil.copy(certificate / name, data / name)
        os.chown(data / name, data.stat().st_uid, data.stat().st_gid)


def environment(server: Server, place: Path, **changed: str) -> dict[str, str]:
    """Return the variables that the document exports, for this server."""
    script = block("security.md", "dsn")
    for before, after in {
        "@db.example/radius": f"@localhost:{server._settings['port']}/radmeter_template",
        "/etc/radmeter": str(place),
        **changed,
    }.items():
        assert before in script
        script = script.replace(before, after)
    (place / "password").write_text("a password\n")
    done = subprocess.run(
        ["bash", "-euc", f"{script}\nenv"], env={}, capture_output=True, text=True, check=True
    )
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs if name.startswith("RADMETER_")}


def reached(variables: dict[str, str]) -> str:
    """Connect as radmeter does; return the version of TLS."""
    from radmeter.config import Settings
    from radmeter.database.connection import connect

    dsn = Settings.load(variables).dsn
    assert dsn is not None
    with connect(dsn) as connection:
        row = connection.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert row is not None
    return str(row[0])


def test_verify_full_reaches_the_right_server(tls: Server, place: Path) -> None:
    variables = environment(tls, place)
    assert reached(variables) == "TLSv1.3"
    done = radmeter(None, "config", "--format", "json", **variables)
    assert "verify-full" in done.output
    assert "a password" not in done.output


def test_without_tls_nobody_gets_in(tls: Server, place: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no encryption"):
        reached(environment(tls, place, **{"sslmode=verify-full": "sslmode=disable"}))


def test_a_server_of_another_authority_is_refused(tls: Server, place: Path, tmp_path: Path) -> None:
    other = certificates(tmp_path / "other", "localhost")
    shutil.copy(other / "ca.crt", place / "other.crt")
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        reached(environment(tls, place, **{"ca.crt": "other.crt"}))


def test_a_server_of_another_name_is_refused(tls: Server, place: Path) -> None:
    with pytest.raises(StoreUnavailable, match="does not match host name"):
        reached(environment(tls, place, **{"@localhost": "@127.0.0.1"}))
