"""The journal's active segment: a log that one process writes, record behind record, and never writes twice.

The file is laid out with zeros ahead of the log. Where it need not grow, a sync has no metadata to write and takes two
thirds of the time.
"""

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from radmeter.plugin.journal import files as files
from radmeter.plugin.journal.record_format import HEADER, pack

Record = tuple[int, bytes]  # received_at_us, text

# So much ahead. The packet that meets the end of it waits 1 ms for this, 3 ms for a whole MiB.
LAYOUT_BYTES = 1 << 18
# Page by page: one large write would lie in the page cache as one large folio, and the kernel would count all of it as
# dirty, and throttle for it, at each small write.
_PAGE_BYTES = 4096
_ZEROS = bytes(_PAGE_BYTES)


class SegmentWriter:
    """The segment being written.

    `sync_commits`: a commit waits for the disk. Otherwise it survives the death of the process only, and a
    power cut from the next `sync` on. The file is laid out up to `full_bytes` and no further.
    """

    def __init__(self, directory: Path, first_seq: int, *, sync_commits: bool, full_bytes: int) -> None:
        """Make it, whole and durable before it has its name. Raises OSError."""
        path = files.segment_path(directory, first_seq)
        unfinished = files.unfinished_path(path)
        descriptor = files.create_file(unfinished)
        try:
            os.write(descriptor, HEADER)
            os.fsync(descriptor)
            unfinished.rename(path)
            files.sync_path(directory)
        except BaseException:
            os.close(descriptor)
            raise
        self.path = path
        self.next_seq = self.first_seq = first_seq
        self.log_bytes = self.disk_bytes = len(HEADER)
        self.sync_error: OSError | None = None
        self._durable_seq = first_seq
        self._sync_commits = sync_commits
        self._layout_end = full_bytes
        self._descriptor: int | None = descriptor
        self._descriptor_lock = threading.Lock()  # it must not be closed under a sync

    def commit(self, records: Sequence[Record]) -> int:
        """Write `records` in one go and return the first one's number. Raises OSError.

        After an error nothing in this segment may be acknowledged any more: what the disk has of it is unknown.
        """
        seq, durable_seq = self.next_seq, self._durable_seq
        if len(records) == 1:
            data = pack(seq, durable_seq, *records[0])
        else:
            data = b"".join(pack(seq + n, durable_seq, *record) for n, record in enumerate(records))
        assert self._descriptor is not None
        end = self.log_bytes + len(data)
        if end > self.disk_bytes:
            self._lay_out()
        written = os.pwrite(self._descriptor, data, self.log_bytes)
        while written < len(data):  # the disk got full in the middle: it says so when asked again
            written += os.pwrite(self._descriptor, data[written:], self.log_bytes + written)
        self.disk_bytes = max(self.disk_bytes, end)
        self.next_seq += len(records)
        if self._sync_commits:
            self.sync()
        self.log_bytes = end
        return seq

    @property
    def empty(self) -> bool:
        """Whether nothing that was acknowledged is in it."""
        return self.log_bytes == len(HEADER)

    def _lay_out(self) -> None:
        """Lay out the next stretch, unless the disk has no room for it: the records may still fit."""
        assert self._descriptor is not None
        end = min(self.disk_bytes + LAYOUT_BYTES, self._layout_end)
        try:
            while (start := self.disk_bytes) < end:
                zeros = _ZEROS[: min(end - start, _PAGE_BYTES - start % _PAGE_BYTES)]
                self.disk_bytes += os.pwrite(self._descriptor, zeros, start)
        except OSError:
            self._layout_end = 0

    def sync(self) -> None:
        """Make every commit so far survive a power cut. Raises OSError."""
        with self._descriptor_lock:
            if self.sync_error is not None:
                raise self.sync_error
            if self._descriptor is not None:
                next_seq = self.next_seq
                try:
                    os.fdatasync(self._descriptor)
                    # Records in a file that was deleted would be gone with it. Asked by name: after an fstat the next
                    # write stamps the inode (multigrain timestamps, Linux 6.13), and each sync takes 60 us more.
                    if not os.access(self.path, os.F_OK):
                        raise FileNotFoundError(f"{self.path} was removed while it was being written")
                except OSError as error:
                    # The kernel reports a failed write once and then forgets it: never trust this file again.
                    self.sync_error = error
                    raise
                self._durable_seq = next_seq

    def close(self) -> None:
        """Close the segment, giving back what was laid out behind the log, and what was never acknowledged."""
        with self._descriptor_lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, self.log_bytes)
                os.close(descriptor)
