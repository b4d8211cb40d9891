"""What a journal's reader takes for damage, and what for the traces of a power cut."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.journals import TEXT, fill, first_seq

from radmeter.errors import JournalError
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.record_format import HEADER, unpack
from radmeter.plugin.journal.segment_writer import SegmentWriter


def records_at(segment: Path) -> list[tuple[int, int]]:
    """Where each record of a segment begins and ends."""
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
def test_damage_in_a_full_segment_is_told_and_not_passed_over(
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
def test_damage_in_the_last_segment_of_an_opening_is_told_from_its_end(
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
def test_records_behind_a_gap_prove_damage_only_if_what_is_missing_was_durable(
    directory: Path, reader: JournalReader, synced: bool
) -> None:
    directory.mkdir()
    segment = SegmentWriter(directory, 1, sync_commits=False, full_bytes=1 << 20)
    for n in range(1, 21):
        segment.commit([(n, TEXT.encode())])
        if synced and n == 5:
            segment.sync()
    segment.close()
    damage(segment.path, "zeros")  # what a power cut leaves of pages that were not written yet
    read = [entry.seq for entry in reader.read(0, 100)]
    assert read == [1, 2, 3, 4]
    if synced:
        with pytest.raises(JournalError, match="record 5 is missing at byte"):
            reader.read(4, 100)
    else:
        assert reader.read(4, 100) == []


class Laid:
    """A segment written commit by commit, of which a record is then lost."""

    def __init__(self, directory: Path, first_seq: int = 1, *, sync_commits: bool = False) -> None:
        directory.mkdir(exist_ok=True)
        self.segment = SegmentWriter(directory, first_seq, sync_commits=sync_commits, full_bytes=1 << 20)

    def commit(self, count: int) -> None:
        self.segment.commit([(1, TEXT.encode())] * count)

    def lose(self, seq: int) -> None:
        """Close it, and have zeros where a record was: a page that was not written, or is not there any more."""
        self.segment.close()
        content = bytearray(self.segment.path.read_bytes())
        start, end = records_at(self.segment.path)[seq - self.segment.first_seq]
        content[start:end] = bytes(end - start)
        self.segment.path.write_bytes(content)


def is_damage(reader: JournalReader, seq: int) -> bool:
    """Whether the reader takes a lost record for damage, and not for the end of the log."""
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


def test_what_was_written_during_a_sync_is_not_durable_by_it(
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


def test_what_a_failed_sync_was_to_save_is_not_durable(
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


def test_a_page_that_is_seen_late_is_no_damage(
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
        """Give zeros for the fifth record when it is looked at for the first time."""
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


def test_a_reader_beside_a_busy_writer_takes_nothing_for_damage(directory: Path) -> None:
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
def test_another_file_in_place_of_a_segment_is_told(
    directory: Path, reader: JournalReader, content: bytes
) -> None:
    fill(directory)[0].write_bytes(content)
    with pytest.raises(JournalError, match="cannot be read: it does not begin as a segment does"):
        reader.read(0, 1000)
