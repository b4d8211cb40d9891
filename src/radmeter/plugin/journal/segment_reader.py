"""Reading one segment, which another process may be writing."""

import errno
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError
from radmeter.plugin.journal.headers import header_of, open_unnoticed
from radmeter.plugin.journal.packet_text import to_json
from radmeter.plugin.journal.record_format import (
    CHECKED_FROM,
    HEAD_BYTES,
    LONGEST_RECORD,
    MARK,
    MOST_RECORDS,
    Packed,
    announced_bytes,
    proves,
    unpack,
    unpack_head,
)
from radmeter.plugin.journal.segment_format import TRAILER_BYTES, HeaderError, unpack_trailer

_CHUNK_BYTES = 256 << 10
_PROBE_BYTES = 64 << 10  # holds nearly every record


class Entry(NamedTuple):
    """One packet: its number, when it arrived (microseconds since 1970, UTC) and the text of its attributes.

    `text`: as `packet_text` writes it. `check`: the CRC-32 that is stored with the record.
    """

    seq: int
    received_at_us: int
    text: str
    check: int = 0

    @property
    def pairs(self) -> str:
        """The attributes as JSON: a list of [name, value]."""
        return to_json(self.text)


class Loss(NamedTuple):
    """Numbers of records that are proven lost, from `first_seq` to `last_seq` (None: nobody knows how many).

    `after_us`, `before_us`: the arrivals of the good records before and behind them (None: there is none).
    """

    first_seq: int
    last_seq: int | None
    after_us: int | None
    before_us: int | None
    what: str


class DamagedSegment(JournalError):
    """Records are missing that were durable once, or the header cannot be read.

    `loss` says which records; it is None if the header is damaged.
    """

    def __init__(self, message: str, loss: Loss | None = None) -> None:
        super().__init__(message)
        self.loss = loss


# A place between two records: the number that comes next, its offset, and the arrival before it (None: not known).
# It is no NamedTuple, since one is made for each record.
_Place = tuple[int, int, int | None]


