"""Accounting-On and -Off that close nothing: leaving them out of a batch changes nothing, and saves the work."""

import json
import random
from typing import Any

import psycopg
from support import ledger
from support.functions import value
from support.servers import Connection

from radmeter.ingest.records import as_json
from radmeter.plugin.journal.reader import Entry

NODE = "radius1-00000001"
BEGAN_US = 1_780_000_000 * 10**6
SECOND_US = 10**6
REBOOTS = ("Accounting-On", "Accounting-Off")
AFTERWARDS = """SELECT jsonb_agg(to_jsonb(session) - 'radacctid' ORDER BY acctuniqueid, acctstarttime, acctinputoctets,
    acctstoptime)::text FROM radacct AS session"""
LEFT = "count(*) FROM pg_temp.incoming WHERE round IS NULL"


def record(seq: int, status: str, router: int, session: int = 0, **attributes: object) -> dict[str, Any]:
    """Return a record. Its id does not depend on its router, so a packet may reach another router's session."""
    pairs = {
        "Acct-Status-Type": status,
        "NAS-IP-Address": "192.0.2.1",
        "Called-Station-Id": f"02-00-00-00-00-{router:02X}",
        **{name.replace("_", "-"): str(text) for name, text in attributes.items()},
    }
    if status not in REBOOTS:
        pairs |= {"User-Name": f"user{session}", "Acct-Session-Id": f"session{session}"}
    return as_json(Entry(seq, BEGAN_US + seq * SECOND_US, json.dumps(list(pairs.items()))))


def ingest(connection: Connection, records: list[dict[str, Any]]) -> None:
    ledger.ingest(connection, NODE, json.dumps(records))


def some(chance: random.Random, seq: int) -> dict[str, Any]:
    """Return a record of few sessions and routers, at one of few times, so that all that can meet does."""
    status = chance.choice([*REBOOTS, *REBOOTS, "Start", "Interim-Update", "Interim-Update", "Stop"])
    at = (BEGAN_US + seq * SECOND_US) // SECOND_US - chance.choice([0, 0, 1, 5, 20, 21, 60, 3600])
    attributes: dict[str, object] = (
        {"Tmp_Integer_0": at} if chance.random() < 0.7 else {"Acct_Delay_Time": chance.choice([0, 3, 60])}
    )
    if status not in ("Start", *REBOOTS):
        attributes |= {"Acct_Input_Octets": chance.randrange(1000)}
        if chance.random() < 0.6:
            attributes |= {"Acct_Session_Time": chance.choice([0, 4, 30, 600])}
    return record(seq, status, chance.randrange(3), chance.randrange(4), **attributes)


def others(connection: Connection, chance: random.Random) -> None:
    """Write as other programs do: without a router, a start or an update, or with an update before the start."""
    column = chance.choice(
        [
            "router_id = NULL",
            "acctstarttime = NULL",
            "acctupdatetime = NULL",
            "acctupdatetime = acctstarttime - interval '9 seconds'",
            "acctupdatetime = '1970-01-01Z'",
        ]
    )
    connection.execute(
        f"""UPDATE radacct SET {column} WHERE radacctid = (
            SELECT min(radacctid) FROM radacct WHERE acctstoptime IS NULL)"""
    )


def test_leaving_out_those_that_close_nothing_changes_nothing(connection: Connection) -> None:
    source = value(connection, "pg_get_functiondef('radmeter.drop_idle_reboots()'::regprocedure)")
    idle = """CREATE OR REPLACE FUNCTION radmeter.drop_idle_reboots() RETURNS void LANGUAGE sql AS 'SELECT'"""
    chance = random.Random(1)
    ingest(
        connection, [record(seq, "Accounting-On", seq - 1) for seq in (1, 2, 3)]
    )  # the routers are discovered
    seq, left_out, closed = 3, 0, 0
    for turn in range(60):
        if turn % 4 == 3:
            others(connection, chance)
        batch = [some(chance, seq + 1 + number) for number in range(chance.choice([3, 8, 30]))]
        seq += len(batch)
        found = []
        for function in (idle, source):
            with connection.transaction() as both:
                connection.execute(function)
                ingest(connection, batch)
                found.append((value(connection, LEFT), connection.execute(AFTERWARDS).fetchall()))
                raise psycopg.Rollback(both)
        assert found[0][1] == found[1][1], f"turn {turn}"
        left_out += found[0][0] - found[1][0]
        closed += found[1][0]
        ingest(connection, batch)
    assert left_out > 100
    assert closed > 100, "and some are not left out"


def test_a_storm_of_old_ones_is_left_out_whole_and_cuts_nothing(connection: Connection) -> None:
    ingest(connection, [record(seq, "Start", 1, seq) for seq in range(1, 51)])
    old = BEGAN_US // SECOND_US - 86400
    storm = [
        record(seq, "Accounting-On", 1, Tmp_Integer_0=old + seq) if seq % 2 else record(seq, "Start", 2, seq)
        for seq in range(51, 251)
    ]
    with connection.transaction():
        ingest(connection, storm)
        assert value(connection, LEFT) == 0
        assert value(connection, "max(segment) FROM pg_temp.incoming") == 0
    assert value(connection, "count(*) FROM radacct WHERE acctstoptime IS NULL") == 150


def test_of_many_that_close_the_same_the_first_is_kept(connection: Connection) -> None:
    ingest(connection, [record(seq, "Start", 1, seq) for seq in range(1, 11)])
    with connection.transaction():
        ingest(connection, [record(seq, "Accounting-On", 1) for seq in range(11, 61)])
        assert value(connection, "array_agg(seq) FROM pg_temp.incoming") == [11]
    assert value(connection, "count(*) FROM radacct WHERE closed_by = 'reboot'") == 10
