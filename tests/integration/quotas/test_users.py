"""`radmeter users`: give plans, top up, suspend, and what happens when two things happen at once."""

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import radmeter, run
from support.quotas import MB, OTHER_DAY, apply_due, queue, state, use
from support.rows_read import rows_read
from support.servers import Connection

from radmeter.quotas.subscribers import list_users

NAMES = (
    "o'brien",
    "bob+x@e.com",
    "a\\b",
    "100%s",
    "two words",
    "ümlaut",
    '"q"',
    "%{User-Name}",
    "-x",
    "x" * 253,
)


@pytest.fixture
def bob(database: str) -> str:
    """A database with bob, who has 10 MB."""
    run(database, "plans", "add", "basic", "--quota", "10MB", "--timezone", "UTC", "--anchor", OTHER_DAY)
    run(database, "users", "add", "bob", "--plan", "basic")
    return database


def shown(database: str, user: str = "bob") -> dict[str, Any]:
    found = radmeter(database, "users", "show", "--format", "json", "--", user).json()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_any_name_works_all_the_way(bob: str, connection: Connection, name: str) -> None:
    run(bob, "users", "add", "--plan", "basic", "--password", "secret", "--", name)
    use(bob, 4 * MB, username=name)
    assert shown(bob, name)["used_bytes"] == 4 * MB
    run(bob, "users", "top-up", "--", name, "1MB")
    run(bob, "users", "suspend", "--", name)
    assert shown(bob, name)["status"] == "suspended"
    run(bob, "users", "resume", "--", name)
    found = shown(bob, name)
    assert (found["username"], found["remaining_bytes"], found["status"]) == (name, 7 * MB, "active")
    assert name in [row["username"] for row in radmeter(bob, "users", "list", "--format", "json").json()]
    assert connection.execute("SELECT count(*) FROM radcheck WHERE username = %s", (name,)).fetchone() == (1,)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "it has no user name"),
        (" bob", "begins or ends with a blank"),
        ("x" * 254, "254 octets"),
        ("a\x1bb", "characters that cannot be printed"),
        ("\udcff", "is not UTF-8"),
    ],
)
def test_a_name_that_is_none_is_refused(bob: str, connection: Connection, name: str, told: str) -> None:
    done = radmeter(bob, "users", "add", name, "--plan", "basic")
    assert (done.exit_code, done.output) == (2, "")
    assert told in done.errors
    if name and name != "\udcff":
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("SELECT radmeter.add_subscriber(%s, 'basic', '{}', NULL, NULL)", (name,))
        assert refused.value.sqlstate == "RM001"


def test_a_plan_can_be_given_once(bob: str) -> None:
    done = radmeter(bob, "users", "add", "bob", "--plan", "basic")
    assert (done.exit_code, done.output) == (1, "")
    assert 'there is a user "bob" already, with the plan "basic": "radmeter users assign"' in done.errors
    assert "is given twice" in radmeter(bob, "users", "add", "x", "--plan", "basic", "--also", "basic").errors


def test_several_plans_add_up(bob: str) -> None:
    run(bob, "plans", "add", "more", "--quota", "5MB")
    run(bob, "users", "assign", "bob", "--also", "more")
    found = shown(bob)
    assert (found["plan"], found["also"], found["quota_bytes"]) == ("basic", ["more"], 15 * MB)
    assert run(bob, "users", "assign", "bob", "--also", "more") == "user 'bob' has these plans already\n"
    # A further plan that becomes the own one is not counted twice.
    run(bob, "users", "assign", "bob", "--plan", "more")
    found = shown(bob)
    assert (found["plan"], found["also"], found["quota_bytes"]) == ("more", [], 5 * MB)
    run(bob, "users", "assign", "bob", "--also", "basic")
    assert "is the own plan" in radmeter(bob, "users", "assign", "bob", "--also", "more").errors
    run(bob, "users", "assign", "bob", "--without", "basic")
    assert shown(bob)["also"] == []


