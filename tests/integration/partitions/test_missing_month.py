"""The partition of a Stop's month is missing: it is made, or the Stop's octets count and the session waits for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import Packets, radmeter
from support.ledger import close_stale, users
from support.processes import eager_jobs, eventually
from support.servers import Connection

from radmeter.jobs.waiting_sessions import close_waiting

KNOWN: dict[str, Any] = {
    "User_Name": "anna",
    "Called_Station_Id": "AA-BB-CC-DD-EE-01",
    "Acct_Output_Octets": 0,
}


def drop_months(connection: Connection) -> None:
    """Drop all partitions but that of the open sessions."""
    months = connection.execute(
        "SELECT name FROM radmeter.radacct_partitions() WHERE from_at IS NOT NULL AND name ~ '^radacct_[0-9_]+$'"
    ).fetchall()
    for (name,) in months:
        connection.execute(f"DROP TABLE public.{name}".encode())


@contextmanager
def reader(dsn: str) -> Iterator[None]:
    """A transaction that has read the open sessions, as pg_dump does for hours."""
    with psycopg.connect(dsn) as holding:
        holding.execute("SELECT count(*) FROM radacct")
        yield
        holding.rollback()


def test_checks_and_generated_columns_of_others(database: str, connection: Connection) -> None:
    drop_months(connection)
    connection.execute(
        """ALTER TABLE radacct ADD CONSTRAINT home_made CHECK (acctinputoctets < 1000000000000000);
           ALTER TABLE radacct
               ADD COLUMN total bigint GENERATED ALWAYS AS (acctinputoctets + acctoutputoctets) STORED"""
    )
    with Packets(database) as packets:
        packets.add("Stop", "1", Acct_Input_Octets=7, **KNOWN)
    assert connection.execute("SELECT total FROM radacct").fetchall() == [(7,)]
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE radacct SET acctinputoctets = 1000000000000000")


def test_ingest_goes_on_beside_a_long_reader(database: str, connection: Connection) -> None:
    with Packets(database) as packets:
        for session in ("closed later", "new life"):
            packets.add(
                "Interim-Update", session, ago=600, Acct_Input_Octets=100, Acct_Session_Time=60, **KNOWN
            )
    drop_months(connection)
    began = time.monotonic()
    with reader(database):
        with Packets(database, "n") as packets:
            packets.add("Start", "another", ago=120, **KNOWN)
            for session in ("closed later", "new life", "only a Stop"):
                packets.add(
                    "Stop",
                    session,
                    ago=100,
                    Acct_Input_Octets=150,
                    Acct_Session_Time=560,
                    Acct_Terminate_Cause="User-Request",
                    **KNOWN,
                )
            packets.ship()
            first = time.monotonic() - began
            # The same Stop again, and an interim that it overtook, change nothing.
            packets.add("Stop", "new life", ago=100, Acct_Input_Octets=150, Acct_Session_Time=560, **KNOWN)
            packets.add(
                "Interim-Update",
                "closed later",
                ago=300,
                Acct_Input_Octets=120,
                Acct_Session_Time=360,
                **KNOWN,
            )
            packets.ship()
        # It waited a moment for the lock once, and not again for the second batch.
        assert first < 10
        assert connection.execute("SELECT count(*) FROM radacct WHERE acctstoptime IS NULL").fetchone() == (
            4,
        )
        assert sum(octets for octets, _ in users(connection).values()) == 450
        for kind in ("user", "router"):
            query = f"SELECT * FROM radmeter.{kind}_differences(NULL, NULL, NULL)"
            assert connection.execute(query.encode()).fetchall() == []
        assert close_waiting(connection) == 0
    assert close_waiting(connection) >= 1
    assert radmeter(database, "partitions", "ensure").exit_code == 0
    assert radmeter(database, "verify").exit_code == 0
    with Packets(database, "n") as packets:
        packets.add("Stop", "closed later", ago=100, Acct_Input_Octets=150, Acct_Session_Time=560, **KNOWN)
    rows = connection.execute(
        """SELECT acctsessionid, acctinputoctets, acctterminatecause, closed_by FROM radacct
           WHERE acctstoptime IS NOT NULL ORDER BY acctsessionid"""
    ).fetchall()
    assert ("only a Stop", 150, "User-Request", "stop") in rows
    assert {row[1] for row in rows} == {150}
    assert sum(octets for octets, _ in users(connection).values()) == 450
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)


def test_stops_that_wait_and_their_repeats(database: str, connection: Connection) -> None:
    """Under another address, older than an interim, with a stamp that is not believed; again before and after."""
    phone = {**KNOWN, "Calling_Station_Id": "AA-BB-CC-00-00-01", "Acct_Terminate_Cause": "User-Request"}
    now = int(time.time())
    unbelieved = now - 8 * 86400
    fits: dict[str, Any] = {"Acct_Session_Time": 560, "Tmp_Integer_0": now - 100}
    stops: dict[str, dict[str, Any]] = {
        "overtakes": fits,
        "address": {**fits, "NAS_IP_Address": "10.0.0.2"},
        "older": fits,
        "unbelieved": {"Acct_Session_Time": 10, "Tmp_Integer_0": unbelieved},
    }

    def stop_all(packets: Packets, ago: int) -> None:
        for session, values in stops.items():
            packets.add("Stop", session, ago=ago, Acct_Input_Octets=150, **values, **phone)
        packets.ship()

    with Packets(database) as packets:
        for session in ("overtakes", "address", "older"):
            packets.add(
                "Interim-Update", session, ago=600, Acct_Input_Octets=100, Acct_Session_Time=60, **phone
            )
        packets.add("Interim-Update", "older", ago=50, Acct_Input_Octets=140, Acct_Session_Time=610, **phone)
    drop_months(connection)

    def found(which: str) -> list[tuple[Any, ...]]:
        query = f"""SELECT acctsessionid, acctinputoctets, acctterminatecause, closed_by, stop_stamp FROM radacct
                    WHERE {which} ORDER BY acctsessionid"""
        return connection.execute(query.encode()).fetchall()

    with reader(database), Packets(database, "n") as packets:
        stop_all(packets, 300)
        waiting = found("acctstoptime IS NULL")
        assert waiting == [
            (session, 150, "User-Request", "stop", stops[session]["Tmp_Integer_0"])
            for session in sorted(stops)
        ]
        packets.add(
            "Interim-Update", "overtakes", ago=300, Acct_Input_Octets=120, Acct_Session_Time=360, **phone
        )
        packets.ship()
        assert found("acctstoptime IS NULL") == waiting
        stop_all(packets, 200)
        assert found("acctstoptime IS NULL") == waiting
    assert close_waiting(connection) == 4
    assert found("acctstoptime > '-infinity'") == waiting
    with Packets(database, "n") as packets:
        stop_all(packets, 100)
    assert found("true") == waiting
    assert sum(octets for octets, _ in users(connection).values()) == 600
    assert radmeter(database, "partitions", "ensure").exit_code == 0
    assert radmeter(database, "verify").output == ""


def test_whatever_closes_a_session_that_waits_leaves_its_cause(database: str, connection: Connection) -> None:
    lobby = {**KNOWN, "Called_Station_Id": "AA-BB-CC-DD-EE-02"}
    with Packets(database) as packets:
        for session, known in (("reboot", lobby), ("new life", KNOWN), ("silent", KNOWN)):
            packets.add(
                "Interim-Update", session, ago=600, Acct_Input_Octets=100, Acct_Session_Time=60, **known
            )
    drop_months(connection)
    with reader(database), Packets(database, "n") as packets:
        for session, known in (("reboot", lobby), ("new life", KNOWN), ("silent", KNOWN)):
            packets.add(
                "Stop",
                session,
                ago=500,
                Acct_Input_Octets=150,
                Acct_Session_Time=160,
                Acct_Terminate_Cause="User-Request",
                **known,
            )
    with Packets(database, "n") as packets:
        packets.add("Accounting-On", "", ago=200, Called_Station_Id="AA-BB-CC-DD-EE-02")
        packets.add("Interim-Update", "new life", ago=100, Acct_Input_Octets=7, Acct_Session_Time=60, **KNOWN)
    close_stale(connection, datetime.now(UTC) + timedelta(seconds=300))
    rows = connection.execute(
        """SELECT acctsessionid, acctinputoctets, acctterminatecause, closed_by FROM radacct
           WHERE acctstoptime IS NOT NULL ORDER BY acctsessionid"""
    ).fetchall()
    assert rows == [(session, 150, "User-Request", "stop") for session in ("new life", "reboot", "silent")]
    assert sum(octets for octets, _ in users(connection).values()) == 457


def test_the_jobs_close_the_sessions_that_waited(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", ago=600, **KNOWN)
    drop_months(connection)
    with reader(database), Packets(database, "n") as packets:
        packets.add("Stop", "s1", ago=60, Acct_Input_Octets=5, Acct_Session_Time=540, **KNOWN)
    found = (
        "SELECT count(*), bool_and(acctstoptime = acctupdatetime) FROM radacct "
        "WHERE closed_by = 'stop' AND acctstoptime > '-infinity'"
    )
    assert connection.execute(found.encode()).fetchone() == (0, None)
    with eager_jobs(tmp_path / "jobs.log", database):
        eventually(lambda: connection.execute(found.encode()).fetchone(), (1, True))


def test_it_waits_a_tenth_of_a_second(database: str, connection: Connection) -> None:
    drop_months(connection)
    with reader(database), psycopg.connect(database, autocommit=True) as maker:
        for setting, most in (("0", "100ms"), ("5s", "100ms"), ("20ms", "20ms")):
            maker.execute(f"SET lock_timeout = '{setting}'".encode())
            with pytest.raises(psycopg.errors.LockNotAvailable):
                maker.execute("SELECT radmeter.ensure_partition(%s)", (datetime.now(UTC),))
            assert maker.execute("SHOW lock_timeout").fetchone() == (setting,), most
    with psycopg.connect(database, autocommit=True) as maker:
        maker.execute("SET lock_timeout = '7s'")
        assert maker.execute("SELECT radmeter.ensure_partition(%s)", (datetime.now(UTC),)).fetchone() == (
            True,
        )
        assert maker.execute("SHOW lock_timeout").fetchone() == ("7s",)
        with maker.transaction():
            maker.execute("SELECT radmeter.ensure_partition('2025-01-01')")
            assert maker.execute("SHOW lock_timeout").fetchone() == ("7s",)
