"""What SQL does not believe: values beyond the parser's limits, and arrivals at impossible times."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import ledger
from support.doctoring import faults
from support.functions import value
from support.model import Model
from support.rows_read import rows_read
from support.servers import Connection

from radmeter.ingest.known import Known
from radmeter.ingest.position import Position
from radmeter.ingest.records import as_json
from radmeter.ingest.registration import registered
from radmeter.ingest.rows import Rows
from radmeter.ingest.sending import Sender
from radmeter.ingest.store import Store
from radmeter.packet.record import (
    LONGEST_SESSION_SECONDS,
    MOST_OCTETS,
    STAMP_AT_MOST_AFTER_SECONDS,
    STAMP_AT_MOST_BEFORE_SECONDS,
)
from radmeter.plugin.journal.reader import Entry, Segment
from radmeter.plugin.journal.segment_format import PAIRS_JSON, SegmentHeader

DAY_US = 86400 * 10**6
NODE = "radius1-00000001"


def now_us() -> int:
    return time.time_ns() // 1000


def record(seq: int, received_us: int | None = None, **attributes: str) -> dict[str, Any]:
    pairs = {
        "Acct-Status-Type": "Stop",
        "Acct-Session-Id": f"session {seq}",
        "User-Name": f"user{seq}",
        "NAS-Identifier": "lobby",
        "NAS-IP-Address": "192.0.2.1",
        "Acct-Input-Octets": "7",
        **{name.replace("_", "-"): text for name, text in attributes.items()},
    }
    return as_json(
        Entry(seq, now_us() if received_us is None else received_us, json.dumps(list(pairs.items())))
    )


def ingest(connection: Connection, *records: dict[str, Any]) -> None:
    ledger.ingest(connection, NODE, json.dumps(records))


def counted(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT username FROM user_quota_usage")}


BEYOND: dict[str, tuple[dict[str, Any], str]] = {
    "octets in": ({"input_octets": MOST_OCTETS + 1}, "octets"),
    "octets out": ({"output_octets": 2**63 - 1}, "octets"),
    "negative octets": ({"input_octets": -1}, "octets"),
    "session time": ({"session_time": LONGEST_SESSION_SECONDS + 1}, "session_time"),
    "negative session time": ({"session_time": -1}, "session_time"),
    "interim interval": ({"interim_interval": 86401}, "interim_interval"),
    "no interim interval": ({"interim_interval": 0}, "interim_interval"),
    "status": ({"status": "Subsystem-On"}, "status Subsystem-On"),
    "no status": ({"status": None}, "status (none)"),
    "no uid": ({"uid": None}, "missing"),
    "no router": ({"router_key": None}, "missing"),
    "no stamped": ({"stamped": None}, "missing"),
    "no gigawords": ({"gigawords": None}, "missing"),
    "no session id": ({"session_id": None}, "missing"),
    "no event": ({"event_us": None}, "missing"),
    "the last event": ({"event_us": 2**63 - 1}, "event_us"),
    "the first event": ({"event_us": -(2**63)}, "event_us"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_a_record_beyond_a_limit_is_set_aside_with_the_reason_and_the_others_count(
    connection: Connection, name: str
) -> None:
    changes, reason = BEYOND[name]
    forged = {key: each for key, each in {**record(2), **changes}.items() if each is not None}
    ingest(connection, record(1), forged, record(3))
    assert counted(connection) == {"user1", "user3"}
    assert connection.execute("SELECT last_seq, records, rejected FROM radmeter.nodes").fetchall() == [
        (3, 3, 1)
    ]
    ((seq, said, pairs),) = connection.execute("SELECT seq, reason, pairs FROM rejected_packet").fetchall()
    assert seq == 2
    assert reason in said
    # As much of it as was given.
    assert {key: str(each) for key, each in pairs.items()} == {key: str(each) for key, each in forged.items()}


def test_a_record_that_is_marked_as_ignored_is_not_counted_too(connection: Connection) -> None:
    ingest(
        connection,
        record(1),
        {**record(2), "ignored": "x"},
        {**record(3), "ignored": "x", "input_octets": 2**62},
    )
    ingest(connection, {**record(4), "ignored": "x", "reason": "odd", "pairs": []})
    assert counted(connection) == {"user1"}
    assert connection.execute("SELECT records, rejected, ignored FROM radmeter.nodes").fetchall() == [
        (4, 0, 3)
    ]
    assert connection.execute("SELECT count(*) FROM radacct").fetchall() == [(1,)]


def test_a_record_with_a_reason_is_not_counted_too(connection: Connection) -> None:
    ingest(connection, record(1), {**record(2), "reason": "odd", "pairs": []})
    assert counted(connection) == {"user1"}


def test_a_whole_batch_beyond_the_limits_is_set_aside_at_once(connection: Connection) -> None:
    def read(first: int, count: int) -> int:
        batch = [{**record(seq), "input_octets": -seq} for seq in range(first, first + count)]
        return rows_read(connection, lambda: ingest(connection, *batch))

    read(1, 10)
    few, many = read(11, 100), read(111, 890)
    assert value(connection, "count(*) FROM rejected_packet") == 1000
    assert many < 20 * max(few, 100), (few, many)


@pytest.mark.parametrize("stamped", [True, False])
def test_what_the_parser_takes_at_its_limits_is_within_the_limits_of_sql(
    connection: Connection, stamped: bool
) -> None:
    second = now_us() // 10**6 - 3600
    moments = {
        f"{second - STAMP_AT_MOST_BEFORE_SECONDS}": 0,
        f"{second - STAMP_AT_MOST_BEFORE_SECONDS - 1}": 999_999,
        f"{second + STAMP_AT_MOST_AFTER_SECONDS}": 0,
        f"{second + STAMP_AT_MOST_AFTER_SECONDS + 1}": 999_999,
    }
    extreme = {
        "Acct_Input_Gigawords": str(MOST_OCTETS >> 32),
        "Acct_Input_Octets": "0",
        "Acct_Session_Time": str(LONGEST_SESSION_SECONDS),
        "Acct_Interim_Interval": "86400",
    }
    records = [
        record(
            seq,
            second * 10**6 + microsecond,
            **extreme,
            **(
                {"Tmp_Integer_0": stamp}
                if stamped
                else {"Acct_Delay_Time": str(STAMP_AT_MOST_BEFORE_SECONDS)}
            ),
        )
        for seq, (stamp, microsecond) in enumerate(moments.items(), start=1)
    ]
    ingest(connection, *records)
    assert connection.execute("SELECT reason FROM rejected_packet").fetchall() == []
    assert len(counted(connection)) == 4


IMPOSSIBLE: dict[str, Callable[[], int]] = {
    "30 days ahead": lambda: now_us() + 30 * DAY_US,
    "a bit more than 5 minutes ahead": lambda: now_us() + 305 * 10**6,
    "the year 251975": lambda: 7_889_238_000_000 * 10**6,
    "the last bigint": lambda: 2**63 - 1,
    "1998": lambda: int(datetime(1998, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 10**6,
    "1970": lambda: 0,
    "2000, where a clock begins": lambda: int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 10**6,
    "more than 400 days ago": lambda: now_us() - 401 * DAY_US,
    "before 1970": lambda: -(10**15),
    "the first bigint": lambda: -(2**63),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_packet_that_arrived_at_an_impossible_time_counts_at_the_time_of_the_database(
    database: str, connection: Connection, name: str
) -> None:
    before = value(connection, "clock_timestamp()")
    partitions = value(connection, "count(*) FROM radmeter.partitions")
    arrival = IMPOSSIBLE[name]()
    # The records as a parser would make them with such a clock; the counter fell, so their order matters.
    batch = [
        {**record(seq, Acct_Status_Type="Interim-Update", Acct_Input_Octets=octets), "received_us": arrival}
        | {"event_us": arrival, "stamped": stamped, "uid": "0" * 32, "skew_seconds": 17, "username": "anna"}
        for seq, octets, stamped in ((1, "100", True), (2, "40", False), (3, "60", True))
    ]
    ingest(connection, *batch, record(4))
    row = connection.execute(
        """SELECT acctinputoctets, acctstarttime, acctupdatetime, arrived_at, clock_skew_seconds, usage_date,
                  period_start
           FROM radacct WHERE username = 'anna'"""
    ).fetchone()
    assert row is not None
    octets, start, update, arrived, skew, day, period = row
    assert octets == 160
    assert (
        before <= start < update == arrived <= value(connection, "clock_timestamp()") + timedelta(seconds=1)
    )
    assert skew is None, "it says nothing about the router"
    assert (day, period) == (start.astimezone(UTC).date(), start.astimezone(UTC).date().replace(day=1))
    assert counted(connection) == {"anna", "user4"}
    assert value(connection, "count(*) FROM radmeter.partitions") == partitions
    assert value(connection, "count(*) FROM rejected_packet") == 0
    # One row for the hour, whatever comes.
    ingest(connection, {**batch[0], "seq": 5})
    ((kind, source, records, ahead),) = connection.execute(
        "SELECT kind, source, records, ahead_seconds FROM accounting_anomaly WHERE source IS NOT NULL"
    ).fetchall()
    assert (kind, source, records) == ("server clock", NODE, 4)
    assert abs(ahead - (arrival - now_us()) // 10**6) < 60
    (fault,) = faults(database, "clocks")
    assert fault.level == "red"
    assert fault.said.startswith(f"{NODE}: 4 packets came at a time that its server's clock had wrong by ")
    assert ("(ahead)" in fault.said) == (arrival > now_us())


def test_a_delay_is_known_even_if_the_arrival_is_not(connection: Connection) -> None:
    ingest(connection, record(1, now_us() + 30 * DAY_US, Acct_Delay_Time="3600"))
    late = value(connection, "extract(epoch FROM clock_timestamp() - acctstoptime)::int FROM radacct")
    assert 3600 <= late < 3700


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("ahead_us", [30 * DAY_US, -40 * 365 * DAY_US, -401 * DAY_US, 0])
def test_the_model_dates_an_impossible_arrival_alike(
    connection: Connection, ahead_us: int, stamped: bool
) -> None:
    arrival = now_us() + ahead_us
    pairs = [
        ("Acct-Status-Type", "Stop"),
        ("Acct-Session-Id", "s"),
        ("User-Name", "anna"),
        ("NAS-Identifier", "x"),
    ]
    pairs += [("NAS-IP-Address", "192.0.2.1"), ("Acct-Input-Octets", "7"), ("Acct-Session-Time", "60")]
    pairs.append(("Tmp-Integer-0", str(arrival // 10**6 - 5)) if stamped else ("Acct-Delay-Time", "20"))
    ingest(connection, as_json(Entry(1, arrival, json.dumps(pairs))))
    row = connection.execute("SELECT arrived_at, acctstarttime, acctstoptime FROM radacct").fetchone()
    assert row is not None
    arrived, start, stop = (round(each.timestamp() * 10**6) for each in row)
    model = Model()
    model.receive(NODE, 1, arrival, pairs, clock=arrived if ahead_us else now_us())
    (session,) = model.sessions
    assert (session.arrival, session.start, session.stop, session.total) == (arrived, start, stop, [7, None])
    assert (
        model.wrong_clocks == (1 if ahead_us else 0) == value(connection, "count(*) FROM accounting_anomaly")
    )


def stops(connection: Connection) -> list[int]:
    rows = connection.execute(
        "SELECT (extract(epoch FROM acctstoptime) * 1000000)::bigint FROM radacct ORDER BY acctsessionid"
    )
    return [row[0] for row in rows]


def test_arrivals_of_long_ago_and_of_a_fast_clock_are_believed(connection: Connection) -> None:
    """A backlog comes days later."""
    moments = [now_us() - 399 * DAY_US, now_us() - 398 * DAY_US, now_us() + 200 * 10**6, now_us()]
    ingest(connection, *(record(seq, at) for seq, at in enumerate(moments, start=1)))
    assert stops(connection) == moments
    assert value(connection, "count(*) FROM accounting_anomaly") == 0


@pytest.mark.parametrize("source", ["detail:0", "retry"])
def test_what_is_no_journal_may_be_years_old_and_go_back(connection: Connection, source: str) -> None:
    """A detail file of years ago is replayed."""
    years = [int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 10**6 for year in (2001, 1999)]
    for seq, at in enumerate(years, start=1):
        connection.execute("SELECT radmeter.ingest_batch(%s, %s)", (source, json.dumps([record(seq, at)])))
    assert stops(connection) == years
    assert value(connection, "count(*) FROM accounting_anomaly") == 0


@pytest.mark.parametrize("at_once", [True, False])
def test_an_arrival_before_the_latest_of_its_journal_is_not_believed(
    connection: Connection, at_once: bool
) -> None:
    """The clock of a server went back. Packets of a journal are out of order by seconds only."""
    minute_us = 60 * 10**6
    begin = now_us() - 3 * DAY_US
    #           believed: all but the two that are more than an hour before the latest
    minutes = [0, 120, 61, 59, -60 * 24 * 100, 121, 62]
    records = [record(seq, begin + at * minute_us) for seq, at in enumerate(minutes, start=1)]
    for batch in [records] if at_once else [[each] for each in records]:
        ingest(connection, *batch)
    believed = [at for at, wrong in zip(minutes, (0, 0, 0, 1, 1, 0, 0), strict=True) if not wrong]
    found = stops(connection)
    assert [found[n] for n in (0, 1, 2, 5, 6)] == [begin + at * minute_us for at in believed]
    assert all(abs(found[n] - now_us()) < 600 * 10**6 for n in (3, 4))
    assert value(connection, "sum(records) FROM accounting_anomaly") == 2
    model = Model()
    clock = now_us()
    for each, at in zip(records, minutes, strict=True):
        pairs = [("Acct-Status-Type", "Stop"), ("Acct-Session-Id", str(each["seq"])), ("NAS-Identifier", "x")]
        model.receive(NODE, each["seq"], begin + at * minute_us, pairs, clock=clock)
    assert [s.stop == clock for s in model.sessions] == [False, False, False, True, True, False, False]
    # A journal of another node is judged by itself.
    ledger.ingest(connection, "other-00000001", [record(9, begin - 5 * DAY_US)])
    assert stops(connection)[-1] == begin - 5 * DAY_US


def test_a_wrong_clock_leaves_no_trace_on_the_packets_after_it(connection: Connection) -> None:
    """Arrivals that are not believed do not move the latest one, neither does a database whose clock was ahead."""
    begin = now_us() - 3 * DAY_US
    ingest(connection, record(1, now_us() + 30 * DAY_US), record(2, 0))
    assert value(connection, "last_received_at FROM radmeter.nodes") is None
    ingest(connection, record(3, begin))
    ingest(connection, record(4, now_us() + 30 * DAY_US), record(5, begin + 1))
    assert [stops(connection)[n] for n in (2, 4)] == [begin, begin + 1]
    connection.execute("UPDATE radmeter.journal_segment SET last_received_at = now() + interval '1 year'")
    now = now_us()
    ingest(connection, record(6, now))
    assert stops(connection)[-1] == now
    assert value(connection, "sum(records) FROM accounting_anomaly") == 3


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_no_packet_is_set_aside_whenever_it_came(
    tmp_path: Path, database: str, connection: Connection, name: str
) -> None:
    """Else the shipper would try it for ever, and the packets after it would wait."""
    arrival = IMPOSSIBLE[name]()
    entries = [
        Entry(1, arrival, "no packet"),
        Entry(2, arrival, json.dumps([["Acct-Status-Type", "Sideways"]])),
    ]
    stop = [["Acct-Status-Type", "Stop"], ["Acct-Session-Id", "session 3"], ["User-Name", "user3"]]
    entries.append(
        Entry(3, now_us(), json.dumps([*stop, ["NAS-Identifier", "lobby"], ["Acct-Input-Octets", "7"]]))
    )
    header = SegmentHeader(2, ledger.segment_id(NODE), None, None, 1, NODE, PAIRS_JSON, None)
    segment = Segment(1, tmp_path / "segment", header)
    with closing(Store(database)) as store:
        (row,) = registered(store, NODE, [segment]).values()
        known = Known(header.id, "segment", 2, NODE, 1, None, 0)
        Sender().send(store, Position(segment, known, row.progress), entries, Rows(entries))
    assert (
        value(connection, "count(*) FROM rejected_packet WHERE received_at > now() - interval '1 hour'") == 2
    )
    assert counted(connection) == {"user3"}


def test_a_partition_is_made_only_for_a_month_in_which_a_session_can_have_stopped(
    connection: Connection,
) -> None:
    assert value(connection, "radmeter.ensure_partition(timestamptz '2106-02-07')") is True
    assert value(connection, "radmeter.ensure_partition('1998-12-01Z')") is True
    for at in (
        "timestamptz '2106-03-01'",
        "'251975-01-01Z'",
        "'1998-11-30Z'",
        "'infinity'",
        "'-infinity'",
        "NULL",
    ):
        with pytest.raises(Exception, match="no partition is made for") as refused:
            value(connection, f"radmeter.ensure_partition({at})")
        assert getattr(refused.value, "sqlstate", None) == "22008", "a record that leads there is set aside"


# A row that another program wrote: an open session with a last update at an impossible time.
STRANGE = """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, router_id, acctstarttime,
    acctupdatetime, acctinputoctets, acctoutputoctets)
    SELECT 's', %s, 'strange', '192.0.2.1', (SELECT min(id) FROM routers), %s, %s, 5, 5"""
CALLERS: dict[str, str | Callable[[], dict[str, Any]] | None] = {
    "close_stale": "SELECT radmeter.close_stale((SELECT array_agg(radacctid) FROM radacct WHERE username = 'strange'))",
    "close_gone": """SELECT cardinality(radmeter.close_gone(array_agg(radacctid), array_agg(1.0::float8)))
                     FROM radacct WHERE username = 'strange'""",
    "close_waiting": "SELECT radmeter.close_waiting()",
    "apply_batch": None,
    "close_rebooted": lambda: record(2, Acct_Status_Type="Accounting-On"),
    "ensure_start_months": lambda: record(
        2, Acct_Status_Type="Stop", Tmp_Integer_0=str(int(time.time()) - 5)
    ),
    "close_superseded": lambda: record(2, Acct_Session_Time="1", Tmp_Integer_0=str(int(time.time()) - 5)),
    "earlier_sessions": lambda: record(2, Acct_Session_Time="1", Tmp_Integer_0=str(int(time.time()) - 5)),
}


@pytest.mark.parametrize("at", ["0001-01-01Z", "1970-01-01Z", "4000-01-01Z"])
@pytest.mark.parametrize("caller", CALLERS)
def test_no_caller_makes_a_partition_for_an_impossible_month(
    connection: Connection, caller: str, at: str
) -> None:
    ingest(connection, record(1))  # the router is discovered
    partitions = value(connection, "count(*) FROM radmeter.partitions")
    act = CALLERS[caller]
    if callable(act):
        start = record(2, Tmp_Integer_0="1")
        connection.execute(STRANGE, (start["uid"], at, at))
        if caller == "earlier_sessions":
            connection.execute("UPDATE radacct SET began_at = now() + interval '1 hour'")
        ingest(connection, act())
        assert value(connection, "count(*) FROM rejected_packet") == 0
    else:
        connection.execute(STRANGE, ("0" * 32, at, at))
        if caller == "close_waiting":
            connection.execute("UPDATE radacct SET closed_by = 'stop' WHERE username = 'strange'")
        if act is None:
            ingest(
                connection,
                record(2, int(datetime.fromisoformat(f"{at[:-1]}T00:00+00:00").timestamp()) * 10**6),
            )
        elif at < "2000":
            assert value(connection, act.removeprefix("SELECT ")) == 1
    # What cannot be over, or cannot have begun yet, stays open or gets a time that can be.
    assert value(connection, "count(*) FROM radmeter.partitions") == partitions
    assert (
        value(connection, "coalesce(bool_and(radmeter.is_possible_time(acctstoptime)), true) FROM radacct")
        is True
    )
    if at < "2000" and caller != "apply_batch":
        assert (
            value(connection, "count(*) FROM radacct WHERE username = 'strange' AND acctstoptime IS NOT NULL")
            == 1
        )


def test_every_caller_of_ensure_partition_is_tested_here(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT proname FROM pg_proc WHERE prosrc ~ 'ensure_partition\\(' AND proname <> 'ensure_partition'"
    )
    assert {row[0] for row in rows} == set(CALLERS)
