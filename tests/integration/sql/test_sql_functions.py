"""Each function of `sql/functions` by itself: literal arguments, literal answers, on real PostgreSQL."""

import re
import threading
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.servers import Connection

from radmeter import resources

INTEGRATION = Path(__file__).parents[1]

# Steps of another function, which work on its temporary table or in its transaction: what they do is tested where the
# function is that calls them.
WITHIN = {
    "apply_round": "test_interim_stop.py",
    "close_rebooted": "test_closing.py",
    "close_superseded": "test_start.py",
    "count_inserted": "test_other_writers.py",
    "count_updated": "test_octets.py",
    "create_incoming": "test_interim_stop.py",
    "discover_routers": "test_closing.py",
    "insert_sessions": "test_interim_stop.py",
    "number_rounds": "test_interim_stop.py",
    "unpack_records": "test_not_counted.py",
    "update_closed": "test_interim_stop.py",
    "update_open": "test_octets.py",
    "recomputed_parts": "test_verify.py",
    "adopted_effects": "test_backfill.py",
    "adopted_parts": "test_backfill.py",
    "pending_router_sums": "test_backfill.py",
    "pending_user_sums": "test_backfill.py",
    "reassign_adopted": "test_backfill.py",
}
# Called by one function or command of ours, and tested with it.
THROUGH_PYTHON = {
    "add_router": "test_routers.py",
    "backfill_begin": "test_backfill.py",
    "backfill_fill": "test_backfill.py",
    "backfill_move": "test_backfill.py",
    "backfill_progress": "test_backfill.py",
    "backfill_range": "test_backfill.py",
    "backfill_redo": "test_backfill.py",
    "backfill_routers": "test_backfill.py",
    "backfill_settle": "test_backfill.py",
    "backfill_unknown_routers": "test_backfill.py",
    "change_router": "test_routers_changes.py",
    "claim_router": "test_routers.py",
    "drop_rejected": "test_rejected.py",
    "import_routers": "test_routers.py",
    "merge_router": "test_routers_merge.py",
    "merge_router_finish": "test_routers_merge.py",
    "merge_router_sessions": "test_routers_merge.py",
    "rename_router": "test_routers_changes.py",
    "repair_usage": "test_verify.py",
    "replay": "test_replay.py",
    "replayed_files": "test_replay.py",
    "retire_router": "test_routers_changes.py",
    "retry_rejected": "test_rejected.py",
    "router_differences": "test_verify.py",
    "user_differences": "test_verify.py",
}


def value(connection: Connection, call: str, *arguments: object) -> Any:
    row = connection.execute(f"SELECT {call}", arguments).fetchone()
    assert row is not None
    return row[0]


def day(text: str) -> date:
    return date.fromisoformat(text)


def test_every_function_is_tested_somewhere() -> None:
    written = {
        name
        for file in (resources.directory("sql") / "functions").rglob("*.sql")
        for name in re.findall(r"CREATE OR REPLACE FUNCTION (?:radmeter|public)\.(\w+)", file.read_text())
    }
    texts = [file.read_text() for file in INTEGRATION.rglob("test_*.py") if file.name != "test_roles.py"]
    called = {
        name for name in written if any(re.search(rf"(?:radmeter|public)\.{name}\(", text) for text in texts)
    }
    known = WITHIN | THROUGH_PYTHON
    assert known.keys() - written == set(), "listed here and not in sql/functions"
    assert written - called - known.keys() == set(), "in sql/functions and in no test"
    assert set(known.values()) - {file.name for file in INTEGRATION.rglob("test_*.py")} == set()


# Periods and days


@pytest.mark.parametrize(
    ("on", "anchor_day", "expected"),
    [
        ("2026-02-10", 28, "2026-02-28"),
        ("2026-02-10", 29, "2026-02-28"),
        ("2026-02-10", 31, "2026-02-28"),
        ("2024-02-01", 29, "2024-02-29"),
        ("2024-02-29", 31, "2024-02-29"),
        ("2000-02-01", 30, "2000-02-29"),
        ("2100-02-01", 29, "2100-02-28"),
        ("2026-04-30", 31, "2026-04-30"),
        ("2026-12-31", 31, "2026-12-31"),
        ("2026-04-30", 1, "2026-04-01"),
    ],
)
def test_month_day(connection: Connection, on: str, anchor_day: int, expected: str) -> None:
    assert value(connection, "radmeter.month_day(%s, %s::smallint)", day(on), anchor_day) == day(expected)


