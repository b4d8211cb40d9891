"""Sectors that the disk cannot read. The kernel reads up to them without an error; a read that begins there fails."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from radmeter.errors import JournalError
from radmeter.plugin.journal import segment_reader
from radmeter.plugin.journal.orphan import read_orphan
from radmeter.plugin.journal.reader import Entry, JournalReader, Loss
from radmeter.plugin.journal.writer import JournalWriter

TEXT = f'["{"x" * 700}"]'
SECTOR = 4096


def killed(directory: Path) -> Path:
    """Make a segment with 100 durable records whose writer was killed: it has no trailer, and another one follows."""
    writer = JournalWriter(directory)
    for n in range(100):
        writer.append(n, TEXT)
    segment, writer._segment = writer._segment, None
    assert segment is not None
    assert segment._descriptor is not None
    os.close(segment._descriptor)
    writer._lock.release()
    following = JournalWriter(directory)
    following.append(1, TEXT)
    following.close()
    return segment.path


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a segment with a bad sector behind some 50 records."""
    path = killed(tmp_path)
    inode, at = path.stat().st_ino, 9 * SECTOR

    def pread(descriptor: int, count: int, offset: int, real: Any = os.pread) -> bytes:
        if os.fstat(descriptor).st_ino == inode and offset < at + SECTOR and offset + count > at:
            if offset >= at:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            count = at - offset
        data: bytes = real(descriptor, count, offset)
        return data

    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(segment_reader.whole_records, "__defaults__", (pread,))
    return path


def test_a_bad_sector_is_not_the_end_of_a_segment(bad: Path) -> None:
    reader = JournalReader(bad.parent)
    segment, following = reader.segments()
    assert segment.path == bad
    last = reader.read(segment, 0, 1000)[-1].seq
    assert 40 < last < 60
    with pytest.raises(JournalError, match="Input/output error"):
        reader.read(segment, last, 1000)
    with pytest.raises(JournalError, match="Input/output error"):
        reader.end(segment, following, after=last)


def test_what_lies_behind_a_bad_sector_is_salvaged(bad: Path) -> None:
    items = list(read_orphan(bad))
    (loss,) = (each for each in items if isinstance(each, Loss))
    entries = [each.seq for each in items if isinstance(each, Entry)]
    assert entries[-1] == 100
    assert loss.last_seq is not None
    assert set(range(1, 101)) - set(entries) == set(range(loss.first_seq, loss.last_seq + 1))
    assert len(entries) > 90
