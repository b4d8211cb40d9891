"""Finds the records of a journal that have some numbers, in whichever segment they lie."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from radmeter.ingest.folders import PLACES, segments_in
from radmeter.plugin.journal.files import SegmentFile
from radmeter.plugin.journal.reader import Entry
from radmeter.plugin.journal.segment_format import SegmentHeader
from radmeter.plugin.journal.segment_reader import DamagedSegment, Loss, SegmentReader


def segments_of(journal: Path) -> list[SegmentFile]:
    """Return the segments of a journal that are still there, in all its folders, oldest first."""
    return segments_in(*(journal / place for place in PLACES))


def segments_with(segments: Sequence[SegmentFile], first_seq: int, last_seq: int) -> list[SegmentFile]:
    """Return those of some segments in which records from `first_seq` to `last_seq` may lie."""
    found = []
    for index, segment in enumerate(segments):
        following = segments[index + 1].first_seq if index + 1 < len(segments) else None
        if segment.first_seq <= last_seq and (following is None or following > first_seq):
            found.append(segment)
    return found


def read_range(
    segments: Sequence[SegmentFile], first_seq: int, last_seq: int, on_damage: Callable[[str], None]
) -> Iterator[tuple[SegmentHeader, Entry]]:
    """Yield the records from `first_seq` to `last_seq` of segments, each with its segment's header."""
    for segment in segments_with(segments, first_seq, last_seq):
        try:
            with contextlib.closing(SegmentReader(segment.path, segment.first_seq)) as reader:
                for item in reader.items(max(first_seq, segment.first_seq)):
                    if isinstance(item, Loss):
                        on_damage(f"{segment.path}: {item.what}")
                    elif item.seq > last_seq:
                        break
                    else:
                        yield reader.header, item
        except (OSError, DamagedSegment) as error:
            on_damage(f"{segment.path}: {error}")
