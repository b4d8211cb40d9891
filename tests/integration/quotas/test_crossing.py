"""Users who come to a limit: what the counting triggers queue, and what a user has left."""

from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg.rows import dict_row
from support.commands import Packets
from support.servers import Connection

MB = 10**6


@pytest.fixture
def plan(connection: Connection) -> int:
    row = connection.execute(
        "INSERT INTO plans (name, quota_bytes) VALUES ('basic', %s) RETURNING id", (10 * MB,)
    ).fetchone()
    assert row is not None
    connection.execute("INSERT INTO subscribers (username, plan_id) VALUES ('bob', %s)", (row[0],))
    return int(row[0])


def state(connection: Connection, username: str = "bob") -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("SELECT * FROM radmeter.quota_state(ARRAY[%s], now())", (username,)).fetchone()
    assert row is not None
    return row


def queue(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        """SELECT request.username, acctsessionid, act, reason, request.state
           FROM radmeter.disconnect_queue AS request JOIN radacct USING (radacctid) ORDER BY id"""
    ).fetchall()


def notices(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT username, kind, percent FROM radmeter.quota_notice ORDER BY id"
    ).fetchall()


def use(database: str, octets: int, session: str = "s1", **attributes: Any) -> None:
    with Packets(database) as packets:
        packets.add(
            "Interim-Update",
            session,
            User_Name="bob",
            NAS_Identifier="lobby",
            Acct_Input_Octets=octets,
            **attributes,
        )


def test_a_user_is_warned_twice_and_cut_once(database: str, connection: Connection, plan: int) -> None:
    seen = []
    for octets in (7 * MB, 8 * MB, 9 * MB, 9_500_000, 9_600_000, 10 * MB, 11 * MB, 12 * MB):
        use(database, octets)
        found = state(connection)
        seen.append((found["status"], found["remaining_bytes"], len(queue(connection))))
    assert seen == [
        ("active", 3 * MB, 0),
        ("warned", 2 * MB, 0),
        ("warned", 1 * MB, 0),
        ("warned", 500_000, 0),
        ("warned", 400_000, 0),
        ("over", 0, 1),
        ("over", 0, 1),
        ("over", 0, 1),
    ]
    assert notices(connection) == [("bob", "warned", 80), ("bob", "warned", 95), ("bob", "over", 100)]
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]


def test_a_top_up_pays_what_is_over_and_takes_the_request_back(
    database: str, connection: Connection, plan: int
) -> None:
    use(database, 12 * MB)
    assert state(connection)["status"] == "over"
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', %s)", (20 * MB,))
    found = state(connection)
    assert (found["status"], found["quota_bytes"], found["remaining_bytes"]) == ("active", 30 * MB, 18 * MB)
    assert connection.execute("SELECT radmeter.apply_due_quotas(100)").fetchone() == (1,)
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "dropped")]
    assert connection.execute("SELECT used_bytes FROM top_ups").fetchone() == (2 * MB,)
    assert state(connection)["remaining_bytes"] == 18 * MB
    assert notices(connection) == [("bob", "over", 100), ("bob", "restored", 0)]
    use(database, 29 * MB)
    assert notices(connection)[2:] == [("bob", "warned", 95)]
    use(database, 30 * MB)
    assert notices(connection)[3:] == [("bob", "over", 100)]
    assert queue(connection)[1:] == [("bob", "s1", "disconnect", "over", "waiting")]
    assert connection.execute("SELECT used_bytes FROM top_ups").fetchone() == (20 * MB,)


@pytest.mark.parametrize("reason", ["over", "time", "expired", "suspended"])
def test_a_request_of_an_operator_stays_whatever_its_reason(
    database: str, connection: Connection, plan: int, reason: str
) -> None:
    use(database, 1 * MB)
    connection.execute("SELECT radmeter.request_disconnect('bob', NULL, %s)", (reason,))
    use(database, 8 * MB)
    assert notices(connection) == [("bob", "warned", 80)]
    assert queue(connection) == [("bob", "s1", "disconnect", reason, "waiting")]


def test_the_top_up_that_expires_first_is_used_first(
    database: str, connection: Connection, plan: int
) -> None:
    connection.execute(
        """INSERT INTO top_ups (username, bytes, expires_at) VALUES ('bob', %(mb)s * 5, NULL),
           ('bob', %(mb)s * 3, now() + interval '2 days'), ('bob', %(mb)s * 2, now() + interval '1 day')""",
        {"mb": MB},
    )
    use(database, 14 * MB)
    connection.execute("UPDATE radmeter.quota_account SET due_at = now()")
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    assert connection.execute("SELECT used_bytes FROM top_ups ORDER BY id").fetchall() == [
        (0,),
        (2 * MB,),
        (2 * MB,),
    ]
    found = state(connection)
    assert (found["quota_bytes"], found["remaining_bytes"], found["top_up_bytes"]) == (
        20 * MB,
        6 * MB,
        6 * MB,
    )


def test_a_late_packet_of_a_period_that_is_over_cuts_nobody(
    database: str, connection: Connection, plan: int
) -> None:
    use(database, 50 * MB, ago=40 * 86400)
    assert queue(connection) == []
    assert state(connection)["status"] == "active"


def test_zero_is_zero(database: str, connection: Connection, plan: int) -> None:
    connection.execute("UPDATE plans SET quota_bytes = 0")
    assert state(connection)["status"] == "over"


