"""What ingest, its relatives and the reaper wait for, and what they leave to whoever holds it."""

import time
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Json
from support.beside import Beside, call
from support.commands import NODE, Packets, packet
from support.ledger import ingest, progress, segment_id, users
from support.servers import Connection

from radmeter.packet.record import AccountingRecord

INGEST = "SELECT radmeter.ingest(%s::uuid, %s, %s, %s, 7)"
RETRY = "SELECT radmeter.retry_rejected(%s)"


def stop(seq: int, session: str, octets: int) -> dict[str, Any]:
    return packet(seq, "Stop", session, User_Name="alice", NAS_Identifier="x", Acct_Input_Octets=octets)


def set_aside(connection: Connection, session: str, octets: int) -> dict[str, Any]:
    """Set a packet aside. Return its record, as a retry gives it."""
    arrival = int(time.time())
    pairs = [("Acct-Status-Type", "Stop"), ("Acct-Session-Id", session), ("User-Name", "alice")]
    pairs += [("NAS-Identifier", "x"), ("Acct-Input-Octets", str(octets))]
    row = connection.execute(
        """INSERT INTO rejected_packet (source, seq, received_at, reason, pairs)
           SELECT 'n', count(*) + 1, to_timestamp(%s), 'as a test', %s FROM rejected_packet RETURNING id""",
        (arrival, Json(pairs)),
    ).fetchone()
    assert row is not None
    return {**AccountingRecord.from_pairs(pairs, arrival * 1_000_000).as_json(), "id": row[0]}


def total(connection: Connection) -> int:
    return sum(octets for octets, _ in users(connection).values())


def test_a_batch_that_is_shipped_twice_at_once_is_counted_once(database: str, connection: Connection) -> None:
    with Packets(database) as packets:  # a router that is discovered is waited for too
        packets.add("Start", "t", User_Name="alice", NAS_Identifier="x")
    batch = (segment_id(NODE), *progress(connection, NODE), Json([stop(2, "s", 100)]))
    with psycopg.connect(database) as shipper:
        shipper.execute(INGEST, batch)
        with Beside(database, call(INGEST, *batch)) as again:
            waited = again.waits_for(shipper)
            shipper.commit()
            with pytest.raises(psycopg.Error, match="is counted up to number 2, not up to 1") as refused:
                again.result()
            assert refused.value.sqlstate == "RM004"
    assert total(connection) == 100
    assert waited


def test_two_retries_at_once_lose_neither_packet(database: str, connection: Connection) -> None:
    """Their node is one, so the second must not give its packets the numbers of the first."""
    first, second = ([set_aside(connection, f"s{each}", 10**each)] for each in (1, 2))
    with psycopg.connect(database) as one:
        assert one.execute(RETRY, (Json(first),)).fetchone() == ([1],)
        with Beside(database, call(RETRY, Json(second))) as other:
            waited = other.waits_for(one)
            one.commit()
            assert other.result() == [2]
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
    assert total(connection) == 110
    assert waited


def test_one_packet_that_is_retried_twice_at_once_is_counted_once(
    database: str, connection: Connection
) -> None:
    records = Json([set_aside(connection, "s", 10)])
    with psycopg.connect(database) as one:
        assert one.execute(RETRY, (records,)).fetchone() == ([1],)
        with Beside(database, call(RETRY, records)) as other:
            waited = other.waits_for(one)
            one.commit()
            assert other.result() == []
    assert total(connection) == 10
    assert waited


def test_the_reaper_leaves_a_session_that_a_batch_has(database: str, connection: Connection) -> None:
    """An interim that is on its way shows that the session is alive."""
    with Packets(database) as packets:
        packets.add("Start", "s", ago=3600, User_Name="alice", NAS_Identifier="x")
    with psycopg.connect(database) as shipper:
        interim = packet(2, "Interim-Update", "s", User_Name="alice", NAS_Identifier="x", Acct_Input_Octets=7)
        ingest(shipper, NODE, [interim])
        reap = "SELECT radmeter.close_stale(ARRAY(SELECT radacctid FROM radacct))"
        with Beside(database, call(reap)) as reaper:
            assert not reaper.waits_for(shipper)
            assert reaper.result() == 0
            shipper.commit()
    assert connection.execute("SELECT acctstoptime, acctinputoctets FROM radacct").fetchall() == [(None, 7)]
    assert total(connection) == 7


@pytest.mark.parametrize(
    "query",
    [
        'SELECT radmeter.change_router(1, \'{"mac": "02:00:00:00:00:03"}\', false)',
        "SELECT radmeter.merge_router(1, 2)",
        "SELECT radmeter.merge_router_sessions(3, '{}', '{}')",
        "SELECT radmeter.merge_router_finish(3)",
        "SELECT radmeter.backfill_routers('[]')",
        "SELECT radmeter.backfill_move(1)",
        "SELECT radmeter.backfill_begin()",
        "SELECT radmeter.backfill_settle()",
        "SELECT radmeter.repair_usage('{}', '{}', '{}', '{}')",
        "SELECT radmeter.retry_rejected('[]')",
        f"SELECT radmeter.ingest('{segment_id('other node')}', 0, 0, '[]', 0)",
        "SELECT radmeter.open_segments('other node', '[]')",
        f"SELECT radmeter.finish_segment('{segment_id('other node')}', 0)",
        "SELECT radmeter.drop_segments(1)",
    ],
)
def test_what_is_done_between_two_batches_waits_for_one(
    database: str, connection: Connection, query: str
) -> None:
    connection.execute(
        """INSERT INTO routers (name, mac, status, merged_into, merged_status)
           VALUES ('a', '02:00:00:00:00:01', 'active', NULL, NULL), ('b', NULL, 'active', NULL, NULL),
                  ('c', NULL, 'retired', 2, 'active');
           INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, adopted) VALUES ('x', 'x', '10.0.0.1', true);
           INSERT INTO radmeter.adopted_move (radacctid) VALUES (1)"""
    )
    progress(connection, "other node")
    with psycopg.connect(database) as shipper:
        # A batch that has nothing in it holds the lock until its transaction ends, and nothing else.
        ingest(shipper, NODE, [])
        with Beside(database, call(query)) as work:
            waited = work.waits_for(shipper)
            shipper.commit()
            work.result()
    assert waited