@pytest.mark.parametrize(
    ("quota_type", "anchor_day", "quota_start", "on", "expected"),
    [
        # Without a plan: the calendar month.
        (None, None, None, "2026-02-28", "2026-02-01"),
        ("monthly", None, None, "2026-03-01", "2026-03-01"),
        ("daily", 1, None, "2026-02-28", "2026-02-28"),
        # 2026-11-20 is a Friday; anchors of a week are ISO weekdays.
        ("weekly", None, None, "2026-11-20", "2026-11-16"),
        ("weekly", 1, None, "2026-11-16", "2026-11-16"),
        ("weekly", 1, None, "2026-11-15", "2026-11-09"),
        ("weekly", 5, None, "2026-11-20", "2026-11-20"),
        ("weekly", 6, None, "2026-11-20", "2026-11-14"),
        ("weekly", 7, None, "2026-11-20", "2026-11-15"),
        ("weekly", 31, None, "2026-11-20", "2026-11-15"),
        ("weekly", 1, None, "2026-01-01", "2025-12-29"),
        ("monthly", 15, None, "2026-01-14", "2025-12-15"),
        ("monthly", 15, None, "2026-01-15", "2026-01-15"),
        # An anchor that a short month does not have is its last day.
        ("monthly", 29, None, "2026-02-27", "2026-01-29"),
        ("monthly", 29, None, "2026-02-28", "2026-02-28"),
        ("monthly", 29, None, "2026-03-28", "2026-02-28"),
        ("monthly", 29, None, "2026-03-29", "2026-03-29"),
        ("monthly", 29, None, "2024-02-28", "2024-01-29"),
        ("monthly", 29, None, "2024-02-29", "2024-02-29"),
        ("monthly", 30, None, "2023-03-29", "2023-02-28"),
        ("monthly", 30, None, "2024-02-28", "2024-01-30"),
        ("monthly", 30, None, "2024-02-29", "2024-02-29"),
        ("monthly", 31, None, "2026-01-30", "2025-12-31"),
        ("monthly", 31, None, "2026-04-29", "2026-03-31"),
        ("monthly", 31, None, "2026-04-30", "2026-04-30"),
        ("monthly", 31, None, "2026-05-30", "2026-04-30"),
        ("monthly", 31, None, "2026-05-31", "2026-05-31"),
        ("one-time", 1, "2026-05-05", "2030-01-01", "2026-05-05"),
        ("one-time", 1, "2026-05-05", "2026-01-01", "2026-05-05"),
        ("one-time", 1, None, "2026-01-01", "1970-01-01"),
    ],
)
def test_period_start(
    connection: Connection,
    quota_type: str | None,
    anchor_day: int | None,
    quota_start: str | None,
    on: str,
    expected: str,
) -> None:
    assert value(
        connection, "radmeter.period_start(%s, %s::smallint, %s, %s)", quota_type, anchor_day,
        quota_start and day(quota_start), day(on)
    ) == day(expected)  # fmt: skip


def test_periods_have_days_of_the_calendar_and_not_of_the_sessions_zone(connection: Connection) -> None:
    """Samoa went over the date line and had no 30 December 2011."""
    connection.execute("SET timezone = 'Pacific/Apia'")
    assert value(connection, "radmeter.month_day('2011-12-10', 30::smallint)") == day("2011-12-30")
    call = "radmeter.period_start('monthly', 30::smallint, NULL, %s)"
    assert value(connection, call, day("2011-12-30")) == day("2011-12-30")
    assert value(connection, call, day("2011-12-29")) == day("2011-11-30")
    assert value(connection, call, day("2012-01-01")) == day("2011-12-30")


