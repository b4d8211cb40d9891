"""`radmeter explain`: the sessions and corrections that make up a counter. Their total is the counter, to the byte."""

import json
import random
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.commands import Packets, Result, radmeter
from support.explained import unexplained
from support.servers import Connection

from radmeter.plugin.journal import files
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.usage import verify

DAY = 86400


@pytest.fixture
def traffic(database: str, connection: Connection) -> str:
    """A database with sessions over several days, with counters that wrapped and restarted, and plans of all kinds."""
    for number, (kind, zone) in enumerate(
        [("daily", None), ("weekly", "Asia/Tokyo"), ("monthly", None), ("one-time", "America/Lima")]
    ):
        connection.execute(
            "INSERT INTO plans (name, quota_type, timezone) VALUES (%s, %s, %s)", (kind, kind, zone)
        )
        connection.execute(
            "INSERT INTO subscribers (username, plan_id) VALUES (%s, %s)", (f"user{number}", number + 1)
        )
    # So that a value that is smaller after minutes can be a restart.
    connection.execute("SELECT radmeter.set_limit('plausible_mbit_per_second', '1')")
    chance = random.Random(14)
    with Packets(database) as packets:
        for number in range(40):
            about: dict[str, Any] = {
                "User_Name": f"user{number % 5}",
                "NAS_Identifier": f"site{number % 3}",
                "Calling_Station_Id": f"02-00-00-00-00-{number:02}",
            }
            ago, seconds, octets = chance.randrange(4 * DAY, 20 * DAY), 0, 0
            for _ in range(chance.randrange(1, 6)):
                step = chance.randrange(600, DAY)
                ago, seconds = ago - step, seconds + step
                octets = (
                    chance.randrange(2**32) if chance.random() < 0.4 else octets + chance.randrange(10**8)
                )
                packets.add(
                    "Stop" if chance.random() < 0.2 else "Interim-Update",
                    f"s{number}",
                    ago=max(0, ago),
                    Acct_Session_Time=seconds,
                    Acct_Input_Octets=octets % 2**32,
                    Acct_Output_Octets=octets // 3 % 2**32,
                    **about,
                )
    return database


def explained(dsn: str, user: str, *arguments: str, **environment: str) -> dict[str, Any]:
    found = radmeter(dsn, "explain", user, "--format", "json", *arguments, **environment).json()
    assert isinstance(found, dict)
    return found


def counters(connection: Connection) -> list[tuple[str, date, int, int]]:
    return connection.execute(
        "SELECT username, period_start, bytes_in, bytes_out FROM user_quota_usage ORDER BY 1, 2"
    ).fetchall()


def total(found: dict[str, Any]) -> tuple[int, int]:
    return sum(part["bytes_in"] for part in found["parts"]), sum(part["bytes_out"] for part in found["parts"])


def test_the_parts_of_every_counter_add_up_to_it(traffic: str, connection: Connection) -> None:
    rows = counters(connection)
    assert len({username for username, *_ in rows}) == 5
    # How many there are depends on the time of day: sessions begin so many seconds ago.
    assert len(rows) > 10
    assert unexplained(connection) == []
    shared = 0
    for username, period, bytes_in, bytes_out in rows:
        found = explained(traffic, username, "--period", str(period))
        assert (found["period_start"], found["bytes_in"], found["bytes_out"]) == (
            str(period),
            bytes_in,
            bytes_out,
        )
        assert total(found) == (bytes_in, bytes_out)
        assert {part["part"] for part in found["parts"]} <= {"session"}
        shared += sum(
            part["bytes_of_session"] > part["bytes_in"] + part["bytes_out"] for part in found["parts"]
        )
    assert shared > 2  # sessions that reach over the end of a period


def test_a_counter_that_a_packet_raises_meanwhile_adds_up(traffic: str) -> None:
    with Packets(traffic) as packets:
        packets.add("Interim-Update", "now", User_Name="user0", Acct_Input_Octets=5, Acct_Session_Time=60)
    found = explained(traffic, "user0")
    assert total(found) == (found["bytes_in"], found["bytes_out"])
    assert found["parts"][-1]["session_id"] == "now"


def test_csv_and_the_table_have_the_same_total(traffic: str, connection: Connection) -> None:
    (username, period, bytes_in, bytes_out) = next(row for row in counters(connection) if row[0] == "user2")
    rows = radmeter(traffic, "explain", username, "--period", str(period), "--format", "csv").csv()
    assert sum(int(row["bytes_in"]) for row in rows) == bytes_in
    assert sum(int(row["bytes_out"]) for row in rows) == bytes_out
    shown = radmeter(traffic, "explain", username, "--period", str(period)).output
    assert f"{bytes_in:,} bytes in + {bytes_out:,} bytes out" in shown
    (line,) = [line for line in shown.splitlines() if "total = counter" in line]
    assert line.split()[-1] == f"{bytes_in + bytes_out:,}"