def test_a_top_up_is_charged_once_whatever_plan_the_user_has_had(bob: str, connection: Connection) -> None:
    run(bob, "plans", "add", "home", "--quota", "10MB", "--period", "weekly", "--timezone", "UTC")
    run(bob, "users", "top-up", "bob", "100MB")
    use(bob, 30 * MB)
    for change in (
        ("users", "assign", "bob", "--plan", "home"),
        ("users", "assign", "bob", "--plan", "basic"),
        ("plans", "set", "basic", "--anchor", "15" if OTHER_DAY == "1" else "1"),
        ("plans", "set", "basic", "--anchor", OTHER_DAY),
        ("plans", "set", "basic", "--quota", "unlimited"),
        ("plans", "set", "basic", "--quota", "10MB"),
    ):
        run(bob, *change)
        apply_due(connection)
        (top_up,) = shown(bob)["top_ups"]
        assert (top_up["used_bytes"], top_up["remaining_bytes"]) == (20 * MB, 80 * MB), change
    found = shown(bob)
    assert (found["used_bytes"], found["remaining_bytes"], found["top_up_bytes"]) == (
        30 * MB,
        80 * MB,
        80 * MB,
    )


def test_a_further_plan_takes_nothing_away(bob: str) -> None:
    """What it does not have changes nothing. Of speeds, sessions and timeouts the larger one counts."""
    limits = ("speed_down", "max_sessions", "session_timeout", "idle_timeout", "quota_seconds")
    given = (
        "--down",
        "5M",
        "--max-sessions",
        "1",
        "--session-timeout",
        "60",
        "--idle-timeout",
        "9",
        "--time",
        "1h",
    )
    run(bob, "plans", "set", "basic", *given)
    run(bob, "plans", "add", "weekend", "--quota", "5MB", "--up", "1M")
    run(bob, "users", "assign", "bob", "--also", "weekend")
    found = shown(bob)
    assert [found[name] for name in limits] == [5_000_000, 1, 60, 9, 3600]
    # The own plan has no speed up: it is as the router has it, and stays so.
    assert (found["quota_bytes"], found["speed_up"]) == (15 * MB, None)
    run(bob, "plans", "set", "weekend", "--down", "8M", "--max-sessions", "3", "--idle-timeout", "5")
    found = shown(bob)
    assert [found[name] for name in limits] == [8_000_000, 3, 60, 9, 3600]
    run(bob, "plans", "set", "weekend", "--quota", "unlimited")
    found = shown(bob)
    assert [found[name] for name in (*limits, "quota_bytes")] == [8_000_000, 3, 60, 9, None, None]


def test_one_screen_has_one_kind_of_units(bob: str) -> None:
    """The volumes of plans are powers of 1000, so those of the sessions beside them are."""
    use(bob, 12 * MB)
    screen = run(bob, "users", "show", "bob")
    assert screen.count("12 MB") == 3, screen
    assert "iB" not in screen
    # "used up" would say that nothing is left.
    assert {"uploaded", "downloaded"} <= set(screen.split())
    assert "used up" not in screen


def test_another_plan_while_over_restores_at_once(bob: str, connection: Connection) -> None:
    use(bob, 12 * MB)
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]
    run(bob, "plans", "add", "big", "--quota", "100MB", "--timezone", "UTC", "--anchor", OTHER_DAY)
    run(bob, "users", "assign", "bob", "--plan", "big")
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "dropped")]
    found = state(connection)
    assert (found["status"], found["used_bytes"]) == ("active", 12 * MB)


def test_a_top_up_pays_under_the_plan_that_the_user_had(bob: str, connection: Connection) -> None:
    """The former plan's usage is not paid by the new plan's rules, whose period is another."""
    run(bob, "users", "top-up", "bob", "20MB")
    use(bob, 12 * MB)
    run(bob, "plans", "add", "day", "--quota", "1MB", "--period", "one-time", "--timezone", "UTC")
    run(bob, "users", "assign", "bob", "--plan", "day")
    for _ in range(2):
        found = state(connection)
        assert (found["used_bytes"], found["remaining_bytes"], found["top_up_bytes"]) == (0, 19 * MB, 18 * MB)
        apply_due(connection)
    (top_up,) = shown(bob)["top_ups"]
    assert (top_up["used_bytes"], top_up["remaining_bytes"]) == (2 * MB, 18 * MB)


