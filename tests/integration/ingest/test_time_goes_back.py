"""A database that is restored, a journal that is copied, put back or damaged: everything counts once, or it is said."""

import errno
import json
import logging
import os
import shutil
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.backups import backup
from support.clocks import wall_clock_ahead
from support.journals import old_segment, segments
from support.logins import as_role, login_role
from support.processes import eventually
from support.shipping import (
    SEGMENT_BYTES,
    counted,
    fill,
    flip,
    incidents,
    once,
    packet,
    record_offset,
    ship,
    shipping,
)

from radmeter.ingest import kept_figures, orphans, shipper
from radmeter.ingest.findings import Findings, Said
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.known import Known
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.record_format import MARK, pack
from radmeter.plugin.journal.segment_format import HEADER_1
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(180, func_only=True)

ID = "5b8e1f0a-0000-4000-8000-000000000001"


def test_a_restored_database_gets_what_it_lacks(tmp_path: Path, database: str) -> None:
    fill(tmp_path, range(100))
    ship(tmp_path, database)
    with backup(database) as restore:
        fill(tmp_path, range(100, 700))
        ship(tmp_path, database)
        assert len(segments(tmp_path / files.SHIPPED)) > 3
        restore()
        fill(tmp_path, range(700, 800))
        ship(tmp_path, database)
        with psycopg.connect(database, autocommit=True) as connection:
            assert counted(connection) == once(range(800))
            assert incidents(connection) == [("rewound", 600, True)]
            assert not segments(tmp_path / files.AGAIN)
        restore()  # and a second time
        ship(tmp_path, database)
        with psycopg.connect(database, autocommit=True) as connection:
            assert counted(connection) == once(range(800))
            assert incidents(connection) == [("rewound", 700, True)]


def test_what_is_no_longer_kept_is_said_with_numbers_and_times(tmp_path: Path, database: str) -> None:
    fill(tmp_path, range(100))
    ship(tmp_path, database)
    with backup(database) as restore:
        fill(tmp_path, range(100, 700))
        ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
        assert not segments(tmp_path / files.SHIPPED)
        restore()
        fill(tmp_path, range(700, 800))
        ship(tmp_path, database)
    with psycopg.connect(database, autocommit=True) as connection:
        found = counted(connection)
        missing = [user for user in range(800) if f"user{user}" not in found]
        assert set(found.values()) == {1}
        assert missing
        rows = connection.execute(
            """SELECT segment, sum(records)::integer, min(from_at) < max(to_at) FROM radmeter.journal_incidents
               WHERE kind = 'missing' GROUP BY segment"""
        ).fetchall()
        assert sum(records for _, records, _ in rows) == len(missing)
        assert all(in_order for _, _, in_order in rows)
        ship(tmp_path, database)  # the same is not said twice
        assert connection.execute(
            "SELECT sum(records) FROM radmeter.journal_incidents WHERE kind = 'missing'"
        ).fetchone() == (len(missing),)


