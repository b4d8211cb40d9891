"""The journal's reader: order, deletion, damage."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from radmeter.errors import JournalError, JournalLocked
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.record_format import HEADER, unpack
from radmeter.plugin.journal.segment_writer import SegmentWriter
from radmeter.plugin.journal.writer import JournalWriter

TEXT = f'["{"x" * 700}"]'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(directory: Path) -> Iterator[JournalWriter]:
    journal = JournalWriter(directory, sync="interval", segment_bytes=20_000)
    yield journal
    journal.close()


@pytest.fixture
def reader(directory: Path) -> Iterator[JournalReader]:
    reader = JournalReader(directory)
    yield reader
    reader.close()


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("segment-*.log"))


def first_seq(segment: Path) -> int:
    return int(segment.stem.removeprefix("segment-"))


def fill(directory: Path, *, sync: str = "interval", segment_bytes: int = 20_000) -> list[Path]:
    """Make a journal of closed segments with a hundred records, numbered from 1 without gaps."""
    journal = JournalWriter(directory, sync=sync, segment_bytes=segment_bytes)
    for n in range(100):
        journal.append(n, TEXT)
    journal.close()
    assert len(segments(directory)) >= 4 or segment_bytes > 20_000
    return segments(directory)


def test_without_a_journal_there_is_nothing_to_read(reader: JournalReader) -> None:
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


def test_a_reader_sees_what_was_appended_a_moment_ago(journal: JournalWriter, reader: JournalReader) -> None:
    for n in range(300):
        seq = journal.append(n, TEXT)
        assert [(entry.seq, entry.received_at_us) for entry in reader.read(seq - 1, 10)] == [(seq, n)]


def test_depth_counts_the_records_that_wait(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
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
    journal: JournalWriter, reader: JournalReader, directory: Path
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


def test_a_reader_in_the_middle_of_a_segment_sees_it_grow_and_end(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    journal.append(1, TEXT)
    assert [entry.seq for entry in reader.read(0, 1)] == [1]
    for n in range(2, 200):
        assert journal.append(1, TEXT) == n
    journal.close()
    assert [entry.seq for entry in reader.read(1, 1000)] == list(range(2, 200))
    assert [entry.seq for entry in JournalReader(directory).read(0, 1000)] == list(range(1, 200))


def test_any_record_is_found_wherever_it_lies(directory: Path) -> None:
    journal = JournalWriter(directory)
    texts = [f'["{"x" * (n * 37 % 5000)}"]' for n in range(1000)]
    for n, text in enumerate(texts):
        journal.append(n, text)
    journal.close()
    for after in (0, 1, 2, 499, 500, 777, 998, 999, 1000, 5000, 2**40):
        other = JournalReader(directory)
        assert [entry.pairs for entry in other.read(after, 2)] == texts[after : after + 2]
        depth = other.depth(after)
        assert depth[:2] == (max(0, 1000 - after), after if after < 1000 else None)
        other.close()


def test_reading_does_not_change_the_records_of_a_live_journal(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    journal.append(1, TEXT)
    reader.read(0, 10)
    reader.close()  # must not remove the log while the writer uses it
    journal.append(2, TEXT)
    assert [entry.received_at_us for entry in reader.read(0, 10)] == [1, 2]


def test_reading_leaves_the_access_time_alone(directory: Path, reader: JournalReader) -> None:
    (segment, *_) = fill(directory)
    os.utime(
        segment, ns=(0, 1)
    )  # last read before it was last written: then relatime would update the access time
    assert reader.read(0, 1)
    assert segment.stat().st_atime_ns == 0


def test_a_journal_of_another_owner_can_be_read(
    directory: Path, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(directory)
    opened = os.open

    def refuse(path: Path, flags: int, *arguments: int) -> int:
        if flags & os.O_NOATIME:
            raise PermissionError("open(2): not the owner")
        return opened(path, flags, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    assert len(reader.read(0, 1)) == 1


def test_a_second_shipper_gets_an_error_that_names_the_first(
    journal: JournalWriter, reader: JournalReader
) -> None:
    journal.append(1, TEXT)
    with reader.lock():
        other = JournalReader(reader._directory)
        with pytest.raises(JournalLocked, match=f"reader already: process {os.getpid()} on"), other.lock():
            pass
        code = f"""
from radmeter.plugin.journal.reader import JournalReader
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