def test_a_top_up_after_the_periods_end_pays_nothing_of_it(bob: str, connection: Connection) -> None:
    """What was used beyond the quota is forgiven with the period's end, also if no job has run since."""
    use(bob, 12 * MB)
    # The period ended a moment ago: what was counted, and what was announced, are those of the one before.
    connection.execute("UPDATE user_quota_usage SET period_start = period_start - interval '1 month'")
    connection.execute("UPDATE radmeter.quota_account SET period_start = period_start - interval '1 month'")
    assert run(bob, "users", "top-up", "bob", "20MB").endswith("; active, 30 MB left\n")
    found = state(connection)
    assert (found["remaining_bytes"], found["top_up_bytes"], found["used_bytes"]) == (30 * MB, 20 * MB, 0)


def test_two_top_ups_at_once_both_count(bob: str, connection: Connection) -> None:
    use(bob, 12 * MB)
    with psycopg.connect(bob) as first:
        first.execute("SELECT radmeter.top_up('bob', 5000000, NULL, NULL, NULL)")
        outputs: list[str] = []
        second = threading.Thread(target=lambda: outputs.append(_top_up(bob)))
        second.start()
        # It waits for the first, and sees what that one paid.
        while not connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
            assert second.is_alive()
        first.commit()
        second.join(60)
    assert outputs == ["done"]
    found = state(connection)
    assert (found["quota_bytes"], found["remaining_bytes"], found["status"]) == (20 * MB, 8 * MB, "active")
    paid = connection.execute("SELECT used_bytes FROM top_ups ORDER BY id").fetchall()
    assert paid == [(2 * MB,), (0,)]


def _top_up(database: str) -> str:
    with psycopg.connect(database) as connection:
        connection.execute("SELECT radmeter.top_up('bob', 5000000, NULL, NULL, NULL)")
    return "done"


def test_a_top_up_expires_with_the_end_of_its_last_day_in_the_plans_zone(database: str) -> None:
    run(database, "plans", "add", "basic", "--quota", "10MB", "--timezone", "Pacific/Kiritimati")
    run(database, "users", "add", "bob", "--plan", "basic")
    run(database, "users", "top-up", "bob", "1MB", "--expires", "2030-12-31", "--note", "ticket 4711")
    run(database, "users", "top-up", "bob", "2MB", "--valid", "1h")
    hour, day = shown(database)["top_ups"]
    assert (day["expires_at"], day["note"]) == ("2030-12-31T10:00:00+00:00", "ticket 4711")
    left = datetime.fromisoformat(hour["expires_at"]) - datetime.now(UTC)
    assert 3400 < left.total_seconds() <= 3600
    for arguments, told in (
        (("1MB", "--expires", "2020-01-01"), "would have expired already: give a later day"),
        (("1MB", "--valid", "0s"), "would have expired already"),
        (("0",), "is nothing: give a volume"),
        (("1M",), "write 1MB"),
        (("1MB", "--expires", "2030-01-01", "--valid", "1h"), "give either --expires or --valid"),
        (("1MB", "--expires", "soon"), "soon"),
    ):
        done = radmeter(database, "users", "top-up", "bob", *arguments)
        assert (done.exit_code != 0, done.output) == (True, "")
        assert told in done.errors


