"""`radmeter status`: how far behind the counters are, and what is wrong when that cannot be told."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.commands import Packets, Result, radmeter
from support.ledger import believe_old_arrivals, ingest
from support.processes import until
from support.servers import Connection

import radmeter as radmeter_package
from radmeter.ingest.registration import registered
from radmeter.ingest.store import Progress, Store
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

RECORD = '[["Acct-Status-Type","Start"]]'


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[tuple[Path, JournalWriter]]:
    directory = tmp_path / "journal"
    opened = JournalWriter(directory)
    yield directory, opened
    opened.close()


def reject(dsn: str, node: str, seqs: list[int]) -> None:
    """Ingest packets that cannot be counted: they move the checkpoint as others do."""
    store = Store(dsn)
    try:
        ingest(
            store,
            node,
            [{"seq": seq, "received_us": 1_700_000_000_000_001, "reason": "no", "pairs": []} for seq in seqs],
        )
    finally:
        store.close()


def ship(dsn: str, reader: JournalReader, count: int) -> None:
    """Ingest packets of a journal's only segment that cannot be counted."""
    (segment,) = reader.segments()
    store = Store(dsn)
    try:
        progress = registered(store, reader.node(), [segment])[segment.id].progress
        for entry in reader.read(segment, progress.seq, count):
            record = {"seq": entry.seq, "received_us": entry.received_at_us, "reason": "no", "pairs": []}
            progress = Progress(store.ingest(segment.id, progress, [record], entry.seq), entry.seq)
    finally:
        store.close()


def status(dsn: str | None, journal: Path, *arguments: str) -> tuple[Result, Any]:
    done = radmeter(dsn, "status", "--format", "json", *arguments, RADMETER_JOURNAL=str(journal))
    return done, json.loads(done.output)


def test_what_waits_in_the_journal_is_told_with_its_age(
    database: str, connection: Connection, journal: tuple[Path, JournalWriter]
) -> None:
    believe_old_arrivals(connection)
    directory, writer = journal
    now_us = int(time.time() * 1e6)
    seqs = [writer.append(now_us - age * 1_000_000, RECORD) for age in (90, 60, 30)]
    reader = JournalReader(directory)
    node = reader.node()
    ship(database, reader, 1)
    done, state = status(database, directory, "--sample", "0")
    assert (done.exit_code, done.errors, state["problems"]) == (0, "", [])
    assert state["journal"]["node"] == node
    assert state["journal"]["waiting_records"] == 2
    assert 60 <= state["journal"]["oldest_waiting_seconds"] < 90
    (told,) = state["nodes"]
    assert (told["node"], told["last_seq"], told["records"], told["rejected"]) == (node, seqs[0], 1, 1)
    received_at = datetime.fromtimestamp((now_us - 90 * 1_000_000) / 1e6, UTC)
    assert abs(datetime.fromisoformat(told["last_received_at"]) - received_at) < timedelta(milliseconds=1)
    ship(database, reader, 2)
    _, state = status(database, directory, "--sample", "0")
    assert state["journal"]["waiting_records"] == 0
    assert state["journal"]["oldest_waiting_seconds"] is None


def test_what_an_operator_has_to_do_is_counted(database: str, journal: tuple[Path, JournalWriter]) -> None:
    directory, writer = journal
    writer.append(1, RECORD)
    with Packets(database) as packets:
        packets.add("Start", "s1", NAS_Identifier="one")
        packets.add("Start", "s2", NAS_Identifier="two")
        packets.add("Stop", "s3", NAS_Identifier="two")
    reject(database, "other", [1, 2, 3])
    _, state = status(database, directory, "--sample", "0")
    assert (state["open_sessions"], state["discovered_routers"], state["rejected_packets"]) == (2, 2, 3)
    assert [node["node"] for node in state["nodes"]] == ["other", "test-node"]


