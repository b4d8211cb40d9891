"""The journal: accounting packets, on disk before they are answered. Standard library only."""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from radmeter.errors import JournalError
from radmeter.plugin.journal import files, locks
from radmeter.plugin.journal.group_commit import GroupCommit
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.kept import delete_oldest, is_full, make_room
from radmeter.plugin.journal.record_format import LONGEST_TEXT
from radmeter.plugin.journal.segment_format import NAMES_FIRST, HeaderError, SegmentHeader
from radmeter.plugin.journal.segment_writer import Record, SegmentWriter

# After a failure all appends fail at once for this long, so that not every packet waits for a sick disk.
RETRY_SECONDS = 0.2


class JournalWriter:
    """The journal's writer. Thread safe; concurrent appends share commits.

    Nothing on disk is touched before the first append. Only one process at a time writes a journal.

    Parameters
    ----------
    sync
        ``packet``: an append returns when its record would survive a power cut. ``interval``: it returns when
        the record would survive the death of this process; a power cut can lose the last `interval_seconds`.
    segment_bytes
        At this size a segment is closed and the next one begins.
    limit_bytes
        Appends fail while the journal takes this many bytes on disk. Its folders are not counted.
    on_deleted
        Called with each kept segment that was deleted because the disk is full.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        sync: str = "packet",
        interval_seconds: float = 0.005,
        segment_bytes: int = 64 << 20,
        limit_bytes: int = 8 << 30,
        on_deleted: Callable[[Path], None] = lambda path: None,
    ) -> None:
        if sync not in ("packet", "interval"):
            raise ValueError(f"sync is 'packet' or 'interval', not {sync!r}")
        self._directory = Path(directory).absolute()
        self._sync_commits = sync == "packet"
        self._interval_seconds = interval_seconds
        # The newest segment is never deleted, so it alone must not reach the limit.
        self._segment_bytes = max(1, min(segment_bytes, limit_bytes // 4))
        self._limit_bytes = limit_bytes
        self._on_deleted = on_deleted
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._group: GroupCommit[Record] = GroupCommit(self._commit)
        self._writing = threading.Lock()
        self._lock = locks.RoleLock(self._directory, locks.WRITER)
        self._node: str | None = None
        self._segment: SegmentWriter | None = None
        self._other_bytes = 0  # on disk, without the active segment, at the last check
        self._next_seq = 0  # 0: never opened
        # The id and the first number of the last segment that was kept.
        self._last: tuple[str | None, int] | None = None
        self._failure: JournalError | None = None
        self._retry_at = 0.0
        self._closed = threading.Event()
        self._unsynced = threading.Event()
        self._syncer: threading.Thread | None = None

    def append(self, received_at_us: int, packet: str) -> int:
        """Journal one packet, as `packet_text` writes it, and return its sequence number.

        Raises
        ------
        JournalError
            The packet is not journaled and must not be acknowledged. Later appends try again by themselves. Or the
            packet is longer than any that RADIUS can carry.
        UnicodeEncodeError
            `packet` is not Unicode text (it has lone surrogates).
        """
        if os.getpid() != self._pid:
            self._start_afresh_in_child()
        # Encode here, so that bad text fails alone and not together with the others in its commit.
        text = packet.encode()
        if len(text) > LONGEST_TEXT:
            raise JournalError(f"a packet of {len(text)} bytes of text is longer than {LONGEST_TEXT}")
        return self._group.append((received_at_us, text))

    def close(self) -> None:
        """Make all appended records durable and release the journal. Raises JournalError if that fails."""
        with self._writing:
            self._closed.set()
            self._unsynced.set()
            segment, self._segment = self._segment, None
            self._failure = JournalError(f"the journal {self._directory} is closed")
            self._retry_at = float("inf")
        try:
            if segment is not None:
                segment.sync()
                segment.finish()
        except OSError as error:
            raise files.unusable(self._directory, error) from error
        finally:
            if self._syncer is not None:
                self._syncer.join()
            if segment is not None:
                segment.close()
            self._lock.release()

    def _commit(self, records: list[Record]) -> int:
        with self._writing:
            segment = self._segment
            if (
                segment is None
                or segment.sync_error is not None
                or segment.log_bytes >= self._segment_bytes
                or segment.disk_bytes + self._other_bytes >= self._limit_bytes
            ):
                segment = self._make_ready()
            try:
                seq = segment.commit(records)
            except Exception as error:
                segment, seq = self._commit_again(records, error)
            self._next_seq = segment.next_seq
            if not self._sync_commits and not self._unsynced.is_set():
                self._unsynced.set()
            return seq

    def _commit_again(self, records: list[Record], error: Exception) -> tuple[SegmentWriter, int]:
        """Commit to a new segment after `error`, as long as deleting a kept segment may help. Raises JournalError."""
        while True:
            failure = self._failed(error)
            if not self._free(error):
                raise failure from error
            segment = self._make_ready(at_once=True)
            try:
                return segment, segment.commit(records)
            except Exception as again:
                error = again

    def _make_ready(self, *, at_once: bool = False) -> SegmentWriter:
        """Return a segment that can take records, on the slow path of an append. Raises JournalError."""
        if self._failure is not None and not at_once and time.monotonic() < self._retry_at:
            raise type(self._failure)(*self._failure.args)
        while True:
            try:
                segment = self._segment or self._open()
                if segment.sync_error is not None:
                    raise segment.sync_error
                if segment.log_bytes >= self._segment_bytes:
                    segment = self._roll_over(segment)
                self._other_bytes = files.size_bytes(self._directory, without=segment.path)
                break
            except Exception as error:
                failure = self._failed(error)
                if not self._free(error):
                    raise failure from error
        if segment.disk_bytes + self._other_bytes >= self._limit_bytes:
            self._failure = JournalError(
                f"the journal {self._directory} has reached its limit of {self._limit_bytes} bytes: it takes "
                "packets again when the shipper (radmeter ship) has carried some away"
            )
            self._retry_at = time.monotonic() + RETRY_SECONDS
            raise self._failure
        self._failure = None
        return segment

    def _free(self, error: Exception) -> bool:
        """Delete a kept segment if `error` is a full disk. Return whether one was deleted."""
        return is_full(error) and delete_oldest(self._directory, self._on_deleted) is not None

    def _failed(self, error: Exception) -> JournalError:
        """Give up the active segment, whose state is unknown after `error`, and delay the next attempt."""
        segment, self._segment = self._segment, None
        if segment is not None:
            # It stays, also without a record: a shipper that has seen it would miss it. On a full disk these do not
            # become many: each takes a block, and without one no segment can be begun.
            self._last = segment.id, segment.first_seq
            segment.close()
        self._failure = error if isinstance(error, JournalError) else files.unusable(self._directory, error)
        self._retry_at = time.monotonic() + RETRY_SECONDS
        return self._failure

    def _open(self) -> SegmentWriter:
        """Open the journal, or make it. Its numbers continue after a gap."""
        files.make_directory(self._directory)
        self._lock.acquire()
        files.remove_leftovers(self._directory)
        node = files.read_node(self._directory)
        existing = files.segments(self._directory) or _shipped(self._directory, node)
        newest = existing[-1] if existing else None
        header = None if newest is None else _header(newest, node)
        if newest is not None and (self._last is None or newest.first_seq > self._last[1]):
            self._last = (header.id or None) if header else None, newest.first_seq
        if self._node is None:
            # Without segments the used numbers are unknown, so the journal becomes a new node.
            known = node or (header.node if header else None)
            self._node = (known if existing else None) or files.new_node()
        # The ids of segments of format 1 are made from the name in the file. With another name they would have other
        # ids and be counted twice. So a lost file is made again only when they are gone.
        if node != self._node and (node is not None or not _any_old(self._directory)):
            files.write_node(self._directory, self._node)
        # The newest segment may be damaged, so its last number is not read. It holds fewer than GAP records.
        beyond_newest = newest.first_seq + 2 * files.GAP if newest is not None else 1
        # Nor that of one which was put aside because its header is damaged: by its name it would be taken for this one.
        for damaged in _unreadable(self._directory):
            beyond_newest = max(beyond_newest, damaged.first_seq + 2 * files.GAP)
        beyond_own = self._next_seq + files.GAP if self._next_seq else 1
        return self._start(max(beyond_newest, beyond_own))

    def _roll_over(self, segment: SegmentWriter) -> SegmentWriter:
        """Begin the next segment where `segment` ends. The records of `segment` are then durable in both modes."""
        segment.sync()
        self._segment = None
        self._last = segment.id, segment.first_seq
        segment.finish()
        make_room(self._directory, self._on_deleted)
        return self._start(segment.next_seq)

    def _start(self, first_seq: int) -> SegmentWriter:
        assert self._node is not None
        previous, previous_first_seq = self._last or (None, None)
        header = SegmentHeader(
            format=2,
            id=str(uuid.uuid4()),
            previous=previous,
            previous_first_seq=previous_first_seq,
            first_seq=first_seq,
            node=self._node,
            records=NAMES_FIRST,
            made_at_us=time.time_ns() // 1000,
        )
        try:
            self._segment = SegmentWriter(
                self._directory, header, sync_commits=self._sync_commits, full_bytes=self._segment_bytes
            )
        except OSError:
            with contextlib.suppress(OSError):  # leave nothing behind on a full disk
                files.remove_leftovers(self._directory)
                files.segment_path(self._directory, first_seq).unlink(missing_ok=True)
            raise
        self._next_seq = first_seq
        if not self._sync_commits and self._syncer is None:
            self._syncer = threading.Thread(target=self._sync_regularly, name="radmeter-sync", daemon=True)
            self._syncer.start()
        return self._segment

    def _sync_regularly(self) -> None:
        """Sync the active segment after every interval in which something was appended."""
        while not self._closed.is_set():
            self._unsynced.wait()
            self._closed.wait(self._interval_seconds)
            self._unsynced.clear()  # before the sync: records committed during it need the next sync
            segment = self._segment
            if segment is not None and segment.sync_error is None:
                with contextlib.suppress(OSError):  # the next append finds the error in sync_error
                    segment.sync()

    def _start_afresh_in_child(self) -> None:
        """Forget the parent's journal. Its segment stays open here, because closing it would truncate it."""
        self._lock.release()  # closes the copy; the parent's descriptor still holds the lock
        self._begin()


