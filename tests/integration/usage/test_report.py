"""`radmeter report`: usage by day, week and month, who used the most, months compared, and the forecast."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support import documents_of_money as money
from support.commands import Packets, Result, radmeter
from support.servers import Connection

SVG = "{http://www.w3.org/2000/svg}"
LOBBY: dict[str, Any] = {"User_Name": "alice", "Called_Station_Id": "AA-BB-CC-DD-EE-01"}
HOUR = 3600
DAY = timedelta(days=1)


def report(database: str, *arguments: str | Path) -> Result:
    return radmeter(database, "report", *arguments)


def count(connection: Connection, router: int, day: date, octets: int) -> None:
    connection.execute(
        "INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out) VALUES (%s, %s, %s, 0)",
        (router, day, octets),
    )


def totals(done: Result) -> dict[str, int]:
    return {row["first"]: row["bytes_total"] for row in done.json()}


@pytest.fixture
def october(connection: Connection) -> int:
    """A router that counted 1 byte on October 1st, 2 on the 2nd and so on, and 100 on the days around the month."""
    router = money.router(connection, "lobby")
    for day in range(1, 32):
        count(connection, router, date(2026, 10, day), day)
    count(connection, router, date(2026, 9, 30), 100)
    count(connection, router, date(2026, 11, 1), 100)
    return router


def test_days_without_usage_are_there(database: str, connection: Connection) -> None:
    router = money.router(connection, "lobby")
    count(connection, router, date(2026, 10, 2), 7)
    done = report(
        database,
        "usage",
        "--router",
        "lobby",
        "--from",
        "2026-10-01",
        "--to",
        "2026-10-03",
        "--format",
        "json",
    )
    assert totals(done) == {"2026-10-01": 0, "2026-10-02": 7, "2026-10-03": 0}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        # 2026-10-05 is a Monday. The first and the last week have only days of the month.
        (
            "week",
            {"2026-10-01": 10, "2026-10-05": 56, "2026-10-12": 105, "2026-10-19": 154, "2026-10-26": 171},
        ),
        ("month", {"2026-10-01": 496}),
    ],
)
def test_weeks_and_months(database: str, october: int, by: str, expected: dict[str, int]) -> None:
    done = report(
        database,
        "usage",
        "--router",
        f"#{october}",
        "--from",
        "2026-10-01",
        "--to",
        "2026-10-31",
        "--by",
        by,
        "--format",
        "json",
    )
    assert totals(done) == expected


def test_a_tenant_has_its_routers_on_its_days(database: str, connection: Connection, october: int) -> None:
    """The router is acme's up to the 10th, then bcme's up to the 20th, then nobody's."""
    tenants = [money.tenant(connection, name) for name in ("acme", "bcme")]
    for owner, day in ((tenants[0], 1), (tenants[1], 11), (None, 21)):
        connection.execute(
            "INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES (%s, %s, %s)",
            (october, date(2026, 10, day), owner),
        )
    span = ("--from", "2026-09-30", "--to", "2026-11-01", "--by", "month", "--format", "json")
    assert sum(totals(report(database, "usage", "--tenant", "acme", *span)).values()) == 55
    assert sum(totals(report(database, "usage", "--tenant", "bcme", *span)).values()) == 155
    done = report(
        database,
        "compare",
        "--what",
        "tenants",
        "--month",
        "2026-10",
        "--with",
        "2026-09",
        "--format",
        "json",
    )
    assert {row["name"]: row["bytes_after"] for row in done.json()} == {"acme": 55, "bcme": 155}


def test_a_users_days_are_those_of_the_sessions(database: str, connection: Connection) -> None:
    with Packets(database) as packets:
        for hours, octets in ((60, 100), (36, 300), (12, 1000)):
            packets.add(
                "Interim-Update",
                "long",
                ago=hours * HOUR,
                Acct_Output_Octets=octets,
                Acct_Session_Time=(70 - hours) * HOUR,
                **LOBBY,
            )
        packets.add("Stop", "short", ago=HOUR, Acct_Input_Octets=5, Acct_Session_Time=60, **LOBBY)
        packets.add("Stop", "other", ago=0, Acct_Input_Octets=77, **{**LOBBY, "User_Name": "bob"})
        packets.add("Stop", "now", ago=0, Acct_Input_Octets=3, Acct_Session_Time=1, **LOBBY)
    today = datetime.now(UTC).date()
    done = report(database, "usage", "--user", "alice", "--from", str(today - 4 * DAY), "--format", "json")
    days: dict[date, int] = {}
    for hours, octets in ((60, 100), (36, 200), (12, 700), (1, 5), (0, 3)):
        day = (datetime.now(UTC) - timedelta(hours=hours)).date()
        days[day] = days.get(day, 0) + octets
    assert {date.fromisoformat(day): octets for day, octets in totals(done).items() if octets} == days
    assert done.errors == ""
    (counter,) = connection.execute(
        "SELECT sum(bytes_in + bytes_out) FROM user_quota_usage WHERE username = 'alice'"
    ).fetchall()
    assert sum(days.values()) == counter[0]


