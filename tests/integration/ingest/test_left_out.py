"""A client's rejected packets are kept up to a limit. The others are counted, listed and salvaged, each once."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import shipping
from support.commands import radmeter
from support.journals import segments
from support.ledger import ingest, segment_id
from support.servers import Connection

from radmeter.ingest import left_out_segments
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.left_out_segments import LeftOutSegments
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

FLOOD, GOOD = "192.0.2.66", "192.0.2.7"
HOUR_US = 3_600_000_000
NOW_US = (time.time_ns() // 1000 // HOUR_US - 1) * HOUR_US  # the beginning of the last full hour


def text(client: str, number: int, status: str = "Subsystem-On") -> str:
    """Return a packet as the plugin writes it; with this status it is rejected."""
    return json.dumps(
        [
            ("Acct-Status-Type", status),
            ("Acct-Session-Id", f"{client}-{number}"),
            ("User-Name", client),
            ("NAS-Identifier", f"router of {client}"),
            ("Acct-Input-Octets", "1000"),
            ("Tmp-IP-Address-0", client),
        ]
    )


def fill(directory: Path, texts: Sequence[str], received_us: int = NOW_US) -> None:
    journal = JournalWriter(directory, sync="interval", segment_bytes=1 << 16)
    for number, each in enumerate(texts):
        journal.append(received_us + number, each)
    journal.close()


def ship(directory: Path, dsn: str, *, batch_records: int = 100, kept_bytes: int = 1 << 30) -> None:
    """Ship until the journal is empty, and keep only segments in which packets were left out."""
    kept = KeptSegments(directory, hours=0, left_out=LeftOutSegments(directory, kept_bytes))
    shipping.ship(directory, dsn, batch_records=batch_records, kept=kept)


def limit(connection: Connection, name: str, value: int | str) -> None:
    connection.execute("SELECT radmeter.set_limit(%s, %s)", (name, str(value)))


def kept(connection: Connection) -> dict[str, int]:
    """How many rejected packets of each client are in the table."""
    rows = connection.execute("SELECT host(client_ip), count(*) FROM rejected_packet GROUP BY 1")
    return dict(rows.fetchall())


def left_out(connection: Connection) -> dict[str, tuple[Any, ...]]:
    rows = connection.execute(
        "SELECT client, kept, left_out, salvaged, first_seq, last_seq FROM radmeter.left_out"
    )
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("batch_records", [7, 1000])
def test_a_flood_is_kept_up_to_the_limit_and_no_other_client_is_left_out(
    tmp_path: Path, database: str, connection: Connection, batch_records: int
) -> None:
    limit(connection, "rejected_per_client_hour", 10)
    texts = [text(FLOOD, n) if n % 10 else text(GOOD, n) for n in range(1, 101)]
    fill(tmp_path, [*texts, text(GOOD, 200, "Stop")])
    ship(tmp_path, database, batch_records=batch_records)
    assert kept(connection) == {FLOOD: 10, GOOD: 10}
    assert left_out(connection) == {FLOOD: (10, 80, 0, 12, 99)}
    rows = connection.execute("SELECT records, rejected, ignored FROM radmeter.nodes").fetchall()
    assert rows == [(101, 100, 0)]
    assert connection.execute("SELECT username, bytes_in FROM user_quota_usage").fetchall() == [(GOOD, 1000)]


def test_bytes_are_limited_too(tmp_path: Path, database: str, connection: Connection) -> None:
    limit(connection, "rejected_bytes_per_client_hour", 5 * 260)
    fill(tmp_path, [text(FLOOD, n) for n in range(100, 120)])
    ship(tmp_path, database)
    (row,) = left_out(connection).values()
    assert 3 <= row[0] <= 5
    assert row[0] + row[1] == 20


def test_each_hour_of_arrival_has_its_own_limit(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    limit(connection, "rejected_per_client_hour", 3)
    for hours in (2, 1, 0):
        fill(tmp_path, [text(FLOOD, n) for n in range(5)], NOW_US - hours * HOUR_US)
    ship(tmp_path, database)
    assert kept(connection) == {FLOOD: 9}


def test_a_higher_limit_holds_from_the_next_hour_on(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    """Else a packet in the range of what was left out could have been kept, retried, and then salvaged."""
    limit(connection, "rejected_per_client_hour", 3)
    fill(tmp_path, [text(FLOOD, n) for n in range(5)], NOW_US)
    ship(tmp_path, database)
    limit(connection, "rejected_per_client_hour", "off")
    fill(tmp_path, [text(FLOOD, n) for n in range(5)], NOW_US)
    fill(tmp_path, [text(FLOOD, n) for n in range(5)], NOW_US + HOUR_US)
    ship(tmp_path, database)
    assert kept(connection) == {FLOOD: 8}
    assert [row[:2] for row in left_out(connection).values()] == [(3, 7)]


def test_forged_addresses_do_not_make_the_list_of_clients_grow(database: str, connection: Connection) -> None:
    store = Store(database)
    for batch in range(3):
        packets = [
            {
                "seq": batch * 600 + n + 1,
                "received_us": NOW_US,
                "client_ip": f"10.0.{(batch * 500 + n) // 250}.{(batch * 500 + n) % 250}",
                "reason": "odd",
                "pairs": [],
            }
            for n in range(600)
        ]
        ingest(store, "node", packets)
    store.close()
    rows = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE client = 'others'), sum(kept) FROM radmeter.kept_per_hour"
    )
    assert rows.fetchone() == (1001, 1, 1800)


def test_what_was_left_out_is_listed_with_its_segments_and_salvaged_once(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    limit(connection, "rejected_per_client_hour", 5)
    texts = [text(GOOD, 0, "Stop")] * 300 + [text(FLOOD, n) for n in range(1000)] + [text(GOOD, 1)]
    fill(tmp_path, texts)
    reader = JournalReader(tmp_path)
    seqs = [entry.seq for segment in reader.segments() for entry in reader.read(segment, 0, 5000)]
    flood = seqs[300:1300]
    assert len(segments(tmp_path)) >= 4
    ship(tmp_path, database)
    # Segments with nothing that was left out are deleted, the newest stays.
    assert len(segments(tmp_path)) == 1
    assert [path.name for path in segments(tmp_path / files.LEFT_OUT)]
    assert left_out(connection) == {FLOOD: (5, 995, 0, flood[5], flood[-1])}
    (row,) = radmeter(
        database, "rejected", "left-out", "--format", "json", RADMETER_JOURNAL=str(tmp_path)
    ).json()
    assert (row["client"], row["left_out"]) == (FLOOD, 995)
    there = [*segments(tmp_path / files.LEFT_OUT), *segments(tmp_path)]
    assert row["segments"].split() == [path.name for path in there]

    # A kept one is given up: it must not come back.
    assert radmeter(database, "rejected", "drop", "1", "--yes").exit_code == 0
    counted = connection.execute("SELECT username, bytes_in FROM user_quota_usage").fetchall()
    result = radmeter(database, "rejected", "salvage", RADMETER_JOURNAL=str(tmp_path))
    assert (result.exit_code, result.output) == (0, "995 packets salvaged\n"), result.errors
    assert kept(connection) == {FLOOD: 999, GOOD: 1}
    rows = connection.execute(
        "SELECT seq FROM rejected_packet WHERE host(client_ip) = %s ORDER BY seq", (FLOOD,)
    )
    assert [seq for (seq,) in rows] == flood[1:]
    # Once salvaged, a packet that is given up stays given up.
    assert radmeter(database, "rejected", "drop", "--reason", "Subsystem", "--yes").exit_code == 0
    again = radmeter(database, "rejected", "salvage", RADMETER_JOURNAL=str(tmp_path))
    assert again.output == "0 packets salvaged\n"
    assert connection.execute("SELECT username, bytes_in FROM user_quota_usage").fetchall() == counted


def test_a_salvage_that_is_cut_off_goes_on(tmp_path: Path, database: str, connection: Connection) -> None:
    from radmeter.ingest import salvage

    limit(connection, "rejected_per_client_hour", 5)
    fill(tmp_path, [text(FLOOD, n) for n in range(1200)])
    ship(tmp_path, database)
    batches = salvage.salvage(connection, tmp_path)
    taken = next(batches)  # a batch ends with its segment
    assert 0 < taken <= salvage.BATCH
    assert sum(salvage.salvage(connection, tmp_path)) == 1195 - taken
    assert kept(connection) == {FLOOD: 1200}


def test_a_packet_that_was_never_left_out_is_not_salvaged(database: str, connection: Connection) -> None:
    limit(connection, "rejected_per_client_hour", 1)
    packet = {"received_us": NOW_US, "client_ip": FLOOD, "reason": "odd", "pairs": []}
    store = Store(database)
    ingest(store, "node", [{**packet, "seq": seq} for seq in (1, 2, 3)])
    store.close()
    forged = [
        {**packet, "seq": 1},
        {**packet, "seq": 4},
        {**packet, "seq": 2, "client_ip": GOOD},
        {**packet, "seq": 2, "received_us": NOW_US - 2 * HOUR_US},
        {key: value for key, value in packet.items() if key != "reason"} | {"seq": 2},
    ]
    for each in forged:
        taken = connection.execute(
            "SELECT radmeter.salvage_rejected('node', %s, %s)", (segment_id("node"), json.dumps([each]))
        )
        assert taken.fetchone() == (0,)
    assert connection.execute("SELECT * FROM radmeter.left_out_ranges('other')").fetchall() == []


@pytest.mark.parametrize(
    "received_us",
    [1, -5, NOW_US + 50 * 366 * 24 * HOUR_US, 2**63 - 1, -(2**63), None],
    ids=["1970", "before 1970", "ahead", "the last", "the first", "none"],
)
def test_packets_with_an_arrival_that_is_not_believed_are_salvaged_too(
    database: str, connection: Connection, received_us: int | None
) -> None:
    """They are kept at the database's time. When they are sent again, that is another hour."""
    limit(connection, "rejected_per_client_hour", 2)
    packet: dict[str, Any] = {"received_us": received_us, "client_ip": FLOOD, "reason": "odd", "pairs": []}
    packets = [{**packet, "seq": seq} for seq in (1, 2, 3, 4)]
    store = Store(database)
    ingest(store, "node", packets)
    assert store.left_out("node") == [(3, 4)]
    for taken in (2, 0):
        rows = connection.execute(
            "SELECT radmeter.salvage_rejected('node', %s, %s)", (segment_id("node"), json.dumps(packets))
        )
        assert rows.fetchone() == (taken,)
    assert store.left_out("node") == []
    store.close()
    rows = connection.execute(
        "SELECT count(*), bool_and(received_at BETWEEN now() - interval '1 hour' AND now() + interval '1 hour')"
        " FROM rejected_packet"
    )
    assert rows.fetchone() == (4, True)