def records_at(segment: Path) -> list[tuple[int, int]]:
    """Return where each record of a segment begins and ends."""
    content, places, start = segment.read_bytes(), [], len(HEADER)
    while record := unpack(content, start):
        places.append((start, record.end))
        start = record.end
    return places


def damage(segment: Path, kind: str) -> None:
    """Damage a segment at its fifth record."""
    content, (start, end) = bytearray(segment.read_bytes()), records_at(segment)[4]
    if kind == "a bit":
        content[end - 100] ^= 1
    elif kind == "the length":
        content[start + 8] ^= 1
    elif kind == "zeros":
        content[start : end + 4096] = bytes(end + 4096 - start)
    elif kind == "taken out":
        del content[start:end]
    elif kind == "the first ones taken out":
        del content[len(HEADER) : start]
    elif kind == "cut off":
        del content[start + 10 :]
    segment.write_bytes(content)


DAMAGE = ["a bit", "the length", "zeros", "taken out", "the first ones taken out", "cut off"]


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_damage_in_a_full_segment_is_reported_and_not_skipped(
    directory: Path, reader: JournalReader, kind: str, sync: str
) -> None:
    bad = fill(directory, sync=sync)[0]
    damage(bad, kind)
    after = 0
    if "first" not in kind:
        after = reader.read(0, 1000)[-1].seq
        assert after == 4, "what comes before is given out first"
    with pytest.raises(JournalError, match=rf"segment {bad} cannot be read: records? {after + 1} .*missing"):
        reader.read(after, 1000)
    assert reader.drop_through(after) == 0


@pytest.mark.parametrize("kind", DAMAGE[:-1])
def test_damage_in_the_last_segment_of_an_opening_is_told_apart_from_its_end(
    directory: Path, reader: JournalReader, kind: str
) -> None:
    bad = fill(directory, sync="packet", segment_bytes=64 << 20)[0]
    damage(bad, kind)
    with pytest.raises(JournalError, match=f"segment {bad} cannot be read"):
        reader.read(0 if "first" in kind else 4, 1000)
    fill(directory)
    with pytest.raises(JournalError, match=f"segment {bad} cannot be read"):
        reader.read(0 if "first" in kind else 4, 1000)
    assert reader.drop_through(4) == 0


@pytest.mark.parametrize("synced", [True, False])
def test_records_behind_a_gap_prove_damage_only_if_the_missing_ones_were_durable(
    directory: Path, reader: JournalReader, synced: bool
) -> None:
    directory.mkdir()
    segment = SegmentWriter(directory, 1, sync_commits=False, full_bytes=1 << 20)
    for n in range(1, 21):
        segment.commit([(n, TEXT.encode())])
        if synced and n == 5:
            segment.sync()
    segment.close()
    damage(segment.path, "zeros")  # a power cut leaves zeros for pages that were not written yet
    read = [entry.seq for entry in reader.read(0, 100)]
    assert read == [1, 2, 3, 4]
    if synced:
        with pytest.raises(JournalError, match="record 5 is missing at byte"):
            reader.read(4, 100)
    else:
        assert reader.read(4, 100) == []


class Laid:
    """A segment that is written commit by commit, and then loses a record."""

    def __init__(self, directory: Path, first_seq: int = 1, *, sync_commits: bool = False) -> None:
        directory.mkdir(exist_ok=True)
        self.segment = SegmentWriter(directory, first_seq, sync_commits=sync_commits, full_bytes=1 << 20)

    def commit(self, count: int) -> None:
        self.segment.commit([(1, TEXT.encode())] * count)

    def lose(self, seq: int) -> None:
        """Close it, and replace a record by zeros, like a page that was never written or is lost."""
        self.segment.close()
        content = bytearray(self.segment.path.read_bytes())
        start, end = records_at(self.segment.path)[seq - self.segment.first_seq]
        content[start:end] = bytes(end - start)
        self.segment.path.write_bytes(content)


def is_damage(reader: JournalReader, seq: int) -> bool:
    """Tell whether the reader takes a lost record for damage, not for the end of the log."""
    try:
        found = reader.read(seq - 1, 100)
    except JournalError as error:
        return f"record {seq} is missing at byte" in str(error)
    assert found == []
    return False


