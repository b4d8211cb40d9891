"""The stream: ids, what is sent again, who may listen, and a thousand listeners with flat memory."""

import json
import os
import resource
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from support.event_stream import EventStream
from support.http_server import HttpServer, add_key
from support.load_factor import load_factor
from support.processes import until
from support.servers import Connection

LISTENERS = 1000 if os.environ.get("RADMETER_LONG") else 200
# Of the server's process for each listener: its connection, its tasks, its queue.
LISTENER_BYTES = 150_000
# Connections to the database, for reading and for writing.
POOL = 12
ALERT = """
INSERT INTO radmeter.alerts (rule, kind, severity, router_id, began_at, fired_at)
VALUES ('silent', 'router_silent', 'critical', %(router)s, now(), now())"""


def ids(text: str) -> list[str]:
    return [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")]


def test_events_have_ids_and_are_not_kept_back(pages: HttpServer, keys: Mapping[str, str]) -> None:
    with closing(EventStream(pages, keys["reader"])) as stream:
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
    with closing(EventStream(pages, keys["reader"])) as first:
        seen: list[str] = []
        until("three events", lambda: len(ids(first.until(b"id: "))) >= 3 or _more(first), 30)
        seen = ids(first.received.decode())
        with closing(EventStream(pages, keys["reader"], last_id=seen[0])) as again:
            text = again.until(f"id: {seen[2]}\n".encode())
            assert "event: resync" not in text
            assert ids(text)[:2] == seen[1:3]
        for odd in ("1-1", seen[0].partition("-")[0] + "-999999", "x" * 300):
            with closing(EventStream(pages, keys["reader"], last_id=odd)) as lost:
                lost.until(b"event: resync")


def _more(stream: EventStream) -> bool:
    stream.received += stream.socket.recv(65536)
    return False


def test_only_operators_listen(pages: HttpServer, keys: Mapping[str, str]) -> None:
    assert pages.get("/stream", keys["billing"]).status == 403
    assert pages.get("/stream", keys["tenant:Hotel Adler"]).status == 403
    assert pages.get("/stream", "rm_odd").status == 401
    assert pages.request("POST", "/api/v1/stream", keys["noc"]).status == 405


def test_streams_end_with_their_keys(pages: HttpServer, scene: Connection) -> None:
    with ExitStack() as stack:
        revoked, expired = (
            stack.enter_context(closing(EventStream(pages, add_key(scene, name, "reader"))))
            for name in ("revoked", "expired")
        )
        for each in (revoked, expired):
            each.next("figures")
        began = time.monotonic()
        scene.execute("UPDATE radmeter.api_keys SET revoked_at = now() WHERE name = 'revoked'")
        scene.execute(
            "UPDATE radmeter.api_keys SET expires_at = now() + interval '1 second' WHERE name = 'expired'"
        )
        for each, seconds in ((revoked, 2), (expired, 3)):
            assert each.next("end").data == {"reason": "the key does not hold any more"}
            assert time.monotonic() - began < seconds * load_factor() + 1


def test_an_alert_is_told_once_and_who_comes_later_has_missed_nothing(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    with closing(EventStream(pages, keys["reader"])) as stream:
        last = stream.next("figures")
        assert last.data["alerts"] == 7
        scene.execute(ALERT, {"router": 1})
        assert stream.next("alerts").data["open"] == 8
        last = stream.next("figures")
        assert last.data["alerts"] == 8
    # While nobody listens.
    scene.execute(ALERT, {"router": 2})
    with closing(EventStream(pages, keys["reader"], last_id=last.number)) as again:
        assert again.next("alerts", "resync").data["open"] == 9


def test_many_listeners_cost_little_and_leave_nothing(pages: HttpServer, keys: Mapping[str, str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    assert pages.process is not None
    status = Path(f"/proc/{pages.process.pid}/status")
    with closing(EventStream(pages, keys["reader"])) as first:
        first.until(b"event: figures")
        before, connections = _resident(status), _connections(pages.process.pid)
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(EventStream(pages, keys["reader"]))) for _ in range(LISTENERS)
            ]
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
