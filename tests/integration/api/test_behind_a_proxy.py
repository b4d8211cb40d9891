"""Behind nginx and Caddy, as the examples in docs/operators/api.md have it: TLS, names with a slash, events at once."""

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.documents import block, changed
from support.http_server import HttpServer, serving
from support.processes import until
from support.servers import Connection
from support.tcp import free_tcp_port

PROGRAMS = {
    name: shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") for name in ("nginx", "caddy")
}
# What a distribution's nginx.conf has around the example. All of its files are in the test's directory.
AROUND = """
daemon off;
master_process off;
pid {place}/pid;
error_log {place}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {server}
}}
"""
# It has no administration, and asks nobody for a certificate.
CADDY = """{{
    admin off
    auto_https off
}}
{server}
"""


def nginx(place: Path, port: int, server_port: int) -> list[str]:
    """Write the configuration; return the command."""
    example = changed(
        block("operators/api.md", "nginx"),
        {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/radmeter.crt": str(place / "tls.crt"),
            "/etc/ssl/radmeter.key": str(place / "tls.key"),
            "127.0.0.1:8320": f"127.0.0.1:{server_port}",
        },
    )
    configuration = place / "nginx.conf"
    configuration.write_text(AROUND.format(place=place, server=example))
    command = ["-p", str(place), "-e", str(place / "error.log"), "-c", str(configuration)]
    return [str(PROGRAMS["nginx"]), *command]


def caddy(place: Path, port: int, server_port: int) -> list[str]:
    """Write the configuration; return the command."""
    example = changed(
        block("operators/api.md", "caddy"),
        {
            "radmeter.example.org {": f"https://127.0.0.1:{port} {{\n    tls {place}/tls.crt {place}/tls.key",
            "127.0.0.1:8320": f"127.0.0.1:{server_port}",
        },
    )
    configuration = place / "Caddyfile"
    configuration.write_text(CADDY.format(server=example))
    return [str(PROGRAMS["caddy"]), "run", "--adapter", "caddyfile", "--config", str(configuration)]


@pytest.fixture(params=[nginx, caddy], ids=lambda proxy: str(proxy.__name__))
def behind(
    request: pytest.FixtureRequest, api_dsn: str, tmp_path: Path
) -> Iterator[tuple[HttpServer, int, ssl.SSLContext]]:
    """The server, the port of a proxy before it, and what trusts its certificate."""
    name = request.param.__name__
    if PROGRAMS[name] is None:
        pytest.skip(f"{name} is not installed")
    cert, key, port = tmp_path / "tls.crt", tmp_path / "tls.key", free_tcp_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    with serving(api_dsn, tmp_path, "--http-proxies", "127.0.0.1/32") as server:
        command = request.param(tmp_path, port, server.port)
        log = tmp_path / "proxy.log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
            ) as process,
        ):
            try:
                until(f"{name} listens", lambda: process.poll() is not None or listens(port), 30)
                assert process.poll() is None, log.read_text()
                yield server, port, ssl.create_default_context(cafile=str(cert))
            finally:
                process.kill()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def test_the_example_of_the_document(
    behind: tuple[HttpServer, int, ssl.SSLContext], keys: Mapping[str, str], tenants: Connection
) -> None:
    server, port, context = behind
    tenants.execute("INSERT INTO subscribers (username, plan_id) VALUES ('a/b', 301)")
    headers = {
        "Authorization": f"Bearer {keys['reader']}",
        # The client's own words about where it comes from, and who it is, count for nothing.
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-User": "boss",
    }
    opened = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    with contextlib.closing(opened) as client:
        client.request("GET", "/api/v1/users/a%2Fb/usage", headers=headers)
        answer = client.getresponse()
        assert (answer.status, b'"username":"a/b"' in answer.read()) == (200, True)
        client.request("GET", "/", headers={"X-Forwarded-User": "boss"})
        page = client.getresponse()
        page.read()
        assert (page.status, str(page.headers["location"]).partition("?")[0]) == (303, "/login")
        # A browser sends the cookies over TLS only.
        client.request("GET", "/login")
        login = client.getresponse()
        login.read()
        assert "; Secure" in str(login.headers["set-cookie"])
        # Metrics are for this machine, which is not who asks.
        client.request("GET", "/metrics")
        assert client.getresponse().read().find(b"radmeter_") == -1
        client.request("GET", "/api/v1/stream", headers=headers)
        stream = client.getresponse()
        # The proxy keeps nothing back until a buffer is full.
        assert stream.status == 200
        assert b"retry:" in stream.readline()
        while not stream.readline().startswith(b"event: figures"):
            pass
    assert " 127.0.0.1 key=reader GET /api/v1/users/a%2Fb/usage 200" in server.text()
    assert "203.0.113.9" not in server.text()
