"""What is known of an alert has the times of a zone: UTC in mails, that of who looks on pages."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest

from radmeter.alerts.wording import explained


@pytest.mark.parametrize(
    ("zone", "time"),
    [(UTC, "2026-01-31 23:30:00 UTC"), (ZoneInfo("Asia/Tokyo"), "2026-02-01 08:30:00 JST")],
)
def test_times_are_of_the_zone(zone: tzinfo, time: str) -> None:
    heard = {"interim_seconds": 300, "heard_at": "2026-01-31T23:30:00+00:00"}
    alert = {"kind": "router_silent", "detail": heard, "began_at": datetime(2026, 1, 31, 23, 35, tzinfo=UTC)}
    assert explained(alert, zone) == f"nothing since {time}; it sends every 5 min"
