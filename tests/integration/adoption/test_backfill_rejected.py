"""Sessions with values that no router can have reported are set aside by the backfill. The others are counted."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.adopted import make_legacy, put
from support.commands import Packets, radmeter
from support.ledger import days, register, users
from support.servers import Connection

from radmeter.adoption import backfill
from radmeter.errors import StoreError

HOTEL = "02:00:00:00:00:01"
MARCH = datetime(2024, 3, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LARGEST = (1 << 63) - 1
MOST = 1 << 52


@pytest.fixture
def history(database: str, connection: Connection) -> str:
    """A database as it is after an adoption, with one good session."""
    make_legacy(connection)
    connection.execute("ALTER TABLE radacct_legacy OWNER TO radmeter_owner")
    register(connection, "hotel", mac=HOTEL)
    closed(connection, "good", octets=(10, 1))
    return database


def closed(connection: Connection, uniqueid: str, at: datetime = MARCH, **columns: Any) -> int:
    return put(connection, uniqueid, start=at - HOUR, update=at, stop=at, **columns)


def run(dsn: str, *arguments: str) -> str:
    result = radmeter(dsn, "backfill", "--yes", *arguments)
    assert result.exit_code == 0, result.errors
    return result.errors


def verified(dsn: str) -> bool:
    return radmeter(dsn, "verify").exit_code == 0


def reasons(connection: Connection) -> dict[str | None, str]:
    return {each.acctuniqueid: each.reason for each in backfill.set_aside(connection)}


def test_each_absurd_row_is_set_aside_and_the_rest_is_counted(history: str, connection: Connection) -> None:
    closed(connection, "most", octets=(MOST, 0), username="bob")
    for number in range(2):  # their sum is no bigint
        closed(connection, f"huge{number}", octets=(LARGEST, LARGEST))
    closed(connection, "above", octets=(0, MOST + 1))
    closed(connection, "minus", octets=(-1, 7))
    connection.execute("UPDATE radacct_legacy SET acctupdatetime = '-infinity' WHERE acctuniqueid = 'minus'")
    closed(connection, "empty", octets=(0, None))
    for name, at in (
        ("never", "infinity"),
        ("ever", "-infinity"),
        ("late", "294276-12-31"),
        ("early", "4713-01-01 BC"),
    ):
        bad = closed(connection, name, octets=(3, 3))
        connection.execute(
            "UPDATE radacct_legacy SET acctupdatetime = %s::timestamptz WHERE radacctid = %s", (at, bad)
        )
    idle = closed(connection, "idle", octets=(0, 0))
    connection.execute("UPDATE radacct_legacy SET acctupdatetime = 'infinity' WHERE radacctid = %s", (idle,))

    assert verified(history)
    said = run(history)
    assert "8 sessions set aside" in said
    assert users(connection) == {("alice", "2024-03-01"): (10, 1), ("bob", "2024-03-01"): (MOST, 0)}
    assert days(connection) == {("hotel", "2024-03-31"): (10 + MOST, 1)}
    found = reasons(connection)
    assert {name: re.split("[:;]", reason)[0] for name, reason in found.items()} == {
        "huge0": "more than 2^52 octets",
        "huge1": "more than 2^52 octets",
        "above": "more than 2^52 octets",
        "minus": "negative octets",
        **dict.fromkeys(("never", "ever", "late", "early"), "an impossible time"),
    }
    assert found["never"] == "an impossible time: infinity"
    assert found["minus"] == "negative octets; its time is -infinity"
    assert verified(history)
    assert run(history, "--redo").startswith("corrected: 0 counters of users and 0 days")
    status = radmeter(history, "backfill", "--status", "--format", "json").json()
    assert (status["state"], status["sessions_set_aside"], status["sessions_counted"]) == ("done", 8, 4)
    listed = radmeter(history, "backfill", "--rejected", "--format", "csv").csv()
    assert [(row["acctuniqueid"], row["octets_in"], row["octets_out"]) for row in listed[:2]] == [
        ("huge0", str(LARGEST), str(LARGEST)), ("huge1", str(LARGEST), str(LARGEST)),
    ]  # fmt: skip


@pytest.mark.parametrize("changed_first", [False, True])
def test_a_session_is_counted_later_with_the_octets_an_operator_gives(
    history: str, connection: Connection, changed_first: bool
) -> None:
    now = datetime.now(UTC)
    bad = put(connection, "bad", start=now - 2 * HOUR, update=now - HOUR, octets=(-5, 100))
    if changed_first:  # the adoption baseline is in a table of its own
        connection.execute(
            "UPDATE radacct SET acctinputoctets = acctinputoctets + 50 WHERE radacctid = %s", (bad,)
        )
    run(history)
    gained = 50 if changed_first else 0
    before = users(connection)
    with pytest.raises(StoreError, match=r"cannot have that: more than 2\^52 octets"):
        backfill.correct(connection, bad, MOST + 1, 0, None)
    with pytest.raises(StoreError, match=f"no session with radacctid {bad + 1} is set aside"):
        backfill.correct(connection, bad + 1, 1, 0, None)
    assert users(connection) == before
    run(history, "--correct", str(bad), "--octets", "1000", "200")
    month = now.strftime("%Y-%m-01")
    expected = {("alice", "2024-03-01"): (10, 1)}
    assert users(connection) == expected | {("alice", month): (1000 + gained, 200)}
    assert connection.execute(
        "SELECT acctinputoctets, acctoutputoctets FROM radacct WHERE radacctid = %s", (bad,)
    ).fetchone() == (1000 + gained, 200)
    assert reasons(connection) == {}
    assert verified(history)
    # It goes on like any other: to another user, and with another packet.
    connection.execute("UPDATE radacct SET username = 'bob' WHERE radacctid = %s", (bad,))
    connection.execute(
        "UPDATE radacct SET acctinputoctets = acctinputoctets + 7 WHERE radacctid = %s", (bad,)
    )
    assert users(connection)["bob", month] == (1007 + gained, 200)
    assert verified(history)
    assert connection.execute("SELECT action FROM audit_log ORDER BY id DESC LIMIT 1").fetchone() == (
        "backfill correct",
    )


def test_a_time_is_corrected_too(history: str, connection: Connection) -> None:
    bad = closed(connection, "bad", octets=(5, 6))
    connection.execute("UPDATE radacct_legacy SET acctupdatetime = 'infinity' WHERE radacctid = %s", (bad,))
    run(history)
    refused = radmeter(history, "backfill", "--correct", str(bad), "--octets", "5", "6")
    assert refused.exit_code == 1
    assert "an impossible time" in refused.errors
    run(history, "--correct", str(bad), "--octets", "5", "6", "--at", "2024-02-10")
    assert users(connection)["alice", "2024-02-01"] == (5, 6)
    assert verified(history)


def test_a_session_that_is_set_aside_changes_its_user_and_nothing_moves(
    history: str, connection: Connection
) -> None:
    bad = closed(connection, "bad", octets=(-5, -6))
    run(history)
    connection.execute("UPDATE radacct SET username = 'bob' WHERE radacctid = %s", (bad,))
    while backfill.settle(connection):
        pass
    assert users(connection) == {("alice", "2024-03-01"): (10, 1)}
    assert verified(history)
    run(history, "--correct", str(bad), "--octets", "5", "6")
    assert users(connection)["bob", "2024-03-01"] == (5, 6)
    assert verified(history)


def test_sessions_are_left_out_for_good(history: str, connection: Connection) -> None:
    bad = [closed(connection, f"bad{number}", octets=(-1, 0)) for number in range(3)]
    assert "3 sessions set aside" in run(history)
    assert "1 session left out" in run(history, "--leave", str(bad[1]))
    assert "2 sessions left out" in run(history, "--leave", "all")
    assert backfill.undecided(connection) == 0
    assert "set aside" not in run(history)
    assert all(each.left_at for each in backfill.set_aside(connection))
    run(history, "--correct", str(bad[0]), "--octets", "2", "0")
    assert users(connection) == {("alice", "2024-03-01"): (12, 1)}
    assert verified(history)
    for wrong in (
        ("--leave", "x"),
        ("--octets", "1", "2"),
        ("--leave", "all", "--status"),
        ("--correct", "1"),
    ):
        assert radmeter(history, "backfill", *wrong).exit_code == 2


def test_packets_go_on_counting_for_an_open_session_that_is_set_aside(
    history: str, connection: Connection
) -> None:
    with Packets(history) as packets:
        packets.add("Start", "s", ago=7200, User_Name="alice", Called_Station_Id=HOTEL)
    connection.execute(
        "UPDATE radacct_open SET adopted = true, acctinputoctets = -5, usage_date = NULL, period_start = NULL"
    )
    before = users(connection)
    run(history)
    assert len(reasons(connection)) == 1
    with Packets(history) as packets:
        packets.add("Interim-Update", "s", User_Name="alice", Called_Station_Id=HOTEL, Acct_Input_Octets=1000,
                    Acct_Session_Time=7200)  # fmt: skip
    gained = sum(octets for octets, _ in users(connection).values()) - sum(
        octets for octets, _ in before.values()
    )
    assert gained == 10 + 1005
    assert verified(history)
