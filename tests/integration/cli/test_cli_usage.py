"""`radmeter usage`: exact bytes for programs, and never zero for a name that nobody has."""

import datetime
from collections.abc import Iterator

import pytest
from support.commands import Packets, radmeter
from support.servers import Connection

GIGAWORD = 1 << 32


@pytest.fixture
def packets(database: str) -> Iterator[Packets]:
    with Packets(database) as made:
        yield made


def today(connection: Connection, timezone: str = "UTC") -> datetime.date:
    row = connection.execute("SELECT (now() AT TIME ZONE %s)::date", (timezone,)).fetchone()
    assert row is not None
    day: datetime.date = row[0]
    return day


def test_a_session_under_way_is_in_the_usage_of_its_user(database: str, packets: Packets) -> None:
    packets.add("Start", "s1", ago=60, User_Name="alice")
    packets.add("Interim-Update", "s1", User_Name="alice", Acct_Input_Octets=5, Acct_Output_Octets=6,
                Acct_Output_Gigawords=1)  # fmt: skip
    packets.ship()
    (row,) = radmeter(database, "usage", "user", "alice", "--format", "json").json()
    assert (row["bytes_in"], row["bytes_out"], row["bytes_total"]) == (5, GIGAWORD + 6, GIGAWORD + 11)
    (row,) = radmeter(database, "usage", "user", "alice", "--format", "csv").csv()
    assert row["bytes_total"] == str(GIGAWORD + 11)
    assert "4.29 GB" in radmeter(database, "usage", "user", "alice").output


def test_an_unknown_user_is_an_error_and_not_zero_usage(database: str, packets: Packets) -> None:
    packets.add("Start", "s1", User_Name="alice")
    packets.ship()
    for name in ("Alice", "alic", "", "alice "):
        done = radmeter(database, "usage", "user", name, "--format", "json")
        assert (done.exit_code, done.output) == (1, "")
        assert done.errors.startswith(f"error: there is no user {name!r}")


def test_a_known_user_without_usage_in_the_period_has_zero(
    database: str, connection: Connection, packets: Packets
) -> None:
    packets.add("Start", "s1", User_Name="session-without-octets")
    packets.ship()
    connection.execute("INSERT INTO plans (name) VALUES ('basic')")
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT 'subscriber', id FROM plans")
    connection.execute("INSERT INTO user_quota_usage VALUES ('long-ago', '2020-01-01', 1, 2)")
    for name in ("session-without-octets", "subscriber", "long-ago"):
        (row,) = radmeter(database, "usage", "user", name, "--format", "json").json()
        assert row["bytes_total"] == 0
        assert row["period_start"] == today(connection).replace(day=1).isoformat()


def test_periods_are_the_current_one_and_the_latest_others_with_usage(
    database: str, connection: Connection
) -> None:
    for start, bytes_in in (("2020-01-01", 1), ("2020-02-01", 2), ("2020-05-01", 5)):
        connection.execute("INSERT INTO user_quota_usage VALUES ('alice', %s, %s, 0)", (start, bytes_in))
    rows = radmeter(database, "usage", "user", "alice", "--periods", "3", "--format", "json").json()
    current = today(connection).replace(day=1).isoformat()
    assert [(row["period_start"], row["bytes_in"]) for row in rows] == [
        (current, 0),
        ("2020-05-01", 5),
        ("2020-02-01", 2),
    ]


