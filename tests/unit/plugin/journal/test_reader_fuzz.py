"""Whatever bytes are in a journal's files, its reader gives right records, true losses, or its own error."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.fuzz import fuzzing, mutated
from support.journals import header

from radmeter.errors import JournalError
from radmeter.plugin.journal import files
from radmeter.plugin.journal.orphan import read_orphan
from radmeter.plugin.journal.reader import (
    DamagedSegment,
    Entry,
    JournalReader,
    Loss,
    Segment,
    digest_after,
)
from radmeter.plugin.journal.record_format import MARK, pack
from radmeter.plugin.journal.segment_format import HEADER_1, TRAILER_MARK, pack_header, pack_trailer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(lambda text: text.encode())
NEW = pack_header(header())
HEADERS = st.sampled_from([b"", HEADER_1, NEW])
# Parts of the format, so that random bytes come near it.
PARTS = st.one_of(
    st.binary(max_size=200),
    HEADERS,
    st.just(MARK),
    st.just(TRAILER_MARK),
    st.just(bytes(5000)),
    st.builds(pack, st.integers(0, 9), st.integers(0, 9), st.integers(-(2**63), 2**63 - 1), TEXTS),
    st.builds(pack, st.integers(0, 9), st.integers(0, 9), st.just(7), st.binary(max_size=30)),
    st.builds(pack_trailer, st.just(1), st.integers(0, 9)),
)


@contextmanager
def journal(segments: dict[int, bytes]) -> Iterator[Path]:
    """Make a journal of segments, by their first numbers."""
    directory = Path(tempfile.mkdtemp(prefix="radmeter-fuzz-"))
    try:
        (directory / "node").write_text("n\n")
        for first, data in segments.items():
            files.segment_path(directory, first).write_bytes(data)
        yield directory
    finally:
        shutil.rmtree(directory)


def read_around(
    reader: JournalReader, segment: Segment, limit: int, after: int
) -> tuple[list[Entry], list[Loss]]:
    """Read a segment as the shipper does: what is lost is noted and skipped."""
    found, losses = list[Entry](), list[Loss]()
    while True:
        loss = None
        try:
            entries = reader.read(segment, found[-1].seq if found else after, limit)
        except DamagedSegment as error:
            entries, loss = [], error.loss
        assert len(entries) <= limit
        found += entries
        if loss is not None:
            losses.append(loss)
            reader.skip(segment, loss)
        elif not entries:
            return found, losses


def check(found: list[Entry], losses: list[Loss], after: int) -> None:
    """Check that numbers go up, that losses lie between them, and that nothing is missing without a word."""
    seen = [(entry.seq, entry.seq) for entry in found]
    lost = [(loss.first_seq, loss.last_seq) for loss in losses]
    assert all(last is not None for _, last in lost[:-1])
    expected = after + 1
    for first, last in sorted([*seen, *lost]):
        assert first == expected
        assert last is None or last >= first
        expected = (first if last is None else last) + 1


def use_the_rest(reader: JournalReader, segment: Segment, found: list[Entry]) -> None:
    """Use the other methods, as far as they can be compared with what was read from the beginning."""
    last = found[-1].seq if found else segment.first_seq - 1
    assert reader.digest(segment, 2**62) == (last, digest_after(0, found))
    assert reader.end(segment) in (None, last)
    reader.depth({})


@fuzzing(400)
@given(parts=st.lists(PARTS, max_size=8), head=HEADERS, limit=st.integers(1, 5), after=st.integers(0, 9))
def test_any_bytes(parts: list[bytes], head: bytes, limit: int, after: int) -> None:
    data = head + b"".join(parts)
    with journal({1: data}) as directory:
        reader = JournalReader(directory)
        listed, unreadable = reader.segments(), reader.unreadable()
        assert len(listed) + len(unreadable) == 1
        for segment in listed:
            found, losses = read_around(reader, segment, limit, after)
            check(found, losses, after)
            for entry in found:
                assert entry.pairs.encode() in data
            reader.losses(segment, after)
            reader.digest(segment, after)
            reader.end(segment)
            reader.depth({})
        reader.close()
        try:
            items = list(read_orphan(files.segment_path(directory, 1)))
        except JournalError:
            items = []
        whole = [item for item in items if isinstance(item, Entry)]
        numbers = [item.seq if isinstance(item, Entry) else item.first_seq for item in items]
        assert numbers == sorted(set(numbers))
        if listed and after == 0:
            assert {entry.seq for entry in found} <= {entry.seq for entry in whole}


@fuzzing(500)
@given(
    data=st.data(),
    texts=st.lists(TEXTS, min_size=1, max_size=12),
    durable=st.integers(0, 12),
    limit=st.integers(1, 20),
    second=st.booleans(),
    new=st.booleans(),
    closed=st.booleans(),
    gap=st.sampled_from([0, files.GAP]),
)
def test_a_damaged_segment_gives_no_wrong_record_and_tells_what_is_lost(
    data: st.DataObject,
    texts: list[bytes],
    durable: int,
    limit: int,
    second: bool,
    new: bool,
    closed: bool,
    gap: int,
) -> None:
    head = NEW if new else HEADER_1
    body = b"".join(pack(n, max(1, n - durable), n, text) for n, text in enumerate(texts, 1))
    tail = pack_trailer(1, len(texts)) if new and closed else b""
    whole = {1: head + body + tail}
    expected = [(n, n, text.decode()) for n, text in enumerate(texts, 1)]
    if second:
        first = len(texts) + 1 + gap
        following = pack_header(header(first, previous=header().id)) if new else HEADER_1
        whole[first] = following + pack(first, first, 7, b"the next segment")
    # The header is damaged in another test.
    damaged = {**whole, 1: head + data.draw(mutated(body + tail))}
    with journal(damaged) as directory:
        reader = JournalReader(directory)
        segment = reader.segments()[0]
        found, losses = read_around(reader, segment, limit, 0)
        check(found, losses, 0)
        use_the_rest(reader, segment, found)
        if second:
            other = reader.segments()[1]
            assert [entry[:3] for entry in reader.read(other, 0, 9)] == [(first, 7, "the next segment")]
        reader.close()
    # Never a wrong record, and never one twice.
    assert [entry[:3] for entry in found] == [expected[entry.seq - 1] for entry in found]
    missing = {n for n, _, _ in expected} - {entry.seq for entry in found}
    told = {n for loss in losses for n in missing if loss.first_seq <= n <= (loss.last_seq or n)}
    # Between full segments nothing can be missing without a word.
    if second and gap == 0:
        assert told == missing
        assert all(loss.last_seq is not None and loss.last_seq <= len(texts) for loss in losses)
    # Every whole record is found by salvage.
    with journal(damaged) as directory:
        try:
            salvaged = [
                item for item in read_orphan(files.segment_path(directory, 1)) if isinstance(item, Entry)
            ]
        except JournalError:
            salvaged = []
    assert set(found) <= set(salvaged)
    assert [entry[:3] for entry in salvaged] == [expected[entry.seq - 1] for entry in salvaged]


@fuzzing(200)
@given(
    data=st.data(),
    texts=st.lists(TEXTS, min_size=1, max_size=8),
    trailer=st.booleans(),
    after=st.integers(0, 8),
)
def test_a_flipped_bit_in_a_closed_segment_costs_one_record_or_none(
    data: st.DataObject, texts: list[bytes], trailer: bool, after: int
) -> None:
    records = [pack(n, n, n, text) for n, text in enumerate(texts, 1)]
    content = bytearray(NEW + b"".join(records) + pack_trailer(1, len(texts)))
    place = data.draw(st.integers(8 * len(NEW), 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    with journal({1: bytes(content)}) as directory:
        reader = JournalReader(directory)
        (segment,) = reader.segments()
        found, losses = read_around(reader, segment, 3, after)
        reader.close()
    check(found, losses, after)
    ends = [len(NEW) + sum(map(len, records[:n])) for n in range(1, len(records) + 1)]
    hit = next((n for n, end in enumerate(ends, 1) if place // 8 < end), None)
    wanted = [n for n in range(after + 1, len(texts) + 1) if n != hit]
    assert [entry.seq for entry in found] == wanted
    assert [loss[:2] for loss in losses] == ([(hit, hit)] if hit is not None and hit > after else [])


@fuzzing(150)
@given(data=st.data(), texts=st.lists(TEXTS, min_size=1, max_size=8), new=st.booleans())
def test_a_segment_that_is_still_growing_is_no_damage(
    data: st.DataObject, texts: list[bytes], new: bool
) -> None:
    """Cut off anywhere, with zeros behind as the writer lays them out: the rest comes when it is there."""
    head = NEW if new else HEADER_1
    whole = head + b"".join(pack(n, n, n, text) for n, text in enumerate(texts, 1))
    if new:
        whole += pack_trailer(1, len(texts))
    cut = data.draw(st.integers(len(head), len(whole)))
    with journal({1: whole[:cut] + bytes(data.draw(st.sampled_from([0, 40, 70_000])))}) as directory:
        reader = JournalReader(directory)
        (segment,) = reader.segments()
        before = reader.read(segment, 0, 100)
        assert reader.read(segment, before[-1].seq if before else 0, 100) == []
        assert reader.losses(segment, 0) == []
        files.segment_path(directory, 1).write_bytes(whole)
        after = reader.read(segment, before[-1].seq if before else 0, 100)
        assert reader.end(segment) == (len(texts) if new else None)
        reader.close()
    assert [entry[:3] for entry in before + after] == [(n, n, t.decode()) for n, t in enumerate(texts, 1)]


@fuzzing(150)
@given(data=st.data(), texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_a_damaged_header_is_told_and_hides_no_record(data: st.DataObject, texts: list[bytes]) -> None:
    body = b"".join(pack(n, n, n, text) for n, text in enumerate(texts, 1))
    damaged = data.draw(mutated(NEW))
    with journal({1: damaged + body}) as directory:
        reader = JournalReader(directory)
        path = files.segment_path(directory, 1)
        unreadable = reader.unreadable()
        if unreadable:
            assert reader.segments() == []
            assert unreadable[0][0] == path
            reader.depth({})
        if "later" not in str(unreadable):
            salvaged = [item.seq for item in read_orphan(path) if isinstance(item, Entry)]
            assert salvaged == list(range(1, len(texts) + 1))
        reader.close()
