"""Periods of a plan and days of a router, by calendar and time zone."""

from datetime import date, datetime

import pytest
from support.functions import value
from support.servers import Connection


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("on", "anchor_day", "expected"),
    [
        ("2026-02-10", 28, "2026-02-28"),
        ("2026-02-10", 29, "2026-02-28"),
        ("2026-02-10", 31, "2026-02-28"),
        ("2024-02-01", 29, "2024-02-29"),
        ("2024-02-29", 31, "2024-02-29"),
        ("2000-02-01", 30, "2000-02-29"),
        ("2100-02-01", 29, "2100-02-28"),
        ("2026-04-30", 31, "2026-04-30"),
        ("2026-12-31", 31, "2026-12-31"),
        ("2026-04-30", 1, "2026-04-01"),
    ],
)
def test_month_day(connection: Connection, on: str, anchor_day: int, expected: str) -> None:
    assert value(connection, "radmeter.month_day(%s, %s::smallint)", day(on), anchor_day) == day(expected)


@pytest.mark.parametrize(
    ("quota_type", "anchor_day", "quota_start", "on", "expected"),
    [
        # Without a plan: the calendar month.
        (None, None, None, "2026-02-28", "2026-02-01"),
        ("monthly", None, None, "2026-03-01", "2026-03-01"),
        ("daily", 1, None, "2026-02-28", "2026-02-28"),
        # 2026-11-20 is a Friday; anchors of a week are ISO weekdays.
        ("weekly", None, None, "2026-11-20", "2026-11-16"),
        ("weekly", 1, None, "2026-11-16", "2026-11-16"),
        ("weekly", 1, None, "2026-11-15", "2026-11-09"),
        ("weekly", 5, None, "2026-11-20", "2026-11-20"),
        ("weekly", 6, None, "2026-11-20", "2026-11-14"),
        ("weekly", 7, None, "2026-11-20", "2026-11-15"),
        ("weekly", 31, None, "2026-11-20", "2026-11-15"),
        ("weekly", 1, None, "2026-01-01", "2025-12-29"),
        ("monthly", 15, None, "2026-01-14", "2025-12-15"),
        ("monthly", 15, None, "2026-01-15", "2026-01-15"),
        # An anchor that a short month does not have is its last day.
        ("monthly", 29, None, "2026-02-27", "2026-01-29"),
        ("monthly", 29, None, "2026-02-28", "2026-02-28"),
        ("monthly", 29, None, "2026-03-28", "2026-02-28"),
        ("monthly", 29, None, "2026-03-29", "2026-03-29"),
        ("monthly", 29, None, "2024-02-28", "2024-01-29"),
        ("monthly", 29, None, "2024-02-29", "2024-02-29"),
        ("monthly", 30, None, "2023-03-29", "2023-02-28"),
        ("monthly", 30, None, "2024-02-28", "2024-01-30"),
        ("monthly", 30, None, "2024-02-29", "2024-02-29"),
        ("monthly", 31, None, "2026-01-30", "2025-12-31"),
        ("monthly", 31, None, "2026-04-29", "2026-03-31"),
        ("monthly", 31, None, "2026-04-30", "2026-04-30"),
        ("monthly", 31, None, "2026-05-30", "2026-04-30"),
        ("monthly", 31, None, "2026-05-31", "2026-05-31"),
        ("one-time", 1, "2026-05-05", "2030-01-01", "2026-05-05"),
        ("one-time", 1, "2026-05-05", "2026-01-01", "2026-05-05"),
        ("one-time", 1, None, "2026-01-01", "1970-01-01"),
    ],
)
def test_period_start(
    connection: Connection,
    quota_type: str | None,
    anchor_day: int | None,
    quota_start: str | None,
    on: str,
    expected: str,
) -> None:
    assert value(
        connection, "radmeter.period_start(%s, %s::smallint, %s, %s)", quota_type, anchor_day,
        quota_start and day(quota_start), day(on)
    ) == day(expected)  # fmt: skip


def test_periods_have_days_of_the_calendar_and_not_of_the_sessions_zone(connection: Connection) -> None:
    """Samoa went over the date line and had no 30 December 2011."""
    connection.execute("SET timezone = 'Pacific/Apia'")
    assert value(connection, "radmeter.month_day('2011-12-10', 30::smallint)") == day("2011-12-30")
    call = "radmeter.period_start('monthly', 30::smallint, NULL, %s)"
    assert value(connection, call, day("2011-12-30")) == day("2011-12-30")
    assert value(connection, call, day("2011-12-29")) == day("2011-11-30")
    assert value(connection, call, day("2012-01-01")) == day("2011-12-30")


