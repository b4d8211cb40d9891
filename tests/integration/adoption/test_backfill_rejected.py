"""Sessions with values that no router can have reported are set aside by the backfill. The others are counted."""

import hashlib
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


def unique_id(session: str) -> str:
    """Return the acctuniqueid of alice's packets."""
    return hashlib.md5(f"alice,{session},10.0.0.1,,,".encode(), usedforsecurity=False).hexdigest()


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
    assert found["minus"] == "negative octets; an impossible time: -infinity"
    assert verified(history)
    assert run(history, "--redo").startswith("corrected: 0 counters of users and 0 days")
    status = radmeter(history, "backfill", "--status", "--format", "json").json()
    assert (status["state"], status["sessions_set_aside"], status["sessions_counted"]) == ("done", 8, 4)
    listed = radmeter(history, "backfill", "--rejected", "--format", "csv").csv()
    assert [(row["acctuniqueid"], row["octets_in"], row["octets_out"]) for row in listed[:2]] == [
        ("huge0", str(LARGEST), str(LARGEST)), ("huge1", str(LARGEST), str(LARGEST)),
    ]  # fmt: skip


def caught_up(packets: Packets) -> None:
    """Let the newest packet be one of now. Else the backfill waits for the shipper, which is behind."""
    packets.add("Start", "now", User_Name="carol", Called_Station_Id=HOTEL)


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
        "SELECT acctinputoctets, acctoutputoctets, input_offset FROM radacct WHERE radacctid = %s", (bad,)
    ).fetchone() == (1000 + gained, 200, 0)
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
    assert "an impossible time. Give the time that it counts for, too (--at)" in refused.errors
    future = radmeter(history, "backfill", "--correct", str(bad), "--octets", "5", "6", "--at", "2105-01-01")
    assert (future.exit_code, future.errors.splitlines()[-1]) == (2, "error: --at is in the future")
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
    unknown = radmeter(history, "backfill", "--leave", str(bad[0]), "--leave", "987654")
    assert unknown.exit_code == 1
    assert "not set aside: 987654. Nothing was changed" in unknown.errors
    assert radmeter(history, "backfill", "--leave", "all").exit_code == 2  # no terminal to ask at
    assert backfill.undecided(connection) == 2
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


@pytest.mark.parametrize("bad", [-9 * 10**18, MOST + 1])
@pytest.mark.parametrize("packets_first", [False, True])
def test_the_first_packet_replaces_octets_that_no_router_can_have_reported(
    history: str, connection: Connection, bad: int, packets_first: bool
) -> None:
    now = datetime.now(UTC)
    given = put(connection, unique_id("s"), acctsessionid="s", start=now - 2 * HOUR, update=now - HOUR,
                octets=(bad, 7))  # fmt: skip

    def interims(*octets: int) -> None:
        with Packets(history) as packets:
            for place, reported in enumerate(octets):
                packets.add("Interim-Update", "s", ago=900 - reported / 1000 + place, User_Name="alice",
                            Called_Station_Id=HOTEL, Acct_Input_Octets=reported, Acct_Output_Octets=9,
                            Acct_Session_Time=6300 + reported // 1000)  # fmt: skip
            caught_up(packets)

    if packets_first:
        interims(130_000, 140_000)
    run(history)
    if not packets_first:
        assert list(reasons(connection)) == [unique_id("s")]
        interims(130_000, 140_000)
    month = now.strftime("%Y-%m-01")
    assert users(connection)["alice", month] == (140_000, 9)
    # What was replaced stays in the list. Nothing is left to decide, and nothing more to count.
    (kept,) = backfill.set_aside(connection)
    assert (kept.octets_in, kept.octets_out) == (bad, 7)
    assert kept.replaced_at is not None
    assert backfill.undecided(connection) == 0
    with pytest.raises(StoreError, match="its packets have counted it in whole"):
        backfill.correct(connection, given, 120_000, 7, None)
    interims(150_000, 160_000)
    assert users(connection)["alice", month] == (160_000, 9)
    assert verified(history)


def test_what_another_writer_added_before_stays_counted(history: str, connection: Connection) -> None:
    now = datetime.now(UTC)
    given = put(connection, unique_id("s"), acctsessionid="s", start=now - 2 * HOUR, update=now - HOUR,
                octets=(MOST + 1, 7))  # fmt: skip
    connection.execute(
        "UPDATE radacct SET acctinputoctets = acctinputoctets + 50 WHERE radacctid = %s", (given,)
    )
    run(history)
    with Packets(history) as packets:
        packets.add("Interim-Update", "s", User_Name="alice", Called_Station_Id=HOTEL, Acct_Input_Octets=1000,
                    Acct_Output_Octets=9, Acct_Session_Time=7200)  # fmt: skip
    assert users(connection)["alice", now.strftime("%Y-%m-01")] == (1000, 9)
    assert verified(history)


def test_after_a_correction_the_next_packet_is_compared_with_the_last_one(
    history: str, connection: Connection
) -> None:
    now = datetime.now(UTC)
    given = put(connection, unique_id("s"), acctsessionid="s", start=now - 2 * HOUR, octets=(100, 7))
    connection.execute("UPDATE radacct_open SET acctupdatetime = 'infinity' WHERE radacctid = %s", (given,))

    def interim(octets: int, ago: float) -> None:
        with Packets(history) as packets:
            packets.add("Interim-Update", "s", ago=ago, User_Name="alice", Called_Station_Id=HOTEL,
                        Acct_Input_Octets=octets, Acct_Output_Octets=9,
                        Acct_Session_Time=int(7200 - ago))  # fmt: skip
            caught_up(packets)

    interim(1000, 600)
    run(history)
    run(history, "--correct", str(given), "--octets", "300", "7", "--at", f"{now - HOUR:%Y-%m-%d %H:%M:%S}")
    assert sum(octets for octets, _ in users(connection).values()) == 10 + 300 + 900
    interim(1500, 60)
    assert sum(octets for octets, _ in users(connection).values()) == 10 + 300 + 1400
    assert verified(history)


def test_a_correction_counts_for_no_user_without_a_name(history: str, connection: Connection) -> None:
    bad = closed(connection, "bad", octets=(-5, 6), username="")
    run(history)
    run(history, "--correct", str(bad), "--octets", "1000", "200")
    assert users(connection) == {("alice", "2024-03-01"): (10, 1)}
    assert days(connection) == {("hotel", "2024-03-31"): (1010, 201)}
    assert verified(history)
