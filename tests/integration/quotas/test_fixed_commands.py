"""The command lines of plans, users, routers and requests that others script against, word by word."""

from pathlib import Path

from support.commands import radmeter
from support.quotas import MB, queue, use
from support.servers import Connection


def test_the_command_lines_that_are_fixed(database: str, connection: Connection) -> None:
    for line in (
        "plans add basic --quota 10MB --period monthly",
        "plans add fast --quota 10MB --period monthly --down 5M --up 1M --max-sessions 2",
        "users add bob --plan basic --password secret",
        "users top-up bob 20MB",
    ):
        done = radmeter(database, *line.split())
        assert (done.exit_code, done.errors) == (0, ""), line
    shown = radmeter(database, "users", "show", "bob", "--format", "json").json()
    today, month_end = connection.execute(
        """SELECT date_trunc('month', now() AT TIME ZONE radmeter.setting_value('timezone'))::date::text,
                  (date_trunc('month', now() AT TIME ZONE radmeter.setting_value('timezone'))
                   + interval '1 month')::date::text"""
    ).fetchone() or ("", "")
    assert {
        name: shown[name]
        for name in (
            "plan",
            "period_start",
            "period_end",
            "quota_bytes",
            "used_bytes",
            "remaining_bytes",
            "status",
        )
    } == {
        "plan": "basic",
        "period_start": today,
        "period_end": month_end,
        "quota_bytes": 30 * MB,
        "used_bytes": 0,
        "remaining_bytes": 30 * MB,
        "status": "active",
    }
    plan = radmeter(database, "plans", "show", "fast", "--format", "json").json()
    assert (plan["quota_bytes"], plan["speed_down"], plan["speed_up"], plan["max_sessions"]) == (
        10 * MB,
        5_000_000,
        1_000_000,
        2,
    )


def test_the_command_lines_of_routers_and_their_requests(database: str, tmp_path: Path) -> None:
    secret, key = tmp_path / "secret", str(tmp_path / "coa.key")
    secret.write_text("router-secret\n")
    for line in (
        "plans add basic --quota 10MB --period monthly",
        "users add bob --plan basic --password secret",
        "routers add lobby --mac 02:00:00:00:00:01",
        f"routers set lobby --coa-address 127.0.0.1 --coa-port 3799 --coa-secret-file {secret} --vendor mikrotik",
    ):
        done = radmeter(database, *line.split(), RADMETER_COA_KEY_FILE=key)
        assert done.exit_code == 0, done.errors
    use(database, 12 * MB, Called_Station_Id="02-00-00-00-00-01:guests")
    (request,) = radmeter(database, "queue", "list", "--format", "json").json()
    fields = ("username", "session", "act", "state", "attempts", "error_cause")
    assert {name: request[name] for name in fields} == {
        "username": "bob",
        "session": "s1",
        "act": "disconnect",
        "state": "waiting",
        "attempts": 0,
        "error_cause": None,
    }
    router = radmeter(database, "routers", "show", request["router"], "--format", "json").json()
    kept = ("mac", "coa_address", "coa_port", "coa_secret", "vendor")
    assert [router[name] for name in kept] == ["02:00:00:00:00:01", "127.0.0.1", 3799, True, "mikrotik"]


def test_each_status_is_shown(database: str, connection: Connection) -> None:
    def status(user: str = "bob") -> str:
        return str(radmeter(database, "users", "show", user, "--format", "json").json()["status"])

    def run(*arguments: str) -> None:
        done = radmeter(database, *arguments)
        assert done.exit_code == 0, done.errors

    run("plans", "add", "basic", "--quota", "10MB", "--tier", "9MB:1M/512k", "--valid", "1h")
    run("users", "add", "bob", "--plan", "basic", "--no-password")
    seen = [status()]
    for octets in (8 * MB, 9 * MB, 10 * MB):
        use(database, octets)
        seen.append(status())
    run("users", "suspend", "bob")
    seen.append(status())
    run("users", "resume", "bob")
    connection.execute("UPDATE subscribers SET first_used_at = now() - interval '2 hours'")
    seen.append(status())
    assert seen == ["active", "warned", "throttled", "over", "suspended", "expired"]


def test_no_limit_is_null_and_zero_is_zero(database: str) -> None:
    radmeter(database, "plans", "add", "free", "--quota", "unlimited")
    radmeter(database, "plans", "add", "nothing", "--quota", "0")
    radmeter(database, "users", "add", "ann", "--plan", "free")
    radmeter(database, "users", "add", "bob", "--plan", "nothing")
    ann, bob = (
        radmeter(database, "users", "show", name, "--format", "json").json() for name in ("ann", "bob")
    )
    assert (ann["quota_bytes"], ann["remaining_bytes"], ann["status"]) == (None, None, "active")
    assert (bob["quota_bytes"], bob["remaining_bytes"], bob["status"]) == (0, 0, "over")


def test_commands_queue_requests_without_any_job(database: str, connection: Connection) -> None:
    radmeter(database, "plans", "add", "basic", "--quota", "10MB")
    use(database, 12 * MB)
    assert queue(connection) == []
    radmeter(database, "users", "add", "bob", "--plan", "basic")
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]
    radmeter(database, "users", "top-up", "bob", "20MB")
    assert queue(connection)[-1] == ("bob", "s1", "disconnect", "over", "dropped")
    radmeter(database, "users", "suspend", "bob")
    assert queue(connection)[-1] == ("bob", "s1", "disconnect", "suspended", "waiting")
    radmeter(database, "users", "resume", "bob")
    assert queue(connection)[-1] == ("bob", "s1", "disconnect", "suspended", "dropped")
