"""The same Stop again: after seconds, at the edge of what is believed of a clock, after weeks."""

import pytest
from support.events import Example, Reaper, example, interim, one, start, stop
from support.outcomes import Counted

EXAMPLES = [
    example(
        "a clock 303 s ahead: unstamped, and stamped 5 s later",
        stop("10:05:03", 1000, 0, 60, arrived="10:00"),
        stop("10:05:03", 1000, 0, 60, arrived="10:00:05"),
        stop("10:05:03", 1000, 0, 60, arrived="10:00:10"),
        **one("09:59 .. 10:00 User-Request", "1000/0"),
    ),
    example(
        "a clock 303 s ahead, and again at the edge of 7 days",
        stop("10:05:03", 1000, 0, 60, arrived="10:00"),
        stop("10:05:03", 1000, 0, 60, arrived="10:00:05"),
        stop("10:05:03", 1000, 0, 60, arrived="17 10:05:02"),
        stop("10:05:03", 1000, 0, 60, arrived="17 10:05:04"),
        **one("09:59 .. 10:00 User-Request", "1000/0"),
    ),
    example(
        "at the edge of 7 days: stamped, and unstamped 2 s later",
        stop("03 10:00", 1000, 0, 60, arrived="10:00"),
        stop("03 10:00", 1000, 0, 60, arrived="10:00:02"),
        sessions=("anna harbour 03 09:59 .. 03 10:00 User-Request 1000/0",),
        users=("anna 03-01 1000/0",),
        days=("harbour 03-03 1000/0",),
    ),
    example(
        "stamped 8 days ago, again 75 s later",
        stop("02 10:00", 1000, 0, 10, arrived="10:00"),
        stop("02 10:00", 1000, 0, 10, arrived="10:01:15"),
        **one("09:59:50 .. 10:00 User-Request", "1000/0"),
    ),
    example(
        "unstamped, again 75 s later and weeks later",
        stop("10:00", 1000, 0, 10, stamped=False),
        stop("10:01:15", 1000, 0, 10, stamped=False),
        stop("2026-04-20 10:00", 1000, 0, 10, stamped=False),
        **one("09:59:50 .. 10:00 User-Request", "1000/0"),
    ),
    example(
        "of a session that was open",
        start("09:00"),
        interim("09:30", 600, 0, 1800),
        stop("10:00", 1000, 0, 3600),
        stop("10:00", 1000, 0, 3600, arrived="17 10:00:01"),
        **one("09:00 .. 10:00 User-Request", "1000/0"),
    ),
    example(
        "octets over a restart are compared as the router reported them",
        start("09:00"),
        interim("09:30", 1600, 0, 1800),
        stop("10:00", 1000, 0, 3600),
        stop("10:00", 1000, 0, 3600, arrived="17 10:00:01"),
        anomalies=("restart input 1600 2600",),
        **one("09:00 .. 10:00 User-Request", "2600/0"),
    ),
    example(
        "of an older session, while another session of the id is open",
        stop("09:00", 1000, 0, 60, stamped=False),
        interim("10:00", 500, 0, 600),
        stop("10:00:30", 1000, 0, 60, stamped=False),
        interim("10:10", 700, 0, 1200),
        sessions=("anna harbour 08:59 .. 09:00 User-Request 1000/0", "anna harbour 09:50 .. 700/0"),
        users=("anna 03-01 1700/0",),
        days=("harbour 03-10 1700/0",),
    ),
    example(
        "equal bytes of a router without a clock that was rebooted: the Start proves the session",
        start("09:00", stamped=False),
        stop("09:01", 1000, 0, 60, stamped=False),
        start("10:00", stamped=False),
        stop("10:01", 1000, 0, 60, stamped=False),
        sessions=(
            "anna harbour 09:00 .. 09:01 User-Request 1000/0",
            "anna harbour 10:00 .. 10:01 User-Request 1000/0",
        ),
        users=("anna 03-01 2000/0",),
        days=("harbour 03-10 2000/0",),
    ),
    example(
        "equal bytes, and an interim proves the session",
        stop("09:01", 1000, 0, 60, stamped=False),
        interim("10:00:30", 500, 0, 30, stamped=False),
        stop("10:01", 1000, 0, 60, stamped=False),
        sessions=(
            "anna harbour 09:00 .. 09:01 User-Request 1000/0",
            "anna harbour 10:00 .. 10:01 User-Request 1000/0",
        ),
        users=("anna 03-01 2000/0",),
        days=("harbour 03-10 2000/0",),
    ),
    example(
        "without stamp and session time a Stop shows too little",
        stop("10:00", 1000, 0, stamped=False),
        stop("16:00", 1000, 0, stamped=False),
        sessions=(
            "anna harbour 10:00 .. 10:00 User-Request 1000/0",
            "anna harbour 16:00 .. 16:00 User-Request 1000/0",
        ),
        users=("anna 03-01 2000/0",),
        days=("harbour 03-10 2000/0",),
    ),
    example(
        "another stamp is another Stop",
        stop("09:01", 1000, 0, 60),
        stop("10:01", 1000, 0, 60),
        sessions=(
            "anna harbour 09:00 .. 09:01 User-Request 1000/0",
            "anna harbour 10:00 .. 10:01 User-Request 1000/0",
        ),
        users=("anna 03-01 2000/0",),
        days=("harbour 03-10 2000/0",),
    ),
    example(
        "other octets are another Stop",
        stop("09:01", 1000, 0, 60, stamped=False),
        stop("10:01", 1001, 0, 60, stamped=False),
        sessions=(
            "anna harbour 09:00 .. 09:01 User-Request 1000/0",
            "anna harbour 10:00 .. 10:01 User-Request 1001/0",
        ),
        users=("anna 03-01 2001/0",),
        days=("harbour 03-10 2001/0",),
    ),
    example(
        "another session time is another Stop",
        stop("09:01", 1000, 0, 60, stamped=False),
        stop("10:01", 1000, 0, 61, stamped=False),
        sessions=(
            "anna harbour 09:00 .. 09:01 User-Request 1000/0",
            "anna harbour 09:59:59 .. 10:01 User-Request 1000/0",
        ),
        users=("anna 03-01 2000/0",),
        days=("harbour 03-10 2000/0",),
    ),
    example(
        "a session that no Stop closed has no Stop to repeat",
        interim("09:01", 1000, 0, 60, stamped=False),
        Reaper("09:30"),
        stop("10:01", 1000, 0, 60, stamped=False),
        sessions=(
            "anna harbour 09:00 .. 09:01 Admin-Reset 1000/0",
            "anna harbour 10:00 .. 10:01 User-Request 1000/0",
        ),
        users=("anna 03-01 2000/0",),
        days=("harbour 03-10 2000/0",),
    ),
    example(
        "a Stop that shows another start than the open session ends it all the same",
        start("09:00"),
        interim("09:30", 600, 0, 1800),
        stop("10:00", 1000, 0, 3000),
        **one("09:00 .. 10:00 User-Request", "1000/0"),
    ),
    example(
        "an earlier Stop in a month that has no partition yet ends the session where that began",
        interim("2026-06-02 00:00", 1000, 0, 60),
        stop("2026-05-30 00:00", 1001, 0, 0, arrived="2026-06-02 00:01"),
        sessions=("anna harbour 2026-06-01 23:59 .. 2026-06-01 23:59 User-Request 1001/0",),
        users=("anna 05-01 1/0", "anna 06-01 1000/0"),
        days=("harbour 05-30 1/0", "harbour 06-02 1000/0"),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_repeated_stops(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
