"""How the journal writes a record, and how it knows one again. Pure."""

import struct
import zlib
from typing import NamedTuple

# The first bytes of a segment. Another form of record will have another number here.
HEADER = b"radmeter log 1\n\0"

# Begins each record. No UTF-8 text has the first of these bytes, so a record's own text is never taken for a record.
MARK = b"\xffREC"
_CHECK = struct.Struct("<4sI")  # mark, CRC-32 of all that follows
_FIELDS = struct.Struct("<IQQq")  # bytes of text, seq, durable_seq, received_at_us
_BEFORE_TEXT = _CHECK.size + _FIELDS.size


class Packed(NamedTuple):
    """A record as it stands in a segment.

    `durable_seq`: when this record was written, all with lower numbers had survived a power cut already.
    """

    seq: int
    durable_seq: int
    received_at_us: int
    text: bytes
    end: int


def pack(seq: int, durable_seq: int, received_at_us: int, text: bytes) -> bytes:
    """Return a record's bytes."""
    fields = _FIELDS.pack(len(text), seq, durable_seq, received_at_us)
    return _CHECK.pack(MARK, zlib.crc32(text, zlib.crc32(fields))) + fields + text


def unpack(data: bytes, start: int) -> Packed | None:
    """Return the record that begins at `start`, or None where no whole and undamaged one does."""
    if len(data) < start + _BEFORE_TEXT:
        return None
    mark, check = _CHECK.unpack_from(data, start)
    length, seq, durable_seq, received_at_us = _FIELDS.unpack_from(data, start + _CHECK.size)
    end = start + _BEFORE_TEXT + length
    # Zeros, and what is left of a write that was cut short, have no mark or not this sum.
    if mark != MARK or end > len(data):
        return None
    if zlib.crc32(memoryview(data)[start + _CHECK.size : end]) != check:
        return None
    return Packed(seq, durable_seq, received_at_us, data[end - length : end], end)


def proof_of_loss(data: bytes, seq: int) -> Packed | None:
    """Return a record in `data` that shows that the one numbered `seq` was durable once, None if there is none.

    A power cut may take any of what was not durable yet, in any order: records behind such a gap prove nothing.
    """
    start = data.find(MARK)
    while start >= 0:
        record = unpack(data, start)
        if record is not None and record.durable_seq > seq:
            return record
        start = data.find(MARK, start + 1)
    return None
