"""Rows that other programs write past the triggers, or in the same moment: every packet is still counted."""

import json
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import Packets, packet, radmeter
from support.ledger import days, users
from support.servers import Connection
from support.shipping import ship

from radmeter.packet.record import parse
from radmeter.plugin.journal.writer import JournalWriter

INSERTED = """
INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, router_id, acctstarttime, acctupdatetime,
                     acctinputoctets, acctoutputoctets, acctstoptime)
VALUES ('s1', %s, 'anna', '10.0.0.1', %s, now() - interval '10 minutes', now() - interval '8 minutes', 1000, 0,
        CASE WHEN %s THEN now() - interval '1 minute' END)"""

INTERIM = json.dumps(
    [
        ["User-Name", "anna"],
        ["Acct-Status-Type", "Interim-Update"],
        ["Acct-Session-Id", "s1"],
        ["NAS-IP-Address", "10.0.0.1"],
        ["Acct-Input-Octets", "1500"],
        ["Acct-Session-Time", "590"],
        ["Connect-Info", "54 Mbit/s"],
    ]
)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("router_id", [None, 1, 4711])
def test_a_session_that_was_written_while_triggers_were_off(
    database: str, connection: Connection, router_id: int | None, closed: bool
) -> None:
    """Foreign keys are off then, too: the row may name a router that does not exist."""
    known: dict[str, Any] = {
        "User_Name": "anna",
        "Called_Station_Id": "AA-BB-CC-DD-EE-01",
        "Acct_Output_Octets": 0,
    }
    with Packets(database) as packets:
        packets.add("Start", "other", ago=700, **known)
    uid = packet(1, "Start", "s1", **known)["uid"]
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(INSERTED, (uid, router_id, closed))
    for node, ago, octets in (("a", 60, 1500), ("b", 30, 2500)):
        with Packets(database, node) as packets:
            packets.add(
                "Interim-Update",
                "s1",
                ago=ago,
                Acct_Input_Octets=octets,
                Acct_Session_Time=600 - ago,
                **known,
            )
    with Packets(database, "c") as packets:
        packets.add("Stop", "s1", ago=10, Acct_Input_Octets=3000, Acct_Session_Time=590, **known)
    # The 1,000 were never counted. `verify --repair` counts them.
    assert sum(octets for octets, _ in users(connection).values()) == 2000
    # The first packet names the router of a session that has none, for all of its octets.
    by_router = {None: 3000, 1: 2000, 4711: 0}[router_id]
    assert sum(octets for octets, _ in days(connection).values()) == by_router
    assert radmeter(database, "verify", "--repair", "--yes").exit_code == 0
    assert sum(octets for octets, _ in users(connection).values()) == 3000
    assert sum(octets for octets, _ in days(connection).values()) == (0 if router_id == 4711 else 3000)
    assert radmeter(database, "verify").exit_code == 0


def test_another_writer_inserts_the_same_session_meanwhile(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    """Ingest finds no session, and waits for the row that the other one has inserted. It then counts into that row."""
    uid = parse(INTERIM, 0, 1).uid
    waited: list[bool] = []
    with psycopg.connect(database) as other:
        other.execute(INSERTED, (uid, None, False))

        def commit_when_waited_for() -> None:
            deadline = time.monotonic() + 60
            with psycopg.connect(database, autocommit=True) as third:
                while time.monotonic() < deadline:
                    if third.execute(
                        "SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))",
                        (other.info.backend_pid,),
                    ).fetchall():
                        waited.append(True)
                        break
                    time.sleep(0.005)
            other.commit()

        committer = threading.Thread(target=commit_when_waited_for)
        committer.start()
        try:
            # A journal, since only a shipper sends a batch again.
            with closing(JournalWriter(tmp_path, sync="interval")) as journal:
                journal.append(time.time_ns() // 1000, INTERIM)
            ship(tmp_path, database)
        finally:
            committer.join()
    assert waited == [True]
    # A packet that is refused alone is sent again with less in it. This one was sent again as it is.
    rows = connection.execute(
        "SELECT acctinputoctets, connectinfo_start FROM radacct WHERE acctsessionid = 's1'"
    )
    assert rows.fetchall() == [(1500, "54 Mbit/s")]
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
    assert sum(octets for (user, _), (octets, _) in users(connection).items() if user == "anna") == 1500
