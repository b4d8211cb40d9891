"""Reads the journal's segments, and says how much of them waits."""

import errno
import itertools
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError
from radmeter.plugin.journal import files, locks
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.segment_format import HeaderError, SegmentHeader
from radmeter.plugin.journal.segment_reader import (
    DamagedSegment,
    Entry,
    Loss,
    SegmentReader,
    said,
)

__all__ = [
    "DamagedSegment",
    "Entry",
    "JournalDepth",
    "JournalReader",
    "Loss",
    "Segment",
    "SegmentHeader",
    "digest_after",
]


# What is known of a segment whose header cannot be read.
UNKNOWN = SegmentHeader(0, "", None, None, 0, None, "", None)
# A batch ends early at so much text: records of the greatest length must not fill the memory.
BATCH_TEXT = 8 << 20


class Segment(NamedTuple):
    """A segment: its first number, its file, and what it says about itself."""

    first_seq: int
    path: Path
    header: SegmentHeader

    @property
    def id(self) -> str:
        """The segment's identity. Empty if it is of format 1 and the journal has lost its file `node`."""
        return self.header.id


class JournalDepth(NamedTuple):
    """How much waits in the journal. `unreadable` names the segments that could not be counted."""

    records: int
    oldest_received_at_us: int | None
    segments: int
    size_bytes: int
    unreadable: tuple[str, ...] = ()


def digest_after(digest: int, entries: Iterable[Entry]) -> int:
    """Return the digest of a segment's records after some more of them. It is 0 before the first one."""
    for entry in entries:
        digest = zlib.crc32(entry.check.to_bytes(4, "little"), digest)
    return digest