def test_a_client_has_one_limit_in_both_forms_of_its_address(database: str, connection: Connection) -> None:
    limit(connection, "rejected_per_client_hour", 2)
    packet = {"received_us": NOW_US, "reason": "odd", "pairs": []}
    packets = [
        {**packet, "seq": seq, "client_ip": f"::ffff:{FLOOD}" if seq % 2 else FLOOD} for seq in range(1, 7)
    ]
    store = Store(database)
    ingest(store, "node", packets)
    store.close()
    assert left_out(connection) == {FLOOD: (2, 4, 0, 3, 6)}
    salvaged = connection.execute(
        "SELECT radmeter.salvage_rejected('node', %s, %s)", (segment_id("node"), json.dumps(packets))
    )
    assert salvaged.fetchone() == (4,)


def test_a_database_without_the_limits_leaves_nothing_out(
    tmp_path: Path, database: str, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """A shipper may be newer than its database. It deletes what it has shipped, and says nothing of trouble."""
    connection.execute("DROP FUNCTION radmeter.left_out_ranges(text)")
    fill(tmp_path, [text(GOOD, n, "Stop") for n in range(1000)])
    before = len(segments(tmp_path))
    ship(tmp_path, database)
    assert before > 1
    assert len(segments(tmp_path)) == 1
    assert [record.message for record in caplog.records if "shipping" in record.message] == []


def test_no_more_is_salvaged_than_was_left_out(database: str, connection: Connection) -> None:
    """Numbers may lie between those that were left out: packets that counted, or that were never there."""
    limit(connection, "rejected_per_client_hour", 1)
    packet = {"received_us": NOW_US, "client_ip": FLOOD, "reason": "odd", "pairs": []}
    store = Store(database)
    ingest(store, "node", [{**packet, "seq": seq} for seq in (1, 10, 100)])
    store.close()
    forged = [{**packet, "seq": seq} for seq in range(10, 101)]
    for expected in (2, 0):
        taken = connection.execute(
            "SELECT radmeter.salvage_rejected('node', %s, %s)", (segment_id("node"), json.dumps(forged))
        )
        assert taken.fetchone() == (expected,)


def test_kept_segments_take_no_more_room_than_allowed(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    limit(connection, "rejected_per_client_hour", 5)
    fill(tmp_path, [text(FLOOD, n) for n in range(2000)])
    ship(tmp_path, database, kept_bytes=200_000)
    names = [path.name for path in segments(tmp_path / files.LEFT_OUT)]
    assert 1 <= len(names) <= 3
    assert names == sorted(names)
    (row,) = radmeter(
        database, "rejected", "left-out", "--format", "json", RADMETER_JOURNAL=str(tmp_path)
    ).json()
    assert row["segments"].split() == [*names, segments(tmp_path)[0].name]
    ship(tmp_path, database, kept_bytes=0)
    assert segments(tmp_path / files.LEFT_OUT) == []


def test_a_segment_is_kept_for_seven_days_however_long_it_waited_before(
    tmp_path: Path, database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(connection, "rejected_per_client_hour", 5)
    fill(tmp_path, [text(FLOOD, n) for n in range(1000)])
    fortnight_ago = time.time() - 14 * 86_400
    for path in segments(tmp_path):
        os.utime(path, (fortnight_ago, fortnight_ago))
    # As after an outage of the database: the packets are shipped two weeks later.
    ship(tmp_path, database)
    found = segments(tmp_path / files.LEFT_OUT)
    assert found
    ship(tmp_path, database)
    assert segments(tmp_path / files.LEFT_OUT) == found
    monkeypatch.setattr(left_out_segments, "KEPT_SECONDS", -60)
    ship(tmp_path, database)
    assert segments(tmp_path / files.LEFT_OUT) == []


def test_new_user_names_are_counted_by_client_and_never_dropped(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    texts = [
        text(FLOOD, n, "Stop").replace(f'"User-Name", "{FLOOD}"', f'"User-Name", "{n}"') for n in range(50)
    ]
    fill(tmp_path, [*texts, text(GOOD, 1, "Stop"), text(GOOD, 2, "Stop")])
    ship(tmp_path, database, batch_records=10)
    fill(tmp_path, [text(GOOD, 3, "Stop")])
    ship(tmp_path, database)
    assert dict(connection.execute("SELECT client, users FROM radmeter.new_users").fetchall()) == {
        FLOOD: 50,
        GOOD: 1,
    }
    assert connection.execute("SELECT sum(bytes_in)::int FROM user_quota_usage").fetchone() == (53_000,)


def test_a_user_is_new_once_though_nothing_was_transferred_yet(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    empty = text(GOOD, 1, "Start").replace('"1000"', '"0"')
    fill(tmp_path, [empty, empty.replace(f"{GOOD}-1", "second")])
    ship(tmp_path, database, batch_records=1)
    fill(tmp_path, [empty.replace(f"{GOOD}-1", "third")])
    ship(tmp_path, database)
    assert connection.execute("SELECT count(*) FROM radacct").fetchone() == (3,)
    assert connection.execute("SELECT client, users FROM radmeter.new_users").fetchall() == [(GOOD, 1)]


def test_anomalies_of_a_router_are_kept_up_to_the_limit_and_all_usage_counts(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    limit(connection, "anomalies_per_router_hour", 4)

    def interim(client: str, octets: int) -> str:
        return text(client, 1, "Interim-Update").replace('"1000"', f'"{octets}"')

    # Each second packet takes the counter back, so that it counts whole.
    fill(tmp_path, [interim(FLOOD, 100 if n % 2 else 900) for n in range(40)])
    fill(tmp_path, [interim(GOOD, 900), interim(GOOD, 100)])
    ship(tmp_path, database)
    assert dict(connection.execute("SELECT username, bytes_in FROM user_quota_usage").fetchall()) == {
        FLOOD: 900 + 20 * 100 + 19 * 800,
        GOOD: 1000,
    }
    rows = connection.execute(
        """SELECT username, count(*), (SELECT sum(kept) FROM radmeter.kept_per_hour AS hourly
                                       WHERE kind = 'anomaly' AND client = '#' || router_id),
                  (SELECT max(kept) FROM radmeter.kept_per_hour AS hourly
                   WHERE kind = 'anomaly' AND client = '#' || router_id),
                  (SELECT sum(left_out) + sum(kept) FROM radmeter.kept_per_hour AS hourly
                   WHERE kind = 'anomaly' AND client = '#' || router_id)
           FROM accounting_anomaly GROUP BY username, router_id"""
    )
    found = {user: numbers for user, *numbers in rows}
    count, kept_rows, most, both = found[FLOOD]
    assert count == kept_rows
    assert (most, both) == (4, 20)
    assert found[GOOD] == [1, 1, 1, 1]
