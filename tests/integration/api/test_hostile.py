"""Clients that do not behave, against the real server: slow, huge, malformed. Others are served meanwhile."""

import contextlib
import socket
import time
from collections.abc import Mapping

import pytest
from support.http_server import HttpServer
from support.servers import Connection

# Clients that hang at once: more than the connections of the pool.
MANY = 40


def status(answer: bytes) -> int:
    """Return the status of an answer; 0: the connection was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_clients_that_send_slowly_hold_nothing(api: HttpServer, keys: Mapping[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=30))
            for _ in range(MANY)
        ]
        for each in slow:
            each.sendall(b"GET /api/v1/routers HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        began = time.monotonic()
        assert api.get("/routers", keys["reader"]).status == 200
        assert time.monotonic() - began < 5
        # The head has to come in time, however many bytes come meanwhile.
        for number in range(60):
            with contextlib.suppress(OSError):
                slow[0].sendall(b"a" if number < 58 else b"b")
            if time.monotonic() - began > 8:
                break
            time.sleep(0.2)
        ended = b""
        with contextlib.suppress(ConnectionError):
            ended = slow[0].recv(1000)
        assert status(ended) in (408, 0)
        assert time.monotonic() - began < 25


def test_clients_that_take_nothing_hold_no_connection(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute(
        """INSERT INTO routers (id, name, status) SELECT 1000 + number, repeat('x', 150) || number, 'active'
           FROM generate_series(1, 30000) AS number"""
    )
    request = f"GET /api/v1/routers?format=csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys['reader']}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            slow = stack.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", api.port))
            slow.sendall(request.encode())
            slow.settimeout(60)
            assert slow.recv(12) == b"HTTP/1.1 200"
        # All twelve answers are under way, and the database has nothing to do with them any more.
        busy = tenants.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'radmeter serve%' AND state <> 'idle'"
        ).fetchone()
        assert busy == (0,)
        assert api.get("/plans", keys["reader"]).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"X-%d: 1\r\n" % each for each in range(5000))
        + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\x00\x00\x00 / HTTP/1.1\r\n\r\n",
        b"POST /api/v1/users/a/top-ups HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/users/a/top-ups HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /api/v1/routers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\n"
        b"Authorization: Bearer b\r\nConnection: close\r\n\r\n",
    ],
    ids=["header", "headers", "path", "tls", "version", "noise", "smuggling", "length", "twice"],
)
def test_what_is_no_request_is_refused(api: HttpServer, keys: Mapping[str, str], request_: bytes) -> None:
    assert status(api.raw(request_)) in (0, 400, 413, 414, 431)
    assert api.get("/plans", keys["reader"]).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1//routers",
        "/api/v1/routers/",
        "/api/v1/routers/201/../202",
        "/api/v1/routers;x=1",
        "/api/v1/ROUTERS",
        "/api/v2/routers",
        "/api/v1",
        "/..%2f..%2fetc/passwd",
        "/static/../../etc/passwd",
    ],
)
def test_a_path_leads_nowhere_else(api: HttpServer, keys: Mapping[str, str], path: str) -> None:
    answer = api.request("GET", path, keys["reader"])
    assert (answer.status, answer.kind) == (404, "not-found")
    assert b"root:" not in answer.body


def test_answers_have_security_headers(api: HttpServer, keys: Mapping[str, str]) -> None:
    for answer in (api.get("/routers", keys["reader"]), api.get("/routers"), api.request("GET", "/healthz")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
        assert "no-" in answer.headers["cache-control"]


def test_the_database_may_go_away(api: HttpServer, keys: Mapping[str, str], tenants: Connection) -> None:
    assert api.get("/routers", keys["reader"]).status == 200
    tenants.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'radmeter serve%'"
    )
    answers = [api.get("/routers", keys["reader"]).status for _ in range(20)]
    assert set(answers) <= {200, 503}
    assert answers[-1] == 200
    assert api.request("GET", "/healthz").status == 200


def test_a_statement_that_takes_too_long_is_ended(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    assert api.get("/plans", keys["reader"]).status == 200
    with tenants.transaction():
        tenants.execute("LOCK TABLE public.plans IN ACCESS EXCLUSIVE MODE")
        answer = api.get("/plans", keys["reader"])
    assert (answer.status, answer.kind) in ((503, "unavailable"), (504, "too-slow"))
    assert api.get("/plans", keys["reader"]).status == 200