def test_it_is_said_if_sessions_of_a_user_are_not_kept(database: str, connection: Connection) -> None:
    with Packets(database) as packets:
        packets.add("Stop", "short", ago=HOUR, Acct_Input_Octets=5, Acct_Session_Time=60, **LOBBY)
    month = (datetime.now(UTC).date().replace(day=1) - DAY).replace(day=1)
    connection.execute(
        "INSERT INTO radmeter.session_month (month, made) VALUES (%s, 2) ON CONFLICT (month) DO UPDATE SET made = 2",
        (month,),
    )
    done = report(database, "usage", "--user", "alice", "--from", str(month))
    assert done.exit_code == 0
    assert "note: sessions that stopped before" in done.errors
    assert "`radmeter usage user` has the exact counters of quota periods" in done.errors


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_plot(database: str, october: int, tmp_path: Path, kind: str) -> None:
    files = [tmp_path / f"{number}.{kind}" for number in range(2)]
    for file in files:
        done = report(
            database,
            "usage",
            "--router",
            f"#{october}",
            "--from",
            "2026-10-01",
            "--to",
            "2026-10-31",
            "--plot",
            file,
            "--format",
            "csv",
        )
        assert done.exit_code == 0, done.errors
        assert len(done.csv()) == 31
    assert files[0].read_bytes() == files[1].read_bytes()
    if kind == "png":
        assert files[0].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    else:
        svg = ElementTree.fromstring(files[0].read_text())
        bars = [each for each in svg.iter(f"{SVG}rect") if each.get("y") != "80"]  # not the legend
        heights = [int(each.attrib["height"]) for each in bars]
        assert len(heights) == 31
        assert heights == sorted(heights)


def test_top_routers_and_users(database: str, connection: Connection) -> None:
    for name, octets in (("attic", 5), ("lobby", 500), ("hall", 50)):
        router = money.router(connection, name)
        count(connection, router, date(2026, 10, 1), octets)
        count(connection, router, date(2026, 10, 31), octets)
        count(connection, router, date(2026, 11, 1), 10_000 if name == "attic" else 0)
        connection.execute(
            """INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
               VALUES (%(name)s, '2026-10-01', 1, %(octets)s), (%(name)s, '2026-10-15', 1, 0),
                      (%(name)s, '2026-11-01', 9999, 0)""",
            {"name": f"user of {name}", "octets": octets},
        )
    span = ("--from", "2026-10-01", "--to", "2026-10-31", "--top", "2", "--format", "json")
    found = report(database, "top", "routers", *span).json()
    assert [(row["router"], row["days"], row["bytes_total"]) for row in found] == [
        ("lobby", 2, 1000),
        ("hall", 2, 100),
    ]
    found = report(database, "top", "users", *span).json()
    assert [(row["username"], row["periods"], row["bytes_total"]) for row in found] == [
        ("user of lobby", 2, 502),
        ("user of hall", 2, 52),
    ]


def test_months_compared(database: str, connection: Connection) -> None:
    for name, before, after in (("grows", 200, 301), ("shrinks", 3000, 1000), ("new", 0, 7), ("same", 4, 4)):
        router = money.router(connection, name)
        count(connection, router, date(2026, 2, 28), before)
        count(connection, router, date(2026, 3, 31), after)
    done = report(database, "compare", "--month", "2026-03", "--format", "json")
    assert [(row["name"], row["bytes_change"], row["change_percent"]) for row in done.json()] == [
        ("shrinks", -2000, "-66.7"),
        ("grows", 101, "50.5"),
        ("new", 7, None),
        ("same", 0, 0),
    ]
    text = report(database, "compare", "--month", "2026-03", "--top", "1").output
    assert "2026-03 against 2026-02: <0.001 GB against <0.001 GB, -59.1 %" in text
    assert "4 routers, the largest change of them" in text


