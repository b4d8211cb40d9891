"""What `radmeter doctor` says of the journal of this machine."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.doctoring import ask, faults, one, paste
from support.journals import segments
from support.shipping import fill, flip, packet

from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Path]:
    writer = JournalWriter(tmp_path / "journal")
    writer.append(time.time_ns() // 1000 - 3600 * 10**6, '[["User-Name","alice"]]')
    yield tmp_path / "journal"
    writer.close()


def test_a_journal_that_nobody_ships(database: str, journal: Path) -> None:
    found = faults(database, "journal", "shipper", RADMETER_JOURNAL=str(journal))
    assert {line.check: line.remedy for line in found} == {
        "journal": "radmeter ship",
        "shipper": "radmeter ship",
    }
    assert "1 record waits, the oldest for 1 h 0 min" in found[0].said


def test_a_journal_that_is_shipped(database: str, journal: Path) -> None:
    with JournalReader(journal).lock():
        lines = ask(database, "--only", "shipper", RADMETER_JOURNAL=str(journal))
    assert one(lines, "shipper").said.startswith(f"running (process {os.getpid()}); radiusd writes")


@pytest.mark.parametrize(("age", "level"), [(20, None), (65, "yellow"), (840, "yellow"), (905, "red")])
def test_how_long_a_record_may_wait(database: str, tmp_path: Path, age: int, level: str | None) -> None:
    writer = JournalWriter(tmp_path / "journal")
    writer.append(time.time_ns() // 1000 - age * 10**6, '[["User-Name","alice"]]')
    writer.append(time.time_ns() // 1000, '[["User-Name","bob"]]')
    writer.close()
    found = faults(database, "journal", RADMETER_JOURNAL=str(tmp_path / "journal"))
    assert [line.level for line in found] == ([level] if level else [])
    assert level is None or found[0].said.startswith("2 records wait, the oldest for")


def test_how_full_it_may_be(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "filled")
    for _ in range(8):
        writer.append(1, '["' + "x" * 400_000 + '"]')
    writer.close()
    reader = JournalReader(tmp_path / "filled")
    size = reader.depth({}).size_bytes
    reader.close()
    levels = []
    for limit in (size * 2 + 1, size * 2, size * 10 // 9 + 1, size * 10 // 9):
        found = faults(
            None,
            "journal",
            RADMETER_JOURNAL=str(tmp_path / "filled"),
            RADMETER_JOURNAL_LIMIT_BYTES=str(limit),
        )
        levels.append([line.level for line in found if "of its limit" in line.said])
    assert levels == [[], ["yellow"], ["yellow"], ["red"]]


def test_a_journal_near_its_limit(tmp_path: Path) -> None:
    journal = tmp_path / "filled"
    writer = JournalWriter(journal)
    for _ in range(3):
        writer.append(1, '["' + "x" * 400_000 + '"]')
    writer.close()
    (found, *_) = faults(
        None, "journal", RADMETER_JOURNAL=str(journal), RADMETER_JOURNAL_LIMIT_BYTES=str(1 << 20)
    )
    assert found.level == "red"
    assert "of its limit" in found.said


def test_a_journal_that_nobody_may_write(journal: Path) -> None:
    mode = journal.stat().st_mode
    journal.chmod(0o555)
    try:
        found = [
            line for line in faults(None, "journal", RADMETER_JOURNAL=str(journal)) if line.check == "journal"
        ]
        assert f"nobody can write {journal} (mode 0555)" in found[0].said
        paste(found[0].remedy.replace("sudo ", ""))
        left = faults(None, "journal", RADMETER_JOURNAL=str(journal))
        assert not [line for line in left if "written" in line.said]
    finally:
        journal.chmod(mode)


def test_a_journal_with_a_damaged_segment(journal: Path) -> None:
    (segment,) = journal.glob("segment-*.log")
    content = bytearray(segment.read_bytes())
    content[0:8] = b"\xff" * 8
    segment.write_bytes(bytes(content))
    found = faults(None, "journal", RADMETER_JOURNAL=str(journal))
    assert any("damaged" in line.said for line in found), found


def test_a_journal_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("")
    found = faults(None, "journal", RADMETER_JOURNAL=str(tmp_path / "journal"))
    assert any("is not a directory" in line.said for line in found)


def test_the_remedy_for_a_segment_that_cannot_be_read(database: str, tmp_path: Path) -> None:
    places: dict[str, Any] = {"RADMETER_JOURNAL": str(tmp_path)}
    with closing(JournalWriter(tmp_path)) as writer:
        writer.append(time.time_ns() // 1000, packet(0))
        flip(segments(tmp_path)[0], 30)
        (red,) = faults(database, "journal", **places)
        assert red.remedy.startswith("sudo systemctl restart freeradius")
    with closing(JournalWriter(tmp_path)) as writer:  # radiusd was restarted
        writer.append(time.time_ns() // 1000, packet(1))
        (red,) = faults(database, "journal", **places)
        assert red.remedy == "radmeter ship"
        paste(f"{red.remedy} --until-empty", database, **places)
        assert faults(database, "journal", **places) == []
    (red,) = [line for line in faults(database, "incidents", **places) if "damaged" in line.said]
    paste(red.remedy, database, **places)
    assert faults(database, "incidents", **places) == []


def test_packets_in_a_journal_that_was_used_by_mistake_are_seen(database: str, tmp_path: Path) -> None:
    (tmp_path / "sudo").write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    fill(tmp_path / "jurnal", range(2))
    fill(tmp_path / "journal", range(2, 3))
    places: dict[str, Any] = {"RADMETER_JOURNAL": str(tmp_path / "journal")}
    (red,) = faults(database, "journal", **places)
    assert f"2 records are in the journal {tmp_path / 'jurnal'}, which nobody ships" in red.said
    paste(f"PATH={tmp_path}:$PATH; {red.remedy}", database, **places)
    assert faults(database, "journal", **places) == []
