"""What `radmeter verify --repair` waits for: whoever moves a counter, or is about to."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from support.adopted import make_legacy, put
from support.beside import Beside
from support.commands import Packets
from support.ledger import days, users
from support.servers import Connection

from radmeter.adoption import backfill
from radmeter.usage import verify

MARCH = datetime(2024, 3, 31, 12, tzinfo=UTC)
EVER = (1, 1_000_000)
TAMPER = """
UPDATE user_quota_usage SET bytes_in = bytes_in + 3;
UPDATE router_daily_usage SET bytes_in = bytes_in + 3"""
BUCKETS = "SELECT sum(radmeter.backfill_move(bucket)) FROM generate_series(0, 127) AS bucket"


def different(connection: Connection) -> list[verify.Difference]:
    with verify.snapshot(connection):
        return [
            *verify.user_differences(connection, verify.Scope())[1],
            *verify.router_differences(connection, verify.Scope())[1],
        ]


def repair_all(connection: psycopg.Connection[Any]) -> int:
    """Repair whatever counter there is, as if all had been found to differ."""
    row = connection.execute(
        """SELECT radmeter.repair_usage(
               ARRAY(SELECT username FROM user_quota_usage ORDER BY 1),
               ARRAY(SELECT period_start FROM user_quota_usage ORDER BY username),
               ARRAY(SELECT router_id FROM router_daily_usage ORDER BY router_id, usage_date),
               ARRAY(SELECT usage_date FROM router_daily_usage ORDER BY router_id, usage_date))"""
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_repair_waits_for_a_writer_that_is_not_ingest(database: str, connection: Connection) -> None:
    """The bytes that an UPDATE of rlm_sql or of an operator is about to bring are not set back."""
    with Packets(database) as packets:
        packets.add(
            "Interim-Update", "s", ago=60, User_Name="alice", NAS_Identifier="x", Acct_Input_Octets=100
        )
    connection.execute(TAMPER)
    with psycopg.connect(database) as writer:
        writer.execute("UPDATE radacct SET acctinputoctets = 150, acctupdatetime = now()")
        with Beside(database, repair_all) as repair:
            waited = repair.waits_for(writer)
            writer.commit()
            assert repair.result() == 2
    assert different(connection) == []
    assert [octets for octets, _ in users(connection).values()] == [150]
    assert [octets for octets, _ in days(connection).values()] == [150]
    assert waited


@pytest.fixture
def history(database: str, connection: Connection) -> str:
    """An adopted database with one session, and counters that somebody tampered with."""
    make_legacy(connection)
    put(connection, "a", start=MARCH, update=MARCH, stop=MARCH, octets=(100, 10))
    backfill.begin(connection)
    backfill.find_routers(connection, *EVER)
    connection.execute("INSERT INTO user_quota_usage VALUES ('alice', '2024-03-01', 9, 9)")
    connection.execute("INSERT INTO router_daily_usage VALUES (1, '2024-03-31', 9, 9)")
    return database


def test_repair_waits_for_sums_of_a_backfill_on_their_way(history: str, connection: Connection) -> None:
    backfill.count(connection, *EVER)
    with psycopg.connect(history) as mover:
        mover.execute(BUCKETS)
        with Beside(history, repair_all) as repair:
            waited = repair.waits_for(mover)
            mover.commit()
            assert repair.result() == 2
    assert different(connection) == []
    assert list(users(connection).values()) == [(100, 10)] == list(days(connection).values())
    assert waited


def test_repair_waits_for_a_redo_that_finds_the_same(history: str, connection: Connection) -> None:
    """What both find and both set right would be set right twice."""
    backfill.count(connection, *EVER)
    connection.execute(BUCKETS)
    with psycopg.connect(history) as redo:
        assert backfill.redo(redo, None, None) == (1, 1)
        with Beside(history, repair_all) as repair:
            waited = repair.waits_for(redo)
            redo.commit()
            assert repair.result() == 0
    connection.execute(BUCKETS)
    assert different(connection) == []
    assert list(users(connection).values()) == [(100, 10)] == list(days(connection).values())
    assert waited


def test_a_redo_waits_for_repair_that_finds_the_same(history: str, connection: Connection) -> None:
    backfill.count(connection, *EVER)
    connection.execute(BUCKETS)
    with psycopg.connect(history) as repair:
        assert repair_all(repair) == 2
        with Beside(history, lambda beside: backfill.redo(beside, None, None)) as redo:
            waited = redo.waits_for(repair)
            repair.commit()
            assert redo.result() == (0, 0)
    connection.execute(BUCKETS)
    assert different(connection) == []
    assert list(users(connection).values()) == [(100, 10)] == list(days(connection).values())
    assert waited
