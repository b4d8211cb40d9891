"""`radmeter plans`: every option, what does not go together, and changes that hold at once."""

import psycopg
import pytest
from support.commands import radmeter, run
from support.quotas import MB, OTHER_DAY, apply_due, queue, state, use
from support.servers import Connection


def test_every_option_is_a_value_of_the_plan(database: str, connection: Connection) -> None:
    run(
        database,
        *[
            "plans",
            "add",
            "all",
            "--quota",
            "10GB",
            "--quota-up",
            "1GiB",
            "--quota-down",
            "9GB",
            "--time",
            "30h",
            "--period",
            "monthly",
            "--anchor",
            "31",
        ],
        *[
            "--timezone",
            "Europe/Berlin",
            "--down",
            "50M",
            "--up",
            "512k",
            "--max-sessions",
            "3",
            "--session-timeout",
            "3600",
        ],
        *[
            "--idle-timeout",
            "10min",
            "--valid",
            "30d",
            "--rollover",
            "5GB",
            "--price",
            "19.90",
            "--tier",
            "9GB:off",
            "--tier",
            "8GB:1M/512k",
        ],
    )
    expected = {
        "name": "all",
        "quota_type": "monthly",
        "anchor_day": 31,
        "timezone": "Europe/Berlin",
        "quota_bytes": 10**10,
        "quota_bytes_in": 2**30,
        "quota_bytes_out": 9 * 10**9,
        "quota_seconds": 108_000,
        "speed_down": 50_000_000,
        "speed_up": 512_000,
        "role": None,
        "max_sessions": 3,
        "session_timeout": 3600,
        "idle_timeout": 600,
        "valid_seconds": 2_592_000,
        "rollover_bytes": 5 * 10**9,
        "tiers": [
            {"from_bytes": 8 * 10**9, "speed_down": 1_000_000, "speed_up": 512_000, "role": None},
            {"from_bytes": 9 * 10**9, "speed_down": None, "speed_up": None, "role": None},
        ],
        "price": "19.90",
        "users": 0,
        "retired_at": None,
    }
    assert radmeter(database, "plans", "show", "all", "--format", "json").json() == {"id": 1, **expected}
    assert radmeter(database, "plans", "list", "--format", "json").json() == [{"id": 1, **expected}]
    (row,) = radmeter(database, "plans", "list", "--format", "csv").csv()
    assert (row["tiers"], row["quota_bytes"]) == ("8000000000:1M/512k 9000000000:off", "10000000000")
    run(
        database,
        *[
            "plans",
            "set",
            "all",
            "--quota",
            "unlimited",
            "--quota-up",
            "off",
            "--quota-down",
            "none",
            "--time",
            "unlimited",
            "--period",
            "weekly",
        ],
        *[
            "--timezone",
            "default",
            "--down",
            "off",
            "--up",
            "off",
            "--max-sessions",
            "unlimited",
            "--session-timeout",
            "off",
        ],
        *[
            "--idle-timeout",
            "off",
            "--valid",
            "off",
            "--rollover",
            "off",
            "--price",
            "0",
            "--tier",
            "none",
            "--name",
            "nothing",
        ],
    )
    cleared = dict.fromkeys(expected) | {
        "id": 1,
        "name": "nothing",
        "quota_type": "weekly",
        "anchor_day": 1,
        "price": 0,
        "tiers": [],
        "users": 0,
    }
    assert radmeter(database, "plans", "show", "nothing", "--format", "json").json() == cleared
    actions = connection.execute(
        "SELECT action, detail -> 'before' ->> 'name', detail -> 'after' ->> 'name' FROM audit_log ORDER BY id"
    ).fetchall()
    assert actions == [("plans add", None, None), ("plans set", "all", "nothing")]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        ("x", 2, "give --quota, such as --quota 10GB"),
        ("x --quota 10M", 2, "--quota: '10M' is not clear: write 10MB (powers of 1000)"),
        ("x --quota 1GB --down 5MB/s", 2, "--down: '5MB/s' is in bytes"),
        ("x --quota 1GB --anchor 32", 2, "--anchor: '32' is not a day"),
        ("x --quota 1GB --anchor 0", 2, "--anchor: '0' is not a day"),
        ("x --quota 1GB --period weekly --anchor 8", 1, "a week begins on day 1 (Monday) to 7"),
        ("x --quota 1GB --period daily --anchor 2", 1, "a daily period has no day to begin on"),
        ("x --quota 1GB --period one-time --rollover 1GB", 1, "nothing rolls over"),
        ("x --quota-up 1GB --rollover 1GB", 1, "nothing can roll over without a quota in both directions"),
        ("x --quota 1GB --rollover yes", 2, "--rollover: 'yes' is not a volume"),
        ("x --quota 1GB --timezone Mars/Base", 1, 'there is no time zone "Mars/Base"'),
        ("x --quota 1GB --tier 8GB", 2, "--tier: '8GB' is not a tier: write FROM:DOWN/UP"),
        ("x --quota 1GB --tier 8GB:1M", 2, "--tier: '8GB:1M' is not a tier"),
        ("x --quota 1GB --tier 8GB:1M/1M --tier 8000MB:off", 2, "two tiers begin at 8000MB"),
        ("x --quota 1GB --max-sessions 0", 2, "--max-sessions: '0' is not a number of sessions"),
        ("x --quota 1GB --session-timeout 0", 2, "--session-timeout: '0' is not from 1 s"),
        ("x --quota 1GB --session-timeout 30000d", 2, "is not from 1 s to 2147483647 s"),
        ("x --quota 1GB --valid 0d", 2, "--valid: '0d' is no time"),
        ("x --quota 1GB --valid 99999999w", 2, "--valid: '99999999w' is more than 100 years"),
        ("x --quota 1GB --time 9999999999h", 2, "--time: '9999999999h' is more than 100 years"),
        ("x --quota 1GB --price 1.99999", 2, "--price: '1.99999' is not a price"),
        ("basic --quota 1GB", 1, 'there is a plan "basic" already: "radmeter plans set" changes it'),
    ],
)
def test_what_cannot_be_a_plan_is_refused(database: str, arguments: str, exit_code: int, told: str) -> None:
    run(database, "plans", "add", "basic", "--quota", "1GB")
    done = radmeter(database, "plans", "add", *arguments.split())
    assert (done.exit_code, done.output) == (exit_code, "")
    assert told in done.errors
    assert len(radmeter(database, "plans", "list", "--format", "json").json()) == 1


