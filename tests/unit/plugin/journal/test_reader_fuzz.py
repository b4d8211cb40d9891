"""Whatever bytes are in a journal's files, its reader gives right records or its own error."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.fuzz import fuzzing, mutated

from radmeter.errors import JournalError
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import Entry, JournalReader
from radmeter.plugin.journal.record_format import HEADER, MARK, pack

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(lambda text: text.encode())
# Parts of the format, so that random bytes come near it.
PARTS = st.one_of(
    st.binary(max_size=200),
    st.just(HEADER),
    st.just(MARK),
    st.just(bytes(5000)),
    st.builds(pack, st.integers(0, 9), st.integers(0, 9), st.integers(-(2**63), 2**63 - 1), TEXTS),
    st.builds(pack, st.integers(0, 9), st.integers(0, 9), st.just(7), st.binary(max_size=30)),
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


def read(directory: Path, limit: int, after: int = 0) -> tuple[list[Entry], JournalError | None]:
    """Read as the shipper does, until nothing comes any more or the journal says why. Then use the other methods."""
    reader = JournalReader(directory)
    found: list[Entry] = []
    try:
        while entries := reader.read(found[-1].seq if found else after, limit):
            assert len(entries) <= limit
            found += entries
        error = None
    except JournalError as reason:
        error = reason
    try:
        depth = reader.depth(after)
        assert error is not None or depth.records >= len(found) or depth.unreadable
        reader.drop_through(found[-1].seq if found else after)
    finally:
        reader.close()
    return found, error


@fuzzing(300)
@given(
    parts=st.lists(PARTS, max_size=8), header=st.booleans(), limit=st.integers(1, 5), after=st.integers(0, 9)
)
def test_any_bytes(parts: list[bytes], header: bool, limit: int, after: int) -> None:
    data = HEADER * header + b"".join(parts)
    with journal({1: data}) as directory:
        found, _ = read(directory, limit, after)
    assert [entry.seq for entry in found] == list(range(after + 1, after + 1 + len(found)))
    for entry in found:
        assert entry.pairs.encode() in data


@fuzzing(400)
@given(
    data=st.data(),
    texts=st.lists(TEXTS, min_size=1, max_size=12),
    durable=st.integers(0, 12),
    limit=st.integers(1, 20),
    second=st.booleans(),
    gap=st.sampled_from([0, files.GAP]),
)
def test_a_damaged_segment_gives_its_first_records_and_no_wrong_one(
    data: st.DataObject, texts: list[bytes], durable: int, limit: int, second: bool, gap: int
) -> None:
    whole = {1: HEADER + b"".join(pack(n, max(1, n - durable), n, text) for n, text in enumerate(texts, 1))}
    expected = [Entry(n, n, text.decode()) for n, text in enumerate(texts, 1)]
    if second:
        first = len(texts) + 1 + gap
        whole[first] = HEADER + pack(first, first, 7, b"the next segment")
        expected.append(Entry(first, 7, "the next segment"))
    damaged = {**whole, 1: data.draw(mutated(whole[1]))}
    with journal(damaged) as directory:
        found, error = read(directory, limit)
        left = [segment.first_seq for segment in files.segments(directory)]
    in_first = [entry for entry in found if entry.seq <= len(texts)]
    # Never a wrong record, and never one twice.
    assert in_first == expected[: len(in_first)]
    assert found[len(in_first) :] in ([], expected[len(texts) :])
    # What stops the reader is not deleted, nor what comes after it.
    if error is not None:
        assert left == list(whole)
    # Between full segments nothing can be missing without a word.
    if second and gap == 0 and len(in_first) < len(texts):
        assert error is not None
        assert found == in_first


@fuzzing(150)
@given(data=st.data(), texts=st.lists(TEXTS, min_size=1, max_size=8))
def test_a_segment_that_is_still_growing_is_no_damage(data: st.DataObject, texts: list[bytes]) -> None:
    """Cut off anywhere, with zeros behind as the writer lays them out: the rest comes when it is there."""
    whole = HEADER + b"".join(pack(n, 1, n, text) for n, text in enumerate(texts, 1))
    cut = data.draw(st.integers(len(HEADER), len(whole)))
    with journal({1: whole[:cut] + bytes(data.draw(st.sampled_from([0, 40, 70_000])))}) as directory:
        reader = JournalReader(directory)
        before = reader.read(0, 100)
        assert reader.read(before[-1].seq if before else 0, 100) == []
        files.segment_path(directory, 1).write_bytes(whole)
        after = reader.read(before[-1].seq if before else 0, 100)
        reader.close()
    assert before + after == [Entry(n, n, text.decode()) for n, text in enumerate(texts, 1)]
