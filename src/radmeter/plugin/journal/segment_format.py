"""The format of a segment around its records: the header, and the trailer of a segment that was closed. Pure."""

import json
import re
import struct
import uuid
import zlib
from typing import NamedTuple

# A segment's first bytes. Format 1 has no more of a header.
HEADER_1 = b"radmeter log 1\n\0"
HEADER_2 = b"radmeter log 2\n\0"
_ANY_FORMAT = re.compile(rb"radmeter log ([1-9]\d{0,8})\n\0")
_HEADER = struct.Struct("<II")  # bytes of JSON, their CRC-32
LONGEST_HEADER = 16 << 10

# How the text of a record says what a packet had: a list of [name, value] in JSON, or the names first
# (`packet_text.py`). A reader tells by the text itself which of the two it is.
PAIRS_JSON = "pairs-json-1"
NAMES_FIRST = "names-values-1"
RECORDS = (PAIRS_JSON, NAMES_FIRST)

# The first byte is none of UTF-8, as in the mark of a record. The rest tells it from a record's.
TRAILER_MARK = b"\xffEND"
_TRAILER = struct.Struct("<4sI16s")  # mark, CRC-32 of the rest, the counts
_COUNTS = struct.Struct("<QQ")  # records, the last one's number
TRAILER_BYTES = _TRAILER.size


class HeaderError(ValueError):
    """A file does not begin with the header of a segment that this release can read. The message says why.

    `later`: the file says that it is of a later release.
    """

    def __init__(self, message: str, *, later: bool = False) -> None:
        super().__init__(message)
        self.later = later


class SegmentHeader(NamedTuple):
    """What a segment says about itself.

    A segment of format 1 says nothing. Its reader takes `first_seq` from the file's name, and `node` and `id` from the
    journal's file `node`. Without that file `id` is empty and `node` is None.
    """

    format: int
    id: str
    previous: str | None
    previous_first_seq: int | None
    first_seq: int
    node: str | None
    records: str
    made_at_us: int | None


def pack_header(header: SegmentHeader) -> bytes:
    """Return the first bytes of a segment of format 2."""
    fields = header._asdict()
    del fields["format"]
    text = json.dumps(fields).encode()
    return HEADER_2 + _HEADER.pack(len(text), zlib.crc32(text)) + text


def unpack_header(data: bytes) -> tuple[SegmentHeader, int]:
    """Return a segment's header and where its records begin. `data`: the first LONGEST_HEADER bytes of the file.

    Raises
    ------
    HeaderError
        The segment is of a later release, or its header is damaged, or the file is no segment.
    """
    if data.startswith(HEADER_1):
        return SegmentHeader(1, "", None, None, 0, None, PAIRS_JSON, None), len(HEADER_1)
    if not data:
        raise HeaderError("the file is empty")
    said = _ANY_FORMAT.match(data)
    if said is None:
        raise HeaderError(
            "it has only zeros" if not data.strip(b"\0") else "it does not begin as a segment does"
        )
    if said[0] != HEADER_2:
        raise HeaderError(f"this segment is of a later release: it has format {int(said[1])}", later=True)
    header, end = unpack_header_fields(data)
    if header.records not in RECORDS:
        said_records = header.records[:40]
        raise HeaderError(f"this segment is of a later release: its records are {said_records!r}", later=True)
    return header, end


def unpack_header_fields(data: bytes) -> tuple[SegmentHeader, int]:
    """Return the header's fields and where the records begin, whatever the format's number. Raises HeaderError."""
    start = len(HEADER_2) + _HEADER.size
    if len(data) < start:
        raise HeaderError("its header is cut off")
    length, check = _HEADER.unpack_from(data, len(HEADER_2))
    text = data[start : start + length]
    if length > LONGEST_HEADER - start or len(text) < length or zlib.crc32(text) != check:
        raise HeaderError("its header is damaged")
    try:
        return _checked(json.loads(text)), start + length
    except (ValueError, TypeError, KeyError, RecursionError):
        raise HeaderError("its header has no segment's fields") from None


def _checked(fields: dict[str, object]) -> SegmentHeader:
    """Return the fields of a header if they are of the right kind. Raises ValueError, TypeError or KeyError."""

    def number(name: str) -> int:
        value = fields[name]
        if type(value) is int and 0 <= value < 1 << 63:
            return value
        raise ValueError(name)

    def identity(name: str) -> str:
        value = fields[name]
        if isinstance(value, str) and str(uuid.UUID(value)) == value:
            return value
        raise ValueError(name)

    def text(name: str) -> str:
        value = fields[name]
        if isinstance(value, str) and value:
            return value
        raise ValueError(name)

    return SegmentHeader(
        format=2,
        id=identity("id"),
        previous=None if fields["previous"] is None else identity("previous"),
        previous_first_seq=None if fields["previous_first_seq"] is None else number("previous_first_seq"),
        first_seq=number("first_seq"),
        node=text("node"),
        records=text("records"),
        made_at_us=number("made_at_us"),
    )


def pack_trailer(first_seq: int, last_seq: int) -> bytes:
    """Return the trailer of a segment whose records have the numbers from `first_seq` to `last_seq`."""
    counts = _COUNTS.pack(last_seq - first_seq + 1, last_seq)
    return _TRAILER.pack(TRAILER_MARK, zlib.crc32(counts), counts)


def unpack_trailer(data: bytes, start: int, first_seq: int) -> int | None:
    """Return the last number that the trailer at `start` names; None if none is there, or it is another segment's.

    `first_seq` - 1: the segment has no record.
    """
    if len(data) < start + TRAILER_BYTES:
        return None
    mark, check, counts = _TRAILER.unpack_from(data, start)
    count, last_seq = _COUNTS.unpack(counts)
    if mark != TRAILER_MARK or zlib.crc32(counts) != check or last_seq != first_seq + count - 1:
        return None
    return int(last_seq)