@pytest.mark.parametrize("anchor_day", [1, 15, 28, 29, 30, 31])
@pytest.mark.parametrize("quota_type", ["daily", "weekly", "monthly"])
def test_periods_follow_each_other_without_gap_or_overlap(
    connection: Connection, quota_type: str, anchor_day: int
) -> None:
    """Each day lies in the period that began last, over eight years with two leap days."""
    rows = connection.execute(
        "SELECT day::date, radmeter.period_start(%s, %s::smallint, NULL, day::date) "
        "FROM generate_series(timestamp '2023-01-01', '2030-12-31', '1 day') AS day ORDER BY 1",
        (quota_type, anchor_day),
    ).fetchall()
    current = rows[0][1]
    for on, start in rows[1:]:
        current = on if start == on else current
        assert start == current


@pytest.mark.parametrize(
    ("timezone", "at", "expected"),
    [
        ("Europe/Berlin", "2026-03-28T22:59:59Z", "2026-03-28"),
        ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29"),  # the day of 23 hours
        ("Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-30"),
        ("Europe/Berlin", "2026-10-24T21:59:59Z", "2026-10-24"),
        ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25"),  # the day of 25 hours
        ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-26"),
        # A day that begins at 01:00, and one that is over, and is not.
        ("America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-03"),
        ("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04"),
        ("America/Sao_Paulo", "2019-02-17T01:59:59Z", "2019-02-16"),
        ("America/Sao_Paulo", "2019-02-17T02:00:00Z", "2019-02-16"),
        ("America/Sao_Paulo", "2019-02-17T03:00:00Z", "2019-02-17"),
        ("Pacific/Kiritimati", "2026-01-01T09:59:59Z", "2026-01-01"),
        ("Pacific/Kiritimati", "2026-01-01T10:00:00Z", "2026-01-02"),
        (None, "2026-01-01T14:59:59Z", "2026-01-01"),  # the zone of the installation
        (None, "2026-01-01T15:00:00Z", "2026-01-02"),
    ],
)
def test_usage_date(connection: Connection, timezone: str | None, at: str, expected: str) -> None:
    connection.execute("UPDATE radmeter.setting SET value = 'Asia/Tokyo' WHERE name = 'timezone'")
    connection.execute("SET timezone = 'America/New_York'")  # of the session: says nothing
    router_id = value_of_insert(connection, timezone)
    assert value(connection, "radmeter.usage_date(%s, %s)", router_id, datetime.fromisoformat(at)) == day(
        expected
    )
    if timezone is None:
        assert value(connection, "radmeter.usage_date(NULL, %s)", datetime.fromisoformat(at)) == day(expected)


def value_of_insert(connection: Connection, timezone: str | None) -> int:
    row = connection.execute(
        "INSERT INTO routers (name, timezone) VALUES ('r', %s) RETURNING id", (timezone,)
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("username", "at", "expected"),
    [
        ("auckland", "2026-10-31T10:59:59Z", "2026-10-01"),
        ("auckland", "2026-10-31T11:00:00Z", "2026-11-01"),
        ("daily", "2026-11-01T07:59:59Z", "2026-11-01"),  # Chicago, on the day its summer time ends
        ("daily", "2026-11-02T05:59:59Z", "2026-11-01"),
        ("daily", "2026-11-02T06:00:00Z", "2026-11-02"),
        ("once", "2026-11-02T06:00:00Z", "2026-05-05"),
        ("nobody", "2026-10-31T11:00:00Z", "2026-10-01"),
        (None, "2026-10-31T23:59:59Z", "2026-10-01"),
        (None, "2026-11-01T00:00:00Z", "2026-11-01"),
    ],
)
def test_user_period_start(connection: Connection, username: str | None, at: str, expected: str) -> None:
    connection.execute("SET timezone = 'America/New_York'")
    connection.execute(
        """INSERT INTO plans (name, quota_type, timezone) VALUES ('a', 'monthly', 'Pacific/Auckland'),
               ('d', 'daily', 'America/Chicago'), ('o', 'one-time', NULL)"""
    )
    connection.execute(
        """INSERT INTO subscribers SELECT username, plans.id, '2026-05-05' FROM plans
           JOIN (VALUES ('auckland', 'a'), ('daily', 'd'), ('once', 'o')) AS user_of (username, name) USING (name)"""
    )
    assert value(
        connection, "radmeter.user_period_start(%s, %s)", username, datetime.fromisoformat(at)
    ) == day(expected)


