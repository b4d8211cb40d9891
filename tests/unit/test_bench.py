"""What the load of `serve` and the soak make of their measurements."""

import pytest

from bench import soak
from bench.http_requests import read, together
from bench.soak_requests import Times

HEY = """
Summary:
  Total:	4.0102 secs
  Requests/sec:	498.7282

Latency distribution:
  10%% in 0.0021 secs
  50%% in 0.0034 secs
  95%% in 0.0125 secs
  99%% in 0.0301 secs

Status code distribution:
  [200]	1990 responses
  [503]	7 responses

Error distribution:
  [3]	Get "http://127.0.0.1:1/": context deadline exceeded
"""


def test_what_hey_prints_is_read() -> None:
    found = read(HEY)
    assert found["per_second"] == pytest.approx(498.7282)
    assert [found[name] for name in ("p50_ms", "p95_ms", "p99_ms")] == pytest.approx([3.4, 12.5, 30.1])
    assert (found["answers"], found["errors"]) == (1990, 10)


def test_of_several_heys_no_percentile_is_too_low() -> None:
    first = {"per_second": 50.0, "p50_ms": 3.0, "p95_ms": 12.0, "answers": 100.0, "errors": 0.0}
    second = {"per_second": 40.0, "p50_ms": 4.0, "p95_ms": 9.0, "answers": 80.0, "errors": 1.0}
    assert together([first, second]) == {
        "per_second": 90.0,
        "p50_ms": 4.0,
        "p95_ms": 12.0,
        "answers": 180.0,
        "errors": 1.0,
    }


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