def test_a_copied_journal_goes_on_by_itself_and_what_both_hold_counts_once(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fill(first, range(200))
    ship(first, database)
    fill(first, range(200, 300))  # it waits in both
    shutil.copytree(first, second)
    fill(first, range(300, 400))
    fill(second, range(400, 500))
    for journal in (second, first):  # their rejects have the same numbers
        with closing(JournalWriter(journal)) as writer:
            writer.append(time.time_ns() // 1000, f"no packet of {journal.name}")
    for directory in (second, first, second):
        ship(directory, database)
    assert counted(connection) == once(range(500))
    assert connection.execute(
        "SELECT count(*), count(DISTINCT pairs::text) FROM rejected_packet"
    ).fetchone() == (2, 2)
    assert {kind for kind, *_ in incidents(connection)} == {"copied"}


def test_a_directory_that_is_put_back_loses_only_what_it_lost_and_says_it(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    journal, snapshot = tmp_path / "journal", tmp_path / "snapshot"
    fill(journal, range(150))
    ship(journal, database)
    shutil.copytree(journal, snapshot)
    fill(journal, range(150, 450))
    ship(journal, database)
    shutil.rmtree(journal)
    shutil.copytree(snapshot, journal)
    fill(journal, range(450, 600))
    ship(journal, database)
    assert counted(connection) == once(range(600))
    connection.execute("UPDATE radmeter.journal_segment SET seen_at = seen_at - interval '2 hours'")
    ship(journal, database)
    # The newest segment that was lost with the directory is not wholly counted, as far as anybody knows.
    assert ("missing", None, False) in incidents(connection)


def test_another_database_is_refused_until_it_is_accepted(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, range(300))
    ship(tmp_path, database)
    connection.execute("UPDATE radmeter.database_identity SET id = gen_random_uuid()")
    connection.execute(
        "TRUNCATE radacct, user_quota_usage, router_daily_usage, radmeter.journal_segment, ingest_checkpoint"
    )
    fill(tmp_path, range(300, 400))
    with caplog.at_level(logging.WARNING), shipping(tmp_path, database):
        eventually(lambda: "--accept-database" in caplog.text, True)
    assert counted(connection) == {}
    row = connection.execute("SELECT radmeter.database_id()::text").fetchone()
    assert row is not None
    ship(tmp_path, database, accept_database=row[0])
    assert counted(connection) == once(range(400))
    assert incidents(connection) == []


@pytest.mark.parametrize("where", [0, 40, -1])
def test_a_flipped_bit_costs_one_packet_and_says_which(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], where: int
) -> None:
    fill(tmp_path, range(300))
    path = segments(tmp_path)[1]
    count = path.read_bytes().count(MARK)
    number = where % count
    flip(path, record_offset(path, number) + 60)
    ship(tmp_path, database)
    missing = set(once(range(300))) - set(counted(connection))
    assert len(missing) == 1
    assert incidents(connection) == [("damaged", 1, False)]
    assert [each.name for each in segments(tmp_path / files.DAMAGED)] == [path.name]
    row = connection.execute(
        "SELECT first_seq, last_seq, from_at, to_at FROM radmeter.journal_incidents"
    ).fetchone()
    assert row is not None
    lost = int(missing.pop().removeprefix("user")) + 1
    assert row[:2] == (lost, lost)
    assert row[2] <= (row[3] or row[2])


def test_a_damaged_header_holds_nobody_up_and_is_salvaged(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, range(300))
    path = segments(tmp_path)[1]
    inside = path.read_bytes().count(MARK)
    flip(path, 30)
    ship(tmp_path, database)
    assert len(counted(connection)) == 300 - inside
    assert {kind for kind, *_ in incidents(connection)} == {"damaged", "missing"}
    for again in (False, True):
        with closing(Store(database)) as store:
            results = list(
                orphans.ship(
                    store, orphans.segment_files(tmp_path / files.DAMAGED), files.read_node(tmp_path) or ""
                )
            )
        assert [(each.counted, each.had, each.lost, each.refused) for each in results] == [
            (0, inside, (), None) if again else (inside, 0, (), None)
        ]
    assert counted(connection) == once(range(300))


def lose_ledger(journal: Path) -> None:
    for name in ("ledger.json", "ledger-gone.jsonl"):
        (journal / name).unlink(missing_ok=True)


def kept_and_damaged(journal: Path, database: str, number: int) -> Path:
    """Ship a journal, lose its ledger, and damage the header of a kept segment. Return its path."""
    fill(journal, range(200))
    fill(journal, range(200, 210))  # begins far above, so nothing says how many records the one before had
    ship(journal, database)
    lose_ledger(journal)
    path = segments(journal / files.SHIPPED)[number]
    flip(path, 30)
    return path


def test_a_kept_segment_that_nobody_can_read_is_not_deleted(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    path = kept_and_damaged(tmp_path, database, -1)
    inside = path.read_bytes().count(MARK)
    for _ in range(2):
        ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
        assert [each.name for each in segments(tmp_path / files.DAMAGED)] == [path.name]
        assert incidents(connection) == [("damaged", None, False)]
    with closing(Store(database)) as store:
        (result,) = orphans.ship(store, [tmp_path / files.DAMAGED / path.name])
    assert (result.counted, result.had, result.refused) == (0, inside, None)
    assert counted(connection) == once(range(210))


def test_a_kept_segment_whose_successor_shows_that_all_is_counted_goes_as_others(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    path = kept_and_damaged(tmp_path, database, 0)
    ship(tmp_path, database)
    assert path.exists()
    ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
    assert not segments(tmp_path / files.SHIPPED)
    assert incidents(connection) == []


def test_a_kept_segment_that_nothing_identifies_stays_and_is_not_salvaged_as_new(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    path = kept_and_damaged(tmp_path, database, 0)
    segments(tmp_path / files.SHIPPED)[1].unlink()  # the one that names it
    for _ in range(2):
        ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
        assert segments(tmp_path / files.SHIPPED) == [path]
        assert incidents(connection) == [("damaged", None, False)]
    with closing(Store(database)) as store:
        (result,) = orphans.ship(store, [path])
    assert "--uncounted" in (result.refused or "")
    assert counted(connection) == once(range(210))


def test_a_kept_segment_on_a_bad_sector_is_not_deleted(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, range(300))
    ship(tmp_path, database)
    lose_ledger(tmp_path)
    path = segments(tmp_path / files.SHIPPED)[0]
    inode, pread = path.stat().st_ino, os.pread

    def bad(descriptor: int, length: int, offset: int) -> bytes:
        if offset and os.fstat(descriptor).st_ino == inode:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", bad)
    for _ in range(2):
        ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
        assert [each.name for each in segments(tmp_path / files.DAMAGED)] == [path.name]
        assert incidents(connection) == [("damaged", None, False)]
    assert counted(connection) == once(range(300))


def test_a_truncated_segment_is_noticed(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, range(300))
    path = segments(tmp_path)[1]
    count = path.read_bytes().count(MARK)
    os.truncate(path, record_offset(path, 10))
    ship(tmp_path, database)
    assert len(counted(connection)) == 300 - (count - 10)
    assert incidents(connection) == [("damaged", count - 10, False)]


@pytest.mark.parametrize("which", ["front", "middle", "end"])
def test_a_deleted_segment_is_noticed(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], which: str
) -> None:
    fill(tmp_path, range(100))
    ship(tmp_path, database)
    fill(tmp_path, range(100, 600))
    present = segments(tmp_path)
    path = {"front": present[1], "middle": present[2], "end": present[-1]}[which]
    lost = path.read_bytes().count(MARK)
    if which == "end":  # the shipper has seen it
        ship(tmp_path, database)
        connection.execute("UPDATE radmeter.journal_segment SET seen_at = seen_at - interval '2 hours'")
        lost = 0
    path.unlink()
    fill(tmp_path, range(600, 700))
    ship(tmp_path, database)
    assert len(counted(connection)) == 700 - lost
    assert "missing" in {kind for kind, *_ in incidents(connection)}


@pytest.mark.parametrize("lost", ["node", "ledger.json", "database", "ledger-gone.jsonl"])
def test_a_lost_file_of_the_journal_counts_nothing_twice(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], lost: str
) -> None:
    fill(tmp_path, range(200))
    ship(tmp_path, database)
    fill(tmp_path, range(200, 400))
    (tmp_path / lost).unlink(missing_ok=True)
    ship(tmp_path, database)
    fill(tmp_path, range(400, 450))
    ship(tmp_path, database)
    assert counted(connection) == once(range(450))
    assert incidents(connection) == []


@pytest.mark.parametrize(
    "content",
    [
        '{"segments": [{"id"',
        '{"segments": ["x"]}',
        '{"segments": {"x": 1}}',
        '{"segments": [], "rewound": ["x"]}',
        "[" * 100_000,
        "other types",
    ],
)
def test_a_damaged_ledger_is_put_aside(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], content: str
) -> None:
    fill(tmp_path, range(200))
    ship(tmp_path, database)
    if content == "other types":
        content = (tmp_path / "ledger.json").read_text().replace('"last_seq": ', '"last_seq": "1", "was": ')
    (tmp_path / "ledger.json").write_text(content)
    fill(tmp_path, range(200, 300))
    ship(tmp_path, database)
    assert counted(connection) == once(range(300))
    assert (tmp_path / "ledger.json.damaged").exists()


def test_kept_segments_go_by_size_and_by_time(tmp_path: Path, database: str) -> None:
    fill(tmp_path, range(600))
    ship(tmp_path, database, kept=KeptSegments(tmp_path, limit_bytes=3 * SEGMENT_BYTES))
    assert 0 < kept_figures.kept(tmp_path).size_bytes <= 3 * SEGMENT_BYTES
    kept = segments(tmp_path / files.SHIPPED)
    assert kept == sorted(kept)
    assert (
        kept[-1].name == f"segment-{segments(tmp_path)[0].name[8:28]}.log"
        or kept[-1].name < segments(tmp_path)[0].name
    )
    fill(tmp_path, range(600, 610))
    ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
    assert not segments(tmp_path / files.SHIPPED)


def ages(journal: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((journal / "ledger.json").read_text())["kept"]
    return found


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_clock_that_jumps_ahead_deletes_no_kept_segment(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, is_restarted: bool
) -> None:
    monkeypatch.setattr(shipper, "PRUNE_SECONDS", 0.0)
    fill(tmp_path, range(300))
    with shipping(tmp_path, database):
        eventually(lambda: len(segments(tmp_path / files.SHIPPED)), 2)
        eventually(lambda: len(ages(tmp_path)["ages"]), 2)
        if not is_restarted:
            wall_clock_ahead(monkeypatch, 3 * 86_400)
            before = ages(tmp_path)["at"]
            eventually(lambda: ages(tmp_path)["at"] > before + 2 * shipper.SAVE_SECONDS, True)
    if is_restarted:
        wall_clock_ahead(monkeypatch, 3 * 86_400)
        ship(tmp_path, database)
    assert len(segments(tmp_path / files.SHIPPED)) == 2


def test_kept_segments_get_older_while_no_shipper_runs(tmp_path: Path, database: str) -> None:
    fill(tmp_path, range(300))
    ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=1))
    (first, second) = segments(tmp_path / files.SHIPPED)
    content = json.loads((tmp_path / "ledger.json").read_text())
    content["kept"]["at"] -= 3590
    content["kept"]["ages"][f"{files.SHIPPED}/{first.name}"][1] += 20
    (tmp_path / "ledger.json").write_text(json.dumps(content))
    ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=1))
    assert segments(tmp_path / files.SHIPPED) == [second]


