"""The journal's reader: order, deletion, damage."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from radmeter.errors import JournalError, JournalLocked
from radmeter.journal import Journal, JournalReader

TEXT = f'["{"x" * 700}"]'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(directory: Path) -> Iterator[Journal]:
    journal = Journal(directory, sync="interval", segment_bytes=100_000)
    yield journal
    journal.close()


@pytest.fixture
def reader(directory: Path) -> Iterator[JournalReader]:
    reader = JournalReader(directory)
    yield reader
    reader.close()


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("segment-*.sqlite"))


def first_seq(segment: Path) -> int:
    return int(segment.stem.removeprefix("segment-"))


def fill(directory: Path, count: int = 100) -> list[Path]:
    """Make a journal of several closed segments, numbered from 1 without a gap."""
    journal = Journal(directory, sync="interval", segment_bytes=100_000)
    for n in range(count):
        journal.append(n, TEXT)
    journal.close()
    assert len(segments(directory)) >= 4
    return segments(directory)


def test_where_no_journal_is_there_is_nothing_to_read(reader: JournalReader) -> None:
    assert reader.read(0, 10) == []
    assert reader.depth(0) == (0, None, 0, 0, ())
    assert reader.drop_through(10**18) == 0
    with pytest.raises(JournalError, match=r"there is no journal in .* yet"):
        reader.node()
    with pytest.raises(JournalError, match="No such file or directory"), reader.lock():
        pass


def test_batches_follow_each_other_over_segments_and_openings(directory: Path, reader: JournalReader) -> None:
    fill(directory)
    fill(directory)
    seen, after = [], 0
    while batch := reader.read(after, 7):
        assert len(batch) == 7 or batch[-1].seq > 2**32
        seen += batch
        after = batch[-1].seq
    assert [entry.received_at_us for entry in seen] == [*range(100), *range(100)]
    assert [entry.seq for entry in seen[:100]] == list(range(1, 101))
    assert [entry.seq - seen[100].seq for entry in seen[100:]] == list(range(100))


def test_a_reader_sees_what_was_appended_a_moment_ago(journal: Journal, reader: JournalReader) -> None:
    for n in range(300):
        seq = journal.append(n, TEXT)
        assert [(entry.seq, entry.received_at_us) for entry in reader.read(seq - 1, 10)] == [(seq, n)]


def test_depth_is_what_waits(journal: Journal, reader: JournalReader, directory: Path) -> None:
    for n in range(100):
        journal.append(1000 + n, TEXT)
    depth = reader.depth(0)
    assert (depth.records, depth.oldest_received_at_us, depth.unreadable) == (100, 1000, ())
    assert depth.segments == len(segments(directory))
    assert depth.size_bytes == sum(path.stat().st_size for path in directory.iterdir())
    assert reader.depth(40)[:2] == (60, 1040)
    assert reader.depth(99)[:2] == (1, 1099)
    assert reader.depth(100)[:2] == (0, None)


def test_only_segments_shipped_to_their_last_record_are_dropped(
    directory: Path, reader: JournalReader
) -> None:
    before = fill(directory)
    second, third = first_seq(before[1]), first_seq(before[2])
    assert reader.drop_through(second - 2) == 0
    assert reader.drop_through(third - 2) == 1
    assert segments(directory) == before[1:]
    assert [entry.seq for entry in reader.read(0, 1000)] == list(range(second, 101))
    assert reader.drop_through(third - 1) == 1
    assert segments(directory) == before[2:]


def test_the_newest_segment_is_never_dropped(
    journal: Journal, reader: JournalReader, directory: Path
) -> None:
    last = journal.append(1, TEXT)
    assert reader.drop_through(last) == 0
    assert reader.drop_through(2**62) == 0
    for _ in range(100):
        last = journal.append(1, TEXT)
    newest = segments(directory)[-1]
    reader.drop_through(2**62)
    assert segments(directory) == [newest]
    last = journal.append(1, TEXT)
    assert reader.read(last - 1, 10)[0].seq == last


def test_the_last_segment_of_an_earlier_opening_is_dropped_when_shipped(
    directory: Path, reader: JournalReader
) -> None:
    before = fill(directory)
    after = fill(directory)
    assert reader.drop_through(99) == len(before) - 1
    assert reader.drop_through(100) == 1
    assert segments(directory) == after[len(before) :]


def test_a_dropped_segment_takes_its_log_with_it(
    journal: Journal, reader: JournalReader, directory: Path
) -> None:
    for _ in range(100):
        last = journal.append(1, TEXT)
    assert len(list(directory.glob("*-wal"))) > 1, "full segments still have their logs"
    reader.drop_through(last)
    (newest,) = segments(directory)
    names = {path.name for path in directory.iterdir()}
    assert names == {"node", "writer.lock", newest.name, f"{newest.name}-wal", f"{newest.name}-shm"}


def test_a_reader_in_the_middle_of_a_segment_blocks_neither_writing_nor_roll_over(
    journal: Journal, directory: Path
) -> None:
    journal.append(1, TEXT)
    other = sqlite3.connect(segments(directory)[0], isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM record").fetchall()
    for n in range(2, 200):
        assert journal.append(1, TEXT) == n
    journal.close()
    assert other.execute("SELECT count(*) FROM record").fetchone() == (1,)
    other.close()
    assert len(JournalReader(directory).read(0, 1000)) == 199


def test_reading_does_not_change_the_records_of_a_live_journal(
    journal: Journal, reader: JournalReader, directory: Path
) -> None:
    journal.append(1, TEXT)
    reader.read(0, 10)
    reader.close()  # must not take the log from under the writer
    journal.append(2, TEXT)
    assert [entry.received_at_us for entry in reader.read(0, 10)] == [1, 2]


def test_a_second_shipper_is_told_who_the_first_is(journal: Journal, reader: JournalReader) -> None:
    journal.append(1, TEXT)
    with reader.lock():
        other = JournalReader(reader._directory)
        with pytest.raises(JournalLocked, match=f"reader already: process {os.getpid()} on"), other.lock():
            pass
        code = f"""
