"""A record as it lies in a segment: whole, or none."""

from radmeter.plugin.journal.record_format import pack, unpack


def test_a_record_is_read_as_it_was_written() -> None:
    data = b"before" + pack(7, 5, 1_795_171_383_000_000, b"[]") + b"after"
    record = unpack(data, 6)
    assert record is not None
    assert (record.seq, record.durable_seq, record.received_at_us) == (7, 5, 1_795_171_383_000_000)
    assert data[record.end :] == b"after"


def test_a_record_with_any_octet_more_or_less_is_none() -> None:
    data = pack(1 << 40, 1 << 39, 1_795_171_383_000_000, b'[["User-Name","alice"]]')
    for place in range(len(data)):
        for by in (1, -1):
            damaged = bytearray(data)
            damaged[place] = (damaged[place] + by) % 256
            assert unpack(bytes(damaged), 0) is None, (place, by)
    for end in range(len(data)):
        assert unpack(data[:end], 0) is None, end
