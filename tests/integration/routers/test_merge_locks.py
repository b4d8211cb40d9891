"""What a merge of routers and the filling in of router_id wait for, and what they leave to whoever holds it.

A session or a sum that is on its way while a merge ends would stay with a router that nobody looks at any more.
"""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from support import ledger
from support.adopted import make_legacy, put
from support.beside import Beside, call
from support.commands import NODE, Packets, packet
from support.ledger import days, register
from support.servers import Connection

from radmeter.adoption import backfill
from radmeter.routers.changes import writing
from radmeter.usage import verify

OLD, NEW = "02-00-00-00-00-01", "02-00-00-00-00-02"
MARCH = datetime(2024, 3, 31, 12, tzinfo=UTC)
EVER = (1, 1_000_000)
BUCKETS = "SELECT sum(radmeter.backfill_move(bucket)) FROM generate_series(0, 127) AS bucket"
MERGE, FINISH = "SELECT radmeter.merge_router(1, 2)", "SELECT radmeter.merge_router_finish(1)"
FILL = "SELECT filled FROM radmeter.backfill_fill(1, 1000000)"
MOVE_CLOSED = """
SELECT radmeter.merge_router_sessions(1, ARRAY(SELECT radacctid FROM radacct WHERE acctstoptime IS NOT NULL),
    ARRAY(SELECT acctstoptime FROM radacct WHERE acctstoptime IS NOT NULL))"""


def different(connection: Connection) -> list[verify.Difference]:
    with verify.snapshot(connection):
        return verify.router_differences(connection, verify.Scope())[1]


def merge(dsn: str) -> None:
    with writing(dsn) as writer:
        for _ in writer.merge(1, 2):
            pass


def session_routers(connection: Connection) -> list[int | None]:
    return [row[0] for row in connection.execute("SELECT DISTINCT router_id FROM radacct ORDER BY 1")]


def octets(connection: Connection) -> dict[str, int]:
    """Incoming octets by router, of all days."""
    found: dict[str, int] = {}
    for (name, _), (bytes_in, _) in days(connection).items():
        found[name] = found.get(name, 0) + bytes_in
    return found


@pytest.fixture
def routers(database: str, connection: Connection) -> str:
    """A database with two registered routers."""
    register(connection, "old", mac=OLD)
    register(connection, "new", mac=NEW)
    return database


@pytest.fixture
def history(routers: str, connection: Connection) -> str:
    """The same with an adopted session of the first one, which was not counted and has no router_id yet."""
    make_legacy(connection)
    put(connection, "a", start=MARCH, update=MARCH, stop=MARCH, station_id=OLD, octets=(100, 10))
    backfill.begin(connection)
    return routers


def ingest(connection: Connection, *records: dict[str, Any]) -> None:
    ledger.ingest(connection, NODE, list(records))


def test_a_merge_takes_the_session_of_a_batch_under_way_along(routers: str, connection: Connection) -> None:
    """The batch has found the old router already."""
    with psycopg.connect(routers) as shipper:
        ingest(shipper, packet(1, "Interim-Update", "s", Called_Station_Id=OLD, Acct_Session_Time=5))
        with Beside(routers, call(MERGE)) as merging:
            waited = merging.waits_for(shipper)
            shipper.commit()
            assert merging.result() == 1
    assert session_routers(connection) == [2]
    assert waited


def test_a_merge_waits_for_a_batch_that_closes_a_session(routers: str, connection: Connection) -> None:
    """An UPDATE that waited for a row which moves to another partition fails."""
    with Packets(routers) as packets:
        packets.add("Interim-Update", "s", ago=60, Called_Station_Id=OLD, Acct_Input_Octets=7)
    with psycopg.connect(routers) as shipper:
        ingest(shipper, packet(2, "Stop", "s", Called_Station_Id=OLD, Acct_Input_Octets=7))
        with Beside(routers, call(MERGE)) as merging:
            waited = merging.waits_for(shipper)
            shipper.commit()
            assert merging.result() == 0
    merge(routers)
    assert octets(connection) == {"new": 7}
    assert different(connection) == []
    assert waited


