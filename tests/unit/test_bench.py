"""What the load of `serve` and the soak make of their measurements."""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench import http_requests, soak
from bench.http_requests import read
from bench.soak_requests import Times

WRK = """Running 12s test @ http://127.0.0.1:37071/api/v1/users/guest-0000007@hotspot/usage
  1 threads and 64 connections
Requests/sec:    463.12
p50_ms 14.142
p95_ms 195.031
p99_ms 231.399
answers 5598
errors 10
per_second 463.116
"""


def test_what_wrk_prints_is_read() -> None:
    assert read(WRK) == {
        "p50_ms": 14.142,
        "p95_ms": 195.031,
        "p99_ms": 231.399,
        "answers": 5598,
        "errors": 10,
        "per_second": 463.116,
    }


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_sends_by_the_timetable(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast a server answers, no more requests come than the rate allows, and a refusal is an error."""
    monkeypatch.setattr(http_requests, "RATE", 50)

    class Refusing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            keys.append(self.headers["Authorization"])
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    keys: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            figures = http_requests.wrk(f"http://127.0.0.1:{server.server_port}/", "rm_key", 2)
        finally:
            server.shutdown()
    assert set(keys) == {"Bearer rm_key"}
    # Each connection sends its first request at once.
    assert figures["answers"] == 0 < figures["errors"] <= 2.5 * 50 + http_requests.CONNECTIONS


def test_the_trend_is_the_slope_of_the_samples() -> None:
    assert soak.slope([(0.0, 100), (10.0, 120), (20.0, 140)]) == pytest.approx(2.0)
    assert soak.slope([(0.0, 5), (1.0, 7), (2.0, 5)]) == pytest.approx(0.0)
    assert soak.slope([(3.0, 5)]) == 0.0


def test_a_p95_has_a_twentieth_above_it() -> None:
    times = Times(seconds=[number / 100 for number in range(100, 0, -1)])
    assert times.p95() == pytest.approx(0.96)
    assert Times().p95() == 0.0


def found(**other: object) -> dict[str, object]:
    """Return what a soak finds that misses nothing, with other values."""
    one = {"count": 1000, "p95": 0.04, "errors": 0, "error": ""}
    memory = {"begin": 100 << 20, "end": 104 << 20, "slope": 1 << 20}
    return {
        "hours": 2.0,
        "load": 3.0,
        "packets": 1_800_000,
        "packets_p95": 0.01,
        "logins": 144_000,
        "logins_p95": 0.02,
        "logins_refused": 0,
        "events": 7000,
        "requests": {"usage": one, "page": {**one, "p95": 0.4}, "export": {**one, "p95": 9.0}},
        "connections": (30, 47),
        "memory": {"serve": memory},
        **other,
    }


@pytest.mark.parametrize(
    ("other", "missed"),
    [
        ({}, []),
        ({"packets_p95": 0.6}, ["packets, in 19 of 20 turns (1,800,000)"]),
        ({"requests": {"usage": {"count": 9, "p95": 0.06, "errors": 0, "error": ""}}}, ["usage (9)"]),
        (
            {"requests": {"page": {"count": 9, "p95": 0.06, "errors": 1000, "error": "/: 500"}}},
            ["errors (/: 500)"],
        ),
        ({"connections": (38, 47)}, ["connections"]),
        ({"memory": {"serve": {"begin": 1, "end": 90 << 20, "slope": 11 << 20}}}, ["memory of serve"]),
        ({"memory": {"serve": {"begin": 1, "end": 90 << 20, "slope": 11 << 20}}, "hours": 0.1}, []),
        ({"events": 0}, ["events of the stream"]),
    ],
)
def test_what_is_missed_is_named(other: dict[str, object], missed: list[str]) -> None:
    judged = soak.rows(found(**other))
    assert [row.what for row in judged if not row.kept] == missed
    assert soak.kept(found(**other)) is not bool(missed)
    assert ("MISSED" in soak.report(found(**other))) is bool(missed)
