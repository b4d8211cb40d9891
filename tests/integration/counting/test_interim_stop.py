"""Interim-Update and Stop: the first of their session, sent again, and late for a closed one."""

from dataclasses import replace

import pytest
from support.events import (
    Example,
    accounting_on,
    example,
    interim,
    one,
    start,
    stop,
)
from support.outcomes import Counted

EXAMPLES = [
    # --- Interim-Update and Stop that come first
    example(
        "Interim-Update without Start: opens a session that began Acct-Session-Time before",
        interim("10:10", 100, 200, 600),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Interim-Update without Start, without Acct-Session-Time: began with the packet",
        interim("10:10", 100, 200),
        **one("10:10 ..", "100/200"),
    ),
    example(
        "Alive: the older name of Interim-Update",
        replace(interim("10:10", 100, 200, 600), status="Alive"),
        **one("10:00 ..", "100/200"),
    ),
    example(
        "Stop without Start: a closed session, counted whole",
        stop("10:10", 100, 200, 600),
        **one("10:00 .. 10:10 User-Request", "100/200"),
    ),
    # --- duplicates
    example(
        "duplicate: adds nothing",
        start("10:00"),
        start("10:00"),
        interim("10:10", 100, 200, 600),
        interim("10:10", 100, 200, 600),
        interim("10:10", 100, 200, 600, arrived="10:15"),
        stop("10:20", 150, 250, 1200),
        stop("10:20", 150, 250, 1200),
        interim("10:10", 100, 200, 600, arrived="10:25"),
        **one("10:00 .. 10:20 User-Request", "150/250"),
    ),
    example(
        "duplicate of a Stop without Start: adds nothing",
        stop("10:10", 100, 200, 600),
        stop("10:10", 100, 200, 600, arrived="10:12"),
        **one("10:00 .. 10:10 User-Request", "100/200"),
    ),
    # --- late for a closed session
    example(
        "late interim after a real Stop: counts what exceeds, does not reopen",
        start("10:00"),
        stop("10:20", 150, 200, 1200),
        interim("10:10", 100, 290, 600, arrived="10:21"),
        **one("10:00 .. 10:20 User-Request", "150/290"),
    ),
    example(
        "late interim after a real Stop: of a second later",
        start("10:00"),
        stop("10:20", 150, 200, 1200),
        interim("10:20:01", 151, 200, 1201),
        **one("10:00 .. 10:20 User-Request", "151/200"),
    ),
    example(
        "late interim after a real Stop: fewer octets are no restart",
        start("10:00"),
        stop("10:20", 150, 200, 1200),
        interim("10:20:01", 50, 60, 1201),
        **one("10:00 .. 10:20 User-Request", "150/200"),
    ),
    example(
        "second Stop after a real Stop: counts what exceeds",
        start("10:00"),
        stop("10:20", 150, 200, 1200),
        stop("10:20", 170, 210, 1200, arrived="10:22"),
        **one("10:00 .. 10:20 User-Request", "170/210"),
    ),
    example(
        "late without a session time: 10 minutes after the Stop it is still of that session",
        stop("10:20", 150, 200, 1200),
        interim("10:30", 160, 190),
        **one("10:00 .. 10:20 User-Request", "160/200"),
    ),
    example(
        "late without a session time: after more than 10 minutes it is a new session",
        stop("10:20", 150, 200, 1200),
        interim("10:30:01", 16, 19),
        sessions=("anna harbour 10:00 .. 10:20 User-Request 150/200", "anna harbour 10:30:01 .. 16/19"),
        users=("anna 03-01 166/219",),
        days=("harbour 03-10 166/219",),
    ),
    example(
        "unstamped retransmission of a Stop within a minute belongs to the stopped session",
        stop("10:20", 150, 200, stamped=False),
        stop("10:20:50", 150, 200, stamped=False),
        **one("10:20 .. 10:20 User-Request", "150/200"),
    ),
    example(
        "late for one of two closed sessions: for the one that it lies in",
        stop("10:10", 1, 2, 600),
        start("10:12"),
        stop("10:20", 1000, 2000, 480),
        interim("10:15", 900, 1800, arrived="10:21"),
        interim("10:16", 950, 1900, 240, arrived="10:21"),
        interim("10:05", 1, 1, 300, arrived="10:21"),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 1/2",
            "anna harbour 10:12 .. 10:20 User-Request 1000/2000",
        ),
        users=("anna 03-01 1001/2002",),
        days=("harbour 03-10 1001/2002",),
    ),
    example(
        "late for one of two closed sessions: its first instant is of it, whatever session time is shown",
        stop("10:10", 1, 2, 600),
        start("10:12"),
        stop("10:20", 1000, 2000, 480),
        interim("10:12", 900, 1800, 720, arrived="10:21"),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 1/2",
            "anna harbour 10:12 .. 10:20 User-Request 1000/2000",
        ),
        users=("anna 03-01 1001/2002",),
        days=("harbour 03-10 1001/2002",),
    ),
    example(
        "late for one of two closed sessions: unstamped, a minute after the stop it still lies in it",
        stop("10:10", 1, 2, 600),
        start("10:12"),
        stop("10:20", 1000, 2000, 480),
        interim("10:21", 900, 1800, 1260, stamped=False),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 1/2",
            "anna harbour 10:12 .. 10:20 User-Request 1000/2000",
        ),
        users=("anna 03-01 1001/2002",),
        days=("harbour 03-10 1001/2002",),
    ),
    example(
        "late for one of two closed sessions: in neither, for the one that began last at or before its session",
        stop("10:11:30", 1, 2, 690),
        start("10:12"),
        stop("10:20", 1000, 2000, 480),
        interim("10:30", 1100, 2100, 1080, stamped=False),
        sessions=(
            "anna harbour 10:00 .. 10:11:30 User-Request 1/2",
            "anna harbour 10:12 .. 10:20 User-Request 1100/2100",
        ),
        users=("anna 03-01 1101/2102",),
        days=("harbour 03-10 1101/2102",),
    ),
    example(
        "late for a session that a new Start closed: counts what exceeds, does not reopen",
        interim("10:10", 100, 200, 600),
        start("10:12"),
        stop("10:13", 1, 2, 60),
        interim("10:20", 150, 190, 1200),
        sessions=(
            "anna harbour 10:00 .. 10:10 NAS-Reboot 150/200",
            "anna harbour 10:12 .. 10:13 User-Request 1/2",
        ),
        users=("anna 03-01 151/202",),
        days=("harbour 03-10 151/202",),
    ),
    example(
        "late for one of two closed sessions: a Stop sent again, whatever session time it shows",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        accounting_on("10:11"),
        interim("10:25", 110, 210, 0),
        stop("10:30", 120, 220, 1800),
        stop("10:30", 120, 220, 1800, arrived="10:31"),
        stop("10:30", 119, 219, 1799, arrived="10:32"),
        sessions=(
            "anna harbour 10:00 .. 10:10 NAS-Reboot 100/200",
            "anna harbour 10:25 .. 10:30 User-Request 120/220",
        ),
        users=("anna 03-01 220/420",),
        days=("harbour 03-10 220/420",),
    ),
    example(
        "Stop older than the last interim: its own time is the stop",
        start("10:00"),
        interim("10:10", 100, 200, 600),
        stop("10:05", 110, 190, 300, arrived="10:11"),
        **one("10:00 .. 10:05 User-Request", "110/200"),
    ),
    example(
        "Stop older than the start: the session ends when it began",
        start("10:00"),
        stop("09:55", 110, 190, arrived="10:11"),
        **one("10:00 .. 10:00 User-Request", "110/190"),
    ),
    example(
        "second Stop after a real Stop: the first stop time and cause stay",
        stop("10:10", 100, 200, 600),
        stop("10:15", 120, 230, 900, cause="Idle-Timeout"),
        **one("10:00 .. 10:10 User-Request", "120/230"),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_interim_and_stop(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