def test_what_is_unused_of_a_top_up_is_taken_back(bob: str, connection: Connection) -> None:
    run(bob, "users", "top-up", "bob", "20GB")
    run(bob, "users", "top-up", "bob", "1MB")
    use(bob, 13 * MB)
    first, second = (top_up["id"] for top_up in shown(bob)["top_ups"])
    told = run(bob, "users", "top-up", "--undo", str(first))
    assert told == f"top-up #{first} of 'bob': 19,997,000,000 bytes are taken back; warned, 1 MB left\n"
    assert queue(connection) == []
    assert run(bob, "users", "top-up", "bob", "--undo", str(second)).endswith("taken back; over, 0 B left\n")
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]
    # What was paid stays paid.
    assert [(each["id"], each["bytes"], each["used_bytes"]) for each in shown(bob)["top_ups"]] == [
        (first, 3 * MB, 3 * MB)
    ]
    for arguments, told in (
        (("--undo", str(first)), f"the top-up #{first} is used up"),
        (("--undo", str(second)), f"there is no top-up #{second}: "),
        (("carol", "--undo", str(first)), f'there is no top-up #{first} of "carol"'),
        (("bob", "1MB", "--undo", str(first)), "--undo ID goes with nothing but USER"),
        (("bob",), "give USER and VOLUME"),
    ):
        assert told in radmeter(bob, "users", "top-up", *arguments).errors
    lines = connection.execute(
        "SELECT action, detail ->> 'taken_back' FROM audit_log WHERE action LIKE '%--undo' ORDER BY 2"
    ).fetchall()
    assert lines == [("users top-up --undo", "1000000"), ("users top-up --undo", "19997000000")]


def test_a_user_is_removed_and_what_was_used_stays(bob: str, connection: Connection) -> None:
    run(bob, "plans", "add", "more", "--quota", "5MB")
    run(bob, "users", "assign", "bob", "--also", "more")
    run(bob, "users", "password", "bob", "--password", "secret")
    run(bob, "users", "top-up", "bob", "20MB")
    use(bob, 18 * MB)
    connection.execute(
        "INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason) "
        "SELECT radacctid, username, 'coa', 'speeds' FROM radacct"
    )
    done = radmeter(bob, "users", "remove", "bob", "--yes")
    assert done.output == "user 'bob' is removed with 1 top-up not used up; what was used stays counted\n"
    assert "1 session goes on: `radmeter disconnect` ends them" in done.errors
    for table in ("subscribers", "subscriber_plans", "top_ups", "radcheck", "radmeter.quota_account"):
        assert connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,), table
    assert queue(connection) == [("bob", "s1", "coa", "speeds", "dropped")]
    use(bob, 30 * MB)
    apply_due(connection)
    assert len(queue(connection)) == 1
    (line,) = (
        connection.execute("SELECT detail FROM audit_log WHERE action = 'users remove'").fetchone() or ()
    )
    assert (line["plan"], line["also"], line["passwords"], line["top_ups"][0]["used_bytes"]) == (
        "basic", ["more"], 1, 3 * MB,
    )  # fmt: skip
    # Added again, he has used it, and has paid for what top-ups have paid.
    run(bob, "users", "add", "bob", "--plan", "basic")
    run(bob, "users", "top-up", "bob", "50MB")
    found = shown(bob)
    assert (found["used_bytes"], found["top_up_bytes"]) == (30 * MB, (50 - (30 - 10 - 3)) * MB)


def test_suspend_and_resume(bob: str, connection: Connection) -> None:
    use(bob, 1 * MB)
    assert run(bob, "users", "suspend", "bob") == "user 'bob' is suspended\n"
    assert run(bob, "users", "suspend", "bob") == "user 'bob' is suspended already\n"
    # The router has been asked already, and then the user is let in again.
    connection.execute("UPDATE radmeter.disconnect_queue SET state = 'sent'")
    assert run(bob, "users", "resume", "bob") == "user 'bob' may log in again\n"
    assert run(bob, "users", "resume", "bob") == "user 'bob' is not suspended\n"
    assert shown(bob)["status"] == "active"
    assert queue(connection) == [("bob", "s1", "disconnect", "suspended", "sent")]


def test_a_validity_begins_with_the_first_use_and_is_renewed(bob: str, connection: Connection) -> None:
    run(bob, "plans", "add", "pass", "--quota", "10MB", "--valid", "1d")
    run(bob, "users", "assign", "bob", "--plan", "pass")
    assert shown(bob)["expires_at"] is None
    use(bob, 1 * MB)
    connection.execute("UPDATE subscribers SET first_used_at = now() - interval '2 days'")
    assert shown(bob)["status"] == "expired"
    run(bob, "users", "assign", "bob", "--renew")
    found = shown(bob)
    assert (found["status"], found["expires_at"]) == ("active", None)
    run(bob, "users", "assign", "bob", "--plan", "basic")
    assert "nothing can be renewed" in radmeter(bob, "users", "assign", "bob", "--renew").errors