def test_a_segment_that_another_machine_has_is_not_vanished_by_a_wrong_clock(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fill(first, range(10))
    shutil.copytree(first, second)
    fill(second, range(10, 20))
    ship(second, database)
    wall_clock_ahead(monkeypatch, 3 * 86_400)
    ship(first, database)
    assert incidents(connection) == []
    connection.execute("UPDATE radmeter.journal_segment SET seen_at = seen_at - interval '2 hours'")
    ship(first, database)
    assert [kind for kind, *_ in incidents(connection)] == ["missing"]


def test_an_old_segment_is_known_when_the_journal_gets_another_name(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    old_segment(tmp_path, 1, [packet(user) for user in range(20)])
    ship(tmp_path, database)
    fill(tmp_path, range(20, 30))
    (tmp_path / "node").write_text("another-0a1b2c3d\n")
    fill(tmp_path, range(30, 40))
    ship(tmp_path, database)
    assert counted(connection) == once(range(40))
    assert incidents(connection) == []


def test_a_journal_of_the_old_format_keeps_its_name(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    (tmp_path / "node").write_text("radius1-0a0b0c0d\n")
    for first in (1, 2**33 + 1):
        numbers = range(first, first + 10)
        data = [pack(seq, seq, time.time_ns() // 1000, packet(seq % 2**32).encode()) for seq in numbers]
        files.segment_path(tmp_path, first).write_bytes(HEADER_1 + b"".join(data))
    ship(tmp_path, database)
    segments(tmp_path)[-1].write_bytes(bytes(4096))  # a power cut; all the others are shipped
    ship(tmp_path, database)
    assert not segments(tmp_path)
    fill(tmp_path, range(20, 30))
    ship(tmp_path, database)
    ship(tmp_path, database)
    assert (tmp_path / "node").read_text() == "radius1-0a0b0c0d\n"
    assert connection.execute("SELECT sum(records)::integer FROM radmeter.nodes").fetchone() == (30,)


def make_old(connection: psycopg.Connection[Any]) -> None:
    """Let what is known of segments be of long ago."""
    connection.execute(
        """UPDATE radmeter.journal_segment SET finished_at = finished_at - interval '900 days',
               seen_at = seen_at - interval '900 days'"""
    )


def test_a_segment_of_long_ago_is_not_missed(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    for users in (range(10), range(10, 20)):
        fill(tmp_path, users)
    ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
    make_old(connection)
    fill(tmp_path, range(20, 30))  # only now the second segment is finished
    ship(tmp_path, database)
    connection.execute("SELECT radmeter.drop_segments(1000)")
    ship(tmp_path, database)
    assert connection.execute("SELECT count(*) FROM radmeter.journal_segment").fetchone() == (3,)
    (tmp_path / "ledger.json").unlink()
    ship(tmp_path, database)
    assert incidents(connection) == []


def make_ledger_old(journal: Path) -> None:
    """Let what the ledger knows of segments that are no longer kept be of long ago."""
    path, ago = journal / "ledger-gone.jsonl", 900 * 86_400_000_000
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row |= {name: row[name] - ago for name in ("first_us", "last_us", "ended_us") if row[name]}
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.parametrize("hours", [48, 0])
def test_segments_whose_rows_were_removed_are_not_missed_after_a_restore(
    tmp_path: Path, database: str, hours: float
) -> None:
    """What was shipped after the backup is shipped again, or is missing: only that."""
    fill(tmp_path, range(400))
    ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
    with psycopg.connect(database, autocommit=True) as connection:
        make_old(connection)
        make_ledger_old(tmp_path)
        fill(tmp_path, range(400, 410))
        ship(tmp_path, database)
        removed = connection.execute("SELECT radmeter.drop_segments(1000)").fetchone()
        assert removed is not None
        assert removed[0] > 1
    with backup(database) as restore:
        fill(tmp_path, range(410, 600))
        ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=hours))
        restore()
        fill(tmp_path, range(600, 610))
        ship(tmp_path, database)
    with psycopg.connect(database, autocommit=True) as connection:
        found = counted(connection)
        missing = 610 - len(found)
        assert set(found.values()) == {1}
        assert (missing > 0) == (hours == 0)
        rows = connection.execute(
            "SELECT sum(records)::integer FROM radmeter.journal_incidents WHERE kind = 'missing'"
        ).fetchone()
        assert rows == (missing or None,)
        # No row came back for what was removed.
        assert connection.execute(
            "SELECT count(*) FROM radmeter.journal_segment WHERE first_seq = 1"
        ).fetchone() == (0,)


def test_a_damaged_segment_of_long_ago_is_not_shipped_again(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, range(300))
    path = segments(tmp_path)[1]
    flip(path, record_offset(path, 10) + 60)
    fill(tmp_path, range(300, 310))
    ship(tmp_path, database, kept=KeptSegments(tmp_path, hours=0))
    make_old(connection)
    for _ in range(2):
        ship(tmp_path, database)
        connection.execute("SELECT radmeter.drop_segments(1000)")
    assert connection.execute(
        "SELECT count(*), (SELECT sum(records)::integer FROM radmeter.nodes) FROM radmeter.journal_segment"
    ).fetchone() == (3, 309)  # the damaged one, the one before the newest, and that
    assert [kind for kind, *_ in incidents(connection)] == ["damaged"]


def test_a_rewind_that_a_pooler_hides_is_found(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was behind, and the batch that is next fits it all the same."""
    monkeypatch.setattr(shipper, "COMPARE_SECONDS", 0.0)
    fill(tmp_path, range(300))
    fill(tmp_path, range(300, 310))
    with shipping(tmp_path, database):
        eventually(lambda: len(counted(connection)), 310)
        connection.execute(
            """UPDATE radmeter.journal_segment SET last_seq = first_seq - 1, digest = 0, records = 0,
                   finished_at = NULL WHERE first_seq = 1"""
        )
        eventually(lambda: [(kind, done) for kind, _, done in incidents(connection)], [("rewound", True)])


def test_the_log_says_an_incident_once(
    tmp_path: Path,
    database: str,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each comparison finds it again: at each new segment, each hour, and at each connect."""
    monkeypatch.setattr(shipper, "COMPARE_SECONDS", 0.0)
    first, second = tmp_path / "first", tmp_path / "second"
    fill(first, range(300))
    segments(first)[1].unlink()  # before the shipper has seen it
    shutil.copytree(first, second)
    fill(second, range(1000, 1010))
    ship(second, database)

    def is_counted(user: int) -> bool:
        return f"user{user}" in counted(connection)

    caplog.clear()
    with caplog.at_level(logging.WARNING), shipping(first, database):
        for number in range(3):
            fill(first, range(2000 + 10 * number, 2010 + 10 * number))
            eventually(partial(is_counted, 2009 + 10 * number), True)
            connection.execute(
                "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    said = [record.message for record in caplog.records if "shipping waits" not in record.message]
    assert sorted({kind for kind, *_ in incidents(connection)}) == ["copied", "missing"]
    assert len(said) == len(set(said)) == 2


def test_an_incident_that_changed_or_began_again_is_said_again(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = Said()
    with closing(Store(database)) as store, caplog.at_level(logging.WARNING):
        row = store.open_segments("n-00000001", [{"id": ID, "format": 2, "first_seq": 1, "previous": None}])[
            0
        ]

        def compare(*ends: int) -> int:
            """Compare, and find that the database lacks a segment up to each of these numbers. Return what is said."""
            caplog.clear()
            said.begin_comparison()
            findings = Findings(store, "n-00000001", said=said)
            for end in ends:
                findings.lacks_rest(row, Known(ID, "segment", 2, "n-00000001", 1, None, end, most_seq=end))
            said.end_comparison()
            return len(caplog.records)

        assert [compare(10), compare(10), compare(20), compare(20)] == [1, 0, 1, 0]
        assert [compare(), compare(20)] == [0, 1]


@pytest.mark.parametrize("kind", ["another role", "another first number"])
def test_a_segment_that_somebody_else_registered_holds_up_no_other(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], kind: str
) -> None:
    fill(tmp_path, range(300))
    victim = JournalReader(tmp_path).segments()[1].header
    inside = segments(tmp_path)[1].read_bytes().count(MARK)
    with (
        login_role(connection, "radmeter_ingest") as mine,
        login_role(connection, "radmeter_ingest") as theirs,
        closing(Store(as_role(database, theirs if kind == "another role" else mine))) as other,
    ):
        node = "theirs-00000001" if kind == "another role" else victim.node or ""
        first_seq = victim.first_seq + (kind == "another first number")
        header = {"id": victim.id, "node": node, "format": 2, "first_seq": first_seq, "previous": None}
        other.open_segments(node, [header])
        dsn = as_role(database, mine)
        for _ in range(2):
            ship(tmp_path, dsn)
            assert len(counted(connection)) == 300 - inside
            assert ("damaged", None, False) in incidents(connection)
        assert not any(done for *_, done in incidents(connection))
        connection.execute("DELETE FROM radmeter.journal_segment WHERE id = %s", (victim.id,))
        fill(tmp_path, range(300, 310))
        ship(tmp_path, dsn)
        assert counted(connection) == once(range(310))