from radmeter.journal import JournalReader
with JournalReader({str(reader._directory)!r}).lock(): pass
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"JournalLocked: the journal {reader._directory} has its reader already" in run.stderr
    with other.lock():
        pass


def test_a_corrupt_segment_stops_reading_before_it_until_it_is_moved_away(
    directory: Path, reader: JournalReader
) -> None:
    before = fill(directory)
    bad, following = before[1], before[2]
    bad.write_bytes(b"\xff" * bad.stat().st_size)
    batch = reader.read(0, 1000)
    assert [entry.seq for entry in batch] == list(range(1, first_seq(bad)))
    with pytest.raises(JournalError, match=f"segment {bad} cannot be read: .*skips nothing"):
        reader.read(batch[-1].seq, 1000)
    assert reader.depth(0).unreadable == (str(bad),)
    assert reader.drop_through(batch[-1].seq) == 1
    assert reader.drop_through(first_seq(following) - 2) == 0, "a segment that cannot be read is kept"
    bad.rename(directory.parent / "for rescue")
    assert reader.read(batch[-1].seq, 1000)[0].seq == first_seq(following)


def test_records_before_a_corrupt_page_are_read_first(directory: Path, reader: JournalReader) -> None:
    bad = fill(directory, count=400)[0]
    content = bytearray(bad.read_bytes())
    assert len(content) >= 4 * 4096
    content[-4096:] = b"\0" * 4096
    bad.write_bytes(content)
    batch = reader.read(0, 1000)
    assert [entry.seq for entry in batch] == list(range(1, len(batch) + 1))
    assert len(batch) < first_seq(segments(directory)[1]) - 1
    with pytest.raises(JournalError, match=f"segment {bad} cannot be read"):
        reader.read(batch[-1].seq, 1000)


@pytest.mark.parametrize(
    ("damage", "missing"),
    [
        ("DELETE FROM record WHERE seq = 5", "records 5 to 5 are missing"),
        ("DELETE FROM record WHERE seq < 5", "records 1 to 4 are missing"),
        ("DELETE FROM record WHERE seq > 9", "records 10 to .* are missing"),
    ],
)
def test_missing_records_are_told_and_not_passed_over(
    directory: Path, reader: JournalReader, damage: str, missing: str
) -> None:
    damaged = sqlite3.connect(fill(directory)[0])
    damaged.execute(damage)
    damaged.commit()
    damaged.close()
    after = 0
    if "< 5" not in damage:
        after = reader.read(0, 1000)[-1].seq
        assert after < 10, "what comes before is given out first"
    with pytest.raises(JournalError, match=missing):
        reader.read(after, 1000)


def test_an_empty_file_in_place_of_a_segment_is_told(directory: Path, reader: JournalReader) -> None:
    fill(directory)[0].write_bytes(b"")
    with pytest.raises(JournalError, match="cannot be read: no such table"):
        reader.read(0, 1000)