def test_a_tier_throttles_and_the_last_one_ends_it(database: str, connection: Connection, plan: int) -> None:
    connection.execute("UPDATE plans SET quota_bytes = NULL, speed_up = 10000000, speed_down = 20000000")
    connection.execute(
        "INSERT INTO plan_tiers VALUES (%(plan)s, %(mb)s * 5, 1000000, 2000000), (%(plan)s, %(mb)s * 9, NULL, NULL)",
        {"plan": plan, "mb": MB},
    )
    use(database, 1 * MB)
    assert queue(connection) == []
    use(database, 6 * MB)
    assert queue(connection) == [("bob", "s1", "coa", "throttled", "waiting")]
    found = state(connection)
    assert (found["status"], found["speed_up"], found["speed_down"]) == ("throttled", 1_000_000, 2_000_000)
    use(database, 9 * MB)
    assert queue(connection) == [
        ("bob", "s1", "coa", "throttled", "dropped"),
        ("bob", "s1", "disconnect", "over", "waiting"),
    ]


def test_validity_begins_with_the_first_use(database: str, connection: Connection, plan: int) -> None:
    connection.execute("UPDATE plans SET valid_seconds = 3600")
    assert state(connection)["expires_at"] is None
    use(database, 1 * MB)
    begun = state(connection)["expires_at"]
    assert 3500 < (begun - datetime.now(UTC)).total_seconds() <= 3600
    use(database, 2 * MB)
    assert state(connection)["expires_at"] == begun
    connection.execute("UPDATE subscribers SET first_used_at = now() - interval '2 hours'")
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    assert state(connection)["status"] == "expired"
    assert queue(connection) == [("bob", "s1", "disconnect", "expired", "waiting")]


def test_unused_octets_roll_over_up_to_the_cap(database: str, connection: Connection, plan: int) -> None:
    connection.execute(
        "UPDATE plans SET quota_type = 'daily', rollover_bytes = %s, timezone = 'UTC'", (4 * MB,)
    )
    use(database, 3 * MB)
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    tomorrow = connection.execute(
        """SELECT quota_bytes, remaining_bytes, carried_bytes
           FROM radmeter.quota_state('{bob}', now() + interval '1 day')"""
    ).fetchone()
    assert tomorrow == (14 * MB, 14 * MB, 4 * MB)
    use(database, 8 * MB)
    tomorrow = connection.execute(
        "SELECT quota_bytes FROM radmeter.quota_state('{bob}', now() + interval '1 day')"
    ).fetchone()
    assert tomorrow == (12 * MB,)


WRITTEN = """
SELECT relname, (n_tup_ins + n_tup_upd)::integer FROM pg_stat_xact_user_tables
WHERE relname IN ('user_quota_usage', 'quota_account', 'disconnect_queue', 'subscribers') AND n_tup_ins + n_tup_upd > 0
ORDER BY relname"""


def test_a_user_who_goes_on_over_the_limit_costs_no_further_writing(
    database: str, connection: Connection, plan: int
) -> None:
    """The router takes no request, so the packets come on and on."""
    connection.execute(
        "INSERT INTO top_ups (username, bytes, used_bytes, expires_at) VALUES ('bob', 5, 5, now() + interval '1 day')"
    )
    use(database, 12 * MB)
    use(database, 13 * MB)
    connection.execute("SELECT pg_stat_force_next_flush()")
    with connection.transaction():
        connection.execute("UPDATE radacct SET acctinputoctets = 20000000, acctupdatetime = now()")
        assert connection.execute(WRITTEN).fetchall() == [("user_quota_usage", 1)]
    # All the same it is looked at with each packet: another session is cut at once.
    use(database, 1 * MB, session="s2")
    assert [row[1] for row in queue(connection)] == ["s1", "s2"]


def quota_of_last_month(connection: Connection, octets: int, changes: str) -> dict[str, Any]:
    """Return the state of bob who used something last month, was away since, and whose plan is changed now."""
    connection.execute("UPDATE user_quota_usage SET period_start = period_start - interval '1 month'")
    connection.execute(
        """UPDATE radmeter.quota_account SET settled_at = settled_at - interval '1 month',
               period_start = (period_start - interval '1 month')::date"""
    )
    assert connection.execute("SELECT bytes_in FROM user_quota_usage").fetchone() == (octets,)
    connection.execute(f"UPDATE plans SET {changes}".encode())
    before = state(connection)
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    assert state(connection)["remaining_bytes"] == before["remaining_bytes"]
    return before


def test_a_month_is_settled_by_the_quota_that_it_had(
    database: str, connection: Connection, plan: int
) -> None:
    """A new tariff from the 1st on: a month within its quota takes nothing of a top-up."""
    connection.execute("UPDATE plans SET rollover_bytes = %s", (5 * MB,))
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', %s)", (5 * MB,))
    use(database, 9 * MB)
    found = quota_of_last_month(connection, 9 * MB, "quota_bytes = 5000000")
    # 5 MB now, 1 MB of what was left of 10 MB, and the top-up.
    assert (found["remaining_bytes"], found["carried_bytes"], found["top_up_bytes"]) == (11 * MB, MB, 5 * MB)
    assert connection.execute("SELECT used_bytes FROM top_ups").fetchone() == (0,)


@pytest.mark.parametrize(
    ("before", "after", "carried"),
    [("10000000", "100000000", 0), ("NULL", "100000000", 0), ("20000000", "15000000", 10 * MB)],
)
def test_only_what_a_month_had_rolls_over(
    database: str, connection: Connection, plan: int, before: str, after: str, carried: int
) -> None:
    connection.execute(f"UPDATE plans SET quota_bytes = {before}, rollover_bytes = 90000000".encode())
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    use(database, 10 * MB)
    connection.execute("INSERT INTO radmeter.quota_change (username) VALUES ('bob')")
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    found = quota_of_last_month(connection, 10 * MB, f"quota_bytes = {after}")
    assert found["carried_bytes"] == carried
