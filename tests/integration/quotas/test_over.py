"""`radmeter quota over`, and the quota in `radmeter usage user`."""

import pytest
from support.commands import radmeter
from support.quotas import MB, apply_due, give_plan, use
from support.servers import Connection


@pytest.fixture
def site(database: str, connection: Connection) -> str:
    for name, octets in (("alice", 3), ("bob", 12), ("carol", 9), ("dora", 1), ("emil", 2)):
        give_plan(connection, name)
        use(database, octets * MB, f"s-{name}", name, Calling_Station_Id=f"02-00-00-00-00-{ord(name[0]):X}")
    connection.execute(
        """UPDATE subscribers SET suspended_at = now() WHERE username = 'dora';
           UPDATE plans SET valid_seconds = 1 WHERE name = 'plan of emil';
           UPDATE subscribers SET first_used_at = now() - interval '1 day' WHERE username = 'emil'"""
    )
    return database


def statuses(site: str, *arguments: str) -> dict[str, str]:
    rows = radmeter(site, "quota", "over", "--format", "json", *arguments).json()
    return {row["username"]: row["status"] for row in rows}


def test_it_is_so_as_of_now_before_any_job_has_run(site: str, connection: Connection) -> None:
    expected = {"bob": "over", "carol": "warned", "dora": "suspended", "emil": "expired"}
    assert statuses(site) == expected
    apply_due(connection)
    assert statuses(site) == expected
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 90000000)")
    assert "bob" not in statuses(site)
    connection.execute("UPDATE plans SET quota_bytes = 1000000 WHERE name = 'plan of alice'")
    assert statuses(site, "--status", "over", "--status", "expired") == {"alice": "over", "emil": "expired"}


def test_a_table_fits_80_columns(site: str) -> None:
    lines = radmeter(site, "quota", "over").output.splitlines()
    assert lines[0] == "4 users over, throttled, warned, expired or suspended"
    assert max(map(len, lines)) <= 80
    assert [line.split()[:2] for line in lines[-4:]] == [
        ["bob", "over"],
        ["carol", "warned"],
        ["dora", "suspended"],
        ["emil", "expired"],
    ]


def test_more_than_all_is_shown_as_such(site: str) -> None:
    (line,) = [
        each for each in radmeter(site, "quota", "over").output.splitlines() if each.startswith("bob ")
    ]
    assert line.split()[2] == "120"
    assert "120 %" in radmeter(site, "users", "show", "bob").output
    # What the user is judged by.
    (row,) = radmeter(site, "quota", "over", "--status", "over", "--format", "json").json()
    assert row["percent"] == 100


def test_all_users_are_read_however_many(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO plans (name, quota_bytes) VALUES ('none', 0)")
    connection.execute(
        "INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 2500) AS n"
    )
    assert len(statuses(database)) == 2500
    apply_due(connection)
    assert len(statuses(database)) == 2500


def test_usage_shows_the_quota_with_top_ups_and_the_status(site: str, connection: Connection) -> None:
    (row,) = radmeter(site, "usage", "user", "bob", "--format", "json").json()
    assert (row["quota_bytes"], row["bytes_left"], row["status"]) == (10 * MB, -2 * MB, "over")
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 5000000)")
    (row,) = radmeter(site, "usage", "user", "bob", "--format", "json").json()
    assert (row["quota_bytes"], row["bytes_left"], row["status"]) == (15 * MB, 3 * MB, "warned")
    assert "left, warned, next period from" in radmeter(site, "usage", "user", "bob").output


def test_time_is_shown_where_time_is_the_limit(site: str, connection: Connection) -> None:
    plans = "INSERT INTO plans (name, quota_type, quota_seconds, quota_bytes) VALUES ('hour', 'one-time', 3600, %s)"
    connection.execute(f"{plans} RETURNING id".encode(), (None,))
    connection.execute(
        """INSERT INTO subscribers (username, plan_id, quota_start) SELECT 'tom', id, '2026-01-01' FROM plans
           WHERE name = 'hour'"""
    )
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctstoptime,
                                acctupdatetime, acctsessiontime, acctinputoctets)
           VALUES ('t', 't', 'tom', '10.0.0.1', now() - interval '1 hour', now(), now(), 3300, 1010)"""
    )
    apply_due(connection)
    told = radmeter(site, "usage", "user", "tom").output.splitlines()[0]
    assert "plan hour, 1h online one-time, " in told
    assert "no quota" not in told
    (line,) = [
        each for each in radmeter(site, "quota", "over").output.splitlines() if each.startswith("tom ")
    ]
    assert line.split()[3] == "1h"
    connection.execute("UPDATE plans SET quota_bytes = 2000 WHERE name = 'hour'")
    (line,) = [
        each for each in radmeter(site, "quota", "over").output.splitlines() if each.startswith("tom ")
    ]
    assert line.split()[3] == "1h"
    connection.execute("UPDATE plans SET quota_bytes = 1020, quota_seconds = 8000 WHERE name = 'hour'")
    (line,) = [
        each for each in radmeter(site, "quota", "over").output.splitlines() if each.startswith("tom ")
    ]
    assert line.split()[3:5] == ["1.02", "kB"]
