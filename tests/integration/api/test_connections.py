"""What a client may do with a connection, with and without TLS: it ends, whatever is sent on it or not taken from it.

The server is the real one with the real limits on a connection; waits are shorter, and the application is a small one.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from support.processes import until

from radmeter.api import protocol
from radmeter.api.protocol import LEAST_TAKEN, Addresses, BoundedProtocol
from radmeter.api.server import bounded

WITHIN = 60
# More than kernels keep for a connection.
LARGE = 16 << 20
MOST = 5
CHUNKED = b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Application:
    """Answers with the names of the headers, a large body, without an end, or late; counts what is under way."""

    def __init__(self) -> None:
        self.begun = self.under_way = 0
        self.may_end = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            with contextlib.suppress(asyncio.CancelledError):
                for step in ("startup", "shutdown"):
                    await receive()
                    await send({"type": f"lifespan.{step}.complete"})
            return
        self.begun += 1
        self.under_way += 1
        try:
            if scope["path"] == "/read":
                message = await receive()
                while message.get("more_body"):
                    message = await receive()
            while scope["path"] == "/wait" and not self.may_end.is_set():
                await asyncio.sleep(0.01)
            body = (
                b"x" * LARGE if scope["path"] == "/large" else b",".join(name for name, _ in scope["headers"])
            )
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-seen", b"yes")]})
            await send({"type": "http.response.body", "body": body, "more_body": scope["path"] == "/stream"})
            if scope["path"] == "/stream":
                while (await receive())["type"] != "http.disconnect":
                    pass
        finally:
            self.under_way -= 1


@dataclass
class Served:
    """The server that runs, and a way to connect to it."""

    application: Application
    server: uvicorn.Server
    port: int
    trusted: ssl.SSLContext | None

    def plain(self) -> socket.socket:
        """Connect without a TLS handshake."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=WITHIN)

    @contextlib.contextmanager
    def opened(self) -> Iterator[socket.socket]:
        with self.plain() as connection:
            if self.trusted is None:
                yield connection
                return
            with self.trusted.wrap_socket(connection, server_hostname="127.0.0.1") as wrapped:
                yield wrapped

    @property
    def connection(self) -> BoundedProtocol:
        """The one connection that is open, at its other end."""
        until("the connection is there", lambda: self.server.server_state.connections, WITHIN)
        (found,) = self.server.server_state.connections
        assert isinstance(found, BoundedProtocol)
        return found

    @property
    def is_idle(self) -> bool:
        """No connection is left, and nobody answers one."""
        return not self.server.server_state.connections and not self.application.under_way


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of a server, and of a client that trusts it."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "tls.crt", directory / "tls.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-keyout", key, "-out", cert, "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(cert, key)
    return ours, ssl.create_default_context(cafile=str(Path(cert)))


Serving = Callable[..., contextlib.AbstractContextManager[Served]]


