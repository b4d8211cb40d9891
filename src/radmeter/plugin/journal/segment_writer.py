"""The journal's active segment: one process appends records to it and never overwrites one.

The file is filled with zeros ahead of the log. A sync of a file that does not grow has no metadata to write and takes
two thirds of the time.
"""

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from radmeter.plugin.journal import files
from radmeter.plugin.journal.record_format import pack
from radmeter.plugin.journal.segment_format import SegmentHeader, pack_header, pack_trailer

Record = tuple[int, bytes]  # received_at_us, text

# The size of one stretch of zeros. The packet that reaches its end waits 1 ms for the next; 3 ms if it were a MiB.
LAYOUT_BYTES = 1 << 18
# Zeros are written page by page. One large write would become one large folio in the page cache. The kernel would then
# count all of it as dirty at each small write, and slow the writer down.
_PAGE_BYTES = 4096
_ZEROS = bytes(_PAGE_BYTES)


class SegmentWriter:
    """Writes a segment.

    `sync_commits`: each commit waits for the disk. Without it, a commit survives the death of the process at once, and
    a power cut only after the next `sync`. Zeros are laid out up to `full_bytes` and no further.
    """

    def __init__(
        self, directory: Path, header: SegmentHeader, *, sync_commits: bool, full_bytes: int
    ) -> None:
        """Make the file. It is complete and durable before it gets its name. Raises OSError."""
        path = files.segment_path(directory, header.first_seq)
        head = pack_header(header)
        unfinished = files.unfinished_path(path)
        descriptor = files.create_file(unfinished)
        try:
            _write(descriptor, head, 0)
            os.fsync(descriptor)
            unfinished.rename(path)
            files.sync_path(directory)
            link = f"/proc/self/fd/{descriptor}"
            place = _place(path, link)
        except BaseException:
            os.close(descriptor)
            raise
        self.path = path
        self.id = header.id
        self.next_seq = self.first_seq = header.first_seq
        self.log_bytes = self.disk_bytes = len(head)
        self.sync_error: OSError | None = None
        self._durable_seq = header.first_seq
        self._sync_commits = sync_commits
        self._layout_end = full_bytes
        self._descriptor: int | None = descriptor
        self._link, self._place = link, place
        self._descriptor_lock = threading.Lock()  # so that no sync runs on a closed descriptor

    def commit(self, records: Sequence[Record]) -> int:
        """Write `records` in one call and return the first one's number. Raises OSError.

        After an error no packet may be acknowledged from this segment: what is on disk is unknown.
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
        if written < len(data):  # the disk is full: the next write raises the error
            _write(self._descriptor, data[written:], self.log_bytes + written)
        self.disk_bytes = max(self.disk_bytes, end)
        self.next_seq += len(records)
        if self._sync_commits:
            self.sync()
        self.log_bytes = end
        return seq

    def _lay_out(self) -> None:
        """Write the next stretch of zeros. A full disk is no error here: the records may still fit."""
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
                    # Records in a file that nobody can find any more are lost.
                    if _place(self.path, self._link) != self._place:
                        raise FileNotFoundError(
                            f"{self.path} was removed, moved or replaced while it was being written"
                        )
                except OSError as error:
                    # The kernel reports a failed write only once. Never trust this file again.
                    self.sync_error = error
                    raise
                self._durable_seq = next_seq

    def finish(self) -> None:
        """Write the trailer and close the segment. All its records must be durable."""
        self._close(pack_trailer(self.first_seq, self.next_seq - 1))

    def close(self) -> None:
        """Close a segment whose state on disk is unknown. It gets no trailer."""
        self._close(b"")

    def _close(self, trailer: bytes) -> None:
        """Cut off the zeros behind the log, and records that were never acknowledged."""
        with self._descriptor_lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                end = self.log_bytes
                with contextlib.suppress(OSError):  # without a trailer the segment is as good
                    if trailer:
                        _write(descriptor, trailer, end)
                    end += len(trailer)
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, end)
                os.close(descriptor)


def _place(path: Path, link: str) -> str:
    """Return where a segment's open file is now. It changes if the file or a directory above is moved or replaced.

    A file that was put in the segment's place has its name. And the file is not asked which inode it is. After an fstat
    the next write updates the inode's time (multigrain timestamps, Linux 6.13), and each sync takes 60 us more. A
    mount over the directory is not noticed: the kernel's name of the file stays the same. To ask for the directory's
    device and inode would show it, and more than double the cost of this check (3.5 us on top of 2.4 us).

    Parameters
    ----------
    link
        The name in /proc of the file's descriptor.
    """
    try:
        return os.readlink(link)  # noqa: PTH115 # a third of the time
    except OSError:  # no /proc
        return "" if os.access(path, os.F_OK) else "nowhere"


def _write(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data`. A write that is cut short is continued."""
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)
