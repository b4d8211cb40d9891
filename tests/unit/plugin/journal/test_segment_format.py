"""The header and the trailer of a segment: read as they were written, or refused with a reason."""

import json
import zlib

import pytest
from support.journals import header

from radmeter.plugin.journal.record_format import pack, proves, unpack
from radmeter.plugin.journal.segment_format import (
    HEADER_1,
    HEADER_2,
    TRAILER_BYTES,
    HeaderError,
    pack_header,
    pack_trailer,
    unpack_header,
    unpack_trailer,
)

HEADER = header(
    1 << 40,
    previous="0e4ee1de-3d7e-4f4e-9d0a-6a3f2a3f7c11",
    previous_first_seq=7,
    node="Zoë's radius",
    made_at_us=9,
)


def packed(**changed: object) -> bytes:
    """Pack a header with other fields, as another release might."""
    fields = {key: value for key, value in HEADER._asdict().items() if key != "format"} | changed
    return framed(json.dumps({key: value for key, value in fields.items() if value != "left out"}).encode())


def framed(text: bytes) -> bytes:
    return HEADER_2 + len(text).to_bytes(4, "little") + zlib.crc32(text).to_bytes(4, "little") + text


def test_a_header_is_read_as_it_was_written() -> None:
    data = pack_header(HEADER)
    assert unpack_header(data + b"records") == (HEADER, len(data))
    first = HEADER._replace(previous=None, previous_first_seq=None)
    assert unpack_header(pack_header(first))[0] == first


def test_a_header_of_format_1_says_nothing() -> None:
    assert unpack_header(HEADER_1 + b"records") == ((1, "", None, None, 0, None, "pairs-json-1", None), 16)


def test_unknown_fields_are_ignored() -> None:
    assert unpack_header(packed(compressed=True))[0] == HEADER


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (bytes(5000), "only zeros"),
        (b"no segment", "does not begin as a segment does"),
        (b"radmeter log 0\n\0", "does not begin as a segment does"),
        (b"radmeter log 3\n\0", "of a later release: it has format 3"),
        (b"radmeter log 12\n\0", "of a later release: it has format 12"),
        (packed(records="zstd-1"), "of a later release: its records are 'zstd-1'"),
        (HEADER_2, "cut off"),
        (framed(b"[]"), "no segment's fields"),
        (framed(b"[" * 9000), "no segment's fields"),
        (framed(b"\xff"), "no segment's fields"),
        (framed(b"{" + b" " * (20 << 10) + b"}"), "damaged"),
        *((packed(**{name: "left out"}), "no segment's fields") for name in HEADER._fields[1:]),
        (packed(id="c5bd1ec0"), "no segment's fields"),
        (packed(id="{0E4EE1DE-3D7E-4F4E-9D0A-6A3F2A3F7C11}"), "no segment's fields"),
        (packed(previous="x"), "no segment's fields"),
        (packed(first_seq=True), "no segment's fields"),
        (packed(first_seq=-1), "no segment's fields"),
        (packed(first_seq=1 << 63), "no segment's fields"),
        (packed(node=""), "no segment's fields"),
    ],
)
def test_what_is_no_header_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(HeaderError, match=said) as raised:
        unpack_header(data)
    assert raised.value.later == ("later" in said)


def test_a_header_with_any_bit_flipped_or_cut_anywhere_is_none() -> None:
    data = pack_header(HEADER)
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        if bytes(damaged).startswith(HEADER_1):
            continue
        with pytest.raises(HeaderError):
            unpack_header(bytes(damaged))
    for end in range(len(data)):
        with pytest.raises(HeaderError):
            unpack_header(data[:end])


def test_a_trailer_is_read_as_it_was_written_and_only_with_its_own_first_number() -> None:
    for first, last in ((1, 0), (1, 1), (1 << 40, (1 << 40) + 5)):
        data = b"before" + pack_trailer(first, last)
        assert unpack_trailer(data, 6, first) == last
        assert unpack_trailer(data, 6, first + 1) is None
        assert unpack_trailer(data[:-1], 6, first) is None
        for place in range(8 * TRAILER_BYTES):
            damaged = bytearray(data)
            damaged[6 + place // 8] ^= 1 << place % 8
            assert unpack_trailer(bytes(damaged), 6, first) is None


def test_a_trailer_is_no_record() -> None:
    assert unpack(pack_trailer(1, 9) + bytes(100), 0) is None


@pytest.mark.parametrize(
    ("seq", "durable_seq", "lost", "proof"),
    [(9, 9, 8, True), (9, 8, 8, False), (9, 8, 7, True), (2**40, 9, 8, False), (9, 10, 8, False)],
)
def test_only_a_record_written_after_another_was_durable_proves_its_loss(
    seq: int, durable_seq: int, lost: int, proof: bool
) -> None:
    record = unpack(pack(seq, durable_seq, 1, b"[]"), 0)
    assert record is not None
    assert proves(record, lost) is proof