@pytest.mark.parametrize("anchor_day", [1, 15, 28, 29, 30, 31])
@pytest.mark.parametrize("quota_type", ["daily", "weekly", "monthly"])
def test_periods_follow_each_other_without_gap_or_overlap(
    connection: Connection, quota_type: str, anchor_day: int
) -> None:
    """Each day lies in the period that began last, over eight years with two leap days."""
    rows = connection.execute(
        "SELECT day::date, radmeter.period_start(%s, %s::smallint, NULL, day::date) "
        "FROM generate_series(timestamp '2023-01-01', '2030-12-31', '1 day') AS day ORDER BY 1",
        (quota_type, anchor_day),
    ).fetchall()
    current = rows[0][1]
    for on, start in rows[1:]:
        current = on if start == on else current
        assert start == current


@pytest.mark.parametrize(
    ("username", "at", "expected"),
    [
        ("auckland", "2026-10-31T10:59:59Z", "2026-10-01"),
        ("auckland", "2026-10-31T11:00:00Z", "2026-11-01"),
        ("daily", "2026-11-01T07:59:59Z", "2026-11-01"),  # Chicago, on the day its summer time ends
        ("daily", "2026-11-02T05:59:59Z", "2026-11-01"),
        ("daily", "2026-11-02T06:00:00Z", "2026-11-02"),
        ("once", "2026-11-02T06:00:00Z", "2026-05-05"),
        ("nobody", "2026-10-31T11:00:00Z", "2026-10-01"),
        (None, "2026-10-31T23:59:59Z", "2026-10-01"),
        (None, "2026-11-01T00:00:00Z", "2026-11-01"),
    ],
)
def test_user_period_start(connection: Connection, username: str | None, at: str, expected: str) -> None:
    connection.execute("SET timezone = 'America/New_York'")
    connection.execute(
        """INSERT INTO plans (name, quota_type, timezone) VALUES ('a', 'monthly', 'Pacific/Auckland'),
               ('d', 'daily', 'America/Chicago'), ('o', 'one-time', NULL)"""
    )
    connection.execute(
        """INSERT INTO subscribers SELECT username, plans.id, '2026-05-05' FROM plans
           JOIN (VALUES ('auckland', 'a'), ('daily', 'd'), ('once', 'o')) AS user_of (username, name) USING (name)"""
    )
    assert value(
        connection, "radmeter.user_period_start(%s, %s)", username, datetime.fromisoformat(at)
    ) == day(expected)


@pytest.mark.parametrize(
    ("timezone", "at", "expected"),
    [
        ("Europe/Berlin", "2026-03-28T22:59:59Z", "2026-03-28"),
        ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29"),  # the day of 23 hours
        ("Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-30"),
        ("Europe/Berlin", "2026-10-24T21:59:59Z", "2026-10-24"),
        ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25"),  # the day of 25 hours
        ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-26"),
        # A day that begins at 01:00, and one that is over, and is not.
        ("America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-03"),
        ("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04"),
        ("America/Sao_Paulo", "2019-02-17T01:59:59Z", "2019-02-16"),
        ("America/Sao_Paulo", "2019-02-17T02:00:00Z", "2019-02-16"),
        ("America/Sao_Paulo", "2019-02-17T03:00:00Z", "2019-02-17"),
        ("Pacific/Kiritimati", "2026-01-01T09:59:59Z", "2026-01-01"),
        ("Pacific/Kiritimati", "2026-01-01T10:00:00Z", "2026-01-02"),
        (None, "2026-01-01T14:59:59Z", "2026-01-01"),  # the zone of the installation
        (None, "2026-01-01T15:00:00Z", "2026-01-02"),
    ],
)
def test_usage_date(connection: Connection, timezone: str | None, at: str, expected: str) -> None:
    connection.execute("UPDATE radmeter.setting SET value = 'Asia/Tokyo' WHERE name = 'timezone'")
    connection.execute("SET timezone = 'America/New_York'")  # of the session: says nothing
    router_id = value_of_insert(connection, timezone)
    assert value(connection, "radmeter.usage_date(%s, %s)", router_id, datetime.fromisoformat(at)) == day(
        expected
    )
    if timezone is None:
        assert value(connection, "radmeter.usage_date(NULL, %s)", datetime.fromisoformat(at)) == day(expected)


def value_of_insert(connection: Connection, timezone: str | None) -> int:
    row = connection.execute(
        "INSERT INTO routers (name, timezone) VALUES ('r', %s) RETURNING id", (timezone,)
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("quota_type", "anchor_day", "quota_start", "expected"),
    [
        ("monthly", 15, "2026-03-31", 15),
        ("monthly", 0, "2026-03-31", 31),
        ("weekly", 0, "2026-03-31", 2),  # a Tuesday
        ("weekly", 0, None, 1),
        ("monthly", 0, None, 1),
        ("monthly", 0, "infinity", 1),
        (None, None, None, 1),
    ],
)
def test_anchor_day(
    connection: Connection,
    quota_type: str | None,
    anchor_day: int | None,
    quota_start: str | None,
    expected: int,
) -> None:
    row = connection.execute(
        "SELECT coalesce(radmeter.anchor_day(%s, %s::smallint, %s::date), 1)",
        (quota_type, anchor_day, quota_start),
    ).fetchone()
    assert row == (expected,)
