"""Reads the journal's records in order, and deletes segments that are shipped."""

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError
from radmeter.plugin.journal import files
from radmeter.plugin.journal.segment_reader import DamagedSegment, Entry, SegmentReader

__all__ = ["Checkpoint", "Entry", "JournalDepth", "JournalReader"]


# A batch ends early at so much text: records of the greatest length must not fill the memory.
BATCH_TEXT = 8 << 20


class JournalDepth(NamedTuple):
    """How much waits in the journal. `unreadable` names the segments that could not be counted."""

    records: int
    oldest_received_at_us: int | None
    segments: int
    size_bytes: int
    unreadable: tuple[str, ...] = ()


class Checkpoint(Enum):
    """What a journal knows of the number up to which a database has its records."""

    KNOWN = "a record of the journal, or of a segment that was shipped and deleted"
    ABOVE = "above the journal's last record"
    UNKNOWN = "between two segments, or in a damaged one"


class JournalReader:
    """Reads a journal that another process may be writing. Neither waits for the other."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._log: SegmentReader | None = None
        self._node: str | None = None
        self._directory = Path(directory).absolute()

    def node(self) -> str:
        """Return the name under which this journal's records are counted. Raises JournalError if it has none."""
        if self._node is None:
            self._node = self._read_node()
        if self._node is None:
            raise JournalError(
                f"there is no journal in {self._directory} yet: radiusd makes it at the first packet"
            )
        return self._node

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the journal's only shipper for the block. Raises JournalLocked, which names the other process."""
        lock = files.RoleLock(self._directory, "reader")
        with self._usable():
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def read(self, after: int, limit: int) -> list[Entry]:
        """Return up to `limit` records with numbers above `after`, in order; fewer if they are very long.

        Raises
        ------
        JournalError
            A segment is damaged, and the records before the damage have been returned already. Or the journal was
            made anew since `node` was read. Nothing is ever skipped.
        """
        self._check_node()
        found: list[Entry] = []
        text = 0
        # List the segments before reading: only the last one of this list can get more records.
        listed = self._segments()
        for segment, following in itertools.zip_longest(listed, listed[1:]):
            if following is not None and following.first_seq <= after + 1:
                continue
            expected = max(after + 1, segment.first_seq)
            try:
                for entry in itertools.islice(self._open(segment).read(expected), limit - len(found)):
                    found.append(entry)
                    expected += 1
                    text += len(entry.pairs)
                    if text >= BATCH_TEXT:
                        return found
                if len(found) >= limit:
                    break
                if following and _was_full(segment, following) and expected < following.first_seq:
                    raise DamagedSegment(f"records {expected} to {following.first_seq - 1} are missing")
            except (OSError, DamagedSegment) as error:
                self.close()
                if found:
                    break
                raise self._unreadable(segment.path, error) from error
        return found

    def check_checkpoint(self, seq: int) -> Checkpoint:
        """Compare the number up to which a database has this journal's records with the journal itself."""
        listed = self._segments()
        behind = [segment for segment in listed if segment.first_seq <= seq]
        if not behind:
            return Checkpoint.KNOWN  # its segment was shipped and deleted
        with suppress(OSError, DamagedSegment):
            if next(self._open(behind[-1]).read(seq), None) is not None:
                return Checkpoint.KNOWN
            return Checkpoint.ABOVE if behind[-1] == listed[-1] else Checkpoint.UNKNOWN
        self.close()
        return Checkpoint.UNKNOWN

    def drop_through(
        self,
        seq: int,
        keep_through: int = 0,
        put_away: Callable[[files.SegmentFile, int], bool] = lambda segment, last_seq: False,
    ) -> int:
        """Delete the segments whose records all have numbers up to `seq`, except the newest; return how many.

        Those that begin at or below `keep_through` get the name of a kept segment instead.
        Of the others, `put_away` is called first with each segment and the highest number that its records can have. It
        returns whether it has moved the segment away.
        """
        dropped = 0
        for segment, following in itertools.pairwise(self._segments()):
            if following.first_seq > seq + 1 and (
                _was_full(segment, following) or not self._ends_by(segment, seq)
            ):
                break
            if self._log is not None and self._log.path == segment.path:
                self.close()
            with self._usable():
                if segment.first_seq <= keep_through:
                    segment.path.rename(files.kept_path(segment.path))
                elif not put_away(segment, following.first_seq - 1):
                    segment.path.unlink(missing_ok=True)
            dropped += 1
        return dropped

    def depth(self, after: int) -> JournalDepth:
        """Return how much waits with numbers above `after`."""
        records, oldest, unreadable = 0, None, []
        listed = self._segments()
        for segment, following in itertools.zip_longest(listed, listed[1:]):
            if following is not None and following.first_seq <= after + 1:
                continue
            try:
                log = self._open(segment)
                first = max(after + 1, segment.first_seq)
                if following is not None and _was_full(segment, following):
                    last = following.first_seq - 1
                else:
                    last = max((entry.seq for entry in log.read(None)), default=0)
                records += max(0, last - first + 1)  # numbers are contiguous in a segment
                if oldest is None:
                    oldest = next((entry.received_at_us for entry in log.read(first)), None)
            except (OSError, DamagedSegment):
                self.close()
                if segment.path.exists():  # else the shipper has deleted it meanwhile
                    unreadable.append(str(segment.path))
        with self._usable():
            size = files.size_bytes(self._directory) if listed else 0
        return JournalDepth(records, oldest, len(listed), size, tuple(unreadable))

    def close(self) -> None:
        """Close the open segment. The next read opens it again."""
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def __del__(self) -> None:
        self.close()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise files.unusable(self._directory, error) from error

    def _segments(self) -> list[files.SegmentFile]:
        with self._usable(), suppress(FileNotFoundError):
            return files.segments(self._directory)
        return []

    def _read_node(self) -> str | None:
        with self._usable():
            return files.read_node(self._directory)

    def _check_node(self) -> None:
        """Raise JournalError if the journal was made anew: its numbers begin again, and records would be skipped."""
        if self._node is not None and (now := self._read_node()) not in (None, self._node):
            raise JournalError(
                f"the journal {self._directory} was made anew while it was read: it was {self._node} "
                f"and is now {now}; start this program again"
            )

    def _open(self, segment: files.SegmentFile) -> SegmentReader:
        """Return a reader of the segment; the last one is reused."""
        if self._log is None or self._log.path != segment.path:
            self.close()
            self._log = SegmentReader(segment.path, segment.first_seq)
        return self._log

    def _ends_by(self, segment: files.SegmentFile, seq: int) -> bool:
        """Tell whether a finished segment has no record above `seq`. False if it cannot be read: it is kept."""
        if segment.first_seq > seq + 1:
            return False
        try:
            return next(self._open(segment).read(seq + 1), None) is None
        except (OSError, DamagedSegment):
            self.close()
            return False

    def _unreadable(self, path: Path, error: Exception) -> JournalError:
        # Errors other than EIO are about the file's surroundings, such as its permissions, not its content.
        if isinstance(error, OSError) and error.errno != errno.EIO:
            return files.unusable(self._directory, error)
        return JournalError(
            f"the journal's segment {path} cannot be read: {error}. Shipping stops before it and skips nothing. "
            "To go on with the next, move it out of the directory, and keep it"
        )


def _was_full(segment: files.SegmentFile, following: files.SegmentFile) -> bool:
    """Tell whether the writer finished `segment` because it was full. It then ends where `following` begins."""
    return following.first_seq < segment.first_seq + files.GAP
