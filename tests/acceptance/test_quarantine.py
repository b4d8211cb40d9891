"""What FreeRADIUS itself writes to detail files is what it gave to the plugin: replayed, it is the same packet."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.journals import read_journal
from support.processes import Database, FreeRadius, Line, Shipper, eventually
from support.wire import Router, Value

from radmeter.packet.detail_file import Place, packet, stanzas
from radmeter.packet.record import parse

# Each has text that is not UTF-8 or has control characters, which is what goes to the quarantine file.
PACKETS: dict[str, dict[str, Value]] = {
    "name in Latin-1": {"User-Name": b"caf\xe9", "Connect-Info": 'a "quoted" \\ back\\101slash'},
    "control characters": {"User-Name": b"tab\there\nand\r\x01\x7f%t", "NAS-Identifier": "café"},
    "embedded NUL": {"User-Name": b"be\x00fore", "NAS-Port-Id": b"\xff\xfe"},
    "everything escaped": {"User-Name": b"q\xff", "Calling-Station-Id": b"\xff" * 200, "Class": b"\x00\x01"},
    "with a clock": {
        "User-Name": b"\xe9",
        "Event-Timestamp": int(time.time()) - 3600,
        "Called-Station-Id": b"\xe9",
    },
    "with a clock of 1970": {"User-Name": b"\xe8", "Event-Timestamp": 5000, "Acct-Delay-Time": 30},
}


def interim(session: str, **more: Value) -> dict[str, Value]:
    return {
        "Acct-Status-Type": "Interim-Update",
        "Acct-Session-Id": session,
        "Acct-Input-Octets": 100,
        **more,
    }


def replay(database: Database, *files: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "radmeter", "replay", "--yes", *files],
        env={"RADMETER_DSN": database.dsn, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def usage(database: Database) -> list[tuple[object, ...]]:
    return database.rows(
        "SELECT username, period_start, bytes_in, bytes_out FROM user_quota_usage ORDER BY 1, 2"
    )


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record that do not depend on the moment at which the server looked at its clock."""
    stamped = record["stamped"]
    return {
        name: value
        for name, value in record.items()
        if name not in ("seq", "received_us", "skew_seconds") and (name != "event_us" or stamped)
    }


def test_the_quarantine_file_has_the_packets_that_the_journal_has(server: FreeRadius, router: Router) -> None:
    for name, attributes in PACKETS.items():
        assert router.send(interim(name, **attributes))
    with (server.run_directory / "radacct" / "radmeter-quarantine" / "detail").open("rb") as file:
        written = [packet(stanza) for stanza in stanzas(file, Place())]
    entries = read_journal(server.journal)
    assert len(written) == len(entries) == len(PACKETS)
    for name, found, entry in zip(PACKETS, written, entries, strict=True):
        replayed = parse(json.dumps(found.pairs), found.received_us, 1).as_json()
        journaled = parse(entry.pairs, entry.received_at_us, 1).as_json()
        assert comparable(replayed) == comparable(journaled), name
        assert 0 <= entry.received_at_us - found.received_us < 2_000_000


def test_a_quarantine_file_that_cannot_be_written_stops_no_packet(server: FreeRadius, router: Router) -> None:
    (server.run_directory / "radacct" / "radmeter-quarantine" / "detail").mkdir(parents=True)
    assert router.send(interim("s", **PACKETS["name in Latin-1"]))
    (entry,) = read_journal(server.journal)
    assert "636166e9" in entry.pairs  # the name, as octets


def test_the_quarantine_file_counts_nothing_twice(line: Line, router: Router) -> None:
    for name, attributes in PACKETS.items():
        for octets in (100, 300, 50, 200):  # the counter is restarted once: 300, then 200 more
            assert router.send({**interim(name, **attributes), "Acct-Input-Octets": octets})
    # Where all four have the same usable Event-Timestamp, nothing shows a restart: 300.
    counted = "SELECT coalesce(sum(bytes_in), 0)::int FROM user_quota_usage"
    eventually(lambda: line.database.rows(counted), [(500 * (len(PACKETS) - 1) + 300,)])
    before = usage(line.database)
    quarantine = line.server.run_directory / "radacct" / "radmeter-quarantine" / "detail"
    assert "24 packets shipped, 0 of them set aside" in replay(line.database, quarantine)
    assert usage(line.database) == before
    assert line.database.rows("SELECT count(*)::int FROM radacct") == [(len(PACKETS),)]


def test_a_quarantine_file_replayed_alone_counts_as_the_journal_would(
    server: FreeRadius, router: Router, database: Database, tmp_path: Path
) -> None:
    for name, attributes in PACKETS.items():
        assert router.send(interim(name, **attributes))
    quarantine = server.run_directory / "radacct" / "radmeter-quarantine" / "detail"
    packed = tmp_path / "quarantine.gz"
    packed.write_bytes(gzip.compress(quarantine.read_bytes()))
    replay(database, packed)
    assert "6 stanzas were replayed before" in replay(database, quarantine)
    replayed = usage(database)
    assert [row[2] for row in replayed] == [100] * len(PACKETS)
    with Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper:
        shipper.start()
        eventually(
            lambda: database.rows("SELECT count(*)::int FROM radmeter.nodes WHERE node NOT LIKE 'detail:%%'"),
            [(1,)],
        )
    assert usage(database) == replayed


def test_a_client_fills_the_quarantine_file_no_further_and_all_its_packets_are_journaled(
    server: FreeRadius, router: Router
) -> None:
    for number in range(130):
        assert router.send(interim(f"s{number}", **PACKETS["name in Latin-1"]))
    with (server.run_directory / "radacct" / "radmeter-quarantine" / "detail").open("rb") as file:
        written = [packet(stanza) for stanza in stanzas(file, Place())]
    assert [dict(found.pairs)["Acct-Session-Id"] for found in written] == [f"s{n}" for n in range(100)]
    assert not any("Cache" in name for found in written for name, _ in found.pairs)
    entries = read_journal(server.journal)
    records = [parse(entry.pairs, entry.received_at_us, 1) for entry in entries]
    assert [record.session_id for record in records] == [f"s{number}" for number in range(130)]
    assert not any("Cache" in entry.pairs or "Tmp-Integer-9" in entry.pairs for entry in entries)


def test_a_full_quarantine_file_is_renamed_and_the_server_begins_another(
    tmp_path: Path, router: Router
) -> None:
    with (
        FreeRadius(tmp_path / "small", tmp_path / "journal", quarantine_limit_bytes=4000) as server,
        Router(server.start().address) as other,
    ):
        quarantine = server.run_directory / "radacct" / "radmeter-quarantine" / "detail"
        full = quarantine.with_name("detail.full")
        for number in range(20):
            assert other.send(interim(f"s{number}", **PACKETS["name in Latin-1"]))
        deadline = time.monotonic() + 120
        while not full.exists():
            assert other.send(interim("good"))
            assert time.monotonic() < deadline
        assert other.send(interim("s20", **PACKETS["name in Latin-1"]))
        names = []
        for path in (full, quarantine):
            with path.open("rb") as file:
                names += [dict(packet(each).pairs)["Acct-Session-Id"] for each in stanzas(file, Place())]
        assert names == [f"s{number}" for number in range(21)]