def test_the_period_is_that_of_the_plan(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO plans (name, quota_type) VALUES ('daily', 'daily')")
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT 'alice', id FROM plans")
    connection.execute("INSERT INTO user_quota_usage VALUES ('alice', %s, 3, 4)", (today(connection),))
    (row,) = radmeter(database, "usage", "user", "alice", "--format", "json").json()
    assert (row["period_start"], row["bytes_total"]) == (today(connection).isoformat(), 7)


def test_counters_beyond_a_bigint_add_up(database: str, connection: Connection) -> None:
    most = 2**63 - 1
    period = today(connection).replace(day=1)
    connection.execute("INSERT INTO user_quota_usage VALUES ('alice', %s, %s, %s)", (period, most, most))
    (row,) = radmeter(database, "usage", "user", "alice", "--format", "json").json()
    assert row["bytes_total"] == 2 * most


@pytest.mark.parametrize("name", ["o'brien", "a%s", "%(x)s", "名前", "a;DROP TABLE radacct", "-"])
def test_any_name_is_looked_up_as_it_is(database: str, packets: Packets, name: str) -> None:
    packets.add("Stop", "s1", User_Name=name, Acct_Input_Octets=9)
    packets.ship()
    (row,) = radmeter(database, "usage", "user", "--format", "json", "--", name).json()
    assert (row["username"], row["bytes_in"]) == (name, 9)


@pytest.mark.parametrize("text", ["AA-BB-CC-DD-EE-FF", "aabb.ccdd.eeff", "AABBCCDDEEFF", "lobby", "#1", "1"])
def test_a_router_is_found_by_name_mac_or_id(database: str, packets: Packets, text: str) -> None:
    assert (
        radmeter(database, "routers", "add", "--name", "lobby", "--mac", "aa:bb:cc:dd:ee:ff").exit_code == 0
    )
    packets.add(
        "Stop", "s1", Called_Station_Id="AA-BB-CC-DD-EE-FF:wifi", Acct_Input_Octets=1, Acct_Output_Octets=2
    )
    packets.ship()
    rows = radmeter(database, "usage", "router", text, "--days", "2", "--format", "json").json()
    assert [row["bytes_total"] for row in rows] == [3, 0]
    assert {(row["router_id"], row["router"]) for row in rows} == {(1, "lobby")}


def test_days_are_those_of_the_routers_zone_and_days_without_usage_are_zero(
    database: str, connection: Connection
) -> None:
    zone = "Pacific/Kiritimati"  # UTC+14: most of the time a day ahead
    assert radmeter(database, "routers", "add", "--name", "atoll", "--timezone", zone).exit_code == 0
    day = today(connection, zone)
    before = day - datetime.timedelta(days=2)
    connection.execute("INSERT INTO router_daily_usage VALUES (1, %s, 10, 20)", (before,))
    rows = radmeter(database, "usage", "router", "atoll", "--days", "3", "--format", "csv").csv()
    assert [(row["usage_date"], row["bytes_in"], row["bytes_out"]) for row in rows] == [
        (day.isoformat(), "0", "0"),
        ((day - datetime.timedelta(days=1)).isoformat(), "0", "0"),
        (before.isoformat(), "10", "20"),
    ]


@pytest.mark.parametrize("text", ["nowhere", "#7", "#", "#x", "aa:aa:aa:aa:aa:aa", "9" * 40, ""])
def test_an_unknown_router_is_an_error_that_names_it(database: str, text: str) -> None:
    done = radmeter(database, "usage", "router", text)
    assert (done.exit_code, done.output) == (1, "")
    assert done.errors == (f"error: there is no router {text!r}: `radmeter routers list` lists them\n")


def test_a_name_that_several_routers_have_is_told_with_their_ids(
    database: str, connection: Connection, packets: Packets
) -> None:
    assert radmeter(database, "routers", "add", "--name", "MikroTik").exit_code == 0
    packets.add("Start", "s1", Called_Station_Id="02-00-00-00-00-01:a")
    packets.add("Start", "s2", NAS_Identifier="other", NAS_IP_Address="10.0.0.2")
    packets.ship()
    connection.execute("UPDATE routers SET name = 'MikroTik' WHERE status = 'discovered'")
    done = radmeter(database, "usage", "router", "MikroTik")
    assert done.exit_code == 1
    assert "'MikroTik' is more than one router: #1 'MikroTik' (active" in done.errors
    assert "#2 'MikroTik' (discovered" in done.errors
    assert "#3 'MikroTik' (discovered" in done.errors
    assert radmeter(database, "usage", "router", "#2").exit_code == 0


def test_a_database_without_the_schema_is_an_error_with_the_remedy(
    database: str, connection: Connection
) -> None:
    connection.execute("DROP SCHEMA radmeter CASCADE")
    for command in (["usage", "user", "alice"], ["sessions"], ["routers", "add", "--name", "x"]):
        done = radmeter(database, *command)
        assert done.exit_code == 1
        assert "radmeter migrate up" in done.errors
        assert "Traceback" not in done.errors


def test_a_server_that_is_away_is_an_error_in_a_line() -> None:
    done = radmeter("host=/nonexistent dbname=x", "usage", "user", "alice")
    assert done.exit_code == 1
    assert done.errors.startswith("error: ")
    assert "/nonexistent" in done.errors


def test_no_database_at_all_is_an_error_with_the_remedy() -> None:
    done = radmeter(None, "usage", "user", "alice")
    assert done.exit_code == 1
    assert "`radmeter up` makes one" in done.errors


def test_the_reader_role_reads_and_writes_nothing(database: str, packets: Packets) -> None:
    packets.add("Stop", "s1", User_Name="alice", NAS_Identifier="r1", Acct_Input_Octets=3)
    packets.ship()
    reader = f"{database}&options=-c%20role%3Dradmeter_reader"
    (row,) = radmeter(reader, "usage", "user", "alice", "--format", "json").json()
    assert row["bytes_in"] == 3
    for command in (
        ["usage", "router", "r1"],
        ["usage", "users"],
        ["explain", "alice"],
        ["sessions", "--user", "alice"],
        ["routers", "show", "#1"],
        ["top", "--count", "1"],
    ):
        done = radmeter(reader, *command)
        assert (done.exit_code, done.errors) == (0, "")
    assert len(radmeter(reader, "routers", "list", "--format", "csv").csv()) == 1
    done = radmeter(reader, "routers", "add", "--name", "x")
    assert done.exit_code == 1
    assert "grant radmeter_noc" in done.errors
