"""The small functions of quotas: what is beyond a quota, how much of a limit is used, when a period ends."""

from datetime import date

import pytest
from support.functions import value
from support.servers import Connection

MOST = 2**63 - 1


@pytest.mark.parametrize(
    ("quota", "used", "expected"),
    [
        ((10, None, None), (6, 4), 0),
        ((10, None, None), (6, 5), 1),
        ((None, 3, None), (5, 100), 2),
        ((None, 3, 4), (5, 5), 3),
        ((5, 3, 4), (5, 5), 5),
        ((100, 3, 4), (5, 5), 3),
        ((None, None, None), (MOST, MOST), 0),
        ((0, None, None), (MOST, MOST), 2 * MOST),
    ],
)
def test_overage(
    connection: Connection, quota: tuple[int | None, ...], used: tuple[int, int], expected: int
) -> None:
    found = value(connection, "radmeter.overage(%s, %s, %s, %s, %s)", *quota, *used)
    assert found == expected


@pytest.mark.parametrize(
    ("used", "remaining", "percent"),
    [(0, 0, 100), (0, 1, 0), (799, 201, 79), (800, 200, 80), (999_999, 1, 99), (1, None, None), (5, -1, 100)],
)
def test_percent_used(connection: Connection, used: int, remaining: int | None, percent: int | None) -> None:
    assert value(connection, "radmeter.percent_used(%s, %s)", used, remaining) == percent


@pytest.mark.parametrize(
    ("percent", "used", "remaining", "octets"),
    [(80, 0, 10, 8), (80, 7, 3, 1), (80, 8, 2, None), (95, 8, 3, 3), (80, 0, None, None), (80, 0, 0, None)],
)
def test_octets_until(
    connection: Connection, percent: int, used: int, remaining: int | None, octets: int | None
) -> None:
    assert value(connection, "radmeter.octets_until(%s, %s, %s)", percent, used, remaining) == octets
    if octets:  # with so many more the percentage is reached, and not with one less
        assert remaining is not None
        reached = [
            value(connection, "radmeter.percent_used(%s, %s)", used + more, remaining - more)
            for more in (octets - 1, octets)
        ]
        assert reached[0] < percent <= reached[1]


@pytest.mark.parametrize(
    ("quota_type", "anchor", "start", "end"),
    [
        ("daily", None, date(2028, 2, 28), date(2028, 2, 29)),
        ("weekly", 3, date(2026, 12, 30), date(2027, 1, 6)),
        ("monthly", 31, date(2027, 1, 31), date(2027, 2, 28)),
        ("monthly", 31, date(2028, 1, 31), date(2028, 2, 29)),
        ("monthly", 31, date(2027, 2, 28), date(2027, 3, 31)),
        ("monthly", 30, date(2028, 2, 29), date(2028, 3, 30)),
        ("monthly", 1, date(2026, 12, 1), date(2027, 1, 1)),
        (None, None, date(2026, 2, 1), date(2026, 3, 1)),
        ("one-time", None, date(2026, 2, 1), None),
    ],
)
def test_period_end(
    connection: Connection, quota_type: str | None, anchor: int | None, start: date, end: date | None
) -> None:
    assert value(connection, "radmeter.period_end(%s, %s::smallint, %s)", quota_type, anchor, start) == end
