"""How often parts are read: those that take long less often, and seldom while nobody looks."""

import pytest

from radmeter.api import pacing
from radmeter.api.pacing import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("radmeter.api.pacing.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("took", "seen", "again_after"),
    [
        (0.01, True, 1.0),
        (0.3, True, 3.0),
        (9.0, True, pacing.SLOWEST_SECONDS),
        (0.05, False, 5.0),
        (9.0, False, pacing.SLOWEST_SECONDS_UNSEEN),
    ],
)
def test_what_takes_long_is_read_less_often(
    clock: list[float], took: float, seen: bool, again_after: float
) -> None:
    pace = Pace(1.0)
    assert pace.is_due(seen=seen)
    began = clock[0]
    with pace.reading():
        clock[0] += took
    clock[0] = began + again_after - 0.001
    assert not pace.is_due(seen=seen)
    clock[0] = began + again_after + 0.001
    assert pace.is_due(seen=seen)


def test_a_reading_that_fails_is_still_due(clock: list[float]) -> None:
    pace = Pace(1.0)
    with pytest.raises(ZeroDivisionError), pace.reading():
        raise ZeroDivisionError
    assert pace.is_due()


def test_once_something_has_happened_it_is_read_before_it_is_due(clock: list[float]) -> None:
    pace = Pace(5.0)
    with pace.reading():
        clock[0] += 0.3
    assert not pace.may_be_read
    clock[0] += 1.001
    assert pace.may_be_read
    assert not pace.is_due()
