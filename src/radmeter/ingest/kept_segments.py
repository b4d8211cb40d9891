"""Keeps shipped segments for a while, so that a database that was restored gets their packets again."""

import logging
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from radmeter.ingest.folders import move, segments_in
from radmeter.ingest.kept_ages import KeptAges
from radmeter.ingest.left_out_segments import LeftOutSegments
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile
from radmeter.plugin.journal.kept import delete_oldest, is_full

log = logging.getLogger(__name__)

# At most this share of the file system, unless a limit is set.
SHARE_OF_DISK = 10
MOST_BYTES = 16 << 30


def limit_in_force(journal: Path, limit_bytes: int | None) -> int:
    """Return the most bytes that are kept. `limit_bytes`: the setting; None: it is not set."""
    if limit_bytes is not None:
        return limit_bytes
    return min(MOST_BYTES, shutil.disk_usage(journal).total // SHARE_OF_DISK)


class KeptSegments:
    """The shipped segments of a journal that are kept in its folders. They are moved, not copied.

    Parameters
    ----------
    journal
        The journal's directory.
    hours
        How long a segment is kept after it was shipped. The time in which the machine was off does not count.
    limit_bytes
        The most bytes that are kept; the oldest segments go first. None: 16 GiB, and at most a tenth of the disk.
    left_out
        Takes the segments that are no longer kept and in which packets lie that the database left out.
    """

    def __init__(
        self,
        journal: Path,
        *,
        hours: float = 48,
        limit_bytes: int | None = None,
        left_out: LeftOutSegments | None = None,
    ) -> None:
        self._journal = journal
        self._seconds = hours * 3600
        self._limit_bytes = limit_bytes
        self._left_out = left_out

    def keep(self, path: Path, segment_id: str, *, damaged: bool) -> Path:
        """Move a segment out of the journal, once all of it is counted. Return where it is now.

        On a full disk the move may need room. Then the oldest kept segments give way, and at last this one.
        """
        while True:
            try:
                return move(self._journal, path, files.DAMAGED if damaged else files.SHIPPED, segment_id)
            except OSError as error:
                if not is_full(error):
                    raise
                if self.make_room():
                    continue
                if damaged:
                    raise
                log.warning("segment %s is shipped and not kept: the disk is full", path.name)
                path.unlink()
                return path

    def bring_back(self, path: Path, segment_id: str) -> Path:
        """Move a kept segment to those that must be shipped again. The plugin never deletes these."""
        return move(self._journal, path, files.AGAIN, segment_id)

    def make_room(self) -> bool:
        """Delete the oldest kept segment, since the disk is full. Return False if there is none."""
        return (
            delete_oldest(
                self._journal,
                lambda path: log.warning("kept segment %s is deleted: the disk is full", path.name),
            )
            is not None
        )

    def prune(
        self, counted: Collection[str], is_left_out: Callable[[SegmentFile], bool], ages: KeptAges
    ) -> list[Path]:
        """Delete the segments that are too old or too many. Return their former paths.

        Parameters
        ----------
        counted
            The names of those that may be deleted. Others stay, and do not count towards the size.
        is_left_out
            Tells whether packets in a segment may have been left out.
        ages
            The ages of the segments.
        """
        kept = []
        for segment in segments_in(self._journal / files.SHIPPED):
            if segment.path.name not in counted:
                continue
            with suppress(FileNotFoundError):  # the plugin deletes segments when the disk is full
                kept.append((segment, segment.path.stat()))
        total = sum(found.st_size for _, found in kept)
        limit = limit_in_force(self._journal, self._limit_bytes)
        age = ages.of(files.SHIPPED, {segment.path.name: found.st_ctime_ns for segment, found in kept})
        gone = []
        for segment, found in sorted(kept, key=lambda each: (-age[each[0].path.name], each[0])):
            if age[segment.path.name] < self._seconds and total <= limit:
                break
            total -= found.st_size
            if self._left_out is None or not is_left_out(segment) or not self._left_out.keep(segment):
                segment.path.unlink(missing_ok=True)
                gone.append(segment.path)
        if self._left_out is not None:
            self._left_out.prune(ages)
        return gone