def test_packets_per_second_are_measured_while_it_looks(
    database: str, journal: tuple[Path, JournalWriter]
) -> None:
    directory, writer = journal
    writer.append(1, RECORD)
    reject(database, "busy", [1])
    stop = threading.Event()

    def ship() -> None:
        seq = 1
        while not stop.wait(0.05):
            reject(database, "busy", list(range(seq + 1, seq + 11)))
            seq += 10

    shipper = threading.Thread(target=ship)
    shipper.start()
    try:
        _, state = status(database, directory, "--sample", "0.7")
    finally:
        stop.set()
        shipper.join()
    # At most 200 a second; on a machine that is busy otherwise, fewer.
    assert 0 < state["packets_per_second"] <= 250
    assert state["nodes"][0]["packets_per_second"] == state["packets_per_second"]
    _, state = status(database, directory, "--sample", "0.1")
    assert state["packets_per_second"] == 0


def test_what_is_shipped_while_it_measures_does_not_wait(
    database: str, connection: Connection, journal: tuple[Path, JournalWriter]
) -> None:
    directory, writer = journal
    writer.append(int(time.time() * 1e6), RECORD)
    measures = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'idle' AND query = 'ROLLBACK'"
    )
    told: list[Any] = []
    command = threading.Thread(
        target=lambda: told.append(status(database, directory, "--sample", "3")[1]["journal"])
    )
    command.start()
    try:
        until("status measures", lambda: connection.execute(measures).fetchone())
        ship(database, JournalReader(directory), 1)
    finally:
        command.join()
    assert told[0]["waiting_records"] == 0


def test_without_the_database_the_journal_is_told_and_the_exit_code_is_1(
    journal: tuple[Path, JournalWriter],
) -> None:
    directory, writer = journal
    writer.append(1, RECORD)
    done, state = status("host=/nonexistent", directory)
    assert done.exit_code == 1
    assert state["journal"]["segments"] == 1
    assert state["journal"]["waiting_records"] is None
    assert state["nodes"] is None
    assert [problem.split(":")[0] for problem in state["problems"]] == ["database", "journal"]
    assert "only the database knows" in state["problems"][1]
    shown = radmeter("host=/nonexistent", "status", RADMETER_JOURNAL=str(directory))
    assert shown.exit_code == 1
    assert "problem: database: " in shown.errors


def test_without_a_journal_the_database_is_told_and_the_exit_code_is_1(database: str, tmp_path: Path) -> None:
    done, state = status(database, tmp_path / "none", "--sample", "0")
    assert done.exit_code == 1
    assert state["open_sessions"] == 0
    (problem,) = state["problems"]
    assert problem.startswith(f"journal: there is no journal in {tmp_path / 'none'}")
    assert not (tmp_path / "none").exists()


def test_a_segment_that_cannot_be_read_is_a_problem(
    database: str, journal: tuple[Path, JournalWriter]
) -> None:
    directory, writer = journal
    writer.append(1, RECORD)
    writer.close()
    (segment,) = directory.glob("segment-*.log")
    segment.write_bytes(b"no database at all" * 1000)
    done, state = status(database, directory, "--sample", "0")
    assert done.exit_code == 1
    assert state["problems"] == [f"journal: the segment {segment} cannot be read"]


def test_without_any_database_it_says_so_and_makes_none(tmp_path: Path) -> None:
    done, state = status(None, tmp_path)
    assert done.exit_code == 1
    assert "there is no database in /nonexistent/state/postgresql yet" in state["problems"][0]


def test_csv_has_a_line_for_each_value(database: str, journal: tuple[Path, JournalWriter]) -> None:
    directory, writer = journal
    writer.append(1, RECORD)
    reject(database, "other", [1])
    done = radmeter(database, "status", "--sample", "0", "--format", "csv", RADMETER_JOURNAL=str(directory))
    values = dict(csv.reader(io.StringIO(done.output)))
    assert values["name"] == "value"
    assert values["journal.waiting_records"] == "1"
    assert values["nodes.other.last_seq"] == "1"
    assert values["packets_per_second"] == ""


def test_the_table_is_for_people(database: str, journal: tuple[Path, JournalWriter]) -> None:
    directory, writer = journal
    writer.append(1, RECORD)
    reject(database, "other", [1])
    done = radmeter(database, "status", "--sample", "0.1", RADMETER_JOURNAL=str(directory))
    assert done.exit_code == 0
    shown = [line.split() for line in done.output.splitlines()]
    assert ["journal", str(directory)] in shown
    assert ["node", "other"] in shown
    assert ["rejected", "packets", "1,", "in"] in [words[:4] for words in shown]
    assert ["left", "out,", "last", "day", "0"] in shown