def test_wraps_and_restarts_are_shown_with_the_other_reading(traffic: str, connection: Connection) -> None:
    kinds = set()
    for username, period, *_ in counters(connection):
        found = explained(traffic, username, "--period", str(period))
        sessions = {part["session"] for part in found["parts"]}
        for each in found["corrections"]:
            assert each["session"] in sessions
            kinds.add((each["kind"], each["octets_otherwise"] is not None))
    assert ("counter wrapped", True) in kinds
    assert ("counter restarted", True) in kinds


def test_what_was_changed_by_hand_is_not_explained_and_its_repair_is_shown(
    traffic: str, connection: Connection
) -> None:
    username, period, bytes_in, bytes_out = counters(connection)[0]
    connection.execute(
        "UPDATE user_quota_usage SET bytes_in = bytes_in + 7 WHERE (username, period_start) = (%s, %s)",
        (username, period),
    )
    found = explained(traffic, username, "--period", str(period))
    assert total(found) == (found["bytes_in"], found["bytes_out"]) == (bytes_in + 7, bytes_out)
    assert [
        (part["bytes_in"], part["bytes_out"]) for part in found["parts"] if part["part"] == "unexplained"
    ] == [(7, 0)]
    shown = radmeter(traffic, "explain", username, "--period", str(period)).output
    assert "not explained" in shown
    assert "`radmeter verify` shows which counters differ" in shown

    _, different = verify.user_differences(connection, verify.Scope())
    assert verify.repair(connection, different) == 1
    found = explained(traffic, username, "--period", str(period))
    assert total(found) == (bytes_in, bytes_out)
    assert "unexplained" not in {part["part"] for part in found["parts"]}
    repairs = [each for each in found["corrections"] if each["kind"] == "verify repair"]
    assert [(each["direction"], each["octets_before"], each["octets_after"]) for each in repairs] == [
        ("input", bytes_in + 7, bytes_in),
        ("output", bytes_out, bytes_out),
    ]
    assert all(each["who"] for each in repairs)


