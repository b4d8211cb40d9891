"""Identity: which packets are of one session, and whose it is."""

import pytest
from support.events import (
    CLASS,
    Example,
    example,
    interim,
    start,
    stop,
)
from support.outcomes import Counted

EXAMPLES = [
    # --- identity
    example(
        "identity: the same id after a Stop, with a later start, is a new session",
        start("10:00"),
        stop("10:10", 100, 200, 600),
        start("11:00"),
        interim("11:10", 5, 6, 600),
        sessions=("anna harbour 10:00 .. 10:10 User-Request 100/200", "anna harbour 11:00 .. 5/6"),
        users=("anna 03-01 105/206",),
        days=("harbour 03-10 105/206",),
    ),
    example(
        "identity: the same id after a Stop, known by an interim alone",
        stop("10:10", 100, 200, 600),
        interim("11:10", 5, 6, 600),
        sessions=("anna harbour 10:00 .. 10:10 User-Request 100/200", "anna harbour 11:00 .. 5/6"),
        users=("anna 03-01 105/206",),
        days=("harbour 03-10 105/206",),
    ),
    example(
        "identity: the same session id of another user is another session",
        interim("10:10", 1, 2, 600),
        interim("10:10", 3, 4, 600, user="bert"),
        sessions=("anna harbour 10:00 .. 1/2", "bert harbour 10:00 .. 3/4"),
        users=("anna 03-01 1/2", "bert 03-01 3/4"),
        days=("harbour 03-10 4/6",),
    ),
    example(
        "identity: two Stops of one id, days apart, are two sessions",
        stop("10:10", 100, 200, 600),
        stop("11 10:10", 70, 80, 600),
        sessions=(
            "anna harbour 10:00 .. 10:10 User-Request 100/200",
            "anna harbour 11 10:00 .. 11 10:10 User-Request 70/80",
        ),
        users=("anna 03-01 170/280",),
        days=("harbour 03-10 100/200", "harbour 03-11 70/80"),
    ),
    example(
        "identity: with a Class of its own, a user name may come later and takes along what was counted before",
        interim("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("10:20", 150, 260, 1200, user="bert", more=CLASS),
        stop("10:30", 160, 270, 1800, user=None, more=CLASS),
        sessions=("bert harbour 10:00 .. 10:30 User-Request 160/270",),
        users=("bert 03-01 160/270",),
        days=("harbour 03-10 160/270",),
    ),
    example(
        "identity: a user name that comes with the packet sent again",
        interim("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("10:10", 100, 200, 600, user="bert", more=CLASS),
        sessions=("bert harbour 10:00 .. 100/200",),
        users=("bert 03-01 100/200",),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "identity: what was counted before the user name came stays in its calendar month",
        interim("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("11 10:20", 150, 260, 87600, user="daily", more=CLASS),
        sessions=("daily harbour 10:00 .. 150/260",),
        users=("daily 03-01 100/200", "daily 03-11 50/60"),
        days=("harbour 03-10 100/200", "harbour 03-11 50/60"),
    ),
    example(
        "identity: a user name that comes after the Stop",
        stop("10:10", 100, 200, 600, user=None, more=CLASS),
        interim("10:05", 120, 90, 300, arrived="10:11", user="bert", more=CLASS),
        sessions=("bert harbour 10:00 .. 10:10 User-Request 120/200",),
        users=("bert 03-01 120/200",),
        days=("harbour 03-10 120/200",),
    ),
    example(
        "identity: the user and the router of the first packet, with their period and day",
        interim("03:00", 10, 10, 600, router="lodge", more=CLASS),
        interim("03:10", 20, 20, 1200, router="hostel", user="daily", more=CLASS),
        stop("03:20", 30, 30, 1800, router="lodge", more=CLASS),
        interim("03:15", 35, 35, 1500, arrived="03:21", router="hostel", user="daily", more=CLASS),
        sessions=("anna lodge 02:50 .. 03:20 User-Request 35/35",),
        users=("anna 03-01 35/35",),
        days=("lodge 03-09 35/35",),
    ),
    # --- one user on several routers
    example(
        "one user on two routers at once",
        start("10:00"),
        start("10:00", router="lodge", session="s2"),
        interim("10:10", 1, 2, 600),
        interim("10:10", 10, 20, 600, router="lodge", session="s2"),
        sessions=("anna harbour 10:00 .. 1/2", "anna lodge 10:00 .. 10/20"),
        users=("anna 03-01 11/22",),
        days=("harbour 03-10 1/2", "lodge 03-10 10/20"),
    ),
    # --- no User-Name
    example(
        "no User-Name: router counters only",
        interim("10:10", 100, 200, 600, user=None),
        sessions=("- harbour 10:00 .. 100/200",),
        users=(),
        days=("harbour 03-10 100/200",),
    ),
    example(
        "no User-Name: does not roll back the batch",
        interim("10:10", 1, 2, 600, user=None),
        interim("10:10", 3, 4, 600, user="bert"),
        stop("10:20", 5, 6, 1200, user=None),
        sessions=("- harbour 10:00 .. 10:20 User-Request 5/6", "bert harbour 10:00 .. 3/4"),
        users=("bert 03-01 3/4",),
        days=("harbour 03-10 8/10",),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_identity(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
