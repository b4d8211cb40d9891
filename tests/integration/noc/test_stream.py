"""The stream: ids, what is sent again, who may listen, and a thousand listeners with flat memory."""

import json
import os
import resource
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.http_server import HttpServer, add_key
from support.processes import until
from support.servers import Connection

LISTENERS = 1000 if os.environ.get("RADMETER_LONG") else 200
# Of the server's process for each listener: its connection, its tasks, its queue.
LISTENER_BYTES = 150_000
# Connections to the database, for reading and for writing.
POOL = 10


class Stream:
    """A connection that reads events."""

    def __init__(self, server: HttpServer, key: str, last_id: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        last = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.socket.sendall(
            f"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{last}\r\n".encode()
        )
        self.received = b""

    def until(self, text: bytes) -> str:
        """Read on until a text has come. Return all that came."""
        while text not in self.received:
            part = self.socket.recv(65536)
            assert part, self.received[-500:]
            self.received += part
        return self.received.decode()

    def close(self) -> None:
        self.socket.close()


def ids(text: str) -> list[str]:
    return [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")]


def test_events_have_ids_and_are_not_kept_back(pages: HttpServer, keys: Mapping[str, str]) -> None:
    with closing(Stream(pages, keys["reader"])) as stream:
        text = stream.until(b"}\n\n")
        head, _, body = text.partition("\r\n\r\n")
        assert "x-accel-buffering: no" in head.lower()
        assert "text/event-stream" in head
        assert "retry: 3000" in body
        figures = json.loads(body.partition("data: ")[2].partition("\n")[0])
        assert figures["routers"] == {"silent": 7, "late": 2, "discovered": 1, "fresh": 25, "idle": 6}
        assert figures["alerts"] == 7
        assert figures["open_sessions"] == 121


def test_what_was_missed_is_sent_again_or_said_to_be_lost(pages: HttpServer, keys: Mapping[str, str]) -> None:
    with closing(Stream(pages, keys["reader"])) as first:
        seen: list[str] = []
        until("three events", lambda: len(ids(first.until(b"id: "))) >= 3 or _more(first), 30)
        seen = ids(first.received.decode())
        with closing(Stream(pages, keys["reader"], last_id=seen[0])) as again:
            text = again.until(f"id: {seen[2]}\n".encode())
            assert "event: resync" not in text
            assert ids(text)[:2] == seen[1:3]
        for odd in ("1-1", seen[0].partition("-")[0] + "-999999", "x" * 300):
            with closing(Stream(pages, keys["reader"], last_id=odd)) as lost:
                lost.until(b"event: resync")


def _more(stream: Stream) -> bool:
    stream.received += stream.socket.recv(65536)
    return False


def test_only_operators_listen(pages: HttpServer, keys: Mapping[str, str]) -> None:
    assert pages.get("/stream", keys["billing"]).status == 403
    assert pages.get("/stream", keys["tenant:Hotel Adler"]).status == 403
    assert pages.get("/stream", "rm_odd").status == 401
    assert pages.request("POST", "/api/v1/stream", keys["noc"]).status == 405


def test_a_stream_ends_with_its_key(pages: HttpServer, scene: Connection) -> None:
    key = add_key(scene, "short", "reader", expires_at=datetime.now(UTC) + timedelta(seconds=4))
    with closing(Stream(pages, key)) as stream:
        stream.until(b"event: figures")
        text = stream.until(b"event: end")
        assert "does not hold any more" in text


def test_an_alert_and_a_silent_router_are_told_within_two_seconds(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    with closing(Stream(pages, keys["reader"])) as stream:
        stream.until(b"event: figures")
        scene.execute(
            "INSERT INTO radmeter.alerts (rule, kind, severity, router_id, began_at, fired_at)"
            " VALUES ('silent', 'router_silent', 'critical', 1, now(), now())"
        )
        began = time.monotonic()
        stream.until(b"event: alerts")
        # The server reads each second.
        assert time.monotonic() - began < 4


def test_many_listeners_cost_little_and_leave_nothing(pages: HttpServer, keys: Mapping[str, str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    assert pages.process is not None
    status = Path(f"/proc/{pages.process.pid}/status")
    with closing(Stream(pages, keys["reader"])) as first:
        first.until(b"event: figures")
        before, connections = _resident(status), _connections(pages.process.pid)
        with ExitStack() as stack:
            streams = [stack.enter_context(closing(Stream(pages, keys["reader"]))) for _ in range(LISTENERS)]
            for each in streams:
                each.until(b"event: figures")
            with_all = _resident(status)
            assert _connections(pages.process.pid) >= connections + LISTENERS
            assert with_all - before < LISTENERS * LISTENER_BYTES, (before, with_all)
            # Nobody reads any more: what is not taken is dropped, and memory stays.
            first.received = b""
            for _ in range(5):
                first.received = b""
                first.until(b"event: figures")
            assert _resident(status) < with_all + LISTENERS * 20_000
        pid = pages.process.pid
        # The pool may have opened connections to the database meanwhile.
        until("all listeners are gone", lambda: _connections(pid) <= connections + POOL, 60)
        first.received = b""
        first.until(b"event: figures")
    print(f"{LISTENERS} listeners: {(with_all - before) / LISTENERS:.0f} bytes each")


def _connections(pid: int) -> int:
    """Return how many sockets a process has open."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += str(each.readlink()).startswith("socket:")
    return found


def _resident(status: Path) -> int:
    line = next(each for each in status.read_text().splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
