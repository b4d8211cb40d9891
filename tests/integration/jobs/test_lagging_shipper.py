"""The reaper while a shipper works through a backlog: the interims that it waits for are in the journal."""

import logging
import threading

import pytest
from support.commands import Packets, radmeter
from support.doctoring import faults
from support.functions import value
from support.servers import Connection

from radmeter.jobs import runner
from radmeter.jobs.stale_sessions import LaggingNode, close_stale, lagging_nodes

SESSIONS = 20
INTERIM = 300
BACKLOG = 3600


def interims(packets: Packets, ago: float, *, of: str = "s", octets: int = 100) -> None:
    """Ship one interim of each session that arrived so many seconds ago."""
    for number in range(SESSIONS):
        packets.add(
            "Interim-Update",
            f"{of}{number}",
            ago=ago,
            Acct_Session_Time=int(2 * BACKLOG - ago),
            Acct_Input_Octets=octets,
            User_Name=f"user{number}",
        )
    packets.ship()


def closings(connection: Connection) -> int:
    return int(value(connection, "count(*) FROM radacct WHERE acctstoptime IS NOT NULL"))


def test_no_session_is_closed_whose_interims_are_still_to_come(database: str, connection: Connection) -> None:
    connection.execute("CREATE TABLE move (radacctid bigint)")
    connection.execute(
        """CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
               INSERT INTO public.move SELECT before.radacctid FROM before JOIN after USING (radacctid)
               WHERE before.acctstoptime IS DISTINCT FROM after.acctstoptime; RETURN NULL; END $$;
           CREATE TRIGGER note AFTER UPDATE ON radacct REFERENCING OLD TABLE AS before NEW TABLE AS after
               FOR EACH STATEMENT EXECUTE FUNCTION note_move()"""
    )
    with Packets(database, "late") as packets:
        interims(packets, BACKLOG)
        for ago in range(BACKLOG - INTERIM, -1, -INTERIM):
            assert close_stale(connection) == 0, f"{ago} s behind"
            interims(packets, ago, octets=100 * (BACKLOG - ago))
    assert lagging_nodes(connection) == []
    assert close_stale(connection) == 0
    assert value(connection, "count(*) FROM public.move") == 0
    assert value(connection, "sum(bytes_in) FROM user_quota_usage") == SESSIONS * 100 * BACKLOG


def test_a_session_that_was_silent_at_the_arrival_that_is_reached_is_closed(
    database: str, connection: Connection
) -> None:
    with Packets(database, "late") as packets:
        interims(packets, BACKLOG + 900, of="gone")
        interims(packets, BACKLOG)
    with Packets(database, "well") as packets:
        interims(packets, 0, of="other")
    assert close_stale(connection) == SESSIONS
    assert value(
        connection, "bool_and(acctsessionid LIKE 'gone%') FROM radacct WHERE acctstoptime IS NOT NULL"
    )


@pytest.mark.parametrize(
    ("late", "silent", "lags"),
    [(59, 0, False), (62, 0, True), (7200, 0, True), (7200, 540, True), (7200, 605, False)],
)
def test_a_node_lags_while_its_latest_batch_was_late(
    database: str, connection: Connection, late: int, silent: int, lags: bool
) -> None:
    with Packets(database, "node") as packets:
        interims(packets, 0)
    connection.execute(
        """UPDATE radmeter.journal_segment SET updated_at = now() - %s * interval '1 second',
               last_received_at = now() - %s * interval '1 second'""",
        (silent, silent + late),
    )
    assert [each.node for each in lagging_nodes(connection)] == (["node"] if lags else [])
    assert value(connection, "radmeter.reaper_time() < now() - interval '61 seconds'") is lags


def test_the_node_that_is_furthest_behind_decides_and_is_named(
    database: str, connection: Connection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for node, ago in (("radius1", 0), ("radius2", BACKLOG), ("radius3", BACKLOG + INTERIM)):
        with Packets(database, node) as packets:
            interims(packets, ago, of=node)
    nodes = lagging_nodes(connection)
    assert [each.node for each in nodes] == ["radius3", "radius2"]
    assert isinstance(nodes[0], LaggingNode)
    assert value(connection, "radmeter.reaper_time()") == nodes[0].received_at
    said = f"radius3, radius2 have packets still to ship. Sessions are judged as of {nodes[0].received_at:%Y-%m-%d}"
    for arguments in (["--dry-run"], []):
        result = radmeter(database, "jobs", "close-stale", *arguments)
        assert result.errors.startswith(said)
        assert closings(connection) == 0
    # doctor does not ask for sessions to be closed that must stay open.
    monkeypatch.setattr("radmeter.doctor.activity.STALE_SESSIONS", 0)
    assert faults(database, "sessions") == []
    stop = threading.Event()
    with caplog.at_level(logging.INFO):
        thread = threading.Thread(target=runner.run, args=(database, stop), kwargs={"interval_seconds": 0.05})
        thread.start()
        try:
            while said not in caplog.text and thread.is_alive():
                thread.join(0.05)
        finally:
            stop.set()
            thread.join(60)
    assert said in caplog.text
    assert closings(connection) == 0
