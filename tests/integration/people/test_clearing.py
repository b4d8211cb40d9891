"""Personal attributes of old sessions are cleared by the jobs, if the limit personal_keep_days says so."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from support.adopted import make_legacy, put
from support.beside import Beside
from support.commands import Packets, radmeter
from support.doctoring import Line, ask, one
from support.ledger import days, users
from support.servers import Connection

from radmeter.jobs import runner
from radmeter.people.clearing import clear_old
from radmeter.usage import verify

DAY = 86_400
PERSONAL: dict[str, Any] = {
    "Calling_Station_Id": "A1-B2-C3-D4-E5-F6",
    "Framed_IP_Address": "198.51.100.77",
    "Framed_IPv6_Address": "2001:db8::7",
    "Framed_IPv6_Prefix": "2001:db8:1::/56",
    "Delegated_IPv6_Prefix": "2001:db8:1::/56",
    "Framed_Interface_Id": "a11c:e:0:7",
    "Connect_Info": "54Mbps",
    "Class": "0x01",
}
WITH_ATTRIBUTES = """
SELECT acctsessionid FROM radacct
WHERE num_nonnulls(connectinfo_start, connectinfo_stop, callingstationid, framedipaddress, framedipv6address,
    framedipv6prefix, framedinterfaceid, delegatedipv6prefix, class) > 0"""


def doctor(dsn: str) -> Line:
    return one(ask(dsn, "--only=people"), "people")


def different(connection: Connection) -> list[Any]:
    with verify.snapshot(connection):
        scope = verify.Scope()
        return [
            *verify.user_differences(connection, scope)[1],
            *verify.router_differences(connection, scope)[1],
        ]


def kept(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute(WITH_ATTRIBUTES)}


def keep(database: str, days: object) -> None:
    assert radmeter(database, "limits", "set", "personal_keep_days", str(days), "--yes").exit_code == 0


def yesterday(connection: Connection) -> None:
    """Let a day pass since the partitions were cleared."""
    connection.execute("UPDATE radmeter.cleared_partition SET cleared_at = cleared_at - interval '25 hours'")


def changes_are_counted(connection: Connection) -> None:
    """Have the server's counters of changed rows up to date, on this connection."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT pg_stat_clear_snapshot()")


@pytest.fixture
def sessions(database: str, connection: Connection) -> str:
    """Sessions that stopped 0, 10, 20, .. 60 days ago, and an open one."""
    with Packets(database) as packets:
        for ago in range(0, 70, 10):
            packets.add("Stop", f"{ago} days", ago=ago * DAY, User_Name="alice", NAS_Identifier="lobby",
                        Acct_Input_Octets=100 + ago, **PERSONAL)  # fmt: skip
        packets.add("Start", "open", ago=300 * DAY, User_Name="alice", NAS_Identifier="lobby", **PERSONAL)
    return database


def test_old_sessions_are_cleared_and_nothing_else_changes(sessions: str, connection: Connection) -> None:
    everything = {*(f"{ago} days" for ago in range(0, 70, 10)), "open"}
    assert radmeter(sessions, "jobs", "clear-personal").output == (
        "nothing to do: the limit personal_keep_days is off\n"
    )
    assert kept(connection) == everything
    before = days(connection), users(connection)
    keep(sessions, 25)
    assert radmeter(sessions, "jobs", "clear-personal").output == (
        "4 sessions that stopped more than 25 days ago were cleared\n"
    )
    assert kept(connection) == {"0 days", "10 days", "20 days", "open"}
    assert (days(connection), users(connection)) == before
    assert different(connection) == []
    assert connection.execute("SELECT DISTINCT username FROM radacct").fetchall() == [("alice",)]


def test_while_the_limit_is_off_no_partition_is_looked_at(database: str, connection: Connection) -> None:
    """An adopted table has no first month, so it would be older than any limit."""
    make_legacy(connection)
    put(connection, "old", stop=datetime(2024, 3, 1, tzinfo=UTC), callingstationid="A1")
    assert clear_old(connection) == 0
    assert connection.execute("SELECT count(*) FROM radmeter.cleared_partition").fetchone() == (0,)
    assert connection.execute("SELECT callingstationid FROM radacct_legacy").fetchone() == ("A1",)
    keep(database, 25)
    assert clear_old(connection) == 1