# What a packet counts

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
    arguments = (total, offset, reported, newer, gigawords)
    assert value(connection, "radmeter.counted_offset(%s, %s, %s, %s, %s)", *arguments) == offset_after
    assert value(connection, "radmeter.counted_octets(%s, %s, %s, %s, %s)", *arguments) == octets_after


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


def test_arrival_allowance(connection: Connection) -> None:
    assert value(connection, "radmeter.arrival_allowance(true)") == timedelta(0)
    assert value(connection, "radmeter.arrival_allowance(false)") == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("session_interval", "router_interval", "minutes", "seconds"),
    [
        (None, None, 10, 600),
        (None, 100, 10, 600),
        (None, 400, 10, 1200),
        (300, 400, 10, 900),
        (60, 4000, 10, 600),
        (900, None, 10, 2700),
        (None, None, 0, 0),
    ],
)
def test_stale_after(
    connection: Connection,
    session_interval: int | None,
    router_interval: int | None,
    minutes: int,
    seconds: int,
) -> None:
    assert value(
        connection, "radmeter.stale_after(%s, %s, %s)", session_interval, router_interval, minutes
    ) == timedelta(seconds=seconds)


# Routers

MAC, OTHER_MAC, UNKNOWN_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:99"


@pytest.mark.parametrize(
    ("mac", "nas_mac", "nas_identifier", "ip", "expected"),
    [
        (MAC, OTHER_MAC, "ap", "10.0.0.1", f"mac:{MAC}"),
        (None, OTHER_MAC, "ap", "10.0.0.1", f"mac:{OTHER_MAC}"),
        (None, None, "ap", "10.0.0.1", "nas:ap"),
        (None, None, None, "10.0.0.1/24", "ip:10.0.0.1"),
        (None, None, None, "2001:db8::0:1", "ip:2001:db8::1"),
        (None, None, None, None, None),
    ],
)
def test_discovery_key(
    connection: Connection,
    mac: str | None,
    nas_mac: str | None,
    nas_identifier: str | None,
    ip: str | None,
    expected: str | None,
) -> None:
    call = "radmeter.discovery_key(%s, %s, %s, %s)"
    assert value(connection, call, mac, nas_mac, nas_identifier, ip) == expected