def test_replayed_files_are_one_line(database: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute(
        """INSERT INTO ingest_checkpoint (source, last_seq, records, rejected, role, updated_at)
           SELECT 'detail:' || lpad(number::text, 16, '0'), 500, 500, 1, session_user,
                  '2026-03-01T12:00Z'::timestamptz + number * interval '1 minute'
           FROM generate_series(1, 30) AS number"""
    )
    reject(database, "other", [1])
    shown = radmeter(database, "status", "--sample", "0", RADMETER_JOURNAL=str(tmp_path)).output.splitlines()
    assert [line.split()[1] for line in shown if line.startswith("node ")] == ["other"]
    (line,) = [line for line in shown if line.startswith("replayed files")]
    assert " ".join(line.split()) == (
        "replayed files 30 files, 15,000 records, 30 of them rejected, the last 2026-03-01 12:30:00 UTC"
    )
    every = radmeter(database, "status", "--sample", "0", "--format", "json", RADMETER_JOURNAL=str(tmp_path))
    assert len(json.loads(every.output)["nodes"]) == 31


# Looks like a radiusd that has its journal open.
RADIUSD = """
import sys; from pathlib import Path; from radmeter.plugin.journal.locks import WRITER, RoleLock
RoleLock(Path(sys.argv[1]), WRITER).acquire()
print(flush=True); sys.stdin.read()
"""


def test_the_journal_that_a_radiusd_writes_instead_is_named_in_one_line(tmp_path: Path) -> None:
    theirs, ours, program = (tmp_path / name for name in ("theirs", "ours", "freeradius"))
    theirs.mkdir()
    # Not a link: the name of the program that is executed counts.
    shutil.copy(Path(sys.executable).resolve(), program)

    def used_instead(journal: Path) -> list[str]:
        _, state = status("host=/nonexistent", journal)
        shown = radmeter("host=/nonexistent", "status", RADMETER_JOURNAL=str(journal)).output.splitlines()
        lines = [line for line in shown if line.startswith("  used instead")]
        assert len(lines) == (1 if state["journal"]["used_instead"] else 0)
        return [each for each in state["journal"]["used_instead"] if f"process {process.pid})" in each]

    with subprocess.Popen(
        [program, "-c", RADIUSD, theirs],
        env={
            **os.environ,
            "PYTHONHOME": sys.base_prefix,
            "PYTHONPATH": str(Path(radmeter_package.__file__).parents[1]),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert used_instead(ours) == [f"radiusd (process {process.pid}) writes to the journal {theirs}"]
            assert used_instead(theirs) == []
        finally:
            process.communicate()


def test_requests_to_routers_and_silent_routers(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    def line() -> str:
        done = radmeter(database, "status", "--sample", "0", RADMETER_JOURNAL=str(tmp_path / "journal"))
        return next(each for each in done.output.splitlines() if each.startswith("requests to routers"))

    assert line() == "requests to routers   0 under way"
    with Packets(database) as packets:
        packets.add("Start", "s1", User_Name="bob", NAS_Identifier="lobby")
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, created_at, state, ended_at)
           VALUES (1, 'bob', 'disconnect', 'over', now() - interval '2 minutes', 'waiting', NULL),
                  (1, 'bob', 'disconnect', 'over', now() - interval '2 hours', 'failed', now() - interval '1 hour'),
                  (1, 'bob', 'disconnect', 'over', now() - interval '2 days', 'failed', now() - interval '25 hours');
           INSERT INTO radmeter.router_coa_state (router_id, silent_since) VALUES (1, now())"""
    )
    assert line() == (
        "requests to routers   1 under way, the oldest 2 min 0 s old, 1 failed within a day, 1 router does not answer. "
        "See `radmeter doctor`"
    )
    done = radmeter(
        *(database, "status", "--sample", "0", "--format", "json"), RADMETER_JOURNAL=str(tmp_path / "journal")
    )
    found = json.loads(done.output)["requests"]
    assert (found["under_way"], found["failed_today"], found["silent_routers"]) == (1, 1, 1)