def test_closed_sessions_move_after_a_batch_that_opens_one_again(
    routers: str, connection: Connection
) -> None:
    with Packets(routers) as packets:
        packets.add("Interim-Update", "s", ago=60, Called_Station_Id=OLD, Acct_Input_Octets=5)
    connection.execute(
        "SELECT radmeter.close_stale(ARRAY(SELECT radacctid FROM radacct), now() + interval '1 h')"
    )
    connection.execute(MERGE)
    with psycopg.connect(routers) as shipper:
        ingest(shipper, packet(2, "Interim-Update", "s", Called_Station_Id=OLD, Acct_Input_Octets=7))
        with Beside(routers, call(MOVE_CLOSED)) as merging:
            waited = merging.waits_for(shipper)
            shipper.commit()
            assert merging.result() == 1
    merge(routers)
    assert octets(connection) == {"new": 7}
    assert different(connection) == []
    assert waited


def test_nothing_is_merged_into_a_router_that_is_just_retired(routers: str, connection: Connection) -> None:
    with psycopg.connect(routers) as operator:
        operator.execute("SELECT radmeter.retire_router(2, false)")
        with Beside(routers, call(MERGE)) as merging:
            waited = merging.waits_for(operator)
            operator.commit()
            with pytest.raises(psycopg.DatabaseError, match='router #2 "new" is retired'):
                merging.result()
    assert waited


def test_a_merge_keeps_the_name_that_its_router_is_just_given(routers: str, connection: Connection) -> None:
    with psycopg.connect(routers) as operator:
        operator.execute("SELECT radmeter.rename_router(1, 'older')")
        with Beside(routers, call(MERGE)) as merging:
            waited = merging.waits_for(operator)
            operator.commit()
            merging.result()
    assert connection.execute(
        """SELECT detail -> 'before' -> 0 ->> 'name', detail -> 'after' -> 0 ->> 'name' FROM audit_log
           WHERE action = 'routers merge'"""
    ).fetchall() == [("older", "older")]
    assert waited


def test_a_merge_ends_after_sums_of_its_router_on_their_way(history: str, connection: Connection) -> None:
    backfill.find_routers(connection, *EVER)
    backfill.count(connection, *EVER)
    connection.execute(MERGE)
    with psycopg.connect(history) as mover:
        mover.execute(BUCKETS)
        with Beside(history, call(FINISH)) as merging:
            waited = merging.waits_for(mover)
            mover.commit()
            assert merging.result() is True
    assert different(connection) == []
    assert octets(connection) == {"new": 100}
    assert waited


def test_sums_wait_for_a_merge_that_ends(history: str, connection: Connection) -> None:
    backfill.find_routers(connection, *EVER)
    backfill.count(connection, *EVER)
    connection.execute(MERGE)
    with psycopg.connect(history) as merging:
        assert merging.execute(FINISH).fetchone() == (True,)
        with Beside(history, call(BUCKETS)) as mover:
            waited = mover.waits_for(merging)
            merging.commit()
            mover.result()
    assert different(connection) == []
    assert octets(connection) == {"new": 100}
    assert waited


def test_changes_that_waited_for_a_count_wait_for_a_merge_that_ends(
    history: str, connection: Connection
) -> None:
    """The session's router is changed beside a range that has counted it for the old one."""
    third = register(connection, "third")
    backfill.find_routers(connection, *EVER)
    with psycopg.connect(history) as ranging:
        backfill.count(ranging, *EVER)
        connection.execute("UPDATE radacct SET router_id = %s", (third,))
        ranging.commit()
    connection.execute(BUCKETS)
    connection.execute(MERGE)
    with psycopg.connect(history) as merging:
        assert merging.execute(FINISH).fetchone() == (True,)
        with Beside(history, call("SELECT radmeter.backfill_settle()")) as settling:
            waited = settling.waits_for(merging)
            merging.commit()
            assert settling.result() == 1
    assert different(connection) == []
    assert octets(connection) == {"third": 100}
    assert waited


