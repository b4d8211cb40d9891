"""What a packet counts, and whether it is newer."""

from datetime import timedelta

import pytest
from support.functions import value
from support.servers import Connection

WRAP = 1 << 32


@pytest.mark.parametrize(
    ("total", "offset", "reported", "newer", "gigawords", "offset_after", "octets_after"),
    [
        # The first report; none at all.
        (None, 0, 5, True, False, 0, 5),
        (None, 0, 5, False, False, 0, 5),
        (None, 0, None, True, False, 0, None),
        (10, 0, None, True, False, 0, 10),
        (110, 100, None, True, False, 100, 110),
        # Newer, not less.
        (10, 0, 15, True, False, 0, 15),
        (10, 0, 10, True, False, 0, 10),
        (110, 100, 12, True, False, 100, 112),
        (WRAP + 5, WRAP, 20, True, False, WRAP, WRAP + 20),
        (5, 0, WRAP + 5, True, True, 0, WRAP + 5),
        # Newer, less: a wrap from the top quarter and without Gigawords, else a restart.
        (WRAP - 1, 0, 0, True, False, WRAP, WRAP),
        (WRAP - 6, 0, 5, True, False, WRAP, WRAP + 5),
        (3 * WRAP // 4, 0, 5, True, False, WRAP, WRAP + 5),
        (3 * WRAP // 4 - 1, 0, 5, True, False, 3 * WRAP // 4 - 1, 3 * WRAP // 4 + 4),
        (WRAP - 6, 0, 5, True, True, WRAP - 6, WRAP - 1),
        (WRAP, 0, 0, True, False, WRAP, WRAP),
        (100, 0, 7, True, False, 100, 107),
        (107, 100, 3, True, False, 107, 110),
        (2 * WRAP - 6, WRAP, 5, True, False, 2 * WRAP, 2 * WRAP + 5),
        # Not newer: only what exceeds, and then the next one is compared with it.
        (100, 0, 90, False, False, 0, 100),
        (100, 0, 100, False, False, 0, 100),
        (100, 0, 120, False, False, 0, 120),
        (107, 100, 50, False, False, 100, 107),
        (107, 100, 150, False, False, 0, 150),
        (WRAP - 6, 0, 5, False, False, 0, WRAP - 6),
    ],
)
def test_counted_offset_and_counted_octets(
    connection: Connection,
    total: int | None,
    offset: int,
    reported: int | None,
    newer: bool,
    gigawords: bool,
    offset_after: int,
    octets_after: int | None,
) -> None:
    arguments = (total, offset, reported, newer, newer, gigawords)
    rest = "(%s, %s, %s, %s, %s, %s, NULL, NULL, NULL)"
    assert value(connection, f"radmeter.counted_offset{rest}", *arguments) == offset_after
    assert value(connection, f"radmeter.counted_octets{rest}", *arguments) == octets_after


@pytest.mark.parametrize(
    ("total", "reported", "session_time", "last", "octets_after"),
    [
        (2 << 30, 5, 600, 300, WRAP + 5),
        (1 << 29, 5, 600, 300, (1 << 29) + 5),
        (2 << 30, 5, 300, 300, (2 << 30) + 5),
        (2 << 30, 5, 299, 300, (2 << 30) + 5),
        (2 << 30, 5, None, 300, (2 << 30) + 5),
        (2 << 30, 5, 600, None, (2 << 30) + 5),
        # What another program may have written.
        (2 << 30, 5, 600, -(1 << 63), (2 << 30) + 5),
    ],
)
def test_a_wrap_below_the_top_quarter_shows_in_the_session_time(
    connection: Connection,
    total: int,
    reported: int,
    session_time: int | None,
    last: int | None,
    octets_after: int,
) -> None:
    counted = "(%s, 0, %s, true, true, false, %s, %s, NULL)"
    arguments = (total, reported, session_time, last)
    assert value(connection, f"radmeter.counted_octets{counted}", *arguments) == octets_after


@pytest.mark.parametrize(
    ("reported", "current", "offset_after", "octets_after"),
    [
        (12, True, 100, 112),
        (12, False, 100, 110),
        (9, True, 100, 110),
        (120, True, 100, 220),
        (120, False, 0, 120),
    ],
)
def test_a_packet_as_late_as_the_last_one(
    connection: Connection, reported: int, current: bool, offset_after: int, octets_after: int
) -> None:
    counted = "(110, 100, %s, false, %s, false, NULL, NULL, NULL)"
    assert value(connection, f"radmeter.counted_offset{counted}", reported, current) == offset_after
    assert value(connection, f"radmeter.counted_octets{counted}", reported, current) == octets_after


@pytest.mark.parametrize(
    ("last", "last_session_time", "event", "session_time", "stamped", "expected"),
    [
        (None, None, "12:00", 0, True, True),
        ("12:00", 60, "12:01", 120, True, True),
        ("12:00", 60, "12:00", 60, True, False),
        ("12:00", 60, "11:59", 120, True, False),
        # A session time that went back counts only where the router has no clock.
        ("12:00", 60, "12:01", 59, True, True),
        ("12:00", 60, "12:01", 59, False, False),
        ("12:00", 60, "12:01", 60, False, True),
        ("12:00", 60, "12:01", None, False, True),
        ("12:00", None, "12:01", 0, False, True),
    ],
)
def test_is_newer(
    connection: Connection,
    last: str | None,
    last_session_time: int | None,
    event: str,
    session_time: int | None,
    stamped: bool,
    expected: bool,
) -> None:
    def at(clock: str | None) -> str | None:
        return clock and f"2026-11-20T{clock}Z"

    arguments = (at(last), last_session_time, at(event), session_time, stamped)
    assert value(connection, "radmeter.is_newer(%s, %s, %s, %s, %s)", *arguments) is expected
    current = expected or (event == last and stamped)
    assert value(connection, "radmeter.is_current(%s, %s, %s, %s, %s)", *arguments) is current


def test_arrival_allowance(connection: Connection) -> None:
    assert value(connection, "radmeter.arrival_allowance(true)") == timedelta(0)
    assert value(connection, "radmeter.arrival_allowance(false)") == timedelta(seconds=60)
