"""Clients that do not behave, against the real server: slow, huge, malformed. Others are served meanwhile."""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.http_server import HttpServer, serving
from support.processes import until
from support.servers import Connection

from radmeter.api.outgoing import SEND_SECONDS
from radmeter.api.protocol import HEAD_SECONDS
from radmeter.api.server import MOST_OF_AN_ADDRESS

# Clients that hang at once: more than the connections of the pool.
MANY = 40
# More than kernels keep for a connection.
MOST_SENT = 64 << 20
LONG = os.environ.get("RADMETER_LONG") == "1"

NO_REQUESTS = {
    "header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    "headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    + b"".join(b"X-%d: 1\r\n" % each for each in range(5000))
    + b"\r\n",
    "path": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    "version": b"GET /healthz HTTP/9.9\r\n\r\n",
    "noise": b"\r\n\r\n\r\n\x00\x00\x00 / HTTP/1.1\r\n\r\n",
    "smuggling": b"POST /api/v1/users/a/top-ups HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length": b"POST /api/v1/users/a/top-ups HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "twice": b"GET /api/v1/routers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\n"
    b"Authorization: Bearer b\r\nConnection: close\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "lengths": b"POST /api/v1/users/a/top-ups HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Content-Length: 6\r\n\r\n12345",
    "coding": b"POST /api/v1/users/a/top-ups HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "blank": b"POST /api/v1/users/a/top-ups HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded": b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n",
    "lines": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "nul": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "nul path": b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no utf-8": b"GET /api/v1/users/\xff/usage HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}
PATHS = (
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
    "/static/x/..%2f..%2f..%2fetc/passwd",
    "/static/x/%2e%2e/%2e%2e/etc/passwd",
    f"/static/x/{'a' * 5000}",
    "/static/x/a%00b",
    "/routers/" + "9" * 4400,
    "/api/v1%2frouters",
    "//api/v1/routers",
    "/api/v1/routers%2f201",
    "/api/v1/users/a/b/usage",
)