def test_a_one_time_plan_is_renewed_on_its_first_day(bob: str, connection: Connection) -> None:
    """A counter is kept by the day on which the period begins. So what is used comes back as a top-up."""
    run(
        bob,
        "plans",
        "add",
        "once",
        "--quota",
        "2MB",
        "--period",
        "one-time",
        "--timezone",
        "UTC",
        "--valid",
        "1h",
    )
    run(bob, "users", "assign", "bob", "--plan", "once")
    use(bob, 3 * MB)
    for used in (3 * MB, 7 * MB):
        use(bob, used)
        assert shown(bob)["status"] == "over"
        run(bob, "users", "assign", "bob", "--plan", "once", "--renew")
        found = shown(bob)
        assert (found["status"], found["remaining_bytes"], found["expires_at"]) == ("active", 2 * MB, None)


def test_a_renewal_gives_the_quota_once(bob: str, connection: Connection) -> None:
    """A script that runs twice, or an operator who presses twice, gives no more. What was bought stays."""
    run(bob, "plans", "add", "once", "--quota", "10MB", "--period", "one-time", "--timezone", "UTC")
    run(bob, "plans", "add", "other", "--quota", "3MB", "--period", "one-time", "--timezone", "UTC")
    run(bob, "users", "assign", "bob", "--plan", "once")
    assert "has these plans already" in run(bob, "users", "assign", "bob", "--renew"), "nothing is used"
    for used, bought, left in ((5, 0, 10), (12, 0, 10), (20, 0, 10), (45, 0, 10), (50, 7, 17), (60, 0, 17)):
        use(bob, used * MB)
        if bought:
            run(bob, "users", "top-up", "bob", f"{bought}MB")
        for told in ("is changed", "has these plans already", "has these plans already"):
            assert told in run(bob, "users", "assign", "bob", "--plan", "once", "--renew")
            assert shown(bob)["remaining_bytes"] == left * MB, (used, told)
    # It is another period from the next day on, and another plan has its own quota.
    for columns in ("subscribers SET quota_start", "user_quota_usage SET period_start"):
        connection.execute(f"UPDATE {columns} = {columns.split()[-1]} - 1".encode())
    connection.execute("UPDATE radmeter.quota_account SET period_start = period_start - 1")
    connection.execute("UPDATE radmeter.quota_booked SET period_start = period_start - 1")
    for _ in range(2):
        run(bob, "users", "assign", "bob", "--renew")
        assert shown(bob)["remaining_bytes"] == 17 * MB
    use(bob, 64 * MB)
    run(bob, "users", "assign", "bob", "--renew")
    assert shown(bob)["remaining_bytes"] == 17 * MB
    run(bob, "users", "assign", "bob", "--plan", "other")
    # 4 MB are used of 3. What was bought pays for one of them, and not what was given again of the former plan.
    assert shown(bob)["remaining_bytes"] == 6 * MB


def test_a_one_time_plan_is_renewed_from_the_next_day_on(bob: str, connection: Connection) -> None:
    """With a quota of one direction, no top-up can be the same."""
    run(
        *(bob, "plans", "add", "once", "--quota-up", "2MB", "--period", "one-time", "--timezone", "UTC"),
    )
    run(bob, "users", "assign", "bob", "--plan", "once")
    use(bob, 2 * MB)
    assert shown(bob)["status"] == "over"
    refused = radmeter(bob, "users", "assign", "bob", "--plan", "once", "--renew")
    assert 'began today, and a period begins with a day: "radmeter users top-up" gives more' in refused.errors
    connection.execute("UPDATE subscribers SET quota_start = quota_start - 1")
    connection.execute("UPDATE user_quota_usage SET period_start = period_start - 1")
    assert shown(bob)["status"] == "over"
    run(bob, "users", "assign", "bob", "--plan", "once", "--renew")
    found = shown(bob)
    assert (found["status"], found["used_bytes"], found["period_end"]) == ("active", 0, None)


