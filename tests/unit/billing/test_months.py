"""A month: its days, and the instant at which it has ended in a zone."""

import datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radmeter.billing.months import BadMonth, Month, day_begins, month, months

HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
MONTHS = st.dates(datetime.date(1970, 1, 1), datetime.date(2090, 12, 31)).map(Month.of)


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2026-10", 31),
        ("2026-02", 28),
        ("2028-02", 29),
        ("2100-02", 28),
        ("2000-02", 29),
        ("2026-04", 30),
        ("2026-12", 31),
    ],
)
def test_a_month_has_its_real_days(text: str, days: int) -> None:
    found = month(text)
    assert (found.days, str(found)) == (days, text)
    assert found.first.day == 1
    assert found.end == found.next.first
    assert found.next.previous == found


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-1", "2026-10-01", "10-2026", "2026/10", " 2026-10", "2026-10\n", "٢٠٢٦-١٠"]
)
def test_another_text_is_no_month(text: str) -> None:
    with pytest.raises(BadMonth, match="is not a month: write YYYY-MM, such as 2026-10"):
        month(text)


@pytest.mark.parametrize("text", ["2026-00", "2026-13"])
def test_there_are_twelve(text: str) -> None:
    with pytest.raises(BadMonth, match="from 01 to 12"):
        month(text)


@pytest.mark.parametrize("text", ["0000-01", "0001-01", "9999-12"])
def test_the_ends_of_the_calendar_are_not_billed(text: str) -> None:
    with pytest.raises(BadMonth, match="the year is from 0002 to 9998"):
        month(text)


def test_another_day_begins_no_month() -> None:
    with pytest.raises(ValueError, match="2026-10-02 is not the first day of a month"):
        Month(datetime.date(2026, 10, 2))


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2026-10", "UTC", "2026-11-01T00:00"),
        ("2026-10", "Europe/Vienna", "2026-10-31T23:00"),  # winter again since the 25th
        ("2026-09", "Europe/Vienna", "2026-09-30T22:00"),
        ("2026-10", "Pacific/Kiritimati", "2026-10-31T10:00"),  # UTC+14: it ends 14 hours before
        ("2026-10", "Etc/GMT+12", "2026-11-01T12:00"),  # UTC-12: 26 hours after that
        ("2026-10", "Asia/Kathmandu", "2026-10-31T18:15"),
        ("2022-09", "Africa/Cairo", "2022-09-30T22:00"),
    ],
)
def test_a_month_ends_at_the_local_midnight(text: str, zone: str, instant: str) -> None:
    assert month(text).ends_at(ZoneInfo(zone)) == utc(instant)


def test_a_day_without_a_midnight_begins_where_the_clock_jumps() -> None:
    # 00:00 became 01:00.
    assert day_begins(datetime.date(2018, 11, 4), ZoneInfo("America/Sao_Paulo")) == utc("2018-11-04T03:00")
    # 00:01 became 01:01: there is one minute of the day before.
    assert day_begins(datetime.date(2006, 4, 2), ZoneInfo("America/St_Johns")) == utc("2006-04-02T03:30")
    # Toronto's clocks went from 23:30 to 00:30.
    assert day_begins(datetime.date(1919, 3, 31), ZoneInfo("America/Toronto")) == utc("1919-03-31T04:30")
    # Samoa had no 30 December 2011.
    assert day_begins(datetime.date(2011, 12, 30), ZoneInfo("Pacific/Apia")) == utc("2011-12-30T10:00")
    assert day_begins(datetime.date(2011, 12, 31), ZoneInfo("Pacific/Apia")) == utc("2011-12-30T10:00")


def test_where_midnight_comes_twice_it_is_the_first() -> None:
    # 01:00 became 00:00.
    assert day_begins(datetime.date(2026, 11, 1), ZoneInfo("America/Havana")) == utc("2026-11-01T04:00")


@given(of=MONTHS, zone=st.sampled_from(sorted(available_timezones())).map(ZoneInfo))
def test_the_instant_is_the_first_of_the_next_month(of: Month, zone: ZoneInfo) -> None:
    end = of.ends_at(zone)
    assert end.astimezone(zone).date() >= of.end
    assert (end - datetime.timedelta(microseconds=1)).astimezone(zone).date() < of.end
    assert abs(end - datetime.datetime.combine(of.end, datetime.time(), datetime.UTC)) <= 26 * HOUR


def test_a_month_has_ended_when_it_has_in_every_zone_and_is_settled() -> None:
    zones = [ZoneInfo("Europe/Vienna"), ZoneInfo("America/Los_Angeles")]
    last = utc("2026-11-01T07:00")  # in Los Angeles, where it is still summer time
    assert not month("2026-10").ended(zones, last - datetime.timedelta(microseconds=1), 0 * HOUR)
    assert month("2026-10").ended(zones, last, 0 * HOUR)
    assert not month("2026-10").ended(zones, last + 23 * HOUR, 24 * HOUR)
    assert month("2026-10").ended(zones, last + 24 * HOUR, 24 * HOUR)
    assert month("2026-10").ended(zones[:1], last, 0 * HOUR)


@given(of=MONTHS)
def test_months_follow_each_other(of: Month) -> None:
    year = list(months(of, Month.of(of.first + 400 * DAY)))
    assert len(year) in (13, 14)
    assert sum(each.days for each in year[:12]) in (365, 366)
    assert year == sorted(year)
    for each in year:
        assert each.first in each
        assert each.end not in each
        assert each.end - DAY in each
        assert Month.of(each.end - DAY) == each