ROOM = 31_000
# What takes long to read if the time grows faster than the length, in heads that are just not too large.
HEAVY = {
    "a path that is encoded again and again": b"/api/v1/%" + b"25" * (ROOM // 2),
    "a path of steps": b"/static/x/" + b"../" * (ROOM // 3),
    "a path of slashes": b"/" * ROOM,
    "a path of parts": b"/api/v1/" + b"a/" * (ROOM // 2),
    "digits": b"/api/v1/routers/" + b"9" * ROOM,
    "parameters": b"/api/v1/routers?" + b"a=&" * (ROOM // 3),
    "a cursor": b"/api/v1/routers?cursor=" + b"A" * ROOM,
    "a name in parameters": b"/api/v1/routers?name=" + b"%25" * (ROOM // 3),
    "parameters of a page": b"/?a=" + b"%2525" * (ROOM // 5),
}
HEAVY_HEADERS = {
    "a cookie with quotes": b'Cookie: radmeter="' + b"\\" * ROOM + b'"',
    "cookies": b"Cookie: " + b"a=b; " * (ROOM // 5),
    "a cookie of the session's name": b"Cookie: " + b"__Host-radmeter=a; " * (ROOM // 20),
    "a key": b"Authorization: Bearer " + b"rmk_" * (ROOM // 4),
    "blanks before a key": b"Authorization: Bearer" + b" " * ROOM + b"x",
    "codings": b"Accept-Encoding: " + b"gzip;q=0," * (ROOM // 9),
    "tags": b"If-None-Match: " + b'"a",' * (ROOM // 4),
    "proxies": b"X-Forwarded-For: " + b"1," * (ROOM // 2),
    "a content type": b"Content-Type: a/b" + b';a="' * (ROOM // 4),
}
# Of the form to log in.
HEAVY_BODIES = {
    "fields of a form": b"a=&" * 21_000,
    "a field that is encoded again and again": b"key=%" + b"25" * 32_000,
    "a field of signs": b"key=" + b"+" * 64_000,
}
# What a program that reads a value as an address, a number or UTF-8 stumbles over.
ODD = (
    b"[",
    b"http://[",
    b"http://a]b[",
    b"x]:80",
    b"\xff",
    b"\xc3\x28",
    b"%",
    b"%ff",
    b"-1",
    b"1e9",
    b'"',
    b"=;=,",
    b"\x80:99999",
)
ODD_HEADERS = (
    *(
        "Host",
        "Origin",
        "Referer",
        "HX-Current-URL",
        "HX-Request",
        "Cookie",
        "Authorization",
        "Accept",
        "Accept-Encoding",
    ),
    *(
        "Content-Type",
        "If-None-Match",
        "If-Match",
        "Idempotency-Key",
        "Last-Event-ID",
        "Range",
        "Expect",
        "Forwarded",
    ),
    *(
        "X-Forwarded-For",
        "X-Forwarded-User",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Sec-Fetch-Site",
        "Accept-Language",
    ),
)


def status(answer: bytes) -> int:
    """Return the status of an answer; 0: the connection was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_clients_that_send_slowly_hold_nothing(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    """A head and a body have to come in time, however many bytes come meanwhile."""
    path = "/api/v1/users/alice/top-ups"
    body = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys['noc']}\r\nIdempotency-Key: slow\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    )
    with contextlib.ExitStack() as stack:

        def begun(request: bytes) -> socket.socket:
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=30))
            slow.sendall(request)
            return slow

        began = time.monotonic()
        heads = [begun(b"GET /api/v1/routers HTTP/1.1\r\nHost: x\r\nX-Slow: ") for _ in range(MANY)]
        bodies = [begun(body.encode()) for _ in range(MANY)]
        assert api.get("/routers", keys["reader"]).status == 200
        done = api.request("POST", path, keys["noc"], body={"bytes": 5}, headers={"Idempotency-Key": "quick"})
        assert done.status == 201
        # None of them was ended to make room, and none has begun to write.
        assert time.monotonic() - began < HEAD_SECONDS
        assert tenants.execute("SELECT count(*) FROM radmeter.api_requests").fetchone() == (1,)
        for slow in (heads[0], bodies[0]):
            slow.settimeout(0.2)
            ended = None
            while ended is None:
                assert time.monotonic() - began < 25
                with contextlib.suppress(OSError):
                    slow.sendall(b"a")
                try:
                    ended = slow.recv(1000)
                except TimeoutError:
                    pass
                except ConnectionError:
                    ended = b""
            assert status(ended) in (408, 0)


def test_clients_that_take_nothing_hold_no_connection(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute(
        """INSERT INTO routers (id, name, status) SELECT 1000 + number, repeat('x', 1000) || number, 'active'
           FROM generate_series(1, 8000) AS number"""
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


@pytest.mark.skipif(not LONG, reason="only with RADMETER_LONG=1")
def test_a_client_that_takes_nothing_for_a_minute_is_gone(
    api: HttpServer, keys: Mapping[str, str], tenants: Connection
) -> None:
    tenants.execute("SET session_replication_role = replica")
    tenants.execute(
        """INSERT INTO routers (id, name, status) SELECT 1000 + number, repeat('x', 1000) || number, 'active'
           FROM generate_series(1, 15000) AS number"""
    )
    request = f"GET /api/v1/routers?format=csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys['reader']}\r\n\r\n"
    before = api.open_files()
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect(("127.0.0.1", api.port))
        slow.sendall(request.encode())
        assert slow.recv(12) == b"HTTP/1.1 200"
        # The line is written when the server has given it up.
        until("the client is given up", lambda: "/api/v1/routers 200" in api.text(), SEND_SECONDS + 60)
        # Its connection is not kept for what it has not taken.
        until("the connection is closed", lambda: api.open_files() <= before, 30)
    assert "Traceback" not in api.text()


def test_an_address_does_not_take_all_connections(
    api_dsn: str, keys: Mapping[str, str], tmp_path: Path
) -> None:
    """It opens them and sends nothing. Those of a proxy are those of all its clients."""
    with serving(api_dsn, tmp_path) as server, contextlib.ExitStack() as stack:

        def opened(source: str) -> socket.socket:
            return stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), 60, source_address=(source, 0))
            )

        idle = [opened("127.0.0.2") for _ in range(MOST_OF_AN_ADDRESS)]
        refused = opened("127.0.0.2")
        assert status(refused.recv(1000)) == 429
        assert server.get("/plans", keys["reader"]).status == 200
        for each in idle:
            each.close()
        until("it may connect again", lambda: answered(opened("127.0.0.2")), 30)


def answered(connection: socket.socket) -> bool:
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        return status(connection.recv(1000)) == 200
    return False


def test_what_is_no_request_is_refused(api: HttpServer, keys: Mapping[str, str]) -> None:
    for name, request in NO_REQUESTS.items():
        answers = api.raw(request)
        assert status(answers) in (0, 400, 413, 414, 431), name
        assert answers.count(b"HTTP/1.1 ") <= 1, name
        assert api.get("/plans", keys["reader"]).status == 200, name


def test_a_body_is_no_request(api: HttpServer, keys: Mapping[str, str]) -> None:
    """Nobody hides a request in the body of another one, whatever a proxy before takes for its end."""
    hidden = (
        f"GET /api/v1/routers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {keys['reader']}\r\n\r\n".encode()
    )
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for head, body in (
        (b"GET /api/v1/plans HTTP/1.1\r\nContent-Length: %d\r\n" % len(hidden), hidden),
        (b"GET /api/v1/plans HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", chunked),
        (b"POST /api/v1/nothing HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", chunked),
    ):
        answers = api.raw(head + b"Host: x\r\n\r\n" + body + last)
        assert answers.count(b"HTTP/1.1 ") == 2, answers
        assert status(answers) == 401
        assert answers.endswith(b"alive\n")
        assert b"acme" not in answers


def test_a_field_of_a_trailer_says_nothing(api: HttpServer, keys: Mapping[str, str]) -> None:
    """Not who asks, and not for whom: a proxy takes nothing out of a trailer."""
    chunked = b"GET /api/v1/routers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    trailer = f"0\r\nAuthorization: Bearer {keys['reader']}\r\n\r\n".encode()
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = api.raw(chunked + b"\r\n" + trailer + last)
    assert status(answers) == 401
    assert answers.endswith(b"alive\n")


def test_a_trailer_without_an_end_holds_nobody_up(api: HttpServer, keys: Mapping[str, str]) -> None:
    """It is cut off long before the parser has anything to copy."""
    for path in (b"/healthz", b"/api/v1/routers"):
        with socket.create_connection(("127.0.0.1", api.port), timeout=60) as opened:
            opened.sendall(
                b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
            )
            # Its answer has come, and what follows is no part of its head.
            assert opened.recv(9) == b"HTTP/1.1 "
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < MOST_SENT:
                    opened.sendall(b"a" * 65536)
                    sent += 65536
            assert sent < MOST_SENT, path
        assert api.get("/plans", keys["reader"]).status == 200, path


def test_what_is_no_form_is_refused(api: HttpServer, keys: Mapping[str, str]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/login", "/logout", "/preferences"):
        for body, headers, want in (
            (b"{}", {}, 415),
            (b"csrf=%00", form, 400),
            (b"csrf=%FF", form, 400),
            (b"csrf=" + b"x" * 70_000, form, 413),
            (b"csrf=zz", form, 403),
        ):
            assert api.request("POST", path, body=body, headers=headers).status == want, (path, body[:20])
    assert "Traceback" not in api.text()


def test_a_body_without_a_bottom_is_refused(api: HttpServer, keys: Mapping[str, str]) -> None:
    deep = [nesting * 10_000 for nesting in ("[", '{"a":')]
    for body in (*deep, *('{"bytes": 1, "note": ' + each for each in deep)):
        answer = api.request(
            "POST",
            "/api/v1/users/alice/top-ups",
            keys["noc"],
            body=body.encode(),
            headers={"Idempotency-Key": "deep"},
        )
        assert (answer.status, answer.kind) == (400, "bad-request")


def test_a_path_leads_nowhere_else(api: HttpServer, keys: Mapping[str, str]) -> None:
    for path in PATHS:
        answer = api.request("GET", path, keys["reader"])
        assert (answer.status, answer.kind) == (404, "not-found"), path
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


def test_no_head_takes_long_to_read(api: HttpServer) -> None:
    """Whoever sends it needs no key, and all others wait for the one thread that reads it."""
    times = 5
    heads = {name: (path, b"X: y") for name, path in HEAVY.items()}
    for name, header in HEAVY_HEADERS.items():
        heads |= {f"{name} at {place.decode()}": (place, header) for place in (b"/api/v1/routers", b"/")}
    took = {}
    for name, (path, header) in heads.items():
        head = b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\nConnection: close\r\n\r\n" % (path, header)
        assert len(head) < 32 << 10
        before = cpu_seconds(api.pid)
        for _ in range(times):
            assert status(api.raw(head)) in (200, 301, 302, 303, 307, 308, 400, 401, 403, 404, 414), name
        took[name] = (cpu_seconds(api.pid) - before) / times
    for name, body in HEAVY_BODIES.items():
        form = (
            b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        before = cpu_seconds(api.pid)
        for _ in range(times):
            assert status(api.raw(form)) in (400, 403, 413, 422), name
        took[name] = (cpu_seconds(api.pid) - before) / times
    assert {name: seconds for name, seconds in took.items() if seconds > 0.15} == {}


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_client_that_hangs_up_within_a_form_is_no_fault_of_the_server(api: HttpServer) -> None:
    head = (
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 3\r\n\r\nk"
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as opened:
        opened.sendall(head)
    until("it is in the log", lambda: "/login" in api.text(), 20)
    assert "Traceback" not in api.text()
    assert "a request failed" not in api.text()


def test_no_value_of_a_header_is_a_fault_of_the_server(api: HttpServer, keys: Mapping[str, str]) -> None:
    key = b"Authorization: Bearer " + keys["noc"].encode() + b"\r\n"
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n"
    requests = (
        (b"GET /", b"", b""),
        (b"GET /nothing", b"Accept: text/html\r\n", b""),
        (b"POST /login", form, b"csrf=00"),
        (b"GET /api/v1/routers", key, b""),
        (b"GET /api/v1/stream", b"", b""),
        (b"POST /api/v1/sessions/1/disconnect", key, b""),
        (b"GET /metrics", b"", b""),
    )
    # An address of its own for each: what comes beyond the rate of strangers is not read.
    for number, name in enumerate(ODD_HEADERS, 2):
        for line, more, body in requests:
            for value in ODD:
                own = b"" if name == "Host" else b"Host: x\r\n"
                head = own + name.encode() + b": " + value + b"\r\n" + more + b"Connection: close\r\n\r\n"
                found = status(api.raw(line + b" HTTP/1.1\r\n" + head + body, source=f"127.0.0.{number}"))
                assert found not in (429, *range(500, 600)), (line, name, value, api.lines()[-30:])
    assert "a request failed" not in api.text()
