"""Journals on a disk, filled with segments."""

from pathlib import Path

from radmeter.plugin.journal.writer import JournalWriter

TEXT = f'["{"x" * 700}"]'


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("segment-*.log"))


def first_seq(segment: Path) -> int:
    return int(segment.stem.removeprefix("segment-"))


def fill(directory: Path, *, sync: str = "interval", segment_bytes: int = 20_000) -> list[Path]:
    """Make a journal of closed segments with a hundred records, numbered from 1 without a gap."""
    journal = JournalWriter(directory, sync=sync, segment_bytes=segment_bytes)
    for n in range(100):
        journal.append(n, TEXT)
    journal.close()
    assert len(segments(directory)) >= 4 or segment_bytes > 20_000
    return segments(directory)