class SegmentReader:
    """Reads a segment's records. They end where no complete record follows.

    However large the file is, at most two of the longest records are in memory.

    Parameters
    ----------
    first_seq
        The first number, for a segment of format 1. Later formats say it in their header.

    Raises
    ------
    OSError
        From any method: the file cannot be read.
    DamagedSegment
        The file has no header of a segment. From `read`: records are lost.
    """

    def __init__(self, path: Path, first_seq: int) -> None:
        self.path = path
        self._descriptor = open_unnoticed(path)
        try:
            self.header, self._start = header_of(self._descriptor, first_seq)
        except HeaderError as error:
            self.close()
            raise DamagedSegment(f"{error}") from None
        except BaseException:
            self.close()
            raise
        self._first_seq = self.header.first_seq
        self._next: _Place = (self._first_seq, self._start, None)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def read(self, wanted: int) -> Iterator[Entry]:
        """Yield the records from number `wanted` on. Raises DamagedSegment where records are lost."""
        for item in self.items(wanted):
            if isinstance(item, Loss):
                raise DamagedSegment(item.what, item)
            yield item

    def items(self, wanted: int | None, *, open_loss: bool = True) -> Iterator[Entry | Loss]:
        """Yield the records from number `wanted` on, and between them what is lost of these numbers.

        If `wanted` is None, begin with one of the last records. `open_loss`: also yield a loss of nobody knows how many
        at the end.
        """
        place = self._next if wanted == self._next[0] else self._find(wanted)
        seq, offset, arrived_us = place
        chunk_bytes = _CHUNK_BYTES
        while True:
            data = os.pread(self._descriptor, chunk_bytes, offset)
            start = 0
            while (record := unpack(data, start)) is not None and record.seq == seq:
                start = record.end
                seq += 1
                arrived_us = record.received_at_us
                if wanted is None or record.seq >= wanted:
                    self._next = (seq, offset + start, arrived_us)
                    try:
                        entry = Entry(record.seq, arrived_us, record.text.decode(), record.check)
                    except UnicodeDecodeError:
                        yield not_utf8(record)
                        continue
                    yield entry
            if start:
                offset += start
            elif len(data) == chunk_bytes == _CHUNK_BYTES:
                chunk_bytes = LONGEST_RECORD  # a long record, or the zeros behind the log
            else:
                if len(data) < chunk_bytes:
                    # At a sector that the disk cannot read, a read ends without an error. This one begins there.
                    os.pread(self._descriptor, 1, offset + len(data))
                gap = self._gap((seq, offset, arrived_us), data)
                if gap is None:
                    self._next = (seq, offset, arrived_us)
                    return
                loss, seq, offset = gap
                if (
                    loss is not None
                    and (loss.last_seq is not None or open_loss)
                    and (clipped := _from(loss, wanted)) is not None
                ):
                    yield clipped
                self._next = (seq, offset, arrived_us)
                chunk_bytes = _CHUNK_BYTES
                if loss is not None and loss.before_us is None:
                    return

    @property
    def next_seq(self) -> int:
        """The number behind the last record that was read."""
        return self._next[0]

    @property
    def arrived_us(self) -> int | None:
        """When the last record arrived that was read; None if that is not known."""
        return self._next[2]

    def last_seq(self) -> int:
        """Return the number of the last record that can be read; one less than the first number if there is none."""
        last = self._first_seq - 1
        for item in self.items(None):
            if isinstance(item, Entry):
                last = item.seq
        return last

    def trailer(self) -> int | None:
        """Return the last number that the writer wrote, if it has closed the segment cleanly; else None."""
        # Not fstat: it would slow down the writer's next sync.
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        at = max(0, size - TRAILER_BYTES)
        return unpack_trailer(os.pread(self._descriptor, TRAILER_BYTES, at), 0, self._first_seq)

    def _gap(self, place: _Place, data: bytes) -> tuple[Loss | None, int, int] | None:
        """Return what is lost at `place`, where no next record is, and the number and offset to go on from.

        None: the log ends there. `data` is what is there.
        """
        seq, offset, arrived_us = place
        if (length := announced_bytes(data)) > LONGEST_RECORD and self._is_whole(offset, length):
            _, there, received_at_us = unpack_head(data)
            if there == seq:
                what = f"the record at byte {offset} has {length} bytes, more than any packet's"
                return Loss(seq, seq, received_at_us, received_at_us, what), seq + 1, offset + length
        here = unpack(data, 0)
        trailer = unpack_trailer(data, 0, self._first_seq)
        if trailer is None:
            trailer = self.trailer()
        if trailer is not None and trailer < seq:
            trailer = None
        behind = len(data) == LONGEST_RECORD or data.find(MARK) >= 0
        if here is None and trailer is None and not (behind and self._proven(seq, offset)):
            return None
        # The writer may have written both records during the read, and only the later one was seen. Read again.
        again = unpack(os.pread(self._descriptor, LONGEST_RECORD, offset), 0)
        if again is not None and again.seq == seq:
            return None
        found = next(((at, each) for at, each in self._records(offset) if each.seq >= seq), None)
        if found is not None and found[1].seq == seq:
            return None, seq, found[0]  # what lies before it is there twice
        if found is not None:
            at, record = found
            what = f"{said(seq, record.seq - 1)} missing at byte {offset}, and {record.seq} is there"
            return Loss(seq, record.seq - 1, arrived_us, record.received_at_us, what), record.seq, at
        what = f"{said(seq, trailer)} missing at byte {offset}"
        if trailer is None and here is not None:
            what += f", and {here.seq} is there"
        return Loss(seq, trailer, arrived_us, None, what), seq if trailer is None else trailer + 1, offset

    def _proven(self, seq: int, offset: int) -> bool:
        """Tell whether a record behind `offset` proves that record `seq` was durable once."""
        return any(proves(record, seq) for _, record in self._records(offset))

    def _records(self, offset: int) -> Iterator[tuple[int, Packed]]:
        """Yield the records of this segment from `offset` on with their offsets, whatever lies between them."""
        for at, record in whole_records(self._descriptor, offset):
            if self._first_seq <= record.seq < self._first_seq + MOST_RECORDS:
                yield at, record

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
        return check == unpack_head(os.pread(self._descriptor, HEAD_BYTES, offset))[0]

    def _find(self, wanted: int | None) -> _Place:
        """Find by bisection a record whose number is not above `wanted`."""
        low: _Place = (self._first_seq, self._start, None)
        # Not fstat: it would slow down the writer's next sync.
        high = os.lseek(self._descriptor, 0, os.SEEK_END)
        while high - low[1] > _PROBE_BYTES:
            middle = (low[1] + high) // 2
            data = os.pread(self._descriptor, _PROBE_BYTES, middle)
            start = data.find(MARK)
            while start >= 0 and (record := unpack(data, start)) is None:
                start = data.find(MARK, start + 1)
            if (
                start >= 0
                and record is not None
                and (wanted is None or record.seq <= wanted)
                and low[0] <= record.seq < self._first_seq + MOST_RECORDS
            ):
                low = (record.seq, middle + start, None)
            else:
                high = middle
        return low


def whole_records(
    descriptor: int, offset: int, pread: Callable[[int, int, int], bytes] = os.pread
) -> Iterator[tuple[int, Packed]]:
    """Yield the records of a file from `offset` on with their offsets, whatever lies between them. Raises OSError."""
    while (offset := _next_data(descriptor, offset)) >= 0:
        data = pread(descriptor, 2 * LONGEST_RECORD, offset)
        at_end = len(data) < 2 * LONGEST_RECORD
        start = data.find(MARK)
        # A record that begins in the first half is whole in `data`.
        while start >= 0 and (at_end or start < LONGEST_RECORD):
            record = unpack(data, start)
            if record is not None:
                yield offset + start, record
            start = data.find(MARK, start + 1 if record is None else record.end)
        if at_end:
            return
        offset += start if start >= 0 else len(data) - len(MARK) + 1


def _next_data(descriptor: int, offset: int) -> int:
    """Return the first offset from `offset` on that is not in a hole of the file, -1 if there is none."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return -1
        raise


def not_utf8(record: Packed) -> Loss:
    """Return a whole record that is none of a packet's as a loss."""
    what = f"record {record.seq} is not UTF-8"
    return Loss(record.seq, record.seq, record.received_at_us, record.received_at_us, what)


def _from(loss: Loss, wanted: int | None) -> Loss | None:
    """Return the part of a loss from number `wanted` on; None if nothing of it is."""
    if wanted is None or wanted <= loss.first_seq:
        return loss
    if loss.last_seq is not None and loss.last_seq < wanted:
        return None
    return loss._replace(first_seq=wanted)


def said(first_seq: int, last_seq: int | None) -> str:
    """Return numbers of records and the verb, in words."""
    if last_seq is None:
        return f"the records from {first_seq} on are"
    return f"record {first_seq} is" if first_seq == last_seq else f"records {first_seq} to {last_seq} are"