def test_the_period_of_a_user_begins_on_the_day_of_the_user(bob: str, connection: Connection) -> None:
    """Customers who are billed from the day on which they came (`--anchor joined`)."""
    (today,) = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone() or (None,)
    assert isinstance(today, date)
    run(bob, "plans", "add", "home", "--quota", "10MB", "--anchor", "joined", "--timezone", "UTC")
    run(
        bob,
        "plans",
        "add",
        "week",
        "--quota",
        "10MB",
        "--period",
        "weekly",
        "--anchor",
        "joined",
        "--timezone",
        "UTC",
    )
    assert "joined" in run(bob, "plans", "show", "home")
    run(bob, "users", "add", "ann", "--plan", "home", "--no-password")
    assert shown(bob, "ann")["period_start"] == str(today)
    use(bob, 3 * MB, username="ann")
    other = today - timedelta(days=9)
    run(bob, "users", "assign", "ann", "--anchor", str(other.day))
    found = shown(bob, "ann")
    assert (found["period_start"], found["used_bytes"]) == (str(other), 0)
    use(bob, 4 * MB, username="ann")
    assert shown(bob, "ann")["used_bytes"] == 1 * MB
    assert "has these plans already" in run(bob, "users", "assign", "ann", "--anchor", str(other.day))
    monday = today - timedelta(days=today.weekday())
    run(bob, "users", "add", "joe", "--plan", "week", "--anchor", "1", "--no-password")
    assert (shown(bob, "joe")["period_start"], shown(bob, "joe")["period_end"]) == (
        str(monday),
        str(monday + timedelta(days=7)),
    )
    run(bob, "users", "assign", "joe", "--anchor", "today")
    assert shown(bob, "joe")["period_start"] == str(today)
    assert (
        connection.execute(
            "SELECT * FROM radmeter.user_differences('2000-01-01', '2100-01-01', NULL)"
        ).fetchall()
        == []
    )
    # Nobody is added if the day is none.
    for plan, day, said in (("basic", "15", "begin on the same day for all"), ("week", "9", "not on 9")):
        refused = radmeter(bob, "users", "add", "kim", "--plan", plan, "--anchor", day, "--no-password")
        assert (refused.exit_code, said in refused.errors) == (1, True), refused.errors
    assert radmeter(bob, "users", "show", "kim").exit_code == 1
    assert radmeter(bob, "plans", "set", "home", "--period", "daily", "--anchor", "joined").exit_code == 1


def test_users_are_listed_by_plan_and_status_in_pages(bob: str, connection: Connection) -> None:
    run(bob, "plans", "add", "zero", "--quota", "0")
    connection.execute(
        """INSERT INTO subscribers (username, plan_id)
           SELECT format('u%s', lpad(n::text, 4, '0')), CASE WHEN n % 700 = 0 THEN 2 ELSE 1 END
           FROM generate_series(1, 2500) AS n"""
    )

    def names(*options: str) -> list[str]:
        return [row["username"] for row in radmeter(bob, "users", "list", *options, "--format", "csv").csv()]

    assert names("--status", "over") == ["u0700", "u1400", "u2100"]
    assert names("--status", "over", "--limit", "2") == ["u0700", "u1400"]
    assert names("--plan", "zero", "--after", "u0700") == ["u1400", "u2100"]
    assert names("--limit", "3") == ["bob", "u0001", "u0002"]
    assert len(names("--limit", "100000")) == 2501
    table = radmeter(bob, "users", "list", "--limit", "2", COLUMNS="80")
    assert max(map(len, table.output.splitlines())) <= 80
    assert table.errors == "There are more: go on with --after 'u0001'\n"


