"""Behind nginx, as the example in docs/operations.md has it: TLS, names with a slash, and events at once."""

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

PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
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

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed (Debian: nginx-light)")


@pytest.fixture
def behind(api_dsn: str, tmp_path: Path) -> Iterator[tuple[HttpServer, int, ssl.SSLContext]]:
    """The server, the port of nginx before it, and what trusts its certificate."""
    cert, key, port = tmp_path / "nginx.crt", tmp_path / "nginx.key", free_tcp_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    with serving(api_dsn, tmp_path, "--http-proxies", "127.0.0.1/32") as server:
        example = changed(
            block("operations.md", "nginx"),
            {
                "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                "/etc/ssl/radmeter.crt": str(cert),
                "/etc/ssl/radmeter.key": str(key),
                "127.0.0.1:8320": f"127.0.0.1:{server.port}",
            },
        )
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(AROUND.format(place=tmp_path, server=example))
        assert PROGRAM is not None
        command = [PROGRAM, "-p", str(tmp_path), "-e", str(tmp_path / "error.log"), "-c", str(configuration)]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
        assert tested.returncode == 0, tested.stderr
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
            try:
                until("nginx listens", lambda: process.poll() is not None or listens(port), 30)
                assert process.poll() is None, (tmp_path / "error.log").read_text()
                yield server, port, ssl.create_default_context(cafile=str(cert))
            finally:
                process.kill()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def test_the_example_for_nginx(
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
        # nginx keeps nothing back until a buffer is full.
        assert stream.status == 200
        assert b"retry:" in stream.readline()
        while not stream.readline().startswith(b"event: figures"):
            pass
    assert " 127.0.0.1 key=reader GET /api/v1/users/a%2Fb/usage 200" in server.text()
    assert "203.0.113.9" not in server.text()