def _header(segment: files.SegmentFile, node: str | None) -> SegmentHeader | None:
    """Return what a segment says about itself; None if that cannot be read."""
    try:
        header = read_header(segment.path)
    except (OSError, HeaderError):
        return None
    if header.format == 1 and node is not None:
        return header._replace(id=files.old_segment_id(node, segment.first_seq), node=node)
    return header


def _shipped(journal: Path, node: str | None) -> list[files.SegmentFile]:
    """Return the newest segment of this node in the journal's folders, if the shipper has moved all there.

    Segments of format 1 count as this node's: with another name they would be other segments.
    """
    found = []
    for folder in files.FOLDERS:
        with contextlib.suppress(OSError):
            for segment in reversed(files.segments(journal / folder)):
                header = _header(segment, node)
                if header is not None and header.node is not None and header.node == node:
                    found.append(segment)
                    break
    return sorted(found)[-1:]


def _unreadable(journal: Path) -> list[files.SegmentFile]:
    """Return the segments that the shipper has put aside because their header cannot be read."""
    with contextlib.suppress(OSError):
        return [each for each in files.segments(journal / files.DAMAGED) if _header(each, None) is None]
    return []


def _any_old(journal: Path) -> bool:
    """Tell whether the journal or one of its folders may have a segment of format 1."""
    for place in (journal, *(journal / folder for folder in files.FOLDERS)):
        with contextlib.suppress(OSError):
            for segment in files.segments(place):
                header = _header(segment, None)
                if header is None or header.format == 1:
                    return True
    return False
