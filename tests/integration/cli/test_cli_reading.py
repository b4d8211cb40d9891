"""Lists for people: 80 columns, chosen columns, the installation's zone, a pager. JSON and CSV stay as they are."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.commands import Packets, radmeter
from support.screens import screen
from support.servers import Connection

ESCAPE = "\x1b["
MARKED = "sed s/^/PAGED:/"


@pytest.fixture
def used(database: str, connection: Connection) -> str:
    connection.execute("UPDATE radmeter.setting SET value = 'Asia/Tokyo' WHERE name = 'timezone'")
    with Packets(database) as packets:
        for number in range(60):
            packets.add(
                "Stop",
                f"s{number}",
                ago=3600 + number,
                User_Name="alice" if number % 2 else f"firstname.lastname{number}@example.org",
                NAS_Identifier="sim-router-05",
                Called_Station_Id="02-00-00-00-00-01:wifi",
                Calling_Station_Id="02-00-00-00-00-99",
                Acct_Session_Time=60,
                Acct_Input_Octets=10**9 + number,
                Acct_Output_Octets=10**7,
            )
    return database


LISTS = [
    ("sessions",),
    ("sessions", "--user", "alice"),
    ("usage", "user", "alice"),
    ("usage", "users"),
    ("usage", "router", "#1"),
    ("routers", "list"),
    ("routers", "show", "#1"),
    ("partitions", "list"),
    ("limits", "list"),
    ("login", "list"),
    ("audit", "list"),
    ("explain", "alice"),
    ("people", "show", "alice"),
]


def test_a_list_fits_80_columns_and_breaks_nothing(used: str) -> None:
    for command in LISTS:
        shown = radmeter(used, *command, COLUMNS="80")
        assert shown.exit_code == 0, command
        assert [line for line in shown.output.splitlines() if len(line) > 80] == [], command
        for word in re.findall(r"firstname\S*|02:00:\S*|\b20\d\d-\S*", shown.output):
            whole = r"firstname\.lastname\d+@example\.org|02:00:00:00:00:01|20\d\d-\d\d(-\d\d)?[.,:]?"
            assert re.fullmatch(whole, word), (command, word)


def test_a_discovered_router_shows_the_name_that_it_sends(used: str) -> None:
    assert "sim-router-05 (discovered)" in radmeter(used, "sessions", "--limit", "1").output
    assert "#1 sim-router-05 (discovered)" in radmeter(used, "usage", "router", "#1").output
    assert "sim-router-05 (discovered)" in radmeter(used, "explain", "alice").output
    (session,) = radmeter(used, "sessions", "--limit", "1", "--format", "json").json()
    assert session["router"] == "02:00:00:00:00:01"
    assert radmeter(used, "routers", "claim", "#1", "--name", "lobby").exit_code == 0
    shown = radmeter(used, "sessions", "--limit", "1").output
    assert "lobby" in shown
    assert "(discovered)" not in shown


def test_times_are_in_the_installations_zone_or_in_utc(used: str) -> None:
    command = ("sessions", "--user", "alice", "--limit", "1")
    (session,) = radmeter(used, *command, "--format", "json").json()
    began = datetime.fromisoformat(session["started_at"])
    for arguments, zone in (((), ZoneInfo("Asia/Tokyo")), (("--utc",), UTC)):
        shown = radmeter(used, *command, *arguments).output
        assert shown.startswith(f"Times in {zone}\n")
        assert began.astimezone(zone).strftime("%Y-%m-%d %H:%M") in shown
        wide = radmeter(used, *command, *arguments, "--wide").output
        assert began.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S%z") in wide
        again = radmeter(used, *command, *arguments, "--format", "json").json()
        assert again == [session]
    status = radmeter(used, "status", "--sample", "0").output
    assert " JST" in status
    assert " UTC" in radmeter(used, "status", "--sample", "0", "--utc").output


def test_columns_are_chosen_in_every_format(used: str) -> None:
    command = ("sessions", "--limit", "1", "--columns", "session_id, bytes_in,username")
    (row,) = radmeter(used, *command, "--format", "json").json()
    assert list(row) == ["session_id", "bytes_in", "username"]
    (csv,) = radmeter(used, *command, "--format", "csv").csv()
    assert list(csv) == ["session_id", "bytes_in", "username"]
    assert csv["bytes_in"] == str(row["bytes_in"])
    header, line = radmeter(used, *command).output.splitlines()
    assert header.split() == ["session", "id", "bytes", "in", "username"]
    assert line.split() == [row["session_id"], "1.00", "GB", row["username"]]
    wrong = radmeter(used, "sessions", "--columns", "username,nosuch")
    assert (wrong.exit_code, wrong.output) == (2, "")
    assert "there is no column 'nosuch': there are id, username, " in wrong.errors


def test_wide_has_every_column_of_csv_in_one_line(used: str) -> None:
    (row,) = radmeter(used, "sessions", "--limit", "1", "--format", "csv").csv()
    title, header, line = radmeter(
        used, "sessions", "--limit", "1", "--wide", COLUMNS="80"
    ).output.splitlines()
    assert title == "Times in Asia/Tokyo"
    assert header.split() == [word for name in row for word in name.split("_")]
    assert row["unique_id"] in line


def test_usage_user_says_plan_quota_what_is_left_and_when_the_period_ends(
    database: str, connection: Connection
) -> None:
    connection.execute(
        """INSERT INTO plans (name, quota_type, anchor_day, timezone, quota_bytes)
           VALUES ('gold', 'monthly', 31, 'UTC', 3 * 1073741824::bigint), ('day', 'daily', 1, NULL, NULL),
                  ('once', 'one-time', 1, NULL, 1073741824)"""
    )
    connection.execute("INSERT INTO subscribers VALUES ('alice', 1), ('bob', 2), ('carol', 3)")
    with Packets(database) as packets:
        for name in ("alice", "bob", "carol", "dave"):
            packets.add("Stop", name, User_Name=name, Acct_Input_Octets=2**30, Acct_Output_Octets=2**29)
    (row,) = radmeter(database, "usage", "user", "alice", "--format", "json").json()
    start, end = (datetime.fromisoformat(row[name]).date() for name in ("period_start", "period_end"))
    today = datetime.now(UTC).date()
    assert start <= today < end
    for day in (start, end):  # anchor 31: the last day of each month
        assert (day + timedelta(days=1)).day == 1
    assert (end - start).days in range(28, 32)
    assert (row["plan"], row["quota_bytes"], row["bytes_left"]) == ("gold", 3 * 2**30, 3 * 2**29)
    shown = radmeter(database, "usage", "user", "alice").output.splitlines()[0]
    assert (
        shown == f"alice: plan gold, 3 GiB monthly, 1.5 GiB left, next period from {end} (UTC). Times in UTC"
    )
    bob = radmeter(database, "usage", "user", "bob").output
    assert (
        bob.startswith(f"bob: plan day, no quota, next period from {today + timedelta(days=1)} (UTC)")
        or today != datetime.now(UTC).date()
    )
    carol = radmeter(database, "usage", "user", "carol").output
    assert carol.startswith(
        "carol: plan once, 1 GiB one-time, 512 MiB over it, a single period, without an end"
    )
    assert radmeter(database, "usage", "user", "dave").output.startswith("dave: no plan, next period from ")


def test_the_top_users_of_a_month(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO plans (name, quota_bytes) VALUES ('gold', 1000)")
    connection.execute("INSERT INTO subscribers VALUES ('user7', 1)")
    connection.execute(
        """INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
           SELECT 'user' || number, day, number * 10, number
           FROM generate_series(1, 30) AS number, (VALUES (date '2026-10-01'), (date '2026-10-31')) AS days (day)
           UNION ALL VALUES ('late', date '2026-11-01', 1000000, 0), ('early', date '2026-09-30', 1000000, 0)"""
    )
    rows = radmeter(
        database, "usage", "users", "--top", "3", "--period", "2026-10", "--format", "json"
    ).json()
    assert [(row["username"], row["bytes_total"], row["periods"]) for row in rows] == [
        ("user30", 660, 2),
        ("user29", 638, 2),
        ("user28", 616, 2),
    ]
    whole = radmeter(
        database, "usage", "users", "--top", "100", "--period", "2026-10", "--format", "csv"
    ).csv()
    assert len(whole) == 30
    assert {row["username"]: row["plan"] for row in whole if row["plan"]} == {"user7": "gold"}
    table = radmeter(database, "usage", "users", "--top", "2", "--period", "2026-10").output.splitlines()
    assert table[0] == "Quota periods that began in 2026-10: 2 users, most usage first"
    assert table[2].split()[0] == "user30"
    seventh = radmeter(database, "usage", "users", "--top", "30", "--period", "2026-10").output.splitlines()[
        -7
    ]
    assert seventh.split() == ["user7", "gold", "140", "B", "14", "B", "154", "B", "1.00", "kB"]


def test_a_long_list_is_paged_on_a_terminal_and_only_there(used: str) -> None:
    with screen(used, "sessions", PAGER=MARKED, COLUMNS="80", LINES="24") as shown:
        assert shown.end() == 0
    lines = shown.text.splitlines()
    assert [
        line for line in lines if line.strip() and not line.startswith(("PAGED:", "There are more"))
    ] == []
    assert "There are more" in shown.text
    cases: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
        ({"LINES": "24"}, ("--limit", "5")),  # it fits the screen
        ({"LINES": "24", "TERM": "dumb"}, ()),
        ({"LINES": "24", "PAGER": "cat"}, ()),
        ({"LINES": "24", "PAGER": "/nonexistent/pager"}, ()),
        ({"LINES": "24", "PAGER": "less '"}, ()),
        ({"LINES": "24"}, ("--format", "csv")),
    )
    for environment, arguments in cases:
        given = {"PAGER": MARKED, "COLUMNS": "80", **environment}
        with screen(used, "sessions", *arguments, **given) as shown:
            assert shown.end() == 0
        assert "PAGED:" not in shown.text
        assert "alice" in shown.text
    piped = radmeter(used, "sessions", PAGER=MARKED, LINES="24")
    assert "PAGED:" not in piped.output


def test_an_open_session_with_a_long_name_takes_few_lines(database: str) -> None:
    name = f"{'n' * 20}@example.hotel.org"
    with Packets(database) as packets:
        packets.add("Start", "s", User_Name=name, NAS_Identifier="lobby")
    shown = radmeter(database, "sessions", "--open", COLUMNS="80").output
    assert name in shown
    assert "stopped" not in shown
    rows = shown[shown.index(name) :].splitlines()
    assert len(rows) <= 3
    assert max(map(len, shown.splitlines())) <= 80


def test_a_heading_is_bold_unless_the_user_or_the_terminal_wants_no_style(used: str) -> None:
    cases: tuple[tuple[dict[str, Any], bool], ...] = (
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    )
    for environment, bold in cases:
        with screen(used, "routers", "list", **environment) as shown:
            shown.child.expect("sim-router-05")
            raw = shown.child.before + shown.child.after
            assert shown.end() == 0
        assert (ESCAPE in raw) is bold, environment


def test_top_shows_who_uses_what(used: str) -> None:
    with screen(used, "top", "--seconds", "0.3") as live:
        live.expect("No user has used anything yet")
        with Packets(used) as packets:
            packets.add("Stop", "now", User_Name="mallory", NAS_Identifier="sim-router-05", Acct_Input_Octets=3 * 2**20,
                        Called_Station_Id="02-00-00-00-00-01")  # fmt: skip
        live.expect(r"mallory\s+3.15 MB\s+0 B\s+3.15 MB")
        live.expect(r"sim-router-05 \(discovered\)\s+3.15 MB")
        live.child.sendintr()
        assert live.end() == 0


@pytest.mark.parametrize("environment", [{}, {"TERM": "dumb"}])
def test_top_without_a_screen_is_a_line_for_each_reading(used: str, environment: dict[str, Any]) -> None:
    done = radmeter(used, "top", "--seconds", "0.2", "--count", "3", **environment)
    assert done.exit_code == 0
    assert len(done.output.splitlines()) == 3
    assert all(
        re.search("0 open sessions, newest packet 1 h [0-9]+ min ago", line)
        for line in done.output.splitlines()
    )
    if environment:
        with screen(used, "top", "--seconds", "0.2", "--count", "2", **environment) as shown:
            assert shown.end() == 0
        assert ESCAPE not in shown.text
        assert len([line for line in shown.text.splitlines() if "open sessions" in line]) == 2


def test_json_and_csv_of_lists_have_the_fields_that_they_had(used: str, tmp_path: Path) -> None:
    """Programs read them: names stay, in their order. New ones come at the end."""
    fields = {
        ("usage", "user", "alice"): "username period_start bytes_in bytes_out bytes_total last_updated",
        ("usage", "router", "#1"): "router_id router usage_date bytes_in bytes_out bytes_total last_updated",
        (
            "sessions",
        ): "id username router_id router router_mac started_at updated_at stopped_at session_seconds "
        "bytes_in bytes_out calling_station_id framed_ip terminate_cause closed_by session_id unique_id",
        ("routers", "list"): "id name mac nas_identifier ip_address timezone status",
        ("limits", "list"): "name value default unit meaning",
        ("partitions", "list"): "name kind first_day end_day rows_estimate bytes_total last_autovacuum file",
    }
    for command, names in fields.items():
        first = json.loads(radmeter(used, *command, "--format", "json").output)[0]
        assert list(first)[: len(names.split())] == names.split(), command
        row = radmeter(used, *command, "--format", "csv").csv()[0]
        assert list(row)[: len(names.split())] == names.split(), command
