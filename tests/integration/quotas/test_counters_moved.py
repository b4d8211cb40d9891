"""Whoever writes counters other than the triggers on radacct tells so: the users are looked at soon."""

import re
from datetime import UTC, datetime

import psycopg
from support.adopted import make_legacy, put
from support.commands import radmeter
from support.quotas import MB, apply_due, give_plan, queue, state, use
from support.servers import Connection

from radmeter.adoption import backfill

WRITES = re.compile(
    r"(INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE|MERGE\s+INTO)\s+(ONLY\s+)?public\.user_quota_usage\b"
)
# The triggers compare the new total themselves. apply_quotas moves no octets.
COUNT = {"count_inserted", "count_updated"}
MOVE_NO_OCTETS = {"apply_quotas"}


def test_every_function_that_writes_counters_tells_of_the_users(connection: Connection) -> None:
    bodies: dict[str, str] = dict(
        connection.execute(
            """SELECT proname, coalesce(pg_get_function_sqlbody(oid), prosrc) FROM pg_proc
               WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)"""
        ).fetchall()
    )
    writers = {name for name, body in bodies.items() if WRITES.search(body)}
    assert {"repair_usage", "backfill_move", "backfill_settle", "finish_erasure"} <= writers - COUNT
    tell = {name for name, body in bodies.items() if "radmeter.note_counters_moved(" in body}
    assert writers - COUNT - MOVE_NO_OCTETS - tell == set()
    assert all("radmeter.apply_quotas(" in bodies[name] for name in COUNT)


def test_a_repair_gives_back_what_was_counted_too_much(database: str, connection: Connection) -> None:
    give_plan(connection)
    use(database, 5 * MB)
    connection.execute("UPDATE user_quota_usage SET bytes_out = bytes_out + 6000000")
    use(database, 5 * MB + 1)
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]
    assert radmeter(database, "verify", "--repair", "--yes").exit_code == 0
    assert state(connection)["status"] == "active"
    assert apply_due(connection) == 1
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "dropped")]


def test_a_repair_that_finds_more_octets_cuts_the_user(database: str, connection: Connection) -> None:
    give_plan(connection)
    use(database, 5 * MB)
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SET session_replication_role = replica")
        other.execute("UPDATE radacct SET acctinputoctets = acctinputoctets + 6000000")
    assert radmeter(database, "verify", "--repair", "--yes").exit_code == 0
    assert queue(connection) == []
    assert apply_due(connection) == 1
    assert queue(connection) == [("bob", "s1", "disconnect", "over", "waiting")]


def test_a_backfill_counts_for_the_quota(connection: Connection) -> None:
    make_legacy(connection)
    now = datetime.now(UTC)
    give_plan(connection, "alice")
    put(connection, "a", start=now, update=now, stop=None, octets=(12 * MB, 0))
    backfill.begin(connection)
    backfill.find_routers(connection, 1, 1000)
    backfill.count(connection, 1, 1000)
    connection.execute("SELECT radmeter.backfill_move(bucket) FROM generate_series(0, 127) AS bucket")
    assert state(connection, "alice")["status"] == "over"
    assert apply_due(connection) == 1
    assert [row[:4] for row in queue(connection)] == [("alice", "a", "disconnect", "over")]
