"""Reading one segment, which another process may be writing."""

import errno
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from radmeter.plugin.journal.record_format import (
    CHECKED_FROM,
    HEADER,
    LONGEST_RECORD,
    MARK,
    Packed,
    announced_bytes,
    proof_of_loss,
    stored_check,
    unpack,
)

_CHUNK_BYTES = 256 << 10
_PROBE_BYTES = 64 << 10  # holds nearly every record


class Entry(NamedTuple):
    """One packet: its number, when it arrived (microseconds since 1970, UTC) and its attributes as JSON."""

    seq: int
    received_at_us: int
    pairs: str


class DamagedSegment(Exception):
    """Records are missing that were durable once."""


def _open_unnoticed(path: Path) -> int:
    """Open a segment without updating its access time: that update would delay the writer's next sync."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)
    except PermissionError:
        # Only the file's owner may use O_NOATIME. For others, mount the file system with noatime.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class SegmentReader:
    """Reads a segment's records. They end where no complete record follows.

    However large the file is, at most two of the longest records are in memory.

    Raises
    ------
    OSError
        From any method: the file cannot be read.
    DamagedSegment
        From any method: records are missing that a power cut cannot have lost, or a record is none of a packet's.
    """

    def __init__(self, path: Path, first_seq: int) -> None:
        self.path = path
        self._first_seq = first_seq
        self._descriptor = _open_unnoticed(path)
        self._next = first_seq, len(HEADER)  # the number and offset of the next record to read
        try:
            if os.pread(self._descriptor, len(HEADER), 0) != HEADER:
                raise DamagedSegment("it does not begin as a segment does")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def read(self, wanted: int | None) -> Iterator[Entry]:
        """Yield the records from number `wanted` on; if it is None, some of the last records."""
        seq, offset = self._next if wanted == self._next[0] else self._find(wanted)
        chunk_bytes = _CHUNK_BYTES
        while True:
            data = os.pread(self._descriptor, chunk_bytes, offset)
            start = 0
            while (record := unpack(data, start)) is not None and record.seq == seq:
                start = record.end
                seq += 1
                if wanted is None or record.seq >= wanted:
                    self._next = seq, offset + start
                    yield Entry(record.seq, record.received_at_us, _text(record.seq, record.text))
            if start:
                offset += start
            elif len(data) == chunk_bytes == _CHUNK_BYTES:
                chunk_bytes = LONGEST_RECORD  # a long record, or the zeros behind the log
            else:
                self._check_end(seq, offset, data)
                return

    def _check_end(self, seq: int, offset: int, data: bytes) -> None:
        """Raise DamagedSegment if the log cannot have ended before record `seq`, at `offset`. `data` is there."""
        if (length := announced_bytes(data)) > LONGEST_RECORD and self._is_whole(offset, length):
            raise DamagedSegment(f"the record at byte {offset} has {length} bytes, more than any packet's")
        proof = unpack(data, 0) or proof_of_loss(data, seq)
        if proof is None and len(data) == LONGEST_RECORD:
            proof = self._proof_behind(seq, offset)
        if proof is None:
            return
        # The writer may have written both records during the read, and only the later one was seen. Read again.
        again = unpack(os.pread(self._descriptor, len(data), offset), 0)
        if again is None or again.seq != seq:
            raise DamagedSegment(f"record {seq} is missing at byte {offset}, and {proof.seq} is there")

    def _proof_behind(self, seq: int, offset: int) -> Packed | None:
        """Return a record behind `offset` that proves the loss of record `seq`, as `proof_of_loss` does."""
        while (offset := self._next_data(offset)) >= 0:
            data = os.pread(self._descriptor, 2 * LONGEST_RECORD, offset)
            if (proof := proof_of_loss(data, seq)) is not None:
                return proof
            if len(data) < 2 * LONGEST_RECORD:
                return None
            offset += LONGEST_RECORD  # a record that begins before this is whole in `data`
        return None

    def _next_data(self, offset: int) -> int:
        """Return the first offset from `offset` on that is not in a hole of the file, -1 if there is none."""
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return -1
            raise

    def _is_whole(self, offset: int, length: int) -> bool:
        """Tell whether a record that is too long has the checksum that it says."""
        if offset + length > os.lseek(self._descriptor, 0, os.SEEK_END):
            return False
        check, position = 0, offset + CHECKED_FROM
        while position < offset + length:
            data = os.pread(self._descriptor, min(_CHUNK_BYTES, offset + length - position), position)
            if not data:
                return False
            check = zlib.crc32(data, check)
            position += len(data)
        return check == stored_check(os.pread(self._descriptor, CHECKED_FROM, offset))

    def _find(self, wanted: int | None) -> tuple[int, int]:
        """Find by bisection a record whose number is not above `wanted`; return its number and offset."""
        low = (self._first_seq, len(HEADER))
        # Not fstat: it would slow down the writer's next sync.
        high = os.lseek(self._descriptor, 0, os.SEEK_END)
        while high - low[1] > _PROBE_BYTES:
            middle = (low[1] + high) // 2
            data = os.pread(self._descriptor, _PROBE_BYTES, middle)
            start = data.find(MARK)
            while start >= 0 and (record := unpack(data, start)) is None:
                start = data.find(MARK, start + 1)
            if start >= 0 and record is not None and (wanted is None or record.seq <= wanted):
                low = (record.seq, middle + start)
            else:
                high = middle
        return low


def _text(seq: int, text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise DamagedSegment(f"record {seq} is not UTF-8") from error
