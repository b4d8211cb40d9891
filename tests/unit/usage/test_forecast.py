"""The forecast: exact on what is regular, with a range where it is not, and refused where there is too little."""

from datetime import date, timedelta

import pytest

from radmeter.usage.forecast import Forecast, TooLittleHistory, forecast

MONTH = date(2026, 10, 1)
END = date(2026, 11, 1)
# A Thursday.
TODAY = date(2026, 10, 15)


def before(days: int, today: date = TODAY) -> list[date]:
    return [today - timedelta(days=each) for each in range(1, days + 1)]


def test_what_is_always_the_same_stays_so() -> None:
    days = {**dict.fromkeys(before(56), 10), TODAY: 4}
    assert forecast(days, first=MONTH, end=END, today=TODAY) == Forecast(
        used=144, expected=310, low=310, high=310, days_left=17, days_of_history=56
    )


def test_weekdays_are_told_apart() -> None:
    """On Sundays nobody comes: of the days after today, two are Sundays."""
    days = {day: 0 if day.weekday() == 6 else 10 for day in before(56)}
    found = forecast(days, first=MONTH, end=END, today=TODAY)
    assert found.used == 120
    assert found.expected == 120 + 10 * (17 - 2)
    assert (found.low, found.high) == (found.expected, found.expected)


def test_the_range_is_twice_the_deviation() -> None:
    """Each weekday was 8 and 12 in turn: mean 10, variance 4 * 8 / 7. One whole day is left."""
    days = {
        day: 8 if (TODAY - day).days // 7 % 2 else 12
        for day in (TODAY - timedelta(days=56) + timedelta(days=each) for each in range(56))
    }
    days[TODAY] = 11
    found = forecast(days, first=TODAY - timedelta(days=3), end=TODAY + timedelta(days=2), today=TODAY)
    # Of today more than the mean is used already: nothing more is expected, but its spread counts.
    assert found.expected - found.used == 10
    assert found.high - found.expected == 6  # 2 * sqrt(2 * 32 / 7) = 6.04..
    assert found.low == found.expected - 6


def test_the_range_never_begins_below_what_is_used() -> None:
    days = {day: 1000 if (TODAY - day).days % 14 == 0 else 0 for day in before(56)} | {before(56)[0]: 1}
    found = forecast(days, first=TODAY, end=TODAY + timedelta(days=8), today=TODAY)
    assert found.used == 0
    assert found.low == 0 < found.expected < found.high


def test_too_little_history_is_refused() -> None:
    with pytest.raises(TooLittleHistory) as caught:
        forecast(dict.fromkeys(before(13), 5), first=MONTH, end=END, today=TODAY)
    assert caught.value.days == 13
    assert forecast(dict.fromkeys(before(14), 5), first=MONTH, end=END, today=TODAY).days_of_history == 14
    with pytest.raises(TooLittleHistory):
        forecast({}, first=MONTH, end=END, today=TODAY)


def test_days_that_are_not_known_are_no_days_without_usage() -> None:
    days = dict.fromkeys(before(56), 5)
    known = TODAY - timedelta(days=20)
    assert forecast(days, first=MONTH, end=END, today=TODAY, known_from=known).days_of_history == 20
    with pytest.raises(TooLittleHistory):
        forecast(days, first=MONTH, end=END, today=TODAY, known_from=TODAY - timedelta(days=13))


def test_octets_beyond_a_float_are_exact() -> None:
    days = dict.fromkeys(before(56), 2**53 + 1) | {TODAY: 0}
    found = forecast(days, first=TODAY, end=TODAY + timedelta(days=3), today=TODAY)
    assert (found.low, found.expected, found.high) == (3 * (2**53 + 1),) * 3
