"""Keeps shipped segments of a journal in which packets lie that the database left out because of a limit."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from radmeter.ingest.folders import PLACES, move, segments_in
from radmeter.ingest.kept_ages import KeptAges
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile
from radmeter.plugin.journal.reader import Entry
from radmeter.plugin.journal.segment_format import SegmentHeader
from radmeter.plugin.journal.segment_reader import DamagedSegment, Loss, SegmentReader

log = logging.getLogger(__name__)

KEPT_SECONDS = 7 * 86400
# With less free space on the disk, nothing is kept: the journal needs the space.
LEAST_FREE_BYTES = 1 << 30


class LeftOutSegments:
    """The segments of a journal that were kept. They are moved, not copied.

    Parameters
    ----------
    journal
        The journal's directory.
    limit_bytes
        The most bytes that are kept. The oldest segments go first. They also go seven days after they were kept, and
        when less than 1 GiB is free on the disk.
    """

    def __init__(self, journal: Path, limit_bytes: int) -> None:
        self._journal = journal
        self._limit_bytes = limit_bytes

    def keep(self, segment: SegmentFile) -> bool:
        """Move a segment out of the journal. Return False if it is not kept."""
        if not self._limit_bytes or shutil.disk_usage(self._journal).free < LEAST_FREE_BYTES:
            return False
        kept = move(self._journal, segment.path, files.LEFT_OUT)
        log.info("segment %s is kept as %s: packets in it were left out", segment.path.name, kept)
        return True

    def prune(self, ages: KeptAges) -> None:
        """Delete the segments that are too old or too many."""
        kept = self.segments()
        sizes, changed_ns = dict.fromkeys(kept, 0), {}
        for segment in kept:
            with contextlib.suppress(FileNotFoundError):
                found = segment.path.stat()
                sizes[segment], changed_ns[segment.path.name] = found.st_size, found.st_ctime_ns
        age = ages.of(files.LEFT_OUT, changed_ns)
        for segment in kept:
            if age.get(segment.path.name, 0.0) > KEPT_SECONDS:
                self._delete(segment, "kept for seven days")
                sizes[segment] = 0
        too_full = bool(kept) and shutil.disk_usage(self._journal).free < LEAST_FREE_BYTES
        for segment in kept:
            if sum(sizes.values()) > (0 if too_full else self._limit_bytes):
                if sizes[segment]:
                    self._delete(
                        segment, "the disk is nearly full" if too_full else "left_out_bytes is reached"
                    )
                sizes[segment] = 0

    def segments(self) -> list[SegmentFile]:
        """Return the kept segments, oldest first."""
        return segments_in(self._journal / files.LEFT_OUT)

    def _delete(self, segment: SegmentFile, why: str) -> None:
        segment.path.unlink(missing_ok=True)
        log.warning("left-out segment %s is deleted: %s", segment.path.name, why)


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
