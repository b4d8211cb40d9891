"""Start: opens a session, moves its beginning, ends one that the router forgot."""

import pytest
from support.events import (
    NO_COUNTERS,
    Example,
    Reaper,
    accounting_off,
    accounting_on,
    example,
    interim,
    one,
    start,
    stop,
)
from support.outcomes import Counted

EXAMPLES = [
    # --- Start
    example(
        "Start: opens a session with zero octets", start("10:00"), **{**one("10:00 ..", "0/0"), **NO_COUNTERS}
    ),
    example(
        "Start: octets in it are not counted",
        start("10:00", octets=(7, 8)),
        interim("10:10", 100, 200, 600),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Start: octets in a second or late one are not counted",
        interim("10:10", 100, 200, 600),
        start("10:00", octets=(7000, 8000), arrived="10:11"),
        stop("10:20", 150, 250, 1200),
        start("10:00", octets=(7000, 8000), arrived="10:21"),
        **one("10:00 .. 10:20 User-Request", "150/250"),
    ),
    example(
        "Start: a second one moves nothing",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        start("10:00", arrived="10:11"),
        interim("10:20", 150, 250, 1200),
        **one("10:00 ..", "150/250"),
    ),
    example(
        "Start: a late one never moves a start later",
        interim("10:10", 100, 200, 600),
        start("10:05", arrived="10:11"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Start: an earlier one moves the start earlier",
        interim("10:10", 100, 200),
        start("10:00", arrived="10:11"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Start: an earlier one moves the start of a stopped session earlier",
        stop("10:10", 100, 200),
        start("10:00", arrived="10:11"),
        **one("10:00 .. 10:10 User-Request", "100/200"),
    ),
    example(
        "Start: a late one of a closed session does not touch the open session of its id",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_on("10:15"),
        start("10:16"),
        start("10:00", arrived="10:20"),
        sessions=("anna harbour 10:00 .. 10:10 NAS-Reboot 100/200", "anna harbour 10:16 .. 0/0"),
        users=("anna 03-01 100/200",),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "Start: a late one never reopens a stopped session",
        stop("10:10", 100, 200, 600),
        start("10:00", arrived="10:11"),
        **one("10:00 .. 10:10 User-Request", "100/200"),
    ),
    example(
        "Start: a late one never reopens a session that the reaper closed",
        interim("10:10", 100, 200, 600),
        Reaper("10:30"),
        start("10:00", arrived="10:31"),
        **one("10:00 .. 10:10 Admin-Reset", "100/200"),
    ),
    example(
        "Start: stamped in the second of the last update is not later",
        interim("10:10", 100, 200, 600),
        start("10:10", arrived="10:11"),
        interim("10:20", 150, 250, 1200),
        **one("10:00 ..", "150/250"),
    ),
    example(
        "Start: stamped later than an open session without octets is the same session",
        start("10:00"),
        start("10:12"),
        interim("10:22", 10, 20, 600),
        **one("10:00 ..", "10/20"),
    ),
    example(
        "Start: a copy of a closed session's Start does not touch the open session of its id",
        interim("10:10", 100, 200, 600),
        accounting_on("10:15"),
        start("11:00"),
        accounting_off("11:00"),
        interim("10:49", 150, 250, 2940, arrived="11:01"),
        start("11:00", arrived="11:10"),
        interim("11:20", 160, 260, 4800),
        sessions=("anna harbour 10:00 .. 160/260", "anna harbour 11:00 .. 11:00 NAS-Reboot 0/0"),
        users=("anna 03-01 160/260",),
        days=("harbour 03-10 160/260",),
    ),
    # --- near the stop of a closed session
    example(
        "unstamped Start a minute after a Stop is a late one of the stopped session",
        stop("10:20", 150, 200, 1200),
        start("10:21", stamped=False),
        **one("10:00 .. 10:20 User-Request", "150/200"),
    ),
    example(
        "unstamped Start later than a minute after a Stop is a new session",
        stop("10:20", 150, 200, 1200),
        start("10:21:01", stamped=False),
        sessions=("anna harbour 10:00 .. 10:20 User-Request 150/200", "anna harbour 10:21:01 .. 0/0"),
        users=("anna 03-01 150/200",),
        days=("harbour 03-10 150/200",),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_start(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