def test_a_list_by_status_looks_only_at_those_who_can_have_it(bob: str, connection: Connection) -> None:
    """With 100,000 users it took half a minute to look at all."""
    connection.execute(
        """INSERT INTO subscribers (username, plan_id) SELECT 'u' || n, 1 FROM generate_series(1, 2000) AS n"""
    )
    apply_due(connection)
    run(bob, "users", "suspend", "bob")
    apply_due(connection)
    connection.execute("ANALYZE")

    def listed(status: str | None) -> list[str]:
        found = list_users(connection, plan_id=None, status=status, after="", limit=5000)
        return [row["username"] for row in found]

    assert listed("suspended") == ["bob"]
    assert (
        rows_read(connection, lambda: listed("suspended")) < rows_read(connection, lambda: listed(None)) / 2
    )


def test_a_user_without_a_plan_is_told_apart_from_nobody(bob: str) -> None:
    use(bob, 1, username="ann")
    assert (
        "has usage and no plan: `radmeter usage user` shows it"
        in radmeter(bob, "users", "show", "ann").errors
    )
    assert "there is no user 'nosuch'" in radmeter(bob, "users", "show", "nosuch").errors


def test_changes_are_audited(bob: str, connection: Connection) -> None:
    run(bob, "users", "top-up", "bob", "1MB")
    run(bob, "users", "suspend", "bob")
    run(bob, "users", "resume", "bob")
    run(bob, "plans", "add", "more", "--quota", "1MB")
    run(bob, "users", "assign", "bob", "--plan", "more")
    actions = connection.execute(
        "SELECT action FROM audit_log WHERE action LIKE 'users %' ORDER BY id"
    ).fetchall()
    assert [action for (action,) in actions] == [
        "users add",
        "users top-up",
        "users suspend",
        "users resume",
        "users assign",
    ]


def test_the_screens_fit_80_columns(bob: str) -> None:
    use(bob, 12 * MB, Framed_IP_Address="10.9.8.7")
    run(bob, "users", "top-up", "bob", "20MB", "--expires", "2030-12-31")
    for command in (
        ("users", "show", "bob"),
        ("plans", "show", "basic"),
        ("plans", "list"),
        ("users", "list"),
    ):
        shown_lines = radmeter(bob, *command, COLUMNS="80").output.splitlines()
        assert max(map(len, shown_lines)) <= 80, command


def test_volumes_and_speeds_are_shown_as_plans_are_written(bob: str) -> None:
    told = radmeter(bob, "plans", "add", "home", "--quota", "500GB", "--down", "50M", "--tier", "600GB:5M/1M")
    assert told.output == "added plan #2 'home': 500,000,000,000 bytes, monthly, 50Mbit/s down\n"
    assert "a tier begins beyond --quota" in told.errors
    run(bob, "users", "add", "ann", "--plan", "home")
    run(bob, "users", "top-up", "ann", "20GB")
    listed = run(bob, "plans", "list")
    assert "500 GB" in listed
    assert "50 Mbit/s" in listed
    assert "600 GB:5M/1M" in run(bob, "plans", "show", "home")
    assert "520 GB" in run(bob, "users", "list")
    lines = run(bob, "users", "show", "ann").splitlines()
    labels = [line.split("  ")[0] for line in lines]
    assert labels.index("of that, top-ups") == labels.index("remaining") + 1
    assert "speed down" in labels
    assert any("50 Mbit/s" in line for line in lines)
    assert any(line.split()[1:3] == ["20", "GB"] for line in lines)
    # One name for the day on which the next period begins.
    end = shown(bob, "ann")["period_end"]
    assert any(line.startswith("next period from") and line.endswith(end) for line in lines)
    assert "next period" in run(bob, "users", "list")
    assert f"next period from {end}" in run(bob, "usage", "user", "ann")


def test_a_password_is_not_asked_for_in_vain_and_its_file_is_looked_at(bob: str, tmp_path: Path) -> None:
    assert "there is no user 'nosuch'" in radmeter(bob, "users", "password", "nosuch").errors
    path = tmp_path / "password"
    path.write_text("secret\n")
    path.chmod(0o644)
    done = radmeter(bob, "users", "password", "bob", "--password-file", path)
    assert (done.exit_code, "everybody on this machine can read" in done.errors) == (0, True)
    path.chmod(0o600)
    assert radmeter(bob, "users", "password", "bob", "--password-file", path).errors == ""
