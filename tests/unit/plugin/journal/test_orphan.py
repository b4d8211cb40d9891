"""A file that may be a segment is read as far as it can be, and refused with a message if there is nothing in it."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.journals import TEXT, fill, old_segment, read_journal, records_at

from radmeter.errors import JournalError
from radmeter.plugin.journal.orphan import read_orphan
from radmeter.plugin.journal.reader import Entry, Loss
from radmeter.plugin.journal.record_format import pack
from radmeter.plugin.journal.segment_format import HEADER_1, TRAILER_BYTES


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """A closed segment with a hundred records."""
    (path,) = fill(tmp_path / "journal", segment_bytes=64 << 20)
    return path


def test_a_whole_segment_is_read_whatever_its_name_is(segment: Path, tmp_path: Path) -> None:
    expected = read_journal(segment.parent)
    other = Path(shutil.copy(segment, tmp_path / "rescued"))
    assert list(read_orphan(segment)) == list(read_orphan(other)) == expected
    kept = segment.rename(segment.with_name(f"kept-{segment.name}"))
    assert list(read_orphan(kept)) == expected
    old = old_segment(tmp_path / "old", 7)
    assert [entry.seq for entry in read_orphan(old) if isinstance(entry, Entry)] == [7, 8, 9, 10, 11]


@pytest.mark.parametrize("place", [0, 13, 16, 20, 40])
@pytest.mark.parametrize("by", [1, 2, 128])
def test_a_header_with_a_bit_flipped_hides_no_record(segment: Path, place: int, by: int) -> None:
    expected = read_journal(segment.parent)
    content = bytearray(segment.read_bytes())
    content[place] ^= by
    segment.write_bytes(content)
    assert list(read_orphan(segment)) == expected
    nameless = segment.rename(segment.with_name("x"))
    assert list(read_orphan(nameless)) == expected
    content = bytearray(HEADER_1 + pack(4, 4, 7, TEXT.encode()))
    content[13 if place == 0 else 0] ^= by
    nameless.write_bytes(content)
    assert [item[:3] for item in read_orphan(nameless)] == [(4, 7, TEXT)]


def test_what_is_missing_is_told_between_the_records_and_at_both_ends(segment: Path) -> None:
    expected = read_journal(segment.parent)
    content, places = bytearray(segment.read_bytes()), records_at(segment)
    for seq in (1, 2, 50, 100):
        content[places[seq - 1][0] + 60] ^= 1
    segment.write_bytes(content)
    found = list(read_orphan(segment))
    assert [item for item in found if isinstance(item, Entry)] == [
        e for e in expected if e.seq not in (1, 2, 50, 100)
    ]
    losses = [item for item in found if isinstance(item, Loss)]
    assert [loss[:4] for loss in losses] == [(1, 2, None, 2), (50, 50, 48, 50), (100, 100, 98, None)]
    assert all("missing" in loss.what for loss in losses)
    segment.write_bytes(content[:-TRAILER_BYTES])
    assert list(read_orphan(segment)) == found[:-1]


def test_records_behind_a_gap_are_read_also_if_a_power_cut_made_it(tmp_path: Path) -> None:
    records = [pack(n, 1, n, TEXT.encode()) for n in range(1, 10)]
    records[4] = bytes(len(records[4]))
    path = tmp_path / "segment"
    path.write_bytes(HEADER_1 + b"".join(records))
    assert [item[0] for item in read_orphan(path)] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [item[:2] for item in read_orphan(path) if isinstance(item, Loss)] == [(5, 5)]


def test_a_segment_cut_at_any_byte_gives_its_whole_records(segment: Path, tmp_path: Path) -> None:
    expected, content, places = read_journal(segment.parent), segment.read_bytes(), records_at(segment)
    path = tmp_path / segment.name
    for end in [*range(1, places[2][1]), *range(places[-2][0], len(content))]:
        path.write_bytes(content[:end])
        whole = sum(stop <= end for _, stop in places)
        if whole or end >= places[0][0]:
            assert list(read_orphan(path)) == expected[:whole]
        else:
            with pytest.raises(JournalError, match=f"{path} has no record: "):
                list(read_orphan(path))


def test_sectors_that_the_disk_cannot_read_cost_only_their_records(
    segment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, places = read_journal(segment.parent), records_at(segment)
    bad = 5 * 4096

    def failing(descriptor: int, count: int, offset: int, pread: Callable[..., bytes] = os.pread) -> bytes:
        if offset < bad + 4096 and bad < offset + count:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", failing)
    lost = [n for n, (start, end) in enumerate(places) if start < bad + 4096 and bad < end]
    found = list(read_orphan(segment))
    assert [item for item in found if isinstance(item, Entry)] == [
        e for n, e in enumerate(expected) if n not in lost
    ]
    assert [item[:2] for item in found if isinstance(item, Loss)] == [(lost[0] + 1, lost[-1] + 1)]


NOTHING: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "cannot be read: No such file or directory"),
    "empty": (lambda path: path.write_bytes(b""), "has no record: the file is empty"),
    "zeros": (lambda path: path.write_bytes(bytes(3 << 20)), "has no record: it has only zeros"),
    "text": (
        lambda path: path.write_bytes(b"text\n" * 1000),
        "has no record: it does not begin as a segment",
    ),
    "a directory": (lambda path: path.mkdir(), "is no file, so no segment"),
    "a pipe": (lambda path: os.mkfifo(path), "is no file, so no segment"),
    "later": (lambda path: path.write_bytes(b"radmeter log 3\n\0" + bytes(99)), "later release"),
}


@pytest.mark.parametrize("kind", NOTHING)
@pytest.mark.parametrize("name", ["segment-00000000000000000001.log", "x"])
def test_a_file_with_nothing_in_it_is_refused_with_the_reason(tmp_path: Path, kind: str, name: str) -> None:
    make, said = NOTHING[kind]
    path = tmp_path / name
    make(path)
    with pytest.raises(JournalError, match=said) as raised:
        list(read_orphan(path))
    assert str(path) in str(raised.value)