def test_a_merge_does_not_end_while_sessions_are_given_its_router(
    history: str, connection: Connection
) -> None:
    backfill.find_routers(connection, *EVER)
    backfill.count(connection, *EVER)
    connection.execute(BUCKETS)
    connection.execute(MERGE)
    with psycopg.connect(history) as filler:
        assert filler.execute(FILL).fetchone() == (1,)
        with Beside(history, call(FINISH)) as merging:
            assert not merging.waits_for(filler)
            assert merging.result() is False
    merge(history)
    assert session_routers(connection) == [2]
    assert octets(connection) == {"new": 100}
    assert different(connection) == []


def test_sessions_are_not_given_a_router_whose_merge_ends(history: str, connection: Connection) -> None:
    backfill.find_routers(connection, *EVER)
    backfill.count(connection, *EVER)
    connection.execute(BUCKETS)
    connection.execute(MERGE)
    with psycopg.connect(history) as merging:
        assert merging.execute(FINISH).fetchone() == (True,)
        with Beside(history, call(FILL)) as filler:
            waited = filler.waits_for(merging)
            merging.commit()
            assert filler.result() == 1
    assert session_routers(connection) == [2]
    assert octets(connection) == {"new": 100}
    assert different(connection) == []
    assert waited


def test_an_operator_gives_a_session_no_router_whose_merge_ends(history: str, connection: Connection) -> None:
    """What the session had before goes to the one that it is given, and from the one that had it."""
    third = register(connection, "third")
    backfill.find_routers(connection, *EVER)
    backfill.count(connection, *EVER)
    connection.execute(BUCKETS)
    connection.execute(MERGE)
    with psycopg.connect(history) as merging:
        assert merging.execute(FINISH).fetchone() == (True,)
        with Beside(
            history, lambda beside: beside.execute("UPDATE radacct SET router_id = %s", (third,)).rowcount
        ) as operator:
            waited = operator.waits_for(merging)
            merging.commit()
            assert operator.result() == 1
    assert different(connection) == []
    assert octets(connection) == {"third": 100}
    assert waited


def test_a_router_is_found_for_a_history_after_a_merge(history: str, connection: Connection) -> None:
    with psycopg.connect(history) as merging:
        merging.execute(MERGE)
        assert merging.execute(FINISH).fetchone() == (True,)
        with Beside(history, lambda beside: backfill.find_routers(beside, *EVER)) as finding:
            waited = finding.waits_for(merging)
            merging.commit()
            finding.result()
    assert connection.execute("SELECT router_id FROM radmeter.adopted_router").fetchall() == [(2,)]
    backfill.fill(connection, *EVER)
    assert session_routers(connection) == [2]
    assert waited


def test_rows_that_another_writer_holds_are_left_for_later(history: str, connection: Connection) -> None:
    """The router that an operator gives a session stays."""
    put(connection, "b", start=MARCH, update=MARCH, stop=MARCH, station_id=OLD, octets=(1, 1))
    connection.execute("UPDATE radmeter.backfill SET last_id = last_id + 1")
    backfill.find_routers(connection, *EVER)
    backfill.count(connection, *EVER)
    connection.execute(BUCKETS)
    with psycopg.connect(history) as operator:
        operator.execute("UPDATE radacct SET router_id = 2 WHERE acctuniqueid = 'a'")
        with Beside(history, lambda beside: backfill.fill(beside, *EVER)) as filler:
            waited = filler.waits_for(operator)
            operator.commit()
            assert (filler.result(), waited) == (1, False)
    assert backfill.left(connection, backfill.ROUTERS) != []
    assert backfill.fill(connection, *EVER) == 0
    assert backfill.left(connection, backfill.ROUTERS) == []
    assert octets(connection) == {"new": 100, "old": 1}
    assert different(connection) == []
