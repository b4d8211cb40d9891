"""Progress without a terminal: plain lines with some seconds in between."""

import re
import time

import pytest

from radmeter.progress import progress
from radmeter.units import duration, interval


def test_lines_have_time_done_total_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress("counting sessions", 10_000) as bar:
        for _ in range(4):
            now[0] += 2
            bar.advance(1_000)
        bar.say("half way, nearly")
    lines = capsys.readouterr().err.splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d "
    assert re.fullmatch(stamp + "counting sessions: 3,000 of 10,000 rows, 500/s, 14 s left", lines[0])
    assert re.fullmatch(stamp + "half way, nearly", lines[1])
    assert re.fullmatch(stamp + "counting sessions: 4,000 of 10,000 rows, 500/s, 12 s left", lines[2])
    assert len(lines) == 3


def test_a_short_task_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("nothing", 3) as bar:
        bar.completed = 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (86399, "23 h 59 min"),
        (86400, "1 d 0 h"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_a_duration_as_people_read_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(30, "30 s"), (60, "1 min"), (65, "1 min 5 s"), (5400, "1 h 30 min"), (600, "10 min"), (86400, "1 d")],
)
def test_a_time_that_comes_again_has_no_rest_of_nothing(seconds: float, text: str) -> None:
    assert interval(seconds) == text
