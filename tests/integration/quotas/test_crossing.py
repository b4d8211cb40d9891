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