@pytest.fixture(params=["http", "https"])
def serving(
    request: pytest.FixtureRequest,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> Serving:
    """Run a server whose waits are long, but for those that a test makes short."""
    ours, trusted = contexts if request.param == "https" else (None, None)

    @contextlib.contextmanager
    def run(**waits: float) -> Iterator[Served]:
        for name in ("HEAD_SECONDS", "KEEP_ALIVE_SECONDS", "TAKE_SECONDS"):
            monkeypatch.setattr(protocol, name, waits.get(name, 10 * WITHIN))
        application = Application()
        addresses = Addresses(MOST, str, lambda _: False)
        server = uvicorn.Server(bounded(application, addresses, ours))
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(server.serve(sockets=[listener]))

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                until("the server listens", lambda: server.started, WITHIN)
                yield Served(application, server, listener.getsockname()[1], trusted)
            finally:
                server.force_exit = server.should_exit = True
                thread.join(WITHIN)
                assert not thread.is_alive()

    return run


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the server ends the connection. Raises TimeoutError if it does not."""
    received = b""
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        while part := connection.recv(1 << 16):
            received += part
    return received


def answer(connection: socket.socket) -> bytes:
    """Return an answer of this application, which has chunks."""
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        part = connection.recv(1 << 16)
        assert part, received
        received += part
    return received


# What has no end: how it begins, and what comes again and again.
NO_END = {
    "head": (b"GET / HTTP/1.1\r\nX: ", b"a"),
    "address": (b"GET /", b"a"),
    "names": (b"GET / HTTP/1.1\r\n", b"X"),
    "empty lines": (b"", b"\r\n"),
    "trailer of an answered request": (b"GET /" + CHUNKED + b"5\r\nhello\r\n0\r\nX: ", b"a"),
    "trailer of a request that is read": (b"POST /read" + CHUNKED + b"0\r\nX: ", b"a"),
    "trailer behind a stream": (b"GET /stream" + CHUNKED + b"0\r\nX: ", b"a"),
    "fields of a trailer": (b"POST /read" + CHUNKED + b"0\r\n", b"X: 1\r\n"),
    "extension of a chunk": (b"POST /read" + CHUNKED + b"5;x=", b"a"),
    "extensions of chunks": (b"GET /stream" + CHUNKED, b"1;" + b"x" * 200 + b"\r\nz\r\n"),
    "requests that wait": (b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
}


@pytest.mark.parametrize("what", NO_END)
def test_what_has_no_end_ends_the_connection(serving: Serving, what: str) -> None:
    begin, again = NO_END[what]
    part = again * ((256 << 10) // len(again))
    with serving(TAKE_SECONDS=0.2) as served, served.opened() as connection:
        ends = time.monotonic() + WITHIN
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            connection.sendall(begin)
            if CHUNKED in begin:
                # What follows is no part of the head.
                until("the head has come", lambda: served.application.begun, WITHIN)
            while time.monotonic() < ends:
                connection.sendall(part)
        assert time.monotonic() < ends
        # The client may have been cut off before it could read: then nothing is there.
        assert rest(connection).count(b"HTTP/1.1 ") <= 1
        until("the connection is gone", lambda: served.is_idle, WITHIN)


def test_bodies_of_requests_that_wait_take_little_memory(serving: Serving) -> None:
    """Over TLS what was read at once comes at once, whether reading was paused meanwhile or not."""
    waiting = (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000) * 19
    with serving() as served, served.opened() as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        until("the request is answered", lambda: served.application.begun, WITHIN)
        (server_side,) = served.server.server_state.connections
        connection.settimeout(1)
        # It takes no more, or it has ended the connection.
        with contextlib.suppress(TimeoutError, ConnectionError, ssl.SSLError):
            connection.sendall(waiting)
        assert isinstance(server_side, BoundedProtocol)
        kept = sum(len(cycle.body) for cycle, _ in server_side.pipeline)
        assert kept <= protocol.MOST_OCTETS_WAITING + protocol.PIECE
        served.application.may_end.set()


# What comes after an answer, and begins no request.
STRAY = {
    "nothing": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    "an empty line": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"),
    "a part of a body": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"x"),
    "a part of a chunk": (b"GET /" + CHUNKED, b"1"),
    "the end of a body, and an empty line": (
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n",
        b"x\r\n",
    ),
}


def test_a_stray_octet_keeps_no_connection(serving: Serving) -> None:
    with serving(KEEP_ALIVE_SECONDS=1, TAKE_SECONDS=0.2) as served, contextlib.ExitStack() as stack:
        opened = {what: stack.enter_context(served.opened()) for what in STRAY}
        for what, (request, stray) in STRAY.items():
            opened[what].sendall(request)
            assert answer(opened[what]).startswith(b"HTTP/1.1 200 "), what
            with contextlib.suppress(ConnectionError):
                opened[what].sendall(stray)
        for what, connection in opened.items():
            # Nothing is sent that a client could take for the answer of a request that it sends now.
            assert rest(connection) == b"", what
        until("the connections are gone", lambda: served.is_idle, WITHIN)


def test_a_second_head_comes_in_time(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as served, served.opened() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer(connection)
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
        connection.sendall(b"GET")
        assert rest(connection).startswith(b"HTTP/1.1 408 ")


def test_a_head_behind_a_long_answer_has_time(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits for the answer, too. Nothing is sent within it."""
    with serving() as served, served.opened() as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        until("an answer is made", lambda: served.application.under_way, WITHIN)
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
        connection.sendall(b"GET")
        until("the head is too late", lambda: is_late(served.connection), WITHIN)
        served.application.may_end.set()
        assert answer(connection).count(b"HTTP/1.1 ") == 1
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 10 * WITHIN)
        connection.sendall(b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


def is_late(connection: BoundedProtocol) -> bool:
    deadline = connection._deadline
    return deadline is not None and deadline.when() < connection.loop.time()


def test_a_handshake_that_does_not_end_counts_for_its_address(serving: Serving) -> None:
    with serving() as served, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(served.plain()) for _ in range(MOST)]
        if served.trusted is not None:
            # The begin of a record of a handshake.
            idle[0].sendall(b"\x16\x03\x01\x02\x00\x01")
        with served.plain() as refused:
            assert rest(refused)[9:12] == (b"" if served.trusted else b"429")
        for each in idle:
            each.close()

        def is_served() -> bool:
            with contextlib.suppress(OSError), served.opened() as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                return connection.recv(12) == b"HTTP/1.1 200"
            return False

        until("the address may connect again", is_served, WITHIN)