def test_a_change_holds_at_once_for_all_who_have_the_plan(database: str, connection: Connection) -> None:
    run(database, "plans", "add", "basic", "--quota", "10MB")
    run(database, "plans", "add", "other", "--quota", "0")
    for user, plan in (("ann", "basic"), ("bob", "basic"), ("carl", "other")):
        run(database, "users", "add", user, "--plan", plan)
    run(database, "users", "assign", "carl", "--also", "basic")
    use(database, 8 * MB)
    (shown, _) = radmeter(database, "plans", "list", "--format", "json").json()
    assert (shown["name"], shown["users"]) == ("basic", 3)
    assert "3 users have it" in run(database, "plans", "set", "basic", "--quota", "5MB")
    assert state(connection)["status"] == "over"
    apply_due(connection)
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]
    assert "as before" in run(database, "plans", "set", "basic", "--quota", "5MB")
    run(database, "plans", "set", "basic", "--quota", "50MB")
    assert state(connection)["status"] == "active"
    apply_due(connection)
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "dropped")]


def test_another_period_begins_with_0_and_top_ups_pay_what_was_owed_first(
    database: str, connection: Connection
) -> None:
    run(database, "plans", "add", "basic", "--quota", "10MB", "--timezone", "UTC", "--anchor", OTHER_DAY)
    run(database, "users", "add", "bob", "--plan", "basic")
    run(database, "users", "top-up", "bob", "20MB")
    use(database, 14 * MB)
    done = radmeter(database, "plans", "set", "basic", "--period", "one-time", "--quota", "1MB")
    assert (done.output, done.errors) == (
        "plan 'basic' is changed: 1 user has it\n",
        "its period is another one: its users begin with what they used in it, mostly 0\n",
    )
    for _ in range(2):
        found = state(connection)
        assert (found["used_bytes"], found["remaining_bytes"], found["top_up_bytes"]) == (0, 17 * MB, 16 * MB)
        apply_due(connection)


def test_a_retired_plan_is_kept_and_given_to_nobody(database: str, connection: Connection) -> None:
    run(database, "plans", "add", "old", "--quota", "10MB")
    run(database, "users", "add", "bob", "--plan", "old")
    assert run(database, "plans", "retire", "old") == "plan 'old' is retired: 1 user keeps it\n"
    assert run(database, "plans", "retire", "old") == "plan 'old' is retired already\n"
    refused = radmeter(database, "users", "add", "ann", "--plan", "old")
    assert (refused.exit_code, refused.output) == (1, "")
    assert 'the plan "old" is retired: give another' in refused.errors
    assert state(connection)["plan"] == "old"
    run(database, "plans", "set", "old", "--quota", "20MB")
    assert state(connection)["quota_bytes"] == 20 * MB
    assert run(database, "plans", "list", "--format", "csv", "--columns", "name") == "name\n"
    assert (
        run(database, "plans", "list", "--retired", "--format", "csv", "--columns", "name") == "name\nold\n"
    )
    assert run(database, "plans", "retire", "old", "--undo") == "plan 'old' is in use again\n"
    run(database, "users", "add", "ann", "--plan", "old")


def test_a_name_can_be_taken_by_one_plan_only(database: str) -> None:
    run(database, "plans", "add", "basic", "--quota", "10MB")
    run(database, "plans", "add", "gold", "--quota", "10MB")
    done = radmeter(database, "plans", "set", "gold", "--name", "basic")
    assert (done.exit_code, done.errors) == (1, 'error: there is a plan "basic" already: give another name\n')