@pytest.mark.parametrize(
    ("mac", "nas_mac", "nas_identifier", "ip", "expected"),
    [
        # In this order.
        (MAC, OTHER_MAC, "by identifier", "10.0.0.4", 1),
        (UNKNOWN_MAC, OTHER_MAC, "by identifier", "10.0.0.4", 2),
        (UNKNOWN_MAC, UNKNOWN_MAC, "by identifier", "10.0.0.4", 3),
        (UNKNOWN_MAC, None, "by name", "10.0.0.4", 5),
        (UNKNOWN_MAC, None, "nobody", "10.0.0.4", 4),
        (UNKNOWN_MAC, None, "nobody", "10.0.0.99", None),
        # What two have is nobody's.
        (None, None, "twice", "10.0.0.99", None),
        (None, None, "twice", "10.0.0.4", 4),
        (None, None, None, "10.0.0.6", None),
        # One that was only discovered lends its name to a packet without a MAC, and its address to none.
        (None, None, "discovered", "10.0.0.99", 8),
        (UNKNOWN_MAC, None, "discovered", "10.0.0.8", None),
        (None, UNKNOWN_MAC, UNKNOWN_MAC, "10.0.0.8", None),
        (UNKNOWN_MAC, None, "discovered name", "10.0.0.99", None),
        (None, None, "discovered name", "10.0.0.99", None),
        (None, None, "discovered twice", "10.0.0.99", None),
        (None, None, None, "10.0.0.8", None),
        (None, None, None, "10.0.0.9", 9),
        # Retired: by its MAC and by what it was discovered by.
        ("02:00:00:00:00:10", None, None, None, 10),
        (None, None, "retired", None, None),
        # Merged: as it was before, and the other is meant.
        ("02:00:00:00:00:11", None, None, None, 1),
        (UNKNOWN_MAC, None, "merged", None, 1),
        (UNKNOWN_MAC, None, "merged name", None, 1),
        (UNKNOWN_MAC, None, "shared", None, 1),
        (UNKNOWN_MAC, None, "factory name", None, None),
        (None, None, "factory name", None, 1),
        (None, None, None, "10.0.0.12", 1),
        (None, None, None, None, None),
    ],
)
def test_match_router(
    connection: Connection,
    mac: str | None,
    nas_mac: str | None,
    nas_identifier: str | None,
    ip: str | None,
    expected: int | None,
) -> None:
    connection.execute(
        """INSERT INTO routers
               (id, name, mac, nas_identifier, ip_address, status, discovery_key, merged_into, merged_status)
           VALUES (1, 'a', '02:00:00:00:00:01', 'shared', NULL, 'active', NULL, NULL, NULL),
                  (2, 'b', '02:00:00:00:00:02', NULL, NULL, 'active', NULL, NULL, NULL),
                  (3, 'c', NULL, 'by identifier', NULL, 'active', NULL, NULL, NULL),
                  (4, 'd', NULL, NULL, '10.0.0.4', 'active', NULL, NULL, NULL),
                  (5, 'by name', NULL, NULL, NULL, 'active', NULL, NULL, NULL),
                  (6, 'e', NULL, 'twice', '10.0.0.6', 'active', NULL, NULL, NULL),
                  (7, 'f', NULL, 'twice', '10.0.0.6', 'active', NULL, NULL, NULL),
                  (8, 'g', '02:00:00:00:00:08', 'discovered', '10.0.0.8', 'discovered', 'mac:02:..:08', NULL, NULL),
                  (9, 'h', NULL, NULL, '10.0.0.9', 'discovered', 'ip:10.0.0.9', NULL, NULL),
                  (10, 'i', '02:00:00:00:00:10', 'retired', NULL, 'retired', NULL, NULL, NULL),
                  (11, 'merged name', '02:00:00:00:00:11', 'merged', NULL, 'retired', NULL, 1, 'active'),
                  (12, 'k', '02:00:00:00:00:12', 'factory name', NULL, 'retired', 'ip:10.0.0.12', 1, 'discovered'),
                  (13, 'l', NULL, 'shared', NULL, 'retired', NULL, 1, 'active'),
                  (14, 'm', '02:00:00:00:00:14', '02:00:00:00:00:99', NULL, 'discovered', 'mac:14', NULL, NULL),
                  (15, 'discovered name', '02:00:00:00:00:15', NULL, NULL, 'discovered', 'mac:15', NULL, NULL),
                  (16, 'n', '02:00:00:00:00:16', 'discovered twice', NULL, 'discovered', 'mac:16', NULL, NULL),
                  (17, 'o', '02:00:00:00:00:17', 'discovered twice', NULL, 'discovered', 'mac:17', NULL, NULL)"""
    )
    call = "radmeter.match_router(%s, %s, %s, %s)"
    assert value(connection, call, mac, nas_mac, nas_identifier, ip) == expected


def test_discover_router_makes_one_row_and_finds_it_again(connection: Connection) -> None:
    call = "radmeter.discover_router(%s, %s, %s, %s)"
    made = value(connection, call, MAC, None, "ap", "10.0.0.1")
    assert value(connection, call, MAC, None, "other", "10.0.0.2") == made
    assert value(connection, call, None, MAC, "ap", "10.0.0.1") == made
    assert value(connection, call, None, None, "ap", "10.0.0.1") != made
    # The same name and address with another MAC is another router.
    other = value(connection, call, OTHER_MAC, None, "ap", "10.0.0.1")
    assert value(connection, call, None, OTHER_MAC, "ap", "10.0.0.1") == other != made
    rows = connection.execute("SELECT name, status, discovery_key FROM routers ORDER BY id").fetchall()
    assert rows == [
        (MAC, "discovered", f"mac:{MAC}"),
        ("ap", "discovered", "nas:ap"),
        (OTHER_MAC, "discovered", f"mac:{OTHER_MAC}"),
    ]