def test_sessions_of_a_dropped_month_are_a_part_of_their_own(database: str, connection: Connection) -> None:
    now = datetime.now(UTC)
    month = (now.replace(day=1) - timedelta(days=70)).replace(day=1)
    assert radmeter(database, "partitions", "ensure", f"{month:%Y-%m}").exit_code == 0
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                acctstoptime, acctinputoctets, acctoutputoctets)
           VALUES ('old', 'old', 'alice', '10.0.0.9', %(at)s, %(at)s, %(at)s, 70, 7)""",
        {"at": month + timedelta(days=9)},
    )
    period = f"{month:%Y-%m}"
    assert total(explained(database, "alice", "--period", period)) == (70, 7)
    connection.execute(f"DROP TABLE radacct_{month:%Y_%m}".encode())
    found = explained(database, "alice", "--period", period)
    assert [(part["part"], part["bytes_in"], part["bytes_out"]) for part in found["parts"]] == [
        ("dropped", 70, 7)
    ]
    assert found["sessions_kept_from"]
    assert "are not kept here" in radmeter(database, "explain", "alice", "--period", period).output


def test_an_empty_name_and_an_unknown_one_are_errors(traffic: str) -> None:
    for name in ("nobody", ""):
        done = radmeter(traffic, "explain", name)
        assert (done.exit_code, done.output) == (1, "")
        assert f"there is no user {name!r}" in done.errors


def test_a_period_is_named_by_its_month_or_by_a_day(traffic: str, connection: Connection) -> None:
    daily = [period for username, period, *_ in counters(connection) if username == "user0"]
    day = daily[-1]
    if len([each for each in daily if each.replace(day=1) == day.replace(day=1)]) > 1:
        done = radmeter(traffic, "explain", "user0", "--period", f"{day:%Y-%m}")
        assert done.exit_code == 1
        assert f"quota periods of 'user0' began in {day:%Y-%m}" in done.errors
    weekly = next(period for username, period, *_ in counters(connection) if username == "user1")
    within = weekly + timedelta(days=3)
    assert explained(traffic, "user1", "--period", str(within))["period_start"] == str(weekly)
    done = radmeter(traffic, "explain", "user0", "--period", "1999-01")
    assert "has no usage in a quota period that began in 1999-01" in done.errors
    for wrong in ("2026", "2026-13", "yesterday"):
        done = radmeter(traffic, "explain", "user0", "--period", wrong)
        assert done.exit_code == 2
        assert "write YYYY-MM-DD or YYYY-MM" in done.errors


def test_packets_are_shown_while_their_segments_are_kept(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    now = time.time()
    with closing(JournalWriter(journal)) as writer, Packets(database) as packets:
        for name, session, status, octets, ago in [
            ("alice", "a1", "Start", 0, 3000),
            ("bob", "b1", "Stop", 9, 2500),
            ("alice", "a1", "Interim-Update", 100, 2000),
            (None, "a1", "Stop", 150, 1000),
            ("alice", "other", "Stop", 1, 900_000),
        ]:
            about: dict[str, Any] = {
                "Acct_Input_Octets": octets,
                "Calling_Station_Id": "02-00-00-00-00-09",
            }
            if name is not None:
                about["User_Name"] = name
            if ago < DAY:
                packets.add(status, session, ago=ago, Acct_Session_Time=3000 - ago, **about)
            pairs = {
                "Acct-Status-Type": status,
                "Acct-Session-Id": session,
                "NAS-IP-Address": "10.0.0.1",
                **{key.replace("_", "-"): str(value) for key, value in about.items()},
            }
            writer.append(int((now - ago) * 1e6), json.dumps(list(pairs.items())))
        writer.append(int(now * 1e6), '["alice" is no list of attributes')

    def shown(*arguments: str) -> Result:
        return radmeter(database, "explain", "alice", "--packets", *arguments, RADMETER_JOURNAL=str(journal))

    (segment,) = (file.path for file in files.segments(journal))
    for place in (journal, journal / "shipped"):
        rows = shown("--format", "json").json()["packets"]
        assert [(row["status"], row["reported_in"], row["session_id"]) for row in rows] == [
            ("Start", 0, "a1"),
            ("Interim-Update", 100, "a1"),
            ("Stop", 150, "a1"),
        ], place
        assert len({row["session"] for row in rows}) == 1
        assert len(shown("--format", "csv").csv()) == 3
        assert "3 packets that the journal keeps" in shown().output
        if place == journal:
            (journal / "shipped").mkdir()
            segment.rename(journal / "shipped" / segment.name)
    (journal / "shipped" / segment.name).unlink()
    assert "keeps no packet of these sessions" in shown().output
    without = radmeter(database, "explain", "alice", "--packets")
    assert without.exit_code == 0
    assert "no packets are shown" in without.errors


def test_after_a_change_of_plan_a_day_is_in_the_period_that_counted_it(
    database: str, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO plans (name, quota_type, anchor_day) VALUES ('m', 'monthly', %s), ('d', 'daily', 1)",
        ((datetime.now(UTC) - timedelta(days=30)).day,),
    )
    connection.execute("INSERT INTO subscribers (username, plan_id) VALUES ('alice', 1)")
    with Packets(database) as packets:
        for ago in (25, 20, 15):
            packets.add("Stop", f"x{ago}", ago=ago * DAY, User_Name="alice", NAS_Identifier="lobby",
                        Acct_Session_Time=50, Acct_Input_Octets=ago)  # fmt: skip
    ((_, period, total_in, _),) = counters(connection)
    days = {ago: str((datetime.now(UTC) - timedelta(days=ago)).date()) for ago in (25, 20, 18, 15)}

    def shown(day: str) -> str:
        return radmeter(database, "explain", "alice", "--period", day).output.splitlines()[0]

    whole = shown(days[20])
    assert f"from {period} to 20" in whole
    connection.execute("UPDATE subscribers SET plan_id = 2")
    for asked in (*days.values(), str(period)):
        found = explained(database, "alice", "--period", asked)
        assert (found["period_start"], found["bytes_in"], found["period_end"]) == (
            str(period),
            total_in,
            None,
        ), asked
        assert shown(asked) == f"alice, quota period from {period}, of a plan that the user had before:"
    today = datetime.now(UTC).date()
    with Packets(database) as packets:
        packets.add("Stop", "now", User_Name="alice", Acct_Session_Time=0, Acct_Input_Octets=3)
    assert shown(str(today)) in (
        f"alice, quota period from {today} to {today} (UTC):",
        f"alice, quota period from {today + timedelta(days=1)} to {today + timedelta(days=1)} (UTC):",
    )
    done = radmeter(database, "explain", "alice", "--period", str(today - timedelta(days=3)))
    assert "has no usage in the quota period" in done.errors
