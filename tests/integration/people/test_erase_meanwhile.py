"""`radmeter people erase` while packets arrive, while it is killed, and while others hold locks."""

import json
import threading
from typing import Any

import psycopg
import pytest
from support.beside import Beside, call
from support.commands import NODE, Packets, packet, radmeter
from support.ledger import days, ingest, users
from support.quota_queue import wait_for
from support.quotas import apply_due, give_plan
from support.servers import Connection

from radmeter.database.operator import connect_as_operator
from radmeter.errors import StoreError
from radmeter.people import erasure
from radmeter.usage import verify

DAY = 86_400
NAME = "alice"
ABOUT: dict[str, Any] = {"User_Name": NAME, "NAS_Identifier": "lobby"}
PERSONAL: dict[str, Any] = {
    "Calling_Station_Id": "A1-B2-C3-D4-E5-F6",
    "Framed_IP_Address": "198.51.100.77",
    "Framed_IPv6_Address": "2001:db8::7",
    "Framed_IPv6_Prefix": "2001:db8:1::/56",
    "Delegated_IPv6_Prefix": "2001:db8:1::/56",
    "Framed_Interface_Id": "a11c:e:0:7",
    "Connect_Info": "54Mbps",
}
ATTRIBUTES = """
SELECT DISTINCT num_nonnulls(connectinfo_start, connectinfo_stop, callingstationid, framedipaddress, framedipv6address,
    framedipv6prefix, framedinterfaceid, delegatedipv6prefix, class, realm, nasportid)
FROM radacct WHERE username <> 'bob'"""


def different(connection: Connection) -> list[Any]:
    with verify.snapshot(connection):
        scope = verify.Scope()
        return [
            *verify.user_differences(connection, scope)[1],
            *verify.router_differences(connection, scope)[1],
        ]


def erase(dsn: str, *arguments: str) -> Any:
    return radmeter(dsn, "people", "erase", NAME, "--yes", "--format", "json", *arguments)


def closed(database: str, count: int, ago: float = 2 * DAY) -> None:
    with Packets(database) as packets:
        for number in range(count):
            packets.add(
                "Stop", f"closed {number}", ago=ago, Acct_Input_Octets=100 + number, **ABOUT, **PERSONAL
            )


