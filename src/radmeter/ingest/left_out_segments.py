"""Keeps shipped segments of a journal if the database left out packets of them because of a limit."""

import contextlib
import logging
import shutil
from pathlib import Path

from radmeter.ingest.folders import move, segments_in
from radmeter.ingest.kept_ages import KeptAges
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile

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
