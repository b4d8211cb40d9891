"""What a journal's reader takes for damage, and what for the traces of a power cut."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.journals import (
    TEXT,
    batches,
    fill,
    first_seq,
    header,
    old_segment,
    read_journal,
    records_at,
    records_begin,
    segment_at,
)

from radmeter.errors import JournalError
from radmeter.plugin.journal.reader import DamagedSegment, Entry, JournalReader, Loss, digest_after
from radmeter.plugin.journal.segment_format import TRAILER_BYTES, pack_trailer
from radmeter.plugin.journal.segment_writer import SegmentWriter


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
        del content[records_begin(segment) : start]
    elif kind == "cut off":
        del content[start + 10 :]
    segment.write_bytes(content)


DAMAGE = ["a bit", "the length", "zeros", "taken out", "the first ones taken out", "cut off"]


def lost_by(kind: str, segment: Path) -> tuple[int, int]:
    """Return the numbers that `damage` takes from a segment."""
    first, places = first_seq(segment), records_at(segment)
    if "first" in kind:
        return first, first + 3
    if kind == "cut off":
        return first + 4, first + len(places) - 1
    wiped = places[4][1] + (4096 if kind == "zeros" else 0)
    return first + 4, first + max(n for n, (start, _) in enumerate(places) if start < wiped)


def read_around(reader: JournalReader, path: Path) -> tuple[list[Entry], list[Loss]]:
    """Read a segment as the shipper does: what is lost is noted and skipped."""
    segment, found, losses = segment_at(reader, path), list[Entry](), list[Loss]()
    after = 0
    while True:
        told = None
        try:
            batch = reader.read(segment, after, 3)
        except DamagedSegment as error:
            batch, told = [], error
        if told is not None:
            assert told.loss is not None
            assert str(told) == f"the journal's segment {path} is damaged: {told.loss.what}"
            losses.append(told.loss)
            reader.skip(segment, told.loss)
            continue
        if not batch:
            return found, losses
        found += batch
        after = batch[-1].seq


def old_journal(directory: Path) -> list[Path]:
    """Make three segments as earlier releases left them, two of them full."""
    return [old_segment(directory, first, [TEXT] * 20) for first in (1, 21, 41)]


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("made", ["packet", "interval", "old"])
def test_damage_in_a_full_segment_is_told_with_its_numbers_and_the_rest_is_read(
    directory: Path, reader: JournalReader, kind: str, made: str
) -> None:
    bad, following, *_ = old_journal(directory) if made == "old" else fill(directory, sync=made)
    whole, last = read_journal(directory), first_seq(following) - 1
    arrivals = {entry.seq: entry.received_at_us for entry in whole}
    first_lost, last_lost = lost_by(kind, bad)
    damage(bad, kind)
    found, (loss,) = read_around(reader, bad)
    assert loss[:4] == (first_lost, last_lost, arrivals.get(first_lost - 1), arrivals[last_lost + 1])
    expected = [entry for entry in whole[:last] if not first_lost <= entry.seq <= last_lost]
    assert found == expected
    assert f"{first_lost}" in loss.what
    assert "missing at" in loss.what
    segment = segment_at(reader, bad)
    assert reader.losses(segment, 0) == [loss]
    assert reader.end(segment) == expected[-1].seq
    assert reader.digest(segment, last) == (expected[-1].seq, digest_after(0, expected))
    # Another shipper goes on behind what the database has. Only what it does not have can be lost.
    other = JournalReader(directory)
    if last_lost < last:
        assert other.read(segment_at(other, bad), last_lost, 1000) == [
            e for e in expected if e.seq > last_lost
        ]
        assert other.losses(segment, last_lost) == []
    if first_lost < last_lost:
        assert [each[:2] for each in other.losses(segment, first_lost)] == [(first_lost + 1, last_lost)]
    other.close()


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_in_the_last_segment_of_an_opening_is_told_from_its_end(
    directory: Path, reader: JournalReader, kind: str
) -> None:
    bad = fill(directory, sync="packet", segment_bytes=64 << 20)[0]
    first_lost, last_lost = lost_by(kind, bad)
    damage(bad, kind)
    for _ in range(2):
        found, losses = read_around(reader, bad)
        if kind == "cut off":
            # Without its trailer nothing shows that it was longer. The database's progress may.
            assert losses == []
        else:
            assert [loss[:2] for loss in losses] == [(first_lost, last_lost)]
        assert found[-1].seq == (100 if kind != "cut off" else 4)
        fill(directory)
        reader.close()
        reader = JournalReader(directory)
    reader.close()


def test_losses_at_several_places_are_told_one_after_the_other(
    directory: Path, reader: JournalReader
) -> None:
    bad = fill(directory, segment_bytes=64 << 20)[0]
    content, places = bytearray(bad.read_bytes()), records_at(bad)
    for seq in (1, 2, 40, 42, 99, 100):
        content[places[seq - 1][1] - 1] ^= 1
    bad.write_bytes(content)
    found, losses = read_around(reader, bad)
    assert [loss[:4] for loss in losses] == [
        (1, 2, None, 2),
        (40, 40, 38, 40),
        (42, 42, 40, 42),
        (99, 100, 97, None),
    ]
    assert [entry.seq for entry in found] == [n for n in range(3, 99) if n not in (40, 42)]


def test_a_trailer_that_names_more_than_is_there_is_a_loss_at_the_end(
    directory: Path, reader: JournalReader
) -> None:
    bad = fill(directory, segment_bytes=64 << 20)[0]
    content, places = bad.read_bytes(), records_at(bad)
    bad.write_bytes(content[: places[89][0]] + content[-TRAILER_BYTES:])
    found, losses = read_around(reader, bad)
    assert found[-1].seq == 89
    assert [loss[:4] for loss in losses] == [(90, 100, 88, None)]
    assert reader.end(segment_at(reader, bad)) == 89


@pytest.mark.parametrize("trailer", [pack_trailer(1, 50), pack_trailer(5, 200), b"\xffEND" + bytes(20)])
def test_a_trailer_that_cannot_be_the_segments_proves_nothing(
    directory: Path, reader: JournalReader, trailer: bytes
) -> None:
    segment = fill(directory, segment_bytes=64 << 20)[0]
    segment.write_bytes(segment.read_bytes()[:-TRAILER_BYTES] + trailer)
    found, losses = read_around(reader, segment)
    assert (len(found), losses) == (100, [])


def test_a_segment_between_two_that_is_gone_is_no_loss_of_the_one_before(
    directory: Path, reader: JournalReader
) -> None:
    first, second, *_ = fill(directory)
    second.unlink()
    assert read_around(reader, first)[1] == []
    following = reader.segments()[1]
    assert following.header.previous != segment_at(reader, first).id


def test_a_disk_that_cannot_be_read_now_is_no_loss(
    directory: Path, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(directory, segment_bytes=64 << 20)
    (segment,) = reader.segments()
    start, _ = records_at(segment.path)[4]

    def failing(descriptor: int, count: int, offset: int, pread: Callable[..., bytes] = os.pread) -> bytes:
        if offset + count > start:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, count, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        with pytest.raises(JournalError, match=r"cannot be read: .*Input/output error") as raised:
            reader.read(segment, 0, 10)
        assert not isinstance(raised.value, DamagedSegment)
        with pytest.raises(JournalError, match="Input/output error"):
            reader.end(segment)
        with pytest.raises(JournalError, match="Input/output error"):
            reader.digest(segment, 10)
        with pytest.raises(JournalError, match="Input/output error"):
            JournalReader(directory).segments()
    assert len(reader.read(segment, 0, 1000)) == 100


@pytest.mark.parametrize("synced", [True, False])
def test_records_behind_a_gap_prove_damage_only_if_what_is_missing_was_durable(
    directory: Path, reader: JournalReader, synced: bool
) -> None:
    directory.mkdir()
    segment = SegmentWriter(directory, header(), sync_commits=False, full_bytes=1 << 20)
    for n in range(1, 21):
        segment.commit([(n, TEXT.encode())])
        if synced and n == 5:
            segment.sync()
    segment.close()
    damage(segment.path, "zeros")  # what a power cut leaves of pages that were not written yet
    (found,) = reader.segments()
    read = [entry.seq for entry in reader.read(found, 0, 100)]
    assert read == [1, 2, 3, 4]
    if synced:
        with pytest.raises(DamagedSegment, match=r"records 5 to 1\d are missing at byte"):
            reader.read(found, 4, 100)
    else:
        assert reader.read(found, 4, 100) == []


class Laid:
    """A segment written commit by commit, of which a record is then lost."""

    def __init__(self, directory: Path, first_seq: int = 1, *, sync_commits: bool = False) -> None:
        directory.mkdir(exist_ok=True)
        self.segment = SegmentWriter(
            directory, header(first_seq), sync_commits=sync_commits, full_bytes=1 << 20
        )

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
    (segment,) = reader.segments()
    losses = reader.losses(segment, 0)
    assert [loss[:2] for loss in losses] in ([], [(seq, seq)])
    return bool(losses)


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
    (segment,) = reader.segments()
    assert [entry.seq for entry in reader.read(segment, 0, 100)] == list(range(1, 1 + lost))
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
    (segment,) = reader.segments()
    assert [entry.seq for entry in reader.read(segment, 0, 4)] == [1, 2, 3, 4]
    reads: list[int] = []

    def late(descriptor: int, count: int, offset: int, pread: Callable[..., bytes] = os.pread) -> bytes:
        """Give zeros for the fifth record when it is looked at for the first time."""
        data = bytearray(pread(descriptor, count, offset))
        reads.append(offset)
        if len(reads) == 1:
            data[start - offset : end - offset] = bytes(end - start)
        return bytes(data)

    monkeypatch.setattr(os, "pread", late)
    assert reader.read(segment, 4, 100) == []
    assert reads[0] == start
    assert [entry.seq for entry in reader.read(segment, 4, 100)] == [5, 6, 7, 8]


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
            batch = next(batches(reader, 1000, seen), [])
            assert [entry.seq for entry in batch] == list(range(seen + 1, seen + 1 + len(batch)))
            seen += len(batch)
            assert batch or not ended
        assert [reader.losses(segment, 0) for segment in reader.segments()] == [[]] * len(reader.segments())
        reader.close()
    assert writer.returncode == 0