def names(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT DISTINCT username FROM radacct")}


def test_a_user_with_open_sessions_is_refused(database: str, connection: Connection) -> None:
    with Packets(database) as packets:
        packets.add("Start", "open", **ABOUT, **PERSONAL)
    closed(database, 2)
    result = erase(database)
    assert result.exit_code == 1
    assert "the user has 1 open session. Disconnect the user and run this command again" in result.errors
    assert "--even-open" in result.errors
    assert names(connection) == {NAME}
    assert connection.execute("SELECT FROM radmeter.erasure").fetchone() is None


def test_later_packets_of_an_open_session_count_for_the_pseudonym_and_bring_nothing_back(
    database: str, connection: Connection
) -> None:
    with Packets(database) as packets:
        packets.add("Start", "open", ago=DAY, **ABOUT, **PERSONAL)
        packets.add("Interim-Update", "open", ago=DAY / 2, Acct_Input_Octets=10, **ABOUT, **PERSONAL)
    pseudonym = erase(database, "--even-open").json()["pseudonym"]
    assert connection.execute(ATTRIBUTES).fetchall() == [(0,)]
    for status, octets in (("Interim-Update", 25), ("Stop", 40), ("Interim-Update", 60)):
        with Packets(database) as packets:
            packets.add(status, "open", Acct_Input_Octets=octets, **ABOUT, **PERSONAL)
        assert names(connection) == {pseudonym}
        assert connection.execute(ATTRIBUTES).fetchall() == [(0,)]
        assert different(connection) == []
    assert {user: octets for (user, _), octets in users(connection).items() if octets[0]}.keys() == {
        pseudonym
    }
    # A session that begins later has the name: the person is there again.
    with Packets(database) as packets:
        packets.add("Start", "new", **ABOUT, **PERSONAL)
    assert names(connection) == {pseudonym, NAME}


def test_a_session_of_the_reaper_is_opened_again_without_what_was_erased(
    database: str, connection: Connection
) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s", ago=DAY, **ABOUT, **PERSONAL)
        packets.add("Interim-Update", "s", ago=DAY - 60, Acct_Input_Octets=10, **ABOUT, **PERSONAL)
        packets.add("Start", "another", ago=0, User_Name="bert")  # else its node would lag
    assert radmeter(database, "jobs", "close-stale").exit_code == 0
    pseudonym = erase(database).json()["pseudonym"]
    with Packets(database) as packets:
        packets.add(
            "Interim-Update", "s", ago=60, Acct_Input_Octets=15, Acct_Session_Time=DAY, **ABOUT, **PERSONAL
        )
    assert connection.execute(
        "SELECT username, acctstoptime FROM radacct WHERE username <> 'bert'"
    ).fetchall() == [(pseudonym, None)]
    assert connection.execute(ATTRIBUTES).fetchall() == [(0,)]
    assert different(connection) == []


def test_a_session_that_opens_meanwhile_ends_the_erasure_and_the_next_run_ends_it(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed(database, 3)
    finished = erasure._finished

    def opens(*arguments: Any) -> bool:
        monkeypatch.undo()
        with Packets(database) as packets:
            packets.add("Start", "new", ago=30, **ABOUT, **PERSONAL)
        return finished(*arguments)

    monkeypatch.setattr(erasure, "_finished", opens)
    assert erase(database).exit_code == 1
    assert different(connection) == []
    (pseudonym,) = names(connection) - {NAME}
    shown = radmeter(database, "people", "show", NAME)
    assert "has not ended: run `radmeter people erase` again" in shown.errors
    with Packets(database) as packets:
        packets.add("Stop", "new", ago=20, Acct_Input_Octets=7, **ABOUT, **PERSONAL)
    done = erase(database).json()
    assert done["pseudonym"] == pseudonym
    assert done["rows"]["radacct"] == 4
    assert names(connection) == {pseudonym}
    assert different(connection) == []


def test_wherever_it_is_killed_the_next_run_goes_on_with_the_same_pseudonym(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends before the first, second, .. statement, until a run gets to its end."""
    closed(database, 5)
    with Packets(database) as packets:
        packets.add("Interim-Update", "x", ago=DAY, Acct_Input_Octets=5, **ABOUT)
        packets.add("Stop", "x", ago=DAY / 2, Acct_Input_Octets=1, **ABOUT)
    before = days(connection)
    monkeypatch.setattr(erasure, "BATCH", 2)
    pseudonyms: set[str] = set()
    for allowed in range(1, 200):
        killed = run_until(database, allowed)
        assert different(connection) == []
        assert days(connection) == before
        pseudonyms |= names(connection) - {NAME}
        if not killed:
            break
    assert not killed
    assert allowed > 10
    assert len(pseudonyms) == 1
    assert names(connection) == pseudonyms
    assert connection.execute("SELECT count(*) FROM audit_log WHERE action = 'people erase'").fetchone() == (
        1,
    )
    assert (
        connection.execute("SELECT FROM accounting_anomaly WHERE username = %s", (NAME,)).fetchone() is None
    )


def run_until(database: str, allowed: int) -> bool:
    """Erase, and end the connection after some statements. Return whether it ended before the erasure did."""

    class Counted(psycopg.Connection[Any]):
        left = allowed

        def execute(self, *arguments: Any, **more: Any) -> Any:
            Counted.left -= 1
            if Counted.left < 0 and not self.closed:
                self.pgconn.finish()
            return super().execute(*arguments, **more)

    with Counted.connect(database, autocommit=True) as own:
        try:
            erasure.erase(own, NAME)
        except (StoreError, psycopg.Error):
            assert own.closed
            return True
    return False


def test_packets_are_counted_while_a_person_is_erased(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of that person, too: their sessions stop all the time. In the end everything is counted, and verify agrees."""
    monkeypatch.setattr(erasure, "BATCH", 3)
    closed(database, 30)
    sent, stop = 0, threading.Event()

    def ship() -> None:
        nonlocal sent
        with Packets(database) as packets:
            while not stop.is_set():
                for user in (NAME, "bob"):
                    packets.add("Stop", f"{user} {sent}", ago=600, User_Name=user, NAS_Identifier="lobby",
                                Acct_Input_Octets=10)  # fmt: skip
                packets.ship()
                sent += 1

    shipping = threading.Thread(target=ship)
    shipping.start()
    try:
        with connect_as_operator(database) as own:
            done = erasure.erase(own, NAME)
        assert different(connection) == []
    finally:
        stop.set()
        shipping.join(60)
    with connect_as_operator(database) as own:
        again = erasure.erase(own, NAME)
    assert different(connection) == []
    assert names(connection) == {done.pseudonym, again.pseudonym, "bob"}
    total = sum(range(100, 130)) + 2 * 10 * sent
    assert sum(octets for octets, _ in days(connection).values()) == total
    assert sum(octets for octets, _ in users(connection).values()) == total


def test_ingest_is_not_kept_waiting_by_a_session_that_another_writer_holds(
    database: str, connection: Connection
) -> None:
    closed(database, 3)
    with psycopg.connect(database) as writer:
        writer.execute("UPDATE radacct SET acctinterval = 1 WHERE acctsessionid = 'closed 1'")
        waiting = threading.Event()

        def run(own: Connection) -> erasure.Erased:
            return erasure.erase(own, NAME, said=lambda line: waiting.set())

        with Beside(database, run) as erasing:
            assert waiting.wait(120)
            # The lock of ingest is free between the tries.
            with psycopg.connect(database, autocommit=True) as shipper:
                shipper.execute("SET lock_timeout = '20s'")
                ingest(shipper, NODE, [packet(99, "Start", "b", User_Name="bob")])
            assert not erasing.ended
            writer.rollback()
            assert erasing.result().rows["radacct"] == 3
    assert different(connection) == []


def _records(*records: dict[str, Any]) -> str:
    return json.dumps(records)


def test_it_does_not_run_beside_a_backfill_or_itself(database: str, connection: Connection) -> None:
    closed(database, 1)
    connection.execute("SELECT pg_advisory_lock(hashtextextended('radmeter.backfill', 0))")
    refused = erase(database)
    assert refused.exit_code == 1
    assert "another erasure or a backfill is running" in refused.errors
    assert names(connection) == {NAME}


def test_it_begins_when_the_last_range_of_a_backfill_has_ended(database: str, connection: Connection) -> None:
    closed(database, 1)
    with psycopg.connect(database) as orphan:
        orphan.execute(
            "INSERT INTO radmeter.backfill_user VALUES (1, '{alice}', '{2026-01-01}', '{5}', '{0}')"
        )
        with Beside(database, call("SELECT radmeter.begin_erasure('alice')")) as beginning:
            assert beginning.waits_for(orphan)
            orphan.commit()
            assert beginning.result().startswith("erased-")
    pseudonym = erase(database).json()["pseudonym"]
    assert connection.execute("SELECT usernames FROM radmeter.backfill_user").fetchall() == [([pseudonym],)]


def test_a_suspended_user_stays_suspended_under_the_pseudonym(database: str, connection: Connection) -> None:
    for plan, options in (("voucher", ("--quota", "10MB", "--valid", "1h")), ("more", ("--quota", "5MB"))):
        assert radmeter(database, "plans", "add", plan, *options).exit_code == 0
    added = radmeter(database, "users", "add", NAME, "--plan", "voucher", "--also", "more", "--no-password")
    assert added.exit_code == 0, added.errors
    with Packets(database) as packets:
        packets.add("Interim-Update", "open", Acct_Input_Octets=5, **ABOUT)
    assert radmeter(database, "users", "suspend", NAME).exit_code == 0
    columns = "plan_id, quota_start, first_used_at, suspended_at"
    before = connection.execute(f"SELECT {columns} FROM subscribers".encode()).fetchone()
    assert None not in (before or (None,))
    done = erase(database, "--even-open")
    assert done.exit_code == 0, done.errors
    assert connection.execute(f"SELECT {columns} FROM subscribers".encode()).fetchall() == [before]
    (further,) = connection.execute("SELECT username FROM subscriber_plans").fetchall()
    assert further[0].startswith("erased-")
    apply_due(connection)
    assert connection.execute("SELECT act, reason, state FROM radmeter.disconnect_queue").fetchall() == [
        ("disconnect", "suspended", "waiting")
    ]


def test_an_erasure_waits_for_the_account_before_it_locks_top_ups(
    database: str, connection: Connection
) -> None:
    """A packet that comes to a limit holds the account and books the top-up: both would wait for each other."""
    give_plan(connection, NAME)
    connection.execute("INSERT INTO top_ups (username, bytes) VALUES (%s, 1000)", (NAME,))
    with (
        psycopg.connect(database) as booking,
        psycopg.connect(database, autocommit=True) as erasing,
    ):
        booking.execute("SELECT FROM radmeter.quota_account WHERE username = %s FOR UPDATE", (NAME,))
        erasing.execute("SELECT radmeter.begin_erasure(%s)", (NAME,))
        thread = threading.Thread(
            target=erasing.execute, args=("SELECT radmeter.finish_erasure(%s)", (NAME,))
        )
        thread.start()
        wait_for(
            lambda: (
                connection.execute(
                    "SELECT FROM pg_locks WHERE NOT granted AND pid = %s", (erasing.info.backend_pid,)
                ).rowcount
            )
        )
        booking.execute("SET LOCAL lock_timeout = '5s'")
        booking.execute("UPDATE top_ups SET used_bytes = 5 WHERE username = %s", (NAME,))
        booking.commit()
        thread.join(60)
        assert not thread.is_alive()
    assert connection.execute("SELECT used_bytes FROM top_ups WHERE username <> %s", (NAME,)).fetchall() == [
        (5,)
    ]
