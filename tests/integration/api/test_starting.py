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
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
        "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
    )  # fmt: skip
    return cert, key


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


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


def test_mistakes_are_explained(api_dsn: str, database: str, tenants: Connection, tmp_path: Path) -> None:
    assert "127.0.0.1:8320" in refused(api_dsn, tmp_path, "--http-listen", "localhost")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "http_listen" in refused(api_dsn, tmp_path, "--http-listen", address)
    with login_role(tenants, "radmeter_reader") as login:
        said = refused(as_role(database, login), tmp_path, "--http-listen", "127.0.0.1:0")
        assert "radmeter migrate roles --login radmeter_http=radmeter_api" in said
    other = tmp_path / "other"
    other.mkdir()
    (other / "http").write_text("no directory\n")
    said = refused(api_dsn, other, "--http-listen", "127.0.0.1:0")
    assert f"the key {other}/http/http.key cannot be made: " in said
    assert "http_key_file" in said
    (tmp_path / "http" / "http.key").write_text("short\n")
    assert "64 hexadecimal digits" in refused(api_dsn, tmp_path, "--http-listen", "127.0.0.1:0")


def test_a_login_that_may_more_than_serve_is_warned_of(
    api_dsn: str, database: str, tenants: Connection, tmp_path: Path
) -> None:
    remedy = "radmeter migrate roles --login radmeter_http=radmeter_api"
    with login_role(tenants, "radmeter_api", "radmeter_reader") as both:
        for dsn, told in (
            (database, "postgres is a superuser: "),
            (as_role(database, both), f"{both} is also a member of radmeter_reader: "),
        ):
            with serving(dsn, tmp_path) as server:
                assert told in server.text()
                assert remedy in server.text()
    (tmp_path / "serve.log").unlink()
    with serving(api_dsn, tmp_path) as server:
        assert "member of" not in server.text()


def test_mistakes_with_certificates_are_explained(
    api_dsn: str, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate

    def said(*files: Path) -> str:
        names = ("--http-tls-cert", "--http-tls-key")
        options = [part for pair in zip(names, map(str, files), strict=False) for part in pair]
        return refused(api_dsn, tmp_path, *options)

    assert "go together" in said(cert)
    missing = tmp_path / "missing"
    assert f"http_tls_cert: {missing} cannot be read: No such file" in said(missing, key)
    assert f"http_tls_key: {missing} cannot be read: No such file" in said(cert, missing)
    assert f"http_tls_key: {tmp_path} cannot be read: Is a directory" in said(cert, tmp_path)
    other = tmp_path / "other.key"
    openssl("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", other)
    assert f"{other} is not the key of the certificate {cert}" in said(cert, other)
    wrapped = tmp_path / "wrapped.key"
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:hunter2", "-out", wrapped)
    assert f"{wrapped} has a passphrase" in said(cert, wrapped)
    no_key = tmp_path / "no.key"
    no_key.write_text("no key\n")
    no_key.chmod(0o600)
    assert f"{cert} and {no_key} are not a certificate and its key in PEM" in said(cert, no_key)
    assert f"{no_key} and {key} are not a certificate and its key in PEM" in said(no_key, key)
    key.chmod(0o644)
    assert f"http_tls_key: everybody on this machine may use {key}: chmod o= {key}" in said(cert, key)


def test_only_a_trusted_proxy_names_the_client(api_dsn: str, keys: Mapping[str, str], tmp_path: Path) -> None:
    def asked(server: HttpServer) -> str:
        begins = len(server.text())
        server.get("/plans", keys["reader"], X_Forwarded_For="203.0.113.9, 198.51.100.7")
        # The line is written when the answer is on its way.
        until("the request is in the log", lambda: "/api/v1/plans" in server.text()[begins:], 30)
        return server.text()[begins:]

    with serving(api_dsn, tmp_path) as server:
        assert " 127.0.0.1 key=reader " in asked(server)
    with serving(api_dsn, tmp_path, "--http-proxies", "127.0.0.1/32") as server:
        # The last one is what the proxy has seen. What is before it, anybody may have written.
        assert " 198.51.100.7 key=reader " in asked(server)