def test_a_month_that_goes_on_is_compared_by_as_many_days(database: str, connection: Connection) -> None:
    """Of the month before, what came after today's day of the month does not count."""
    (today,) = connection.execute(
        "SELECT (now() AT TIME ZONE radmeter.setting_value('timezone'))::date"
    ).fetchall()
    first = today[0].replace(day=1)
    before = (first - DAY).replace(day=1)
    router = money.router(connection, "lobby")
    counted = {
        day: 1000 + day.day for day in (before + number * DAY for number in range((first - before).days))
    }
    for day, octets in {**counted, first: 5}.items():
        count(connection, router, day, octets)
    (row,) = report(database, "compare", "--format", "json").json()
    assert row["bytes_before"] == sum(octets for day, octets in counted.items() if day.day <= today[0].day)
    assert row["bytes_after"] == 5
    assert f"days 1 to {today[0].day} of each" in report(database, "compare").output


@pytest.mark.parametrize("kind", ["router", "tenant"])
def test_a_forecast(database: str, connection: Connection, kind: str) -> None:
    """What was always the same is expected to stay so; a forecast says what it is."""
    owner = money.tenant(connection, "acme")
    (row,) = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchall()
    today: date = row[0]
    router = money.router(connection, "lobby", owner, from_day=today - 60 * DAY)
    for ago in range(57):
        count(connection, router, today - ago * DAY, 10)
    name = "acme" if kind == "tenant" else "lobby"
    found: dict[str, Any] = report(database, "forecast", f"--{kind}", name, "--format", "json").json()
    first = today.replace(day=1)
    end = (first + 31 * DAY).replace(day=1)
    assert found["bytes_used"] == 10 * today.day
    assert found["bytes_expected"] == found["bytes_low"] == found["bytes_high"] == 10 * (end - first).days
    assert (found["period_end"], found["days_left"]) == (str(end), (end - today).days)
    assert "mean of the same weekday in the last 8 weeks (56 days of history)" in found["method"]
    assert "estimate" in found["method"]
    assert "quota_bytes" not in found


def test_the_forecast_of_a_user_is_to_the_end_of_the_quota_period(
    database: str, connection: Connection
) -> None:
    connection.execute("INSERT INTO plans (name, quota_type, quota_bytes) VALUES ('weekly', 'weekly', 1000)")
    connection.execute(
        "INSERT INTO subscribers (username, plan_id, quota_start) SELECT 'alice', id, '2026-01-01' FROM plans"
    )
    with Packets(database) as packets:
        for ago in range(6 * 24, 21 * 24, 24):
            packets.add("Stop", f"s{ago}", ago=ago * HOUR, Acct_Input_Octets=7, Acct_Session_Time=60, **LOBBY)
    found = report(database, "forecast", "--user", "alice", "--format", "json").json()
    assert found["quota_bytes"] == 1000
    assert (date.fromisoformat(found["period_end"]) - date.fromisoformat(found["period_start"])).days == 7
    assert found["bytes_low"] <= found["bytes_expected"] <= found["bytes_high"]


def test_too_little_history_is_no_forecast(database: str, connection: Connection) -> None:
    router = money.router(connection, "lobby")
    (row,) = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchall()
    for ago in range(14):
        count(connection, router, row[0] - ago * DAY, 10)
    done = report(database, "forecast", "--router", "lobby")
    assert done.exit_code == 1
    assert (
        f"router #{router} lobby has 13 whole days of history: a forecast needs 14, two of each weekday"
        in done.errors
    )


def test_what_is_not_there(database: str, connection: Connection, tmp_path: Path) -> None:
    money.router(connection, "lobby")
    for arguments, message in (
        (["usage", "--router", "loby"], "there is no router 'loby'"),
        (["usage", "--user", "alicia"], "there is no user 'alicia'"),
        (["forecast", "--tenant", "acne"], "there is no tenant 'acne': `radmeter tenants list` lists them"),
    ):
        done = report(database, *arguments)
        assert done.exit_code == 1
        assert message in done.errors
    for arguments, message in (
        (["usage"], "name one of --router, --user and --tenant"),
        (["usage", "--router", "lobby", "--user", "alice"], "name one of --router, --user and --tenant"),
        (
            ["usage", "--router", "lobby", "--from", "2026-10-02", "--to", "2026-10-01"],
            "--from 2026-10-02 is after --to 2026-10-01",
        ),
        (["usage", "--router", "lobby", "--from", "1926-10-02"], "are more than 3,660 days"),
        (["usage", "--router", "lobby", "--plot", str(tmp_path / "x.gif")], "is neither .svg nor .png"),
    ):
        done = report(database, *arguments)
        assert done.exit_code == 2
        assert message in done.errors
    assert list(tmp_path.iterdir()) == []
