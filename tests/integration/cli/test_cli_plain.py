"""Commands say what happened: unknown names are errors, nothing to do is told, spans of months are made at once."""

import datetime
from pathlib import Path

from support.commands import Packets, radmeter
from support.servers import Connection

from radmeter.trial.counted import Counted


def router(database: str, name: str = "lobby") -> None:
    assert radmeter(database, "routers", "add", "--name", name, "--nas-identifier", name).exit_code == 0


def test_an_unknown_user_is_not_all_right(database: str) -> None:
    done = radmeter(database, "verify", "--user", "bob")
    assert (done.exit_code, done.errors) == (
        1,
        "error: there is no user 'bob': no subscriber, counter or session has exactly this name. "
        "`radmeter usage users` lists users\n",
    )
    with Packets(database) as packets:
        packets.add("Stop", "s1", User_Name="bob", Acct_Input_Octets=5)
    done = radmeter(database, "verify", "--user", "bob")
    assert (done.exit_code, done.errors) == (0, "1 counter of users: all right\n")


def test_a_router_that_has_the_name_already(database: str) -> None:
    router(database)
    done = radmeter(database, "routers", "rename", "lobby", "lobby")
    assert (done.exit_code, done.output) == (0, "router #1 is 'lobby' already\n")


def test_a_router_is_not_merged_into_itself(database: str) -> None:
    router(database)
    done = radmeter(database, "routers", "merge", "lobby", "#1")
    assert done.exit_code == 1
    assert "are the same router" in done.errors


def test_a_value_that_is_wrong_in_itself_is_a_wrong_option(database: str) -> None:
    router(database)
    for arguments in (
        ("routers", "set", "lobby", "--mac", "xyz"),
        ("routers", "set", "lobby", "--timezone", "Mars/Base"),
        ("routers", "set", "lobby", "--clients", "bogus"),
        ("routers", "add", "--name", "#7"),
        ("limits", "set", "personal_keep_days", "soon"),
    ):
        assert radmeter(database, *arguments).exit_code == 2, arguments
    done = radmeter(database, "routers", "set", "lobby", "--clients", "10.0.0.5/8")
    assert done.errors == "error: client '10.0.0.5/8' is an address within a network: write 10.0.0.0/8\n"


def test_login_roles_that_are_as_they_should_be_are_unchanged(database: str, connection: Connection) -> None:
    command = ("migrate", "roles", "--login", "plain_test=radmeter_reader")
    try:
        assert radmeter(database, *command).output == "plain_test: made, a member of radmeter_reader\n"
        assert radmeter(database, *command).output == "plain_test: unchanged, a member of radmeter_reader\n"
        other = radmeter(database, *command[:-1], "plain_test=radmeter_noc")
        assert (
            other.output
            == "plain_test: changed, a member of radmeter_noc, and no longer of radmeter_reader\n"
        )
    finally:
        connection.execute("DROP ROLE IF EXISTS plain_test")
    wrong = radmeter(database, *command[:-1], "plain_test=role")
    assert wrong.exit_code == 1
    groups = (
        "radmeter_billing, radmeter_ingest, radmeter_login, radmeter_noc, radmeter_owner, radmeter_reader"
    )
    assert groups in wrong.errors


def test_a_gap_of_many_months_is_filled_by_the_command_of_doctor(database: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    assert radmeter(database, "partitions", "ensure", f"{now.year - 2}-01").exit_code == 0
    shown = radmeter(database, "doctor", "--only", "partitions", "--format", "json").output
    assert f"partitions ensure {now.year - 2}-02.." in shown
    span = next(each for each in shown.split() if each.startswith(f"{now.year - 2}-02..")).strip('",')
    done = radmeter(database, "partitions", "ensure", span)
    assert done.exit_code == 0
    assert " partitions made" in done.output
    assert (
        "a gap between" not in radmeter(database, "doctor", "--only", "partitions", "--format", "json").output
    )


def test_a_month_far_from_the_others_is_told(database: str) -> None:
    assert (
        "2009-01 is far before the first partition"
        in radmeter(database, "partitions", "ensure", "2009-01").errors
    )


def test_the_live_table_sums_every_period_of_a_user(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute(
        "INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out) "
        "SELECT 'u' || number, day, 1, 2 FROM generate_series(1, 120) AS number, "
        "(VALUES (date '2026-01-01'), (date '2026-02-01')) AS days (day)"
    )
    counters = Counted(database, tmp_path)
    try:
        users = counters.everything().users
    finally:
        counters.close()
    assert len(users) == 120
    assert set(users.values()) == {(2, 4)}
