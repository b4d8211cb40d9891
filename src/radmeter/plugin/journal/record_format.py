"""The format of a record in the journal: how it is written and recognised. Pure."""

import struct
import zlib
from typing import NamedTuple

# No segment holds so many records. A record whose number is farther from its segment's first is none of that segment's.
MOST_RECORDS = 2**32

# Each record begins with it. UTF-8 text never has the first of these bytes, so no text looks like a record.
MARK = b"\xffREC"
_CHECK = struct.Struct("<4sI")  # mark, CRC-32 of all that follows
_FIELDS = struct.Struct("<IQQq")  # bytes of text, seq, durable_seq, received_at_us
_BEFORE_TEXT = _CHECK.size + _FIELDS.size
# A record without its text.
HEAD_BYTES = _BEFORE_TEXT
# The checksum is over all from here on.
CHECKED_FROM = _CHECK.size
# A packet has at most 4096 octets (RFC 2866 section 3). 1,350 attributes of one octet each, all with long names and
# values, make about 180 kB of JSON.
LONGEST_TEXT = 512 << 10
LONGEST_RECORD = _BEFORE_TEXT + LONGEST_TEXT


class Packed(NamedTuple):
    """A record as it is stored in a segment.

    `durable_seq`: when this record was written, all records with numbers below `durable_seq` were safely on disk.
    """

    seq: int
    durable_seq: int
    received_at_us: int
    text: bytes
    end: int
    check: int


def pack(seq: int, durable_seq: int, received_at_us: int, text: bytes) -> bytes:
    """Return a record's bytes."""
    fields = _FIELDS.pack(len(text), seq, durable_seq, received_at_us)
    return _CHECK.pack(MARK, zlib.crc32(text, zlib.crc32(fields))) + fields + text


def unpack(data: bytes, start: int) -> Packed | None:
    """Return the record that begins at `start`, or None if there is no complete, undamaged one."""
    if len(data) < start + _BEFORE_TEXT:
        return None
    mark, check = _CHECK.unpack_from(data, start)
    length, seq, durable_seq, received_at_us = _FIELDS.unpack_from(data, start + _CHECK.size)
    end = start + _BEFORE_TEXT + length
    # Zeros have no mark; the rest of an interrupted write has no mark or another checksum.
    if mark != MARK or end > len(data) or length > LONGEST_TEXT:
        return None
    if zlib.crc32(memoryview(data)[start + _CHECK.size : end]) != check:
        return None
    return Packed(seq, durable_seq, received_at_us, data[end - length : end], end, check)


def announced_bytes(data: bytes) -> int:
    """Return how long the record at the head of `data` says that it is; 0 if none begins there."""
    if len(data) < _BEFORE_TEXT or not data.startswith(MARK):
        return 0
    length: int = _FIELDS.unpack_from(data, _CHECK.size)[0]
    return _BEFORE_TEXT + length


def unpack_head(head: bytes) -> tuple[int, int, int]:
    """Return the checksum, the number and the arrival of the record that begins `head`. Its text is not checked."""
    _, check = _CHECK.unpack_from(head)
    _, seq, _, received_at_us = _FIELDS.unpack_from(head, _CHECK.size)
    return check, seq, received_at_us


def proves(record: Packed, seq: int) -> bool:
    """Tell whether a record that was found behind proves that record `seq` was durable once.

    A power cut may lose any records that were not durable yet, in any order. Records behind such a gap prove nothing.
    """
    return seq < record.durable_seq <= record.seq < seq + MOST_RECORDS