def open_session(connection: Connection, router_id: int, ago_seconds: int, **columns: object) -> int:
    names = ", ".join(columns)
    values = ", ".join(["%s"] * len(columns))
    row = connection.execute(
        f"""INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, router_id, acctstarttime, acctupdatetime,
                                 arrived_at{", " + names if names else ""})
            SELECT 's', gen_random_uuid()::text, '10.0.0.1', %s, at - interval '1 hour', at, at
                   {", " + values if values else ""}
            FROM (SELECT now() - make_interval(secs => %s) AS at) AS moment
            RETURNING radacctid""".encode(),
        (router_id, *columns.values(), ago_seconds),
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_observe_intervals_is_the_median_and_written_only_when_it_moved(connection: Connection) -> None:
    connection.execute("INSERT INTO routers (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'quiet')")
    for seconds in (1, 290, 300, 310, 90_000):
        open_session(connection, 1, 10, acctinterval=seconds)
    open_session(connection, 2, 10, acctinterval=None)
    observed = "SELECT interim_interval FROM routers ORDER BY id"
    assert value(connection, "radmeter.observe_intervals()") == 1
    assert connection.execute(observed).fetchall() == [(290,), (None,), (None,)]
    connection.execute("UPDATE radacct SET acctinterval = acctinterval + 20 WHERE acctinterval IS NOT NULL")
    assert value(connection, "radmeter.observe_intervals()") == 0
    connection.execute("UPDATE radacct SET acctinterval = 60 WHERE acctinterval IS NOT NULL")
    assert value(connection, "radmeter.observe_intervals()") == 1
    assert connection.execute(observed).fetchall() == [(60,), (None,), (None,)]


# Stale sessions


def test_stale_sessions_are_those_silent_for_longer_than_their_routers_interval(
    connection: Connection,
) -> None:
    connection.execute(
        "INSERT INTO routers (id, name, interim_interval) VALUES (1, 'a', NULL), (2, 'slow', 600)"
    )
    stale = open_session(connection, 1, 601)
    open_session(connection, 1, 590)
    open_session(connection, 2, 1700)
    slow = open_session(connection, 2, 1801)
    announced = open_session(connection, 2, 700, interim_interval=60)
    found = connection.execute("SELECT radacctid FROM radmeter.stale_sessions()").fetchall()
    assert found == [(stale,), (slow,), (announced,)]
    assert connection.execute("SELECT count(*) FROM radmeter.stale_sessions(now(), 60)").fetchone() == (0,)


def test_close_stale_asks_again_and_leaves_rows_that_another_writer_holds(
    database: str, connection: Connection
) -> None:
    connection.execute("INSERT INTO routers (id, name) VALUES (1, 'a')")
    held, stale, alive = (open_session(connection, 1, ago) for ago in (900, 900, 10))
    with psycopg.connect(database) as writer:
        writer.execute("UPDATE radacct SET class = 'x' WHERE radacctid = %s", (held,))
        connection.execute("SET lock_timeout = '5s'")
        ids = [held, stale, alive, 999]
        assert value(connection, "radmeter.close_stale(%s)", ids) == 1
        writer.commit()
    assert value(connection, "radmeter.close_stale(%s)", ids) == 1
    assert value(connection, "radmeter.close_stale(%s)", ids) == 0
    rows = connection.execute(
        "SELECT radacctid, acctstoptime = acctupdatetime, acctterminatecause, closed_by FROM radacct ORDER BY 1"
    ).fetchall()
    assert rows == [
        (held, True, "Admin-Reset", "reaper"),
        (stale, True, "Admin-Reset", "reaper"),
        (alive, None, None, None),
    ]


# Partitions


def test_ensure_partition_makes_a_month_of_utc_once(connection: Connection) -> None:
    connection.execute("SET timezone = 'Pacific/Auckland'")
    assert value(connection, "radmeter.ensure_partition('2031-05-31T23:59:59Z')") is True
    assert value(connection, "radmeter.ensure_partition('2031-05-01T00:00:00Z')") is False
    assert value(connection, "radmeter.ensure_partition('2031-06-01T00:00:00Z')") is True
    for stop in ("2031-05-01T00:00:00Z", "2031-05-31T23:59:59.999999Z", "2031-06-01T00:00:00Z"):
        connection.execute(
            "INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstoptime) VALUES ('s', %s, '::1', %s)",
            (stop, stop),
        )
    rows = connection.execute("SELECT tableoid::regclass::text, count(*) FROM radacct GROUP BY 1 ORDER BY 1")
    assert rows.fetchall() == [("radacct_2031_05", 2), ("radacct_2031_06", 1)]
    # As the ones made with the schema: unique ids, and a lookup by session, user and router.
    indexes = connection.execute(
        """SELECT replace(indexdef, 'radacct_2031_05', '*') FROM pg_indexes WHERE tablename = 'radacct_2031_05'
           EXCEPT
           SELECT replace(indexdef, this.relname, '*') FROM pg_indexes
           JOIN pg_class AS this ON this.relname = tablename
           WHERE tablename = 'radacct_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"""
    )
    assert indexes.fetchall() == []


def test_partitions_are_read_alike_whatever_the_session_writes_dates_as(connection: Connection) -> None:
    """IST is what India writes; read back by a session of another zone it is Israel's."""
    spans = """SELECT name, extract(epoch FROM from_at)::bigint, extract(epoch FROM to_at)::bigint
               FROM radmeter.partitions ORDER BY 2 NULLS LAST"""
    before = connection.execute(spans).fetchall()
    assert value(connection, "bool_or(to_at > now()) FROM radmeter.partitions") is True
    connection.execute("SET datestyle = 'SQL, DMY'")
    connection.execute("SET timezone = 'Asia/Kolkata'")
    assert connection.execute(spans).fetchall() == before
    assert value(connection, "radmeter.ensure_partition(now())") is False
    assert value(connection, "isfinite(radmeter.sessions_complete_from())") is False


def test_ensure_partition_from_two_places_at_once(database: str, connection: Connection) -> None:
    made: list[bool] = []
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def ensure() -> None:
        try:
            with psycopg.connect(database, autocommit=True) as one:
                barrier.wait(30)
                made.append(value(one, "radmeter.ensure_partition('2032-01-15')"))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(made) == [False, False, False, True]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Auckland"])
def test_note_session_month_counts_only_months_that_may_have_had_sessions(
    connection: Connection, zone: str
) -> None:
    connection.execute("SELECT set_config('timezone', %s, false)", (zone,))
    for month in ("2020-01-01", "2020-01-01", "2099-01-01", "2099-01-01"):
        connection.execute(
            "SELECT radmeter.note_session_month(%s::date::timestamp AT TIME ZONE 'UTC')", (month,)
        )
    rows = connection.execute(
        "SELECT month::text, made FROM radmeter.session_month WHERE month IN ('2020-01-01', '2099-01-01') ORDER BY 1"
    )
    assert rows.fetchall() == [("2020-01-01", 2), ("2099-01-01", 1)]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Auckland"])
def test_sessions_complete_from_is_the_end_of_the_latest_month_that_was_dropped(
    connection: Connection, zone: str
) -> None:
    connection.execute("SELECT set_config('timezone', %s, false)", (zone,))
    complete = "isfinite(radmeter.sessions_complete_from())"
    assert value(connection, complete) is False
    connection.execute(
        "SELECT radmeter.ensure_partition('2020-01-15'), radmeter.ensure_partition('2020-03-15')"
    )
    assert value(connection, complete) is False
    connection.execute("DROP TABLE radacct_2020_01")
    assert value(connection, "radmeter.sessions_complete_from()") == datetime.fromisoformat(
        "2020-02-01T00:00Z"
    )
    connection.execute("SELECT radmeter.ensure_partition('2020-01-15')")  # made again: empty
    assert value(connection, "radmeter.sessions_complete_from()") == datetime.fromisoformat(
        "2020-02-01T00:00Z"
    )
    connection.execute("DROP TABLE radacct_2020_03")
    assert value(connection, "radmeter.sessions_complete_from()") == datetime.fromisoformat(
        "2020-04-01T00:00Z"
    )
    # A month that lies ahead has no session yet.
    connection.execute("SELECT radmeter.ensure_partition('2199-01-15')")
    connection.execute("DROP TABLE radacct_2199_01")
    assert value(connection, "radmeter.sessions_complete_from()") == datetime.fromisoformat(
        "2020-04-01T00:00Z"
    )


# Usage and what else is read


def test_get_user_total_usage_is_both_directions_of_the_period(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
           VALUES ('alice', '2026-10-01', 1, 2), ('alice', '2026-11-01', 30, 40),
                  ('most', '2026-11-01', 9223372036854775807, 9223372036854775807)"""
    )
    call = "public.get_user_total_usage(%s, %s)"
    assert value(connection, call, "alice", "2026-10-31T23:59:59Z") == 3
    assert value(connection, call, "alice", "2026-11-01T00:00:00Z") == 70
    assert value(connection, call, "alice", "2026-12-01T00:00:00Z") == 0
    assert value(connection, call, "Alice", "2026-11-01T00:00:00Z") == 0
    assert value(connection, call, None, "2026-11-01T00:00:00Z") == 0
    assert value(connection, call, "most", "2026-11-01T00:00:00Z") == (1 << 63) - 1
    connection.execute(
        "INSERT INTO plans (id, name, timezone) OVERRIDING SYSTEM VALUE VALUES (1, 'p', 'Asia/Tokyo')"
    )
    connection.execute("INSERT INTO subscribers VALUES ('alice', 1)")
    assert value(connection, call, "alice", "2026-10-31T15:00:00Z") == 70
    assert value(connection, "public.get_user_total_usage(%s)", "nobody") == 0


def test_session_parts_are_the_finished_slices_and_what_they_leave(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radmeter.session_slice VALUES (7, '2026-10-30', '2026-10-01', 10, 1),
                                                     (7, '2026-10-31', '2026-10-01', 20, 2),
                                                     (8, '2026-10-31', '2026-10-01', 99, 99)"""
    )
    parts = (
        "SELECT usage_date::text, period_start::text, bytes_in, bytes_out, finished FROM radmeter.session_parts(%s, \
'2026-11-01', '2026-11-01', %s, %s) ORDER BY 1"
    )
    finished = [("2026-10-30", "2026-10-01", 10, 1, True), ("2026-10-31", "2026-10-01", 20, 2, True)]
    assert connection.execute(parts, (7, 35, 3)).fetchall() == [
        *finished,
        ("2026-11-01", "2026-11-01", 5, 0, False),
    ]
    assert connection.execute(parts, (7, 30, 3)).fetchall() == finished
    assert connection.execute(parts, (9, 4, 0)).fetchall() == [("2026-11-01", "2026-11-01", 4, 0, False)]
    assert connection.execute(parts, (9, 0, 0)).fetchall() == []


def test_node_checkpoint_is_zero_for_a_new_node(connection: Connection) -> None:
    connection.execute("INSERT INTO ingest_checkpoint (node, last_seq) VALUES ('known', 4294967299)")
    assert value(connection, "radmeter.node_checkpoint('known')") == 4294967299
    assert value(connection, "radmeter.node_checkpoint('new')") == 0


def test_setting_value(connection: Connection) -> None:
    assert value(connection, "radmeter.setting_value('stale_minutes')") == "10"
    assert value(connection, "radmeter.setting_value('nothing')") is None


def test_audit_keeps_the_role_and_the_person(connection: Connection) -> None:
    assert value(connection, "radmeter.audit('test', '{\"a\": 1}')") == 1
    connection.execute("SET radmeter.operator = 'ada'")
    assert value(connection, "radmeter.audit('test', '{}')") == 2
    rows = connection.execute("SELECT who, operator, action, detail FROM audit_log ORDER BY id").fetchall()
    assert rows == [("postgres", None, "test", {"a": 1}), ("postgres", "ada", "test", {})]


def test_ingest_of_nothing_moves_no_checkpoint(connection: Connection) -> None:
    assert value(connection, "radmeter.ingest('n', '[]')") == 0
    assert connection.execute("SELECT count(*) FROM ingest_checkpoint").fetchone() == (0,)