def test_a_partition_is_read_once_a_day_and_not_again_if_it_has_not_changed(
    sessions: str, connection: Connection
) -> None:
    keep(sessions, 25)
    assert clear_old(connection) == 4
    with Packets(sessions, "late-00000001") as packets:
        packets.add("Stop", "late", ago=55 * DAY, User_Name="alice", NAS_Identifier="lobby", **PERSONAL)
    # On the same day it is left.
    assert clear_old(connection) == 0
    assert "late" in kept(connection)
    yesterday(connection)
    changes_are_counted(connection)
    assert clear_old(connection) == 1
    assert "late" not in kept(connection)
    # Our own changes have it read once more. Then all rest.
    for _ in range(2):
        yesterday(connection)
        changes_are_counted(connection)
        assert clear_old(connection) == 0
    cleared_at = """SELECT partition, cleared_at FROM radmeter.cleared_partition
                    WHERE cleared_to < now() - interval '26 days'"""
    rows = connection.execute(cleared_at).fetchall()
    assert rows
    assert clear_old(connection) == 0
    assert connection.execute(cleared_at).fetchall() == rows


def test_a_shorter_limit_clears_more_the_next_day(sessions: str, connection: Connection) -> None:
    keep(sessions, 55)
    assert clear_old(connection) == 1
    keep(sessions, 0)
    yesterday(connection)
    assert clear_old(connection) == 6
    assert kept(connection) == {"open"}
    keep(sessions, 10**15 - 1)
    yesterday(connection)
    assert clear_old(connection) == 0


def test_a_session_that_another_writer_holds_is_cleared_the_next_time(
    sessions: str, connection: Connection
) -> None:
    keep(sessions, 25)
    with psycopg.connect(sessions) as writer:
        writer.execute("UPDATE radacct SET acctinterval = 1 WHERE acctsessionid = '40 days'")
        with Beside(sessions, clear_old) as clearing:
            assert clearing.result() == 3
    assert kept(connection) == {"0 days", "10 days", "20 days", "40 days", "open"}
    yesterday(connection)
    assert clear_old(connection) == 1


def test_it_stops_between_two_batches_and_goes_on_the_next_time(
    sessions: str, connection: Connection
) -> None:
    keep(sessions, 5)
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    assert clear_old(connection, stopping=stopping, batch=1) == 2
    assert clear_old(connection) == 4


def test_the_jobs_do_it(sessions: str, connection: Connection) -> None:
    keep(sessions, 25)
    stop = threading.Event()
    running = threading.Thread(target=runner.run, args=(sessions, stop), kwargs={"interval_seconds": 0.05})
    running.start()
    try:
        deadline = threading.Event()
        for _ in range(2400):
            if kept(connection) <= {"0 days", "10 days", "20 days", "open"}:
                break
            deadline.wait(0.05)
    finally:
        stop.set()
        running.join(60)
    assert {"0 days", "10 days", "20 days"} <= kept(connection) <= {"0 days", "10 days", "20 days", "open"}


def test_status_tells_when_it_was_done(sessions: str, connection: Connection) -> None:
    def cleared_at() -> object:
        done = radmeter(sessions, "status", "--sample", "0", "--format", "json")
        return json.loads(done.output)["personal_cleared_at"]

    assert cleared_at() is None
    keep(sessions, 25)
    clear_old(connection)
    (last,) = connection.execute("SELECT max(cleared_at) FROM radmeter.cleared_partition").fetchone() or (
        None,
    )
    assert last is not None
    assert datetime.fromisoformat(str(cleared_at())) == last
    shown = radmeter(sessions, "status", "--sample", "0").output
    assert f"attributes cleared    {last.astimezone():%Y-%m-%d}" in shown


def test_doctor_tells_when_it_was_done(sessions: str, connection: Connection) -> None:
    assert doctor(sessions).level == "green"
    keep(sessions, 25)
    late = doctor(sessions)
    assert late.level == "yellow"
    assert "with personal attributes older than 25 days" in late.said
    assert "jobs clear-personal" in late.remedy
    clear_old(connection)
    assert doctor(sessions).said.endswith(": 4 sessions so far")


def test_doctor_tells_of_an_erasure_that_has_not_ended(sessions: str, connection: Connection) -> None:
    connection.execute("SELECT radmeter.begin_erasure('alice')")
    assert doctor(sessions).level == "green"
    connection.execute("UPDATE radmeter.erasure SET began_at = now() - interval '3 days'")
    finding = doctor(sessions)
    assert finding.said == "1 erasure not ended, the oldest began 3 d 0 h ago"
    assert "alice" not in finding.said + finding.remedy
