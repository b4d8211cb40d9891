"""How the server starts: TLS by files, and a message for each mistake."""

import contextlib
import http.client
import socket
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.commands import radmeter
from support.http_server import HttpServer, serving
from support.logins import as_role, login_role
from support.processes import until
from support.servers import Connection


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, and its key."""
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def test_tls_by_files(
    api_dsn: str, keys: Mapping[str, str], tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    with serving(api_dsn, tmp_path, "--http-tls-cert", str(cert), "--http-tls-key", str(key)) as server:
        assert server.scheme == "https"
        context = ssl.create_default_context(cafile=str(cert))
        opened = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
        with contextlib.closing(opened) as connection:
            connection.request(
                "GET", "/api/v1/routers", headers={"Authorization": f"Bearer {keys['reader']}"}
            )
            with connection.getresponse() as answer:
                assert answer.status == 200
                answer.read()
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        # Without TLS there is no answer.
        assert server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")[:8] != b"HTTP/1.1"


def refused(dsn: str, state: Path, *arguments: str) -> str:
    done = radmeter(dsn, "serve", *arguments, RADMETER_STATE=str(state))
    assert done.exit_code != 0
    assert "Traceback" not in done.errors
    return " ".join(done.errors.split())


def test_mistakes_are_explained(
    api_dsn: str, database: str, tenants: Connection, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, _ = certificate
    assert "go together" in refused(api_dsn, tmp_path, "--http-tls-cert", str(cert))
    assert "in PEM" in refused(api_dsn, tmp_path, "--http-tls-cert", str(cert), "--http-tls-key", str(cert))
    assert "127.0.0.1:8320" in refused(api_dsn, tmp_path, "--http-listen", "localhost")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "http_listen" in refused(api_dsn, tmp_path, "--http-listen", address)
    with login_role(tenants, "radmeter_reader") as login:
        said = refused(as_role(database, login), tmp_path, "--http-listen", "127.0.0.1:0")
        assert "grant radmeter_api to it" in said
    (tmp_path / "http.key").write_text("short\n")
    assert "64 hexadecimal digits" in refused(api_dsn, tmp_path, "--http-listen", "127.0.0.1:0")


def test_only_a_trusted_proxy_names_the_client(api_dsn: str, keys: Mapping[str, str], tmp_path: Path) -> None:
    def asked(server: HttpServer, address: str) -> None:
        server.get("/plans", keys["reader"], X_Forwarded_For="203.0.113.9, 198.51.100.7")
        # The line is written after the answer.
        until("the request is in the log", lambda: " key=reader " in server.text(), 30)
        (line,) = [line for line in server.text().splitlines() if " key=reader " in line]
        assert f" {address} key=reader " in line

    with serving(api_dsn, tmp_path) as server:
        asked(server, "127.0.0.1")
    (tmp_path / "behind").mkdir()
    with serving(api_dsn, tmp_path / "behind", "--http-proxies", "127.0.0.1/32") as server:
        # The last one is what the proxy has seen. What is before it, anybody may have written.
        asked(server, "198.51.100.7")
