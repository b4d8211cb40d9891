"""A captured packet that somebody sends again: what docs/security.md says is left of it."""

import pytest
from support.events import Example, example, interim, stop
from support.outcomes import Counted

ONCE = {
    "sessions": ("anna harbour 10:00 .. 10:10 User-Request 100/200",),
    "users": ("anna 03-01 100/200",),
    "days": ("harbour 03-10 100/200",),
}

EXAMPLES = [
    example(
        "a Stop with Event-Timestamp: nothing at any age",
        stop("10:10", 100, 200, 600),
        stop("10:10", 100, 200, 600, arrived="11:10"),
        stop("10:10", 100, 200, 600, arrived="17 10:00"),
        stop("10:10", 100, 200, 600, arrived="18 10:10"),
        **ONCE,
    ),
    example(
        "a Stop without Event-Timestamp: nothing at any age",
        stop("10:10", 100, 200, 600, stamped=False),
        stop("10:20", 100, 200, 600, stamped=False),
        stop("10:30", 100, 200, 600, stamped=False),
        stop("18 10:10", 100, 200, 600, stamped=False),
        **ONCE,
    ),
    example(
        "a Stop after which the session counted more: after 7 days it counts again",
        stop("10:10", 100, 200, 600),
        interim("10:05", 110, 200, 300, arrived="10:11"),
        stop("10:10", 100, 200, 600, arrived="17 10:00"),
        stop("10:10", 100, 200, 600, arrived="18 10:10"),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 110/200",
            "anna harbour 18 10:00 .. 18 10:10 User-Request 100/200",
        ),
        users=("anna 03-01 210/400",),
        days=("harbour 03-10 110/200", "harbour 03-18 100/200"),
    ),
    example(
        "an interim without Event-Timestamp: nothing while its session is open",
        interim("10:10", 100, 200, 600, stamped=False),
        interim("10:20", 150, 260, 1200, stamped=False),
        interim("10:25", 100, 200, 600, stamped=False),
        interim("10:26", 150, 260, 1200, stamped=False),
        sessions=("anna harbour 10:00 .. 150/260",),
        users=("anna 03-01 150/260",),
        days=("harbour 03-10 150/260",),
    ),
    example(
        "an interim of a closed session, with Event-Timestamp: nothing for 7 days",
        interim("10:05", 50, 100, 300),
        stop("10:10", 100, 200, 600),
        interim("10:05", 50, 100, 300, arrived="17 10:00"),
        **ONCE,
    ),
    example(
        "an interim of a closed session, with Event-Timestamp: after 7 days it counts again",
        interim("10:05", 50, 100, 300),
        stop("10:10", 100, 200, 600),
        interim("10:05", 50, 100, 300, arrived="18 10:10"),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 100/200",
            "anna harbour 18 10:05 .. 50/100",
        ),
        users=("anna 03-01 150/300",),
        days=("harbour 03-10 100/200", "harbour 03-18 50/100"),
    ),
    example(
        "an interim of a closed session, without Event-Timestamp: nothing for its session time and a minute",
        interim("10:05", 50, 100, 300, stamped=False),
        stop("10:10", 100, 200, 600, stamped=False),
        interim("10:16", 50, 100, 300, stamped=False),
        **ONCE,
    ),
    example(
        "an interim of a closed session, without Event-Timestamp: later than that it counts again",
        interim("10:05", 50, 100, 300, stamped=False),
        stop("10:10", 100, 200, 600, stamped=False),
        interim("10:16:01", 50, 100, 300, stamped=False),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 100/200",
            "anna harbour 10:11:01 .. 50/100",
        ),
        users=("anna 03-01 150/300",),
        days=("harbour 03-10 150/300",),
    ),
    example(
        "an interim of a short session, from a clock 303 s ahead: it counts again when its time is believed",
        interim("10:05:03", 50, 100, 60, arrived="10:00"),
        stop("10:05:05", 100, 200, 62, arrived="10:00:02"),
        interim("10:05:03", 50, 100, 60, arrived="10:00:05"),
        sessions=("anna harbour 09:59 .. 10:00:02 User-Request 100/200", "anna harbour 10:04:03 .. 50/100"),
        users=("anna 03-01 150/300",),
        days=("harbour 03-10 150/300",),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_resent(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
