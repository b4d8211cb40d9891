"""`radmeter backfill` as a person meets it: the screens, Ctrl-C, pauses, and packets beside it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from support.adopted import make_legacy
from support.commands import Packets, radmeter
from support.screens import screen
from support.servers import Connection

from radmeter.adoption import backfill
from radmeter.database.pace import lag_seconds
from radmeter.usage import verify

SESSIONS = 30_000


@pytest.fixture
def history(database: str, connection: Connection) -> str:
    """A database as it is after the adoption of some more sessions."""
    make_legacy(connection)
    connection.execute(
        """INSERT INTO radacct_legacy (radacctid, acctsessionid, acctuniqueid, username, nasipaddress, calledstationid,
               acctstarttime, acctupdatetime, acctstoptime, acctinputoctets, acctoutputoctets, adopted)
           SELECT n, n, md5(n::text), 'user' || n %% 500, '10.0.0.1', format('02-00-00-00-00-%%s:x', 10 + n %% 40),
                  at - interval '1 hour', at, at, n, 2 * n, true
           FROM (SELECT n, timestamptz '2024-01-01' + n * interval '30 minutes' AS at
                 FROM generate_series(1, %s) AS n) AS sessions""",
        (SESSIONS,),
    )
    connection.execute("SELECT setval('radacct_radacctid_seq', %s)", (SESSIONS,))
    connection.execute("ANALYZE radacct_legacy")
    return database


def total(connection: Connection, table: str) -> tuple[int, int]:
    row = connection.execute(f"SELECT sum(bytes_in), sum(bytes_out) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0] or 0), int(row[1] or 0)


ALL = (SESSIONS * (SESSIONS + 1) // 2, SESSIONS * (SESSIONS + 1))


def different(connection: Connection) -> int:
    with verify.snapshot(connection):
        return len(verify.user_differences(connection, verify.Scope())[1]) + len(
            verify.router_differences(connection, verify.Scope())[1]
        )


@pytest.fixture
def started(history: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that a test starts; ended with it."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for each in running:
        each.kill()
        each.communicate()


def start(running: list[subprocess.Popen[str]], dsn: str, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "radmeter", "backfill", "--yes", *arguments],
        env={**os.environ, "RADMETER_DSN": dsn, "RADMETER_STATE": "/nonexistent"},
        stderr=subprocess.PIPE,
        text=True,
    )
    running.append(process)
    return process


def until_counted(connection: Connection, ids: int) -> None:
    deadline = time.monotonic() + 120
    while (at := backfill.progress(connection)) is None or at.counted_ids < ids:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_on_a_terminal_it_asks_shows_a_bar_and_says_what_it_did(history: str, connection: Connection) -> None:
    with screen(history, "backfill") as shown:
        shown.expect("Begin?")
        shown.type("n")
        assert shown.end() == 130
    assert backfill.progress(connection) is None
    with screen(history, "backfill") as shown:
        shown.expect("Begin?")
        shown.type("y")
        assert shown.end() == 0
        text = shown.text
        assert "counting sessions" in text
        assert "30,000 of 30,000 ids" in text
        assert "adding to the counters" in text
        assert "filling in router_id" in text
        assert "30,000 sessions counted, 30,000 given their router_id: done" in text
        assert "Traceback" not in text
    assert total(connection, "user_quota_usage") == ALL == total(connection, "router_daily_usage")
    with screen(history, "backfill", "--status") as shown:
        assert shown.end() == 0
        assert "done" in shown.text


def test_interrupted_it_ends_in_order_and_goes_on(
    history: str, connection: Connection, started: list[subprocess.Popen[str]]
) -> None:
    process = start(started, history, "--max-load", "0.02", "--only", "counters")
    until_counted(connection, 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "goes on where it was" in said
    at = backfill.progress(connection)
    assert at is not None
    assert 0 < at.counted_ids < SESSIONS
    # What was counted is in the counters when an operator stops it.
    assert at.waiting == 0
    assert total(connection, "user_quota_usage")[0] > 0
    assert different(connection) == 0
    assert radmeter(history, "backfill", "--only", "counters").exit_code == 0
    assert total(connection, "user_quota_usage") == ALL


def test_killed_at_any_moment_it_goes_on(
    history: str, connection: Connection, started: list[subprocess.Popen[str]]
) -> None:
    for victim in ("client", "server", "client"):
        process = start(started, history, "--jobs", "2", "--max-load", "0.3")
        seen = backfill.progress(connection)
        until_counted(connection, min(SESSIONS, (seen.counted_ids if seen else 0) + 1))
        if victim == "client":
            process.kill()
        else:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'radmeter backfill'"
            )
        _, said = process.communicate(timeout=300)
        assert victim == "client" or process.returncode in (0, 1), said
        assert "Traceback" not in said
        assert different(connection) == 0
    deadline = time.monotonic() + 120
    while (at := backfill.progress(connection)) is not None and at.running:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert radmeter(history, "backfill").exit_code == 0
    assert total(connection, "user_quota_usage") == ALL == total(connection, "router_daily_usage")
    assert different(connection) == 0


def test_it_pauses_while_ingest_is_behind(history: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO ingest_checkpoint (source, last_received_at, updated_at)
           VALUES ('slow', now() - interval '1 minute', now() + interval '5 minutes')"""
    )
    seconds, where = lag_seconds(connection)
    assert seconds == pytest.approx(360, abs=1)
    assert where == "ingest"
    with screen(history, "backfill", "--yes", "--only", "counters", "--max-lag", "30") as shown:
        shown.expect("pausing: ingest is 360 s behind")
        connection.execute("UPDATE ingest_checkpoint SET last_received_at = updated_at")
        shown.expect("going on: ")
        assert shown.end() == 0
    assert total(connection, "user_quota_usage") == ALL


def test_packets_come_in_meanwhile_and_never_wait_long(history: str, connection: Connection) -> None:
    stop = threading.Event()
    longest = [0.0]

    def send() -> None:
        with Packets(history) as packets:
            octets = 0
            while not stop.is_set():
                octets += 1000
                for number in range(50):
                    about: dict[str, Any] = {
                        "User_Name": f"user{number}",
                        "Called_Station_Id": f"02-00-00-00-00-{10 + number % 40}",
                    }
                    packets.add("Interim-Update", f"s{number}", Acct_Input_Octets=octets, **about)
                began = time.monotonic()
                packets.ship()
                longest[0] = max(longest[0], time.monotonic() - began)

    sender = threading.Thread(target=send)
    sender.start()
    errors = []
    try:
        with psycopg.connect(history, autocommit=True) as watching:
            worker = threading.Thread(target=lambda: errors.append(radmeter(history, "verify").exit_code))
            worker.start()
            result = subprocess.run(
                [sys.executable, "-m", "radmeter", "backfill", "--yes", "--jobs", "2"],
                env={**os.environ, "RADMETER_DSN": history, "RADMETER_STATE": "/nonexistent"},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert different(watching) == 0
            worker.join()
    finally:
        stop.set()
        sender.join()
    assert result.returncode == 0, result.stderr
    assert errors == [0]
    assert different(connection) == 0
    now = datetime.now(UTC) - timedelta(days=60)
    row = connection.execute(
        "SELECT sum(bytes_in), sum(bytes_out) FROM user_quota_usage WHERE period_start < %s", (now.date(),)
    ).fetchone()
    assert row == ALL
    # Far more than on a machine of its own, where it is some 50 ms.
    assert longest[0] < 2.0