@pytest.mark.parametrize(
    ("options", "now", "start", "end"),
    [
        ("--period monthly --anchor 31", "2024-02-28 12:00", "2024-01-31", "2024-02-29"),
        ("--period monthly --anchor 31", "2024-02-29 12:00", "2024-02-29", "2024-03-31"),
        ("--period monthly --anchor 31", "2023-02-28 12:00", "2023-02-28", "2023-03-31"),
        ("--period monthly --anchor 31", "2023-02-27 12:00", "2023-01-31", "2023-02-28"),
        ("--period monthly --anchor 30", "2024-02-29 12:00", "2024-02-29", "2024-03-30"),
        ("--period monthly --anchor 29", "2023-03-01 12:00", "2023-02-28", "2023-03-29"),
        ("--period monthly --anchor 31", "2023-04-30 12:00", "2023-04-30", "2023-05-31"),
        ("--period weekly --anchor 7", "2024-03-02 12:00", "2024-02-25", "2024-03-03"),
        ("--period daily", "2024-02-28 23:59", "2024-02-28", "2024-02-29"),
        ("--period daily --timezone Pacific/Kiritimati", "2024-02-28 23:59", "2024-02-29", "2024-03-01"),
    ],
)
def test_periods_of_short_months_and_leap_years(
    database: str, connection: Connection, options: str, now: str, start: str, end: str
) -> None:
    run(database, "plans", "add", "basic", "--quota", "10MB", "--timezone", "UTC", *options.split())
    run(database, "users", "add", "bob", "--plan", "basic")
    found = state(connection, at=f"{now}+00")
    assert (str(found["period_start"]), str(found["period_end"])) == (start, end)


def test_a_plan_cannot_be_given_while_it_is_retired(database: str) -> None:
    """Whichever comes first holds: nobody is given a plan that was retired before."""
    run(database, "plans", "add", "basic", "--quota", "10MB")
    with psycopg.connect(database) as holder:
        holder.execute("SELECT radmeter.plan_to_give('basic')")
        with psycopg.connect(database) as other:
            other.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("SELECT radmeter.retire_plan('basic', false)")


def test_roles_of_plans_and_tiers(database: str, connection: Connection) -> None:
    def values(name: str = "fair") -> tuple[object, list[object]]:
        plan = radmeter(database, "plans", "show", name, "--format", "json").json()
        return plan["role"], [tier["role"] for tier in plan["tiers"]]

    run(
        database,
        "plans",
        "add",
        "fair",
        "--role",
        "gold",
        "--tier",
        "80GB:5M/1M:slow/1",
        "--tier",
        "90GB:off",
    )
    assert values() == ("gold", ["slow/1", None])
    assert ":5M/1M:slow/1, " in run(database, "plans", "show", "fair")
    run(database, "plans", "set", "fair", "--role", "off", "--tier", "80GB:5M/1M")
    assert values() == (None, [None])
    for bad in (
        ("--role", "`id`"),
        ("--role", "%{x}"),
        ("--tier", "8GB:off:slow"),
        ("--tier", "8GB:1M/1M:"),
        ("--role", ""),
    ):
        done = radmeter(database, "plans", "set", "fair", *bad)
        assert (done.exit_code, "role" in done.errors) == (2, True), (bad, done.errors)


def test_a_tier_that_slows_nobody_down_is_said(database: str, connection: Connection) -> None:
    """Routers of aruba, cisco and meraki take no speeds."""
    plain = ("plans", "add", "fair", "--quota", "unlimited", "--tier", "80GB:5M/1M")
    assert radmeter(database, *plain).errors == ""
    run(database, "routers", "add", "lobby", "--mac", "02:00:00:00:00:01")
    assert radmeter(database, "routers", "set", "lobby", "--vendor", "mikrotik").errors == ""
    assert radmeter(database, "plans", "set", "fair", "--tier", "81GB:5M/1M").errors == ""
    assert (
        "routers of aruba take no speeds"
        in radmeter(database, "routers", "set", "lobby", "--vendor", "aruba").errors
    )
    assert (
        "routers of aruba take no speeds"
        in radmeter(database, "plans", "set", "fair", "--tier", "80GB:5M/1M").errors
    )
    assert (
        radmeter(database, "plans", "set", "fair", "--tier", "80GB:5M/1M:slow", "--tier", "90GB:off").errors
        == ""
    )


def test_the_list_has_prices(database: str) -> None:
    for name, price in (("free", "0"), ("gold", "1234.5"), ("yen", "1500"), ("fine", "0.0005")):
        assert radmeter(database, "plans", "add", name, "--quota", "1GB", "--price", price).exit_code == 0
    lines = radmeter(database, "plans", "list").output.splitlines()
    prices = {line.split()[0]: line.split()[1] for line in lines}
    assert prices == {"name": "price", "free": "0", "gold": "1,234.50", "yen": "1,500", "fine": "0.0005"}
    assert max(map(len, lines)) <= 80
