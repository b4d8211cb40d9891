"""The percentage of a quota that people read: below all of it that of the database, beyond it the true one."""

from typing import Any

import pytest

from radmeter.quotas.percent import percent_of


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"percent": 80, "used_bytes": 4, "quota_bytes": 5}, 80),
        # Octets of one direction are used up before all are.
        ({"percent": 90, "used_bytes": 4, "quota_bytes": 5}, 90),
        ({"percent": 100, "used_bytes": 5, "quota_bytes": 5}, 100),
        ({"percent": 100, "used_bytes": 9_000_000, "quota_bytes": 5_000_000}, 180),
        (
            {"percent": 100, "used_bytes": 4, "quota_bytes": 5, "used_seconds": 50, "quota_seconds": 20},
            250,
        ),
        (
            {"percent": 100, "used_bytes_out": 3, "quota_bytes_out": 2, "quota_bytes": None, "used_bytes": 3},
            150,
        ),
        # A quota of nothing has no percentage.
        ({"percent": 100, "used_bytes": 7, "quota_bytes": 0}, 100),
        # What was counted below zero.
        ({"percent": 100, "used_bytes": -7, "quota_bytes": 2}, 100),
        ({"percent": 0, "used_bytes": 7, "quota_bytes": None}, 0),
    ],
)
def test_the_percentage_that_is_shown(row: dict[str, Any], shown: int) -> None:
    assert percent_of(row) == shown
