"""What an alert of each kind says, in mails, on the command line and on the page."""

from typing import Any

import pytest

from radmeter.alerts.rules import KINDS
from radmeter.alerts.wording import WHAT, explained, headline

AT = "2026-03-10T08:00:00+00:00"
SAID: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "router_silent": (
        "router lobby",
        {"heard_at": AT, "interim_seconds": 300},
        "router lobby is silent",
        "nothing since 2026-03-10 08:00:00 UTC; it sends every 5 min",
    ),
    "site_down": (
        "site Hotel",
        {"routers": 6},
        "site Hotel is down",
        "6 routers, down since 2026-03-10 08:00:00 UTC",
    ),
    "traffic_spike": (
        "router lobby",
        {"octets": 60 * 1024**3, "usual_octets": 1024**3, "hour": AT},
        "router lobby has more traffic than usual",
        "64.42 GB in the hour of 2026-03-10 08:00:00 UTC; usual are 1.07 GB",
    ),
    "quota": (
        "user alice",
        {"percent": 95, "period_start": "2026-03-01"},
        "user alice has used much of the quota",
        "95 % in the period from 2026-03-01",
    ),
    "ship_lag": (
        "all routers",
        {},
        "all routers are counted late",
        "the last packet that is counted came 2026-03-10 08:00:00 UTC",
    ),
    "no_packets": (
        "all routers",
        {},
        "all routers send nothing",
        "the last packet that is counted came 2026-03-10 08:00:00 UTC",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_alert_of_each_kind_is_told_in_words(kind: str) -> None:
    assert WHAT.keys() == SAID.keys() == set(KINDS)
    subject, detail, first, second = SAID[kind]
    alert = {"kind": kind, "subject": subject, "detail": detail, "began_at": AT}
    assert (headline(alert), explained(alert)) == (first, second)


def test_a_user_who_is_over_the_quota_has_not_used_only_much_of_it() -> None:
    detail = {"percent": 100, "period_start": "2026-03-01"}
    alert = {"kind": "quota", "subject": "user alice", "detail": detail, "began_at": AT}
    assert headline(alert) == "user alice has used all of the quota"
    assert explained(alert) == "100 % or more in the period from 2026-03-01"


@pytest.mark.parametrize("kind", [*KINDS, "of another version"])
def test_an_alert_of_which_little_is_known_is_told_as_well(kind: str) -> None:
    alert = {"kind": kind, "subject": "x", "detail": None, "began_at": AT}
    assert headline(alert) == f"x {WHAT.get(kind, kind)}"
    assert explained(alert) == ("" if kind not in ("ship_lag", "no_packets") else SAID[kind][3])


@pytest.mark.parametrize(
    ("routers", "names", "said"),
    [
        (2, ["ap-0", "ap-1"], "2 routers (ap-0, ap-1)"),
        (8, ["a", "b", "c", "d", "e"], "8 routers (a, b, c, d, e and 3 more)"),
    ],
)
def test_a_site_that_is_down_names_its_first_routers(routers: int, names: list[str], said: str) -> None:
    detail = {"routers": routers, "router_names": names}
    alert = {"kind": "site_down", "subject": "site Hotel", "detail": detail, "began_at": AT}
    assert explained(alert) == f"{said}, down since 2026-03-10 08:00:00 UTC"
