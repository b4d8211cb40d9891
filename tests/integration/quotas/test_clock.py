"""The clock of the database goes wrong: nobody pays twice, and nobody stays ahead of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.quota_clock import clocked, set_clock
from support.quotas import MB
from support.servers import Connection

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def users(connection: Connection) -> None:
    """Alice and bob have 10 MB a day, and each a session."""
    connection.execute(
        """INSERT INTO plans (name, quota_type, timezone, quota_bytes) VALUES ('day', 'daily', 'UTC', 10000000);
           INSERT INTO subscribers (username, plan_id) VALUES ('alice', 1), ('bob', 1)"""
    )


def use(connection: Connection, username: str, megabytes: int, at: datetime) -> None:
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                acctinputoctets, acctoutputoctets)
           VALUES (%(name)s, %(name)s, %(name)s, '10.0.0.1', %(at)s, %(at)s, 0, %(octets)s)
           ON CONFLICT DO NOTHING""",
        {"name": username, "at": at, "octets": megabytes * MB},
    )


def look(connection: Connection, *usernames: str) -> None:
    connection.execute("SELECT radmeter.apply_quotas(%s, false)", (list(usernames),))


def accounts(connection: Connection) -> dict[str, tuple[Any, ...]]:
    rows = connection.execute(
        "SELECT username, period_start::text, settled_at, status FROM radmeter.quota_account"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def paid(connection: Connection) -> int:
    row = connection.execute("SELECT sum(used_bytes)::bigint FROM top_ups").fetchone()
    assert row is not None
    return int(row[0])


def test_an_account_of_the_future_is_no_other_users(connection: Connection) -> None:
    """The clock was years ahead when alice was looked at. Neither she nor bob, of the same batch, gets away with it."""
    with clocked(connection, NOON + timedelta(days=730)):
        look(connection, "alice")
        set_clock(connection, NOON)
        use(connection, "alice", 20, NOON)
        use(connection, "bob", 20, NOON)
        look(connection, "alice", "bob")
        assert accounts(connection) == dict.fromkeys(("alice", "bob"), ("2026-03-10", NOON, "over"))
        acts = connection.execute("SELECT username, act FROM radmeter.disconnect_queue ORDER BY 1").fetchall()
        assert acts == [("alice", "disconnect"), ("bob", "disconnect")]


def test_packets_find_a_user_whose_account_was_settled_in_the_future(connection: Connection) -> None:
    with clocked(connection, NOON):
        use(connection, "bob", 5, NOON)
        set_clock(connection, NOON + timedelta(days=730))
        look(connection, "bob")
        set_clock(connection, NOON)
        connection.execute("UPDATE radacct SET acctoutputoctets = 11000000, acctupdatetime = %s", (NOON,))
        assert accounts(connection)["bob"][2:] == ("over",)


def test_a_clock_that_goes_back_over_a_periods_end_makes_nobody_pay_twice(connection: Connection) -> None:
    midnight = NOON.replace(hour=0)
    with clocked(connection, midnight - timedelta(hours=1)):
        use(connection, "bob", 13, midnight - timedelta(hours=1))
        connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 9000000)")
        look(connection, "bob")
        assert paid(connection) == 3 * MB
        set_clock(connection, midnight + timedelta(seconds=5))
        look(connection, "bob")
        before = accounts(connection)
        # By some seconds, as time servers do: the account stays in the new period. Alice, of the same batch, does not
        # get its instant.
        now = midnight - timedelta(seconds=20)
        set_clock(connection, now)
        look(connection, "alice", "bob")
        assert accounts(connection) == {**before, "alice": ("2026-03-09", now, "active")}
        # By hours: the account goes back.
        set_clock(connection, midnight - timedelta(hours=1))
        look(connection, "bob")
        assert accounts(connection)["bob"][0] == "2026-03-09"
        assert paid(connection) == 3 * MB
        row = connection.execute(
            "SELECT status, remaining_bytes FROM radmeter.quota_state('{bob}', public.test_now())"
        ).fetchone()
        assert row == ("active", 6 * MB)