@pytest.mark.parametrize("first_seq", [1, 2**33])
@pytest.mark.parametrize("sync_commits", [True, False])
def test_a_record_lost_from_its_own_commit_is_a_power_cut(
    directory: Path, reader: JournalReader, first_seq: int, sync_commits: bool
) -> None:
    laid = Laid(directory, first_seq, sync_commits=sync_commits)
    laid.commit(2)
    laid.lose(first_seq)
    assert not is_damage(reader, first_seq)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_record_lost_from_a_later_commit_is_a_power_cut(
    directory: Path, reader: JournalReader, lost: int
) -> None:
    laid = Laid(directory, sync_commits=True)
    laid.commit(1)
    laid.commit(3)
    laid.lose(1 + lost)
    assert [entry.seq for entry in reader.read(0, 100)] == list(range(1, 1 + lost))
    assert not is_damage(reader, 1 + lost)


@pytest.mark.parametrize(("commits", "lost"), [((1, 1), 1), ((2, 1), 2), ((2, 1), 1), ((1, 2, 2), 3)])
def test_a_record_lost_before_the_commit_behind_it_began_is_damage(
    directory: Path, reader: JournalReader, commits: tuple[int, ...], lost: int
) -> None:
    laid = Laid(directory, sync_commits=True)
    for count in commits:
        laid.commit(count)
    laid.lose(lost)
    assert is_damage(reader, lost)


def test_a_sync_does_not_make_records_durable_that_are_written_during_it(
    directory: Path, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid = Laid(directory)
    laid.commit(1)

    def late(descriptor: int, sync: Callable[[int], None] = os.fdatasync) -> None:
        sync(descriptor)
        laid.commit(1)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", late)
        laid.segment.sync()
    laid.commit(1)
    laid.lose(2)
    assert not is_damage(reader, 2)


def test_records_of_a_failed_sync_are_not_durable(
    directory: Path, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid = Laid(directory)
    laid.commit(1)

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        with pytest.raises(OSError, match="Input/output"):
            laid.segment.sync()
    laid.commit(1)
    laid.lose(1)
    assert not is_damage(reader, 1)


def test_a_page_that_is_seen_late_is_not_damage(
    directory: Path, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid = Laid(directory, sync_commits=True)
    for _ in range(8):
        laid.commit(1)
    laid.segment.close()
    start, end = records_at(laid.segment.path)[4]
    assert [entry.seq for entry in reader.read(0, 4)] == [1, 2, 3, 4]
    reads: list[int] = []

    def late(descriptor: int, count: int, offset: int, pread: Callable[..., bytes] = os.pread) -> bytes:
        """Return zeros for the fifth record when it is read for the first time."""
        data = bytearray(pread(descriptor, count, offset))
        reads.append(offset)
        if len(reads) == 1:
            data[start - offset : end - offset] = bytes(end - start)
        return bytes(data)

    monkeypatch.setattr(os, "pread", late)
    assert reader.read(4, 100) == []
    assert reads == [start, start]
    assert [entry.seq for entry in reader.read(4, 100)] == [5, 6, 7, 8]


def test_damage_in_a_segment_that_was_shipped_stops_nothing(directory: Path, reader: JournalReader) -> None:
    shipped, following, *_ = fill(directory, sync="packet")
    damage(shipped, "zeros")
    after = first_seq(following) - 1
    assert [entry.seq for entry in reader.read(after, 2)] == [after + 1, after + 2]


def test_a_reader_beside_a_busy_writer_reports_no_damage(directory: Path) -> None:
    code = f"""
import sys
from radmeter.plugin.journal.writer import JournalWriter
journal = JournalWriter({str(directory)!r}, sync="interval", interval_seconds=0.0001, segment_bytes=3 << 20)
for n in range(30000):
    journal.append(n, '["' + "x" * (n * 37 % 3000) + '"]')
journal.close()
"""
    with subprocess.Popen([sys.executable, "-c", code]) as writer:
        reader, seen = JournalReader(directory), 0
        while seen < 30_000:
            ended = writer.poll() is not None
            batch = reader.read(seen, 1000)
            assert [entry.seq for entry in batch] == list(range(seen + 1, seen + 1 + len(batch)))
            seen += len(batch)
            assert batch or not ended
        reader.close()
    assert writer.returncode == 0


@pytest.mark.parametrize("content", [b"", b"no segment at all" * 1000])
def test_another_file_in_place_of_a_segment_is_reported(
    directory: Path, reader: JournalReader, content: bytes
) -> None:
    fill(directory)[0].write_bytes(content)
    with pytest.raises(JournalError, match="cannot be read: it does not begin as a segment does"):
        reader.read(0, 1000)