def test_a_handshake_comes_in_time(serving: Serving) -> None:
    with serving(HEAD_SECONDS=0.5) as served:
        for begin in (b"", b"\x16\x03\x01\x02\x00\x01"):
            with served.plain() as connection:
                connection.sendall(begin)
                assert rest(connection)[9:12] in ((b"",) if served.trusted else (b"400", b"408"))


# A client that takes nothing of a large answer.
NOTHING_TAKEN = {
    "kept open": b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    "closed": b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "another one waits": b"GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /large HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("what", NOTHING_TAKEN)
def test_who_takes_nothing_is_cut_off(serving: Serving, what: str) -> None:
    with serving(TAKE_SECONDS=0.5) as served, served.opened() as connection:
        connection.sendall(NOTHING_TAKEN[what])
        assert connection.recv(12) == b"HTTP/1.1 200"
        until("the connection is gone", lambda: served.is_idle, WITHIN)
        assert len(rest(connection)) < LARGE


def test_who_takes_enough_gets_all(serving: Serving) -> None:
    with serving() as served, served.opened() as connection:

        def left() -> int:
            wire = served.connection.wire
            assert wire is not None
            return wire.get_write_buffer_size()

        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        taken = 0
        until("an answer is on its way", left, WITHIN)
        before = left()
        while left() > before - LEAST_TAKEN:
            taken += len(connection.recv(1 << 16))
        served.connection.loop.call_soon_threadsafe(served.connection._check_taken, before)
        while taken < LARGE:
            part = connection.recv(1 << 16)
            assert part
            taken += len(part)


def test_who_answers_is_told_that_the_client_is_gone(serving: Serving) -> None:
    """Also if another request waits behind the answer."""
    with serving() as served:
        with served.opened() as connection:
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            assert served.application.under_way == 1
            raw = served.trusted is None
            if raw:
                # An RST.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until("nobody answers", lambda: served.is_idle, WITHIN)


def test_a_field_of_a_trailer_is_no_header(serving: Serving) -> None:
    """A proxy has taken nothing out of a trailer."""
    with serving() as served:
        for path in (b"/", b"/read"):
            with served.opened() as connection:
                connection.sendall(b"POST " + path + CHUNKED + b"0\r\nX-Forwarded-User: eve\r\n\r\n")
                said = answer(connection)
                assert b"transfer-encoding" in said
                assert b"x-forwarded-user" not in said


def test_another_protocol_is_not_begun(serving: Serving) -> None:
    """What comes behind the request is of that protocol, and no second request."""
    for name in (b"h2c", b"websocket"):
        with serving() as served, served.opened() as connection:
            head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + name + b"\r\n\r\n"
            connection.sendall(head + b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
            said = rest(connection)
            assert said.startswith(b"HTTP/1.1 200 ")
            assert said.count(b"HTTP/1.1 ") == 1


def test_what_is_no_request_gets_no_answer_within_another(serving: Serving) -> None:
    with serving() as served:
        for path, comes in ((b"/stream", b"NO REQUEST\r\n"), (b"/stream", b"GET / HTTP/9.9\r\n\r\n")):
            with served.opened() as connection:
                connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                begun = connection.recv(12)
                connection.sendall(comes)
                assert (begun + rest(connection)).count(b"HTTP/1.1 ") == 1
        # A body that is none: here the answer is that of the request.
        with served.opened() as connection:
            connection.sendall(b"POST /read" + CHUNKED + b"no chunk\r\n")
            assert rest(connection).startswith(b"HTTP/1.1 400 ")
        until("nobody answers", lambda: served.is_idle, WITHIN)
