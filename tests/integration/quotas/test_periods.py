"""Each end of a period in two years: it is midnight in the zone of the plan, and no job is needed."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from support.model import Plan
from support.quotas import MB, apply_due, give_plan, queue, state, use
from support.servers import Connection

ZONES = (
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "America/New_York",
    "Pacific/Auckland",
    "Asia/Kolkata",
    "UTC",
    "Atlantic/Azores",
    "America/Havana",
)
# The day on which midnight comes twice.
TWICE = (
    ("Atlantic/Azores", "2027-10-31", "2027-10-31 00:00Z"),
    ("America/Havana", "2027-11-07", "2027-11-07 04:00Z"),
)
KINDS = (("daily", 1), ("weekly", 7), ("monthly", 31), ("monthly", 30), ("monthly", 15))
# The day of each user: both got the plan on Sunday, 31 March 2024.
JOINED = (("weekly", 0, 7), ("monthly", 0, 31))


@pytest.mark.parametrize(
    ("quota_type", "stored", "anchor_day"), [*((kind, day, day) for kind, day in KINDS), *JOINED]
)
def test_each_period_of_two_years(
    connection: Connection, quota_type: str, stored: int, anchor_day: int
) -> None:
    for zone in ZONES:
        connection.execute(
            "INSERT INTO plans (name, quota_type, anchor_day, timezone, quota_bytes) VALUES (%s, %s, %s, %s, 5)",
            (zone, quota_type, stored, zone),
        )
    connection.execute(
        "INSERT INTO subscribers (username, plan_id, quota_start) SELECT name, id, '2024-03-31' FROM plans"
    )
    begin = datetime.now(UTC).replace(minute=30)
    rows = connection.execute(
        """SELECT at, state.* FROM generate_series(%s, %s::timestamptz + interval '2 years', interval '25 hours') AS at,
           LATERAL (SELECT username, period_start, period_end, period_ends_at
                    FROM radmeter.quota_state(%s, at)) AS state""",
        (begin, begin, list(ZONES)),
    ).fetchall()
    assert len(rows) > 600 * len(ZONES)
    for at, zone, start, end, ends_at in rows:
        plan, local = Plan(quota_type, anchor_day, zone), ZoneInfo(zone)
        day = at.astimezone(local).date()
        assert start == plan.period_start(day), (zone, at)
        next_day = day
        while plan.period_start(next_day) == start:
            next_day += timedelta(days=1)
        assert end == next_day, (zone, at)
        # Where midnight is left out or comes twice on the night of a change of clocks, the first instant of the day.
        midnight = datetime.combine(next_day, time(), local).astimezone(UTC)
        assert ends_at == midnight, (zone, at)
        assert ends_at > at


@pytest.mark.parametrize(("zone", "day", "begins"), TWICE)
def test_a_period_ends_at_the_first_of_two_midnights(
    connection: Connection, zone: str, day: str, begins: str
) -> None:
    give_plan(connection)
    connection.execute("UPDATE plans SET quota_type = 'daily', timezone = %s", (zone,))
    begin = datetime.fromisoformat(begins)
    for seconds, period in ((-1, date.fromisoformat(day) - timedelta(days=1)), (0, date.fromisoformat(day))):
        found = state(connection, at=begin + timedelta(seconds=seconds))
        assert found["period_start"] == period
    assert state(connection, at=begin - timedelta(seconds=1))["period_ends_at"] == begin


def test_a_day_begins_with_its_first_instant_in_every_zone(connection: Connection) -> None:
    """Each week of this and the next ten years in which the clocks of a zone change."""
    wrong = connection.execute(
        """SELECT zone.name, day, begins
           FROM (SELECT name FROM pg_timezone_names WHERE name NOT LIKE 'posix%%') AS zone
           CROSS JOIN generate_series(%s::timestamp, %s::timestamp, interval '7 days') AS week
           CROSS JOIN LATERAL generate_series(week, week + interval '7 days', interval '1 day') AS at
           CROSS JOIN LATERAL (SELECT at::date AS day, radmeter.day_begins(at::date, zone.name) AS begins) AS day
           WHERE week AT TIME ZONE zone.name + interval '168 hours' <> (week + interval '7 days') AT TIME ZONE zone.name
             AND ((begins AT TIME ZONE zone.name)::date <> day
                  OR EXISTS (SELECT FROM generate_series(0, 16) AS step
                             WHERE ((begins - interval '1 us' - step * interval '15 minutes')
                                    AT TIME ZONE zone.name)::date >= day))""",
        (datetime.now(UTC).date(), datetime.now(UTC).date() + timedelta(days=3660)),
    ).fetchall()
    assert wrong == []


@pytest.mark.parametrize("zone", ZONES)
def test_the_end_of_a_period_serves_the_user_again_without_a_job(
    database: str, connection: Connection, zone: str
) -> None:
    give_plan(connection)
    connection.execute("UPDATE plans SET quota_type = 'daily', timezone = %s", (zone,))
    use(database, 11 * MB)
    now = state(connection)
    if now["status"] != "over":  # the period has just ended
        use(database, 22 * MB)
        now = state(connection)
    assert (now["status"], now["due_at"]) == ("over", now["period_ends_at"])
    end = now["period_ends_at"]
    before, after = (state(connection, at=end + timedelta(seconds=each)) for each in (-1, 0))
    assert (before["status"], before["remaining_bytes"]) == ("over", 0)
    assert (after["status"], after["remaining_bytes"]) == ("active", 10 * MB)
    assert after["period_start"] == now["period_end"]


def test_a_user_who_got_a_smaller_plan_is_cut_and_not_asked_for_an_exception(
    database: str, connection: Connection
) -> None:
    """The user is above the new limit already, in each direction and in time, and has top-ups."""
    give_plan(connection)
    use(database, 9 * MB)
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 1000000)")
    connection.execute(
        """INSERT INTO plans (name, quota_bytes, quota_bytes_in, quota_bytes_out, quota_seconds, rollover_bytes)
           VALUES ('small', 2000000, 1000000, 0, 0, 0)"""
    )
    connection.execute("UPDATE subscribers SET plan_id = (SELECT id FROM plans WHERE name = 'small')")
    apply_due(connection)
    found = state(connection)
    assert (found["status"], found["remaining_bytes"], found["remaining_in"], found["remaining_out"]) == (
        "over",
        0,
        0,
        0,
    )
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]
    connection.execute("UPDATE subscribers SET plan_id = (SELECT id FROM plans WHERE name = 'plan of bob')")
    apply_due(connection)
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "dropped")]


def test_a_top_up_that_expires_in_the_instant_of_a_new_period(database: str, connection: Connection) -> None:
    """What was used of it before is paid by it; the new period has none of it."""
    give_plan(connection)
    connection.execute("UPDATE plans SET quota_type = 'daily', timezone = 'UTC'")
    end = state(connection)["period_ends_at"]
    connection.execute(
        "INSERT INTO top_ups (username, bytes, expires_at) VALUES ('bob', 5000000, %s)", (end,)
    )
    use(database, 12 * MB)
    assert state(connection)["top_up_bytes"] in (3 * MB, 5 * MB)
    after = state(connection, at=end)
    assert (after["quota_bytes"], after["remaining_bytes"], after["top_up_bytes"]) == (10 * MB, 10 * MB, 0)
