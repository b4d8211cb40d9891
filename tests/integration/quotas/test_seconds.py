"""A quota of time runs out in mid-session: when, with how many sessions, and who is looked at meanwhile."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from support.commands import Packets
from support.quotas import apply_due, give_plan, notices, queue, state
from support.servers import Connection

from radmeter.jobs import runner

HOUR = 3600
DEADLINE_SECONDS = 60.0


@pytest.fixture
def bob(connection: Connection) -> str:
    """A user with an hour a month."""
    plan = give_plan(connection, quota_bytes=None)
    connection.execute("UPDATE plans SET quota_seconds = 3600, timezone = 'UTC' WHERE id = %s", (plan,))
    apply_due(connection)
    return "bob"


def begin(
    connection: Connection, session: str, seconds: float, silent: float = 0, username: str = "bob"
) -> None:
    """Let a session be open that began so many seconds ago. Its latest packet came `silent` seconds ago."""
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                acctinputoctets, acctoutputoctets)
           VALUES (%(session)s, %(session)s, %(username)s, '10.0.0.1', now() - %(seconds)s * interval '1 second',
                   now() - %(silent)s * interval '1 second', 0, 0)""",
        {"session": session, "seconds": seconds, "silent": silent, "username": username},
    )


def due_in(connection: Connection) -> float | None:
    """Return in how many seconds bob is looked at; None: not by the time."""
    row = connection.execute(
        "SELECT extract(epoch FROM due_at - now())::float FROM radmeter.quota_account WHERE username = 'bob'"
    ).fetchone()
    assert row is not None
    return None if row[0] is None else float(row[0])


@contextmanager
def jobs(dsn: str) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=runner.run, args=(dsn, stop), kwargs={"interval_seconds": 3600})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def wait_until(connection: Connection, query: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := connection.execute(query.encode()).fetchone()):
        assert time.monotonic() < deadline, query
        time.sleep(0.02)
    return found[0]


def test_two_sessions_use_up_the_time_together(database: str, connection: Connection, bob: str) -> None:
    """The second begins when the jobs have looked already. Nobody sends a packet when the time is over."""
    with jobs(database):
        begin(connection, "s1", HOUR - 12)
        wait_until(connection, "SELECT 1 FROM radmeter.quota_account WHERE due_at IS NOT NULL")
        began: datetime = wait_until(connection, "SELECT clock_timestamp()")
        begin(connection, "s2", 0)
        made: datetime = wait_until(
            connection, "SELECT max(created_at) FROM radmeter.disconnect_queue HAVING count(*) = 2"
        )
    took = (made - began).total_seconds()
    # 12 seconds are over for two sessions in 6, for one in 12. The machine may be busy.
    assert 4 <= took < 11, took
    assert queue(connection) == [
        ("bob", session, "disconnect", "time", "waiting") for session in ("s1", "s2")
    ]
    assert [kind for _, kind, _ in notices(connection)] == ["warned", "over"]
    found = state(connection)
    assert (found["status"], found["reason"], found["remaining_seconds"]) == ("over", "time", 0)


def test_the_instants_of_the_warnings(connection: Connection, bob: str) -> None:
    for used, expected, percent in (
        (0.8 * HOUR - 300, 300, None),
        (0.8 * HOUR + 1, 0.15 * HOUR - 1, 80),
        (0.95 * HOUR + 1, 0.05 * HOUR - 1, 95),
    ):
        connection.execute("DELETE FROM radacct")
        begin(connection, "s1", used)
        apply_due(connection)
        found = due_in(connection)
        assert found is not None
        assert expected - 5 < found <= expected + 1
        assert [row[2] for row in notices(connection)][-1:] == ([] if percent is None else [percent])


def test_the_sessions_that_are_online_share_the_time(connection: Connection, bob: str) -> None:
    begin(connection, "s1", HOUR - 120)
    apply_due(connection)
    assert due_in(connection) == pytest.approx(120, abs=5)
    begin(connection, "s2", 0)
    begin(connection, "s3", 0)
    assert apply_due(connection) == 1
    assert due_in(connection) == pytest.approx(40, abs=5)


def test_without_an_open_session_nobody_is_looked_at(connection: Connection, bob: str) -> None:
    """Routers end a session some seconds before the time is over: such users pile up."""
    begin(connection, "s1", HOUR - 1)
    connection.execute(
        "UPDATE radacct SET acctstoptime = acctupdatetime, acctterminatecause = 'Session-Timeout'"
    )
    apply_due(connection)
    assert state(connection)["remaining_seconds"] == 1
    due = due_in(connection)
    # At 80 % and more the period's end is awaited.
    assert due is not None
    ends = state(connection)["period_ends_at"]
    assert connection.execute(
        "SELECT due_at = %s FROM radmeter.quota_account WHERE username = 'bob'", (ends,)
    ).fetchone() == (True,)
    # One is noted when it logs in, whatever its session counts.
    begin(connection, "s2", 0)
    assert connection.execute("SELECT username FROM radmeter.quota_change").fetchall() == [("bob",)]


def test_a_session_that_is_silent_for_long_uses_no_time(connection: Connection, bob: str) -> None:
    begin(connection, "s1", 2000, silent=1500)
    begin(connection, "s2", 100, silent=90)
    apply_due(connection)
    assert state(connection)["used_seconds"] == pytest.approx(600, abs=3)
    # The router is silent, not the user.
    connection.execute("UPDATE radacct SET acctupdatetime = now() - interval '1 hour', arrived_at = now()")
    assert state(connection)["used_seconds"] == pytest.approx(2100, abs=3)
    connection.execute(
        "UPDATE radacct SET arrived_at = now() - interval '20 minutes', acctstarttime = now() - interval '2 hours'"
    )
    connection.execute("INSERT INTO radmeter.quota_change (username) VALUES ('bob')")
    apply_due(connection)
    assert state(connection)["used_seconds"] == 2 * HOUR
    connection.execute("UPDATE plans SET quota_seconds = 9000")
    apply_due(connection)
    due = due_in(connection)
    assert due is not None
    assert 50 < due <= 60


def test_a_backlog_cuts_nobody(database: str, connection: Connection, bob: str) -> None:
    """While a shipper works through its journal, a session may have ended long ago."""
    with Packets(database) as packets:
        began = time.time() - 2 * HOUR
        packets.add("Start", "s1", User_Name="bob", ago=time.time() - began, Acct_Session_Time=0)
        packets.ship()
        apply_due(connection)
        assert state(connection)["status"] == "active"
        due = due_in(connection)
        assert due is not None
        assert 50 < due <= 60
        packets.add("Stop", "s1", User_Name="bob", ago=time.time() - began - 100, Acct_Session_Time=100)
        packets.ship()
        assert state(connection)["used_seconds"] in (100, 101)  # times are cut to whole seconds
