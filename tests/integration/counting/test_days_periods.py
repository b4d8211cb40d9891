"""Event time, and the day and the period in which an increase counts."""

import pytest
from support.events import (
    Example,
    example,
    interim,
    one,
    start,
    stop,
)
from support.outcomes import Counted

EXAMPLES = [
    # --- event time
    example(
        "event time: the Event-Timestamp, at most 7 days old",
        interim("03 10:10", 100, 200, 600, arrived="10 10:10"),
        sessions=("anna harbour 03 10:00 .. 100/200",),
        users=("anna 03-01 100/200",),
        days=("harbour 03-03 100/200",),
    ),
    example(
        "event time: a stamp older than 7 days is not believed",
        interim("03 10:09:59", 100, 200, 600, arrived="10 10:10"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "event time: a stamp of up to 5 minutes ahead is believed",
        interim("10:15", 100, 200, 600, arrived="10:10"),
        **one("10:05 ..", "100/200"),
    ),
    example(
        "event time: a stamp further ahead is not believed",
        interim("10:15:01", 100, 200, 600, arrived="10:10"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "event time: a clock of 1970 falls back to the arrival less Acct-Delay-Time",
        interim("1970-01-01 00:10", 100, 200, 600, arrived="11 00:05", more=(("Acct-Delay-Time", "600"),)),
        sessions=("anna harbour 23:45 .. 100/200",),
        users=("anna 03-01 100/200",),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "event time: an Acct-Delay-Time that cannot be does not move the event",
        interim("10:10", 100, 200, 600, stamped=False, more=(("Acct-Delay-Time", "4294967295"),)),
        **one("10:00 ..", "100/200"),
    ),
    # --- day and period
    example(
        "day: a late interim after the Stop counts in its own day",
        stop("11 00:10", 100, 200, 1200),
        interim("23:55", 130, 200, 300, arrived="11 00:11"),
        sessions=("anna harbour 23:50 .. 11 00:10 User-Request 130/200",),
        users=("anna 03-01 130/200",),
        days=("harbour 03-10 30/0", "harbour 03-11 100/200"),
    ),
    example(
        "period: a late interim after the Stop counts in its own period",
        stop("11 00:10", 100, 200, 1200, user="daily"),
        interim("23:55", 130, 200, 300, arrived="11 00:11", user="daily"),
        sessions=("daily harbour 23:50 .. 11 00:10 User-Request 130/200",),
        users=("daily 03-10 30/0", "daily 03-11 100/200"),
        days=("harbour 03-10 30/0", "harbour 03-11 100/200"),
    ),
    example(
        "day: a session over midnight is split at the interims",
        start("23:00"),
        interim("23:50", 100, 200, 3000),
        interim("11 00:10", 130, 240, 4200),
        stop("11 00:20", 135, 250, 4800),
        sessions=("anna harbour 23:00 .. 11 00:20 User-Request 135/250",),
        users=("anna 03-01 135/250",),
        days=("harbour 03-10 100/200", "harbour 03-11 35/50"),
    ),
    example(
        "day: of the event, not of the arrival",
        start("23:00"),
        interim("23:59", 100, 200, 3540, arrived="11 00:01"),
        **one("23:00 ..", "100/200"),
    ),
    example(
        "day: a late interim counts in its own day",
        interim("11 00:10", 100, 200, 4200),
        interim("23:50", 90, 230, 3000, arrived="11 00:11"),
        sessions=("anna harbour 23:00 .. 100/230",),
        users=("anna 03-01 100/230",),
        days=("harbour 03-10 0/30", "harbour 03-11 100/200"),
    ),
    example(
        "day: there and back again",
        interim("23:50", 10, 10, 3000),
        interim("11 00:10", 20, 20, 4200),
        interim("23:55", 25, 20, 3300, arrived="11 00:11"),
        interim("11 00:20", 31, 30, 4800),
        sessions=("anna harbour 23:00 .. 31/30",),
        users=("anna 03-01 31/30",),
        days=("harbour 03-10 15/10", "harbour 03-11 16/20"),
    ),
    example(
        "day: in the router's time zone, before noon in Kolkata it is still the day before in New York",
        interim("03:00", 1, 2, 600, router="lodge"),
        interim("03:00", 3, 4, 600, router="hostel", session="s2"),
        interim("20:00", 3, 4, 600, router="lodge", session="s3"),
        interim("20:00", 5, 6, 600, router="hostel", session="s4"),
        sessions=(
            "anna hostel 02:50 .. 3/4",
            "anna hostel 19:50 .. 5/6",
            "anna lodge 02:50 .. 1/2",
            "anna lodge 19:50 .. 3/4",
        ),
        users=("anna 03-01 12/16",),
        days=("hostel 03-10 3/4", "hostel 03-11 5/6", "lodge 03-09 1/2", "lodge 03-10 3/4"),
    ),
    example(
        "day: of 23 hours, New York on 8 March 2026",
        interim("2026-03-08 04:59", 1, 1, 60, router="lodge"),
        interim("2026-03-08 05:00", 3, 3, 120, router="lodge"),
        interim("2026-03-09 03:59", 10, 10, 82860, router="lodge"),
        stop("2026-03-09 04:00", 30, 30, 82920, router="lodge"),
        sessions=("anna lodge 08 04:58 .. 09 04:00 User-Request 30/30",),
        users=("anna 03-01 30/30",),
        days=("lodge 03-07 1/1", "lodge 03-08 9/9", "lodge 03-09 20/20"),
    ),
    example(
        "day: of 25 hours, New York on 1 November 2026",
        interim("2026-11-01 03:59", 1, 1, 60, router="lodge"),
        interim("2026-11-01 04:00", 3, 3, 120, router="lodge"),
        interim("2026-11-02 04:59", 10, 10, 90060, router="lodge"),
        stop("2026-11-02 05:00", 30, 30, 90120, router="lodge"),
        sessions=("anna lodge 2026-11-01 03:58 .. 2026-11-02 05:00 User-Request 30/30",),
        users=("anna 11-01 30/30",),
        days=("lodge 10-31 1/1", "lodge 11-01 9/9", "lodge 11-02 20/20"),
    ),
    example(
        "period: a session over the end of a month is split",
        start("2026-03-31 23:00"),
        interim("2026-03-31 23:50", 100, 200, 3000),
        stop("2026-04-01 00:10", 130, 240, 4200),
        sessions=("anna harbour 31 23:00 .. 2026-04-01 00:10 User-Request 130/240",),
        users=("anna 03-01 100/200", "anna 04-01 30/40"),
        days=("harbour 03-31 100/200", "harbour 04-01 30/40"),
    ),
    example(
        "period: in the plan's time zone, the day in the router's",
        stop(
            "2026-04-01 03:00", 100, 200, 600, router="hostel", user="carla"
        ),  # 23:00 on 31 March in New York
        sessions=("carla hostel 2026-04-01 02:50 .. 2026-04-01 03:00 User-Request 100/200",),
        users=("carla 03-01 100/200",),
        days=("hostel 04-01 100/200",),
    ),
    example(
        "period: daily, weekly from Wednesday, monthly from the 31st, one-time",
        stop("10:00", 1, 1, 60, user="daily"),
        stop("10:00", 2, 2, 60, user="weekly"),
        stop("10:00", 3, 3, 60, user="monthly"),
        stop("10:00", 4, 4, 60, user="one-time"),
        sessions=tuple(
            f"{user} harbour 09:59 .. 10:00 User-Request {n}/{n}"
            for user, n in (("daily", 1), ("monthly", 3), ("one-time", 4), ("weekly", 2))
        ),
        users=("daily 03-10 1/1", "monthly 02-28 3/3", "one-time 01-15 4/4", "weekly 03-04 2/2"),
        days=("harbour 03-10 10/10",),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_days_and_periods(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