class JournalReader:
    """Reads a journal that another process may be writing. Neither waits for the other.

    A segment is in the journal's directory or in one of its folders. `segments` returns those that may have to be
    shipped; the other methods take any. No method changes a file.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._log: SegmentReader | None = None
        # The segment's id, and the inode that its file had when it was last listed.
        self._log_of: tuple[str, int | None] = ("", None)
        self.directory = Path(directory).absolute()
        # By path: the file's inode, and the segment without a node.
        self._known: dict[str, tuple[int, Segment]] = {}
        self._following: dict[Path, Segment] | None = None  # by path, when the segments were last listed
        self._skipped: dict[str, list[Loss]] = {}  # by a segment's id

    def node(self) -> str:
        """Return the name of the journal's node, from the file `node` or else from its newest segment.

        Raises
        ------
        JournalError
            There is no journal, or nothing in it says its name.
        """
        if (node := self._read_node()) is not None:
            return node
        listed = self._list(self.directory, None)[0]
        for segment in reversed(listed):
            if segment.header.node is not None:
                return segment.header.node
        if listed:
            raise JournalError(
                f"the journal {self.directory} has lost its name, and its segments are of a format that does not say "
                f"it: write the name into {self.directory / 'node'}"
            )
        raise JournalError(
            f"there is no journal in {self.directory} yet: radiusd makes it at the first packet. If its journal is "
            "elsewhere, set `journal` in the configuration file, or RADMETER_JOURNAL"
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the journal's only shipper for the block. Raises JournalLocked, which names the other process."""
        lock = locks.RoleLock(self.directory, locks.READER)
        with self._usable():
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def writer_alive(self) -> bool:
        """Tell whether a process has the journal open for writing."""
        with self._usable():
            return locks.held_by(self.directory, locks.WRITER) is not None

    def is_written(self, segment: Segment) -> bool:
        """Tell whether the process that has the journal open for writing has begun a segment, and may add to it."""
        made_at_us = segment.header.made_at_us
        if made_at_us is None or segment.path.parent != self.directory or not self.writer_alive():
            return False
        # The holder writes its name into the file when it takes the lock, before it makes a segment.
        with self._usable():
            return made_at_us * 1000 >= locks.lock_path(self.directory, locks.WRITER).stat().st_mtime_ns

    def segments(self) -> list[Segment]:
        """Return the segments of the journal and of its folder `again`, in order of their first numbers.

        Segments of format 1 in a journal without its file `node` have no id. See `unreadable` for segments that are not
        in the list. Raises JournalError if the directory or a file in it cannot be read.
        """
        return self._list_all()[0]

    def unreadable(self) -> list[tuple[Path, str]]:
        """Return the files that have the name of a segment and no header that can be read, each with the reason."""
        return self._list_all()[1]

    def segments_in(self, folder: str) -> list[Segment]:
        """Return the segments in one of the journal's folders, in order of their first numbers."""
        return self._list(self.directory / folder, self._read_node())[0]

    def read(self, segment: Segment, after: int, limit: int) -> list[Entry]:
        """Return up to `limit` records with numbers above `after`, in order; fewer if they are very long.

        Nothing is returned from the log's present end on, nor behind a loss, until `skip` is called with the loss.

        Raises
        ------
        DamagedSegment
            Records are lost, and all before them were returned. Its `loss` says which.
        JournalError
            The file cannot be read now, which is no proof of a loss.
        """
        found: list[Entry] = []
        text = 0
        try:
            for item in self._items(segment, after + 1):
                if isinstance(item, Loss):
                    if self._is_skipped(segment, item):
                        continue
                    if found:
                        break
                    raise DamagedSegment(
                        f"the journal's segment {segment.path} is damaged: {item.what}", item
                    )
                found.append(item)
                text += len(item.text)
                if len(found) >= limit or text >= BATCH_TEXT:
                    break
        except OSError as error:
            self.close()
            if not found:
                raise self._unreadable(segment.path, error) from error
        except DamagedSegment as error:
            if error.loss is not None:
                raise
            self.close()
            if not found:
                raise self._unreadable(segment.path, error) from error
        return found

    def skip(self, segment: Segment, loss: Loss) -> None:
        """Let `read` go on behind a loss. It is forgotten with this object: a later one tells the loss again."""
        self._skipped.setdefault(_key(segment), []).append(loss)

    def tell_losses_again(self) -> None:
        """Forget what was skipped: `read` tells each loss again."""
        self._skipped.clear()

    def losses(self, segment: Segment, after: int) -> list[Loss]:
        """Return what is lost of the numbers above `after`. Raises JournalError if the file cannot be read."""
        with self._readable(segment.path):
            return [item for item in self._items(segment, after + 1) if isinstance(item, Loss)]

    def digest(self, segment: Segment, through: int, after: int = 0) -> tuple[int, int]:
        """Return the number of the last record up to `through`, and the digest of all records up to it.

        Lost records are left out, and those up to `after`. Without a record the number is `after`, or one less than the
        segment's first. Raises JournalError if the file cannot be read.
        """
        first_seq = max(segment.first_seq, after + 1)
        last, digest = first_seq - 1, 0
        with self._readable(segment.path):
            for item in self._open(segment).items(first_seq):
                if isinstance(item, Entry):
                    if item.seq > through:
                        break
                    last, digest = item.seq, digest_after(digest, (item,))
        return last, digest

    def is_closed(self, segment: Segment) -> bool:
        """Tell whether the writer has closed a segment cleanly. Raises JournalError if the file cannot be read."""
        with self._readable(segment.path):
            return self._open(segment).trailer() is not None

    def end(
        self, segment: Segment, following: Segment | None = None, *, after: int | None = None
    ) -> int | None:
        """Return the number of a finished segment's last record that can be read; None if more may be written.

        A segment is finished if it has a trailer, if it is in one of the journal's folders, or if a later one is in the
        same directory. The later one is `following`, or was there when the segments were last listed. The number is
        one less than the segment's first if there is no record. Raises JournalError if the file cannot be read.

        `after`: look from this number on, as `read` does. Else the number may be of a record that `read` does not
        return: a power cut can leave whole records behind a gap.
        """
        with self._readable(segment.path):
            log = self._open(segment)
            if (
                segment.path.parent == self.directory
                and self._next(segment) is None
                and not _follows(segment, following)
                and log.trailer() is None
            ):
                return None
            if after is None:
                return log.last_seq()
            found = (item.seq for item in log.items(after + 1) if isinstance(item, Entry))
            return max(found, default=after)

    def depth(self, progress: Mapping[str, int]) -> JournalDepth:
        """Return how much waits. `progress`: the last number that the database has, by the segments' ids."""
        records, oldest = 0, None
        listed, unread = self._list_all()
        unreadable = [str(path) for path, _ in unread]
        for segment in listed:
            after = max(segment.first_seq - 1, progress.get(segment.id, 0))
            try:
                log = self._open(segment)
                following = self._next(segment)
                if following is not None and _was_full(segment, following):
                    last = following.first_seq - 1
                else:
                    last = log.last_seq()
                records += max(0, last - after)  # numbers are contiguous in a segment
                if oldest is None and last > after:
                    entries = (item for item in log.items(after + 1) if isinstance(item, Entry))
                    oldest = next((entry.received_at_us for entry in entries), None)
            except (OSError, DamagedSegment):
                self.close()
                if segment.path.exists():  # else the shipper has moved it meanwhile
                    unreadable.append(str(segment.path))
        size = 0
        with self._usable(), suppress(FileNotFoundError):
            size = files.size_bytes(self.directory) if listed or unread else 0
        return JournalDepth(records, oldest, len(listed), size, tuple(unreadable))

    def close(self) -> None:
        """Close the open segment. The next read opens it again."""
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def __del__(self) -> None:
        self.close()

    def _items(self, segment: Segment, wanted: int) -> Iterator[Entry | Loss]:
        """Yield records and losses from number `wanted` on, also what is lost before the next segment begins."""
        following = self._next(segment)
        end = following.first_seq - 1 if following is not None and _was_full(segment, following) else None
        log = self._open(segment)
        yield from log.items(wanted, open_loss=end is None)  # else the next segment says how much is lost
        expected = max(wanted, log.next_seq)
        if following is not None and end is not None and expected <= end:
            what = f"{said(expected, end)} missing at its end"
            yield Loss(expected, end, log.arrived_us, _first_arrival(following), what)

    def _list_all(self) -> tuple[list[Segment], list[tuple[Path, str]]]:
        node = self._read_node()
        listed, reasons = self._list(self.directory, node)
        self._following = {each.path: following for each, following in itertools.pairwise(listed)}
        again, reasons_again = self._list(self.directory / files.AGAIN, node)
        listed = sorted([*listed, *again], key=_order)
        self._known = {str(each.path): known for each in listed if (known := self._known.get(str(each.path)))}
        reasons |= reasons_again
        return [each for each in listed if each.path not in reasons], list(reasons.items())

    def _list(self, directory: Path, node: str | None) -> tuple[list[Segment], dict[Path, str]]:
        """Return the segments in a directory, and why the header of some cannot be read."""
        found, reasons = [], {}
        with self._usable(), suppress(FileNotFoundError), os.scandir(directory) as entries:
            for entry in entries:
                if (first_seq := files.first_seq_in_name(entry.name)) is not None:
                    known = self._known.get(entry.path)
                    if known is not None and known[0] == entry.inode():
                        segment = known[1]
                    else:
                        path = directory / entry.name
                        try:
                            header = read_header(path)
                        except FileNotFoundError:
                            continue  # the shipper has moved it meanwhile
                        except HeaderError as error:
                            reasons[path] = f"{error}"
                            header = UNKNOWN._replace(first_seq=first_seq)
                        segment = Segment(header.first_seq, path, header)
                        if path not in reasons:
                            self._known[entry.path] = entry.inode(), segment
                    if segment.header.format == 1 and node is not None:
                        identity = files.old_segment_id(node, segment.first_seq)
                        segment = segment._replace(header=segment.header._replace(id=identity, node=node))
                    found.append(segment)
        return sorted(found, key=_order), reasons

    def _next(self, segment: Segment) -> Segment | None:
        """Return the next segment in the journal's directory; None if there is none, or `segment` is elsewhere."""
        if self._following is None:
            self._list_all()
        return (self._following or {}).get(segment.path)

    def _is_skipped(self, segment: Segment, loss: Loss) -> bool:
        return any(
            skipped.first_seq == loss.first_seq
            if skipped.last_seq is None
            else skipped.first_seq <= loss.first_seq <= (loss.last_seq or math.inf) <= skipped.last_seq
            for skipped in self._skipped.get(_key(segment), ())
        )

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise files.unusable(self.directory, error) from error

    @contextmanager
    def _readable(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, DamagedSegment) as error:
            self.close()
            raise self._unreadable(path, error) from error

    def _read_node(self) -> str | None:
        with self._usable():
            return files.read_node(self.directory)

    def _open(self, segment: Segment) -> SegmentReader:
        """Return a reader of the segment; the last one is reused, unless another file was put in its file's place."""
        known = self._known.get(str(segment.path))
        of = segment.id, known[0] if known else None
        if self._log is None or self._log.path != segment.path or self._log_of != of:
            self.close()
            self._log, self._log_of = SegmentReader(segment.path, segment.first_seq), of
        return self._log

    def _unreadable(self, path: Path, error: Exception) -> JournalError:
        # Errors other than EIO are about the file's surroundings, such as its permissions, not its content.
        if isinstance(error, OSError) and error.errno != errno.EIO:
            return files.unusable(self.directory, error)
        return JournalError(f"the journal's segment {path} cannot be read: {error}")


def _order(segment: Segment) -> tuple[int, Path]:
    return segment.first_seq, segment.path


def _key(segment: Segment) -> str:
    return segment.id or str(segment.path)


def _follows(segment: Segment, following: Segment | None) -> bool:
    """Tell whether `following` is a later segment of the same directory."""
    return (
        following is not None
        and following.path.parent == segment.path.parent
        and _order(following) > _order(segment)
    )


def _was_full(segment: Segment, following: Segment) -> bool:
    """Tell whether the writer finished `segment` because it was full. It then ends where `following` begins."""
    if following.header.format == 2 and following.header.previous != segment.id:
        return False
    return following.first_seq < segment.first_seq + files.GAP


def _first_arrival(segment: Segment) -> int | None:
    """Return the arrival of a segment's first record; None if it has none or cannot be read."""
    with (
        suppress(OSError, DamagedSegment),
        closing(SegmentReader(segment.path, segment.first_seq)) as log,
    ):
        return next(
            (each.received_at_us for each in log.items(segment.first_seq) if isinstance(each, Entry)), None
        )
    return None
