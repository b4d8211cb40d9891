"""Whatever is changed about a plan or a subscriber, in SQL: the users concerned are looked at, and nobody else."""

import psycopg
import pytest
from support.commands import radmeter
from support.quotas import MB, apply_due, give_plan, queue, state, use
from support.servers import Connection, Server

from radmeter.quotas import over
from radmeter.schema import revisions, upgrade

NOTED = "SELECT DISTINCT username FROM radmeter.quota_change ORDER BY 1"


def noted(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute(NOTED.encode())]


@pytest.mark.parametrize(
    ("change", "users"),
    [
        ("UPDATE plans SET quota_bytes = 5 WHERE name = 'plan of bob'", ["bob", "carol"]),
        ("UPDATE plans SET quota_bytes = 5", ["alice", "bob", "carol"]),
        ("UPDATE plans SET quota_bytes = 5 WHERE false", []),
        (
            "INSERT INTO plan_tiers (plan_id, from_bytes) SELECT id, 9 FROM plans WHERE name ~ 'alice'",
            ["alice"],
        ),
        ("UPDATE plan_tiers SET from_bytes = 6", ["bob"]),
        ("DELETE FROM plan_tiers", ["bob"]),
        ("INSERT INTO top_ups (username, bytes) VALUES ('bob', 5)", ["bob"]),
        ("UPDATE top_ups SET expires_at = now()", ["alice"]),
        ("UPDATE top_ups SET username = 'bob'", ["alice", "bob"]),
        ("DELETE FROM top_ups", ["alice"]),
        ("UPDATE subscribers SET suspended_at = now() WHERE username = 'bob'", ["bob"]),
        ("UPDATE subscribers SET username = 'alicia' WHERE username = 'alice'", ["alice", "alicia"]),
        ("INSERT INTO subscriber_plans SELECT 'alice', id FROM plans WHERE name ~ 'bob'", ["alice"]),
        ("UPDATE subscriber_plans SET username = 'alice'", ["alice", "carol"]),
        ("DELETE FROM subscriber_plans", ["carol"]),
        ("DELETE FROM subscribers WHERE username = 'carol'", ["carol"]),
    ],
)
def test_the_users_concerned_are_noted(connection: Connection, change: str, users: list[str]) -> None:
    for name in ("alice", "bob", "carol"):
        give_plan(connection, name)
    connection.execute(
        """INSERT INTO subscriber_plans SELECT 'carol', id FROM plans WHERE name = 'plan of bob';
           INSERT INTO plan_tiers (plan_id, from_bytes) SELECT id, 5 FROM plans WHERE name = 'plan of bob';
           INSERT INTO top_ups (username, bytes) VALUES ('alice', 7)"""
    )
    apply_due(connection)
    assert noted(connection) == []
    connection.execute(change.encode())
    assert noted(connection) == users
    apply_due(connection)
    assert noted(connection) == []


def test_a_smaller_plan_cuts_who_is_above_it(database: str, connection: Connection) -> None:
    give_plan(connection)
    use(database, 6 * MB)
    connection.execute("UPDATE plans SET quota_bytes = %s", (5 * MB,))
    assert state(connection)["status"] == "over"
    assert queue(connection) == []
    apply_due(connection)
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]


def test_a_user_without_a_subscription_has_no_account_left(database: str, connection: Connection) -> None:
    give_plan(connection)
    use(database, 9 * MB)
    connection.execute("DELETE FROM subscribers")
    apply_due(connection)
    assert connection.execute("SELECT count(*) FROM radmeter.quota_account").fetchone() == (0,)
    assert connection.execute("SELECT next_check FROM user_quota_usage").fetchall() == [(None,)]
    use(database, 20 * MB)
    assert queue(connection) == []


def test_a_change_that_is_not_committed_yet_keeps_no_packet_waiting(
    database: str, connection: Connection
) -> None:
    """An operator's transaction holds many plans and users. Packets of the same users are counted meanwhile."""
    give_plan(connection)
    use(database, 1 * MB)
    with psycopg.connect(database) as operator:
        operator.execute("UPDATE plans SET quota_bytes = 3000000")
        operator.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 5)")
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '100ms'")
            connection.execute("UPDATE radacct SET acctinputoctets = 9500000")
        assert state(connection)["status"] == "warned"
    assert state(connection)["status"] == "over"
    apply_due(connection)
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]


def test_users_who_were_there_before_quotas_are_looked_at_soon(server: Server) -> None:
    """The revision writes one row: it holds locks for which packets and logins wait."""
    with server.clone("template0") as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        upgrade.prepare(connection)
        revisions.run_revisions(connection, upto="0023")
        connection.execute(
            """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 10000000);
               INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 30) AS n"""
        )
        assert radmeter(dsn, "migrate", "up", "--yes").exit_code == 0
        noted = "SELECT username, everybody FROM radmeter.quota_change"
        assert connection.execute(noted).fetchall() == [("", True)]
        # `quota over` does not wait for the jobs.
        period = "radmeter.user_period_start('user7', now())"
        connection.execute(
            f"""INSERT INTO user_quota_usage (username, period_start, bytes_in)
                VALUES ('user7', {period}, 20000000)""".encode()
        )
        assert [row["username"] for row in over.over(connection)] == ["user7"]
        assert apply_due(connection) == 30
        assert connection.execute(noted).fetchall() == []
        assert connection.execute("SELECT count(*) FROM radmeter.quota_account").fetchone() == (30,)


def test_a_price_or_a_name_concerns_no_users_quota(connection: Connection) -> None:
    give_plan(connection)
    for change in ("price = 5", "name = 'other'", "retired_at = now()", "retired_at = NULL"):
        connection.execute(f"UPDATE plans SET {change}".encode())
        assert apply_due(connection) == 0, change
    connection.execute("UPDATE plans SET quota_bytes = 5, price = 6")
    assert apply_due(connection) == 1


def test_a_tier_that_moves_to_another_plan_concerns_the_users_of_both(connection: Connection) -> None:
    plans = [give_plan(connection, name) for name in ("bob", "ann")]
    connection.execute(
        "INSERT INTO plan_tiers (plan_id, from_bytes, speed_up) VALUES (%s, 5, 5)", (plans[0],)
    )
    assert apply_due(connection) == 1
    connection.execute("UPDATE plan_tiers SET plan_id = %s", (plans[1],))
    assert apply_due(connection) == 2
