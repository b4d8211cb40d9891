"""The journal's reader: order, deletion, other readers and writers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.journals import TEXT, fill, first_seq, segments

from radmeter.errors import JournalError, JournalLocked
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import Checkpoint, JournalReader
from radmeter.plugin.journal.writer import JournalWriter


@pytest.fixture
def journal(directory: Path) -> Iterator[JournalWriter]:
    journal = JournalWriter(directory, sync="interval", segment_bytes=20_000)
    yield journal
    journal.close()


def test_where_no_journal_is_there_is_nothing_to_read(reader: JournalReader) -> None:
    assert reader.read(0, 10) == []
    assert reader.depth(0) == (0, None, 0, 0, ())
    assert reader.drop_through(10**18) == 0
    with pytest.raises(JournalError, match=r"there is no journal in .* yet"):
        reader.node()
    with pytest.raises(JournalError, match="there is no such directory"), reader.lock():
        pass


def test_batches_follow_each_other_over_segments_and_openings(directory: Path, reader: JournalReader) -> None:
    fill(directory)
    fill(directory)
    seen, after = [], 0
    while batch := reader.read(after, 7):
        assert len(batch) == 7 or batch[-1].seq > 2**32
        seen += batch
        after = batch[-1].seq
    assert [entry.received_at_us for entry in seen] == [*range(100), *range(100)]
    assert [entry.seq for entry in seen[:100]] == list(range(1, 101))
    assert [entry.seq - seen[100].seq for entry in seen[100:]] == list(range(100))


def test_a_reader_sees_what_was_appended_a_moment_ago(journal: JournalWriter, reader: JournalReader) -> None:
    for n in range(300):
        seq = journal.append(n, TEXT)
        assert [(entry.seq, entry.received_at_us) for entry in reader.read(seq - 1, 10)] == [(seq, n)]


def test_depth_counts_the_records_that_wait(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    for n in range(100):
        journal.append(1000 + n, TEXT)
    depth = reader.depth(0)
    assert (depth.records, depth.oldest_received_at_us, depth.unreadable) == (100, 1000, ())
    assert depth.segments == len(segments(directory))
    assert depth.size_bytes == sum(path.stat().st_size for path in directory.iterdir())
    assert reader.depth(40)[:2] == (60, 1040)
    assert reader.depth(99)[:2] == (1, 1099)
    assert reader.depth(100)[:2] == (0, None)


def test_only_segments_shipped_to_their_last_record_are_dropped(
    directory: Path, reader: JournalReader
) -> None:
    before = fill(directory)
    second, third = first_seq(before[1]), first_seq(before[2])
    assert reader.drop_through(second - 2) == 0
    assert reader.drop_through(third - 2) == 1
    assert segments(directory) == before[1:]
    assert [entry.seq for entry in reader.read(0, 1000)] == list(range(second, 101))
    assert reader.drop_through(third - 1) == 1
    assert segments(directory) == before[2:]


def test_the_newest_segment_is_never_dropped(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    last = journal.append(1, TEXT)
    assert reader.drop_through(last) == 0
    assert reader.drop_through(2**62) == 0
    for _ in range(100):
        last = journal.append(1, TEXT)
    newest = segments(directory)[-1]
    reader.drop_through(2**62)
    assert segments(directory) == [newest]
    last = journal.append(1, TEXT)
    assert reader.read(last - 1, 10)[0].seq == last


def test_the_last_segment_of_an_earlier_opening_is_dropped_when_shipped(
    directory: Path, reader: JournalReader
) -> None:
    before = fill(directory)
    after = fill(directory)
    assert reader.drop_through(99) == len(before) - 1
    assert reader.drop_through(100) == 1
    assert segments(directory) == after[len(before) :]


def test_a_reader_in_the_middle_of_a_segment_sees_it_grow_and_end(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    journal.append(1, TEXT)
    assert [entry.seq for entry in reader.read(0, 1)] == [1]
    for n in range(2, 200):
        assert journal.append(1, TEXT) == n
    journal.close()
    assert [entry.seq for entry in reader.read(1, 1000)] == list(range(2, 200))
    assert [entry.seq for entry in JournalReader(directory).read(0, 1000)] == list(range(1, 200))


def test_any_record_is_found_wherever_it_lies(directory: Path) -> None:
    journal = JournalWriter(directory)
    texts = [f'["{"x" * (n * 37 % 5000)}"]' for n in range(1000)]
    for n, text in enumerate(texts):
        journal.append(n, text)
    journal.close()
    for after in (0, 1, 2, 499, 500, 777, 998, 999, 1000, 5000, 2**40):
        other = JournalReader(directory)
        assert [entry.pairs for entry in other.read(after, 2)] == texts[after : after + 2]
        depth = other.depth(after)
        assert depth[:2] == (max(0, 1000 - after), after if after < 1000 else None)
        other.close()


def test_reading_does_not_change_the_records_of_a_live_journal(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    journal.append(1, TEXT)
    reader.read(0, 10)
    reader.close()  # must not remove the log while the writer uses it
    journal.append(2, TEXT)
    assert [entry.received_at_us for entry in reader.read(0, 10)] == [1, 2]


def test_reading_leaves_the_access_time_alone(directory: Path, reader: JournalReader) -> None:
    (segment, *_) = fill(directory)
    os.utime(
        segment, ns=(0, 1)
    )  # last read before it was last written: then relatime would update the access time
    assert reader.read(0, 1)
    assert segment.stat().st_atime_ns == 0


def test_a_journal_of_another_owner_can_be_read(
    directory: Path, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(directory)
    opened = os.open

    def refuse(path: Path, flags: int, *arguments: int) -> int:
        if flags & os.O_NOATIME:
            raise PermissionError("open(2): not the owner")
        return opened(path, flags, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    assert len(reader.read(0, 1)) == 1


def test_a_second_shipper_gets_an_error_that_names_the_first(
    journal: JournalWriter, reader: JournalReader
) -> None:
    journal.append(1, TEXT)
    with reader.lock():
        other = JournalReader(reader._directory)
        with pytest.raises(JournalLocked, match=f"reader already: process {os.getpid()} on"), other.lock():
            pass
        code = f"""
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import Checkpoint, JournalReader
with JournalReader({str(reader._directory)!r}).lock(): pass
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"JournalLocked: the journal {reader._directory} has its reader already" in run.stderr
    with other.lock():
        pass


def test_a_corrupt_segment_stops_reading_before_it_until_it_is_moved_away(
    directory: Path, reader: JournalReader
) -> None:
    before = fill(directory)
    bad, following = before[1], before[2]
    bad.write_bytes(b"\xff" * bad.stat().st_size)
    batch = reader.read(0, 1000)
    assert [entry.seq for entry in batch] == list(range(1, first_seq(bad)))
    with pytest.raises(JournalError, match=f"segment {bad} cannot be read: .*skips nothing"):
        reader.read(batch[-1].seq, 1000)
    assert reader.depth(0).unreadable == (str(bad),)
    assert reader.drop_through(batch[-1].seq) == 1
    assert reader.drop_through(first_seq(following) - 2) == 0, "a segment that cannot be read is kept"
    bad.rename(directory.parent / "for rescue")
    assert reader.read(batch[-1].seq, 1000)[0].seq == first_seq(following)


def test_a_checkpoint_is_a_record_of_the_journal_or_it_is_not(directory: Path, reader: JournalReader) -> None:
    assert reader.check_checkpoint(5) is Checkpoint.KNOWN, "there is nothing to compare it with"
    before = fill(directory)
    assert [reader.check_checkpoint(seq) for seq in (0, 1, 100)] == [Checkpoint.KNOWN] * 3
    assert [reader.check_checkpoint(seq) for seq in (101, 2**62)] == [Checkpoint.ABOVE] * 2
    after = fill(directory)[len(before) :]
    first = first_seq(after[0])
    assert [reader.check_checkpoint(seq) for seq in (101, first - 1)] == [Checkpoint.UNKNOWN] * 2
    assert [reader.check_checkpoint(seq) for seq in (100, first, first + 99)] == [Checkpoint.KNOWN] * 3
    assert reader.check_checkpoint(first + 100) is Checkpoint.ABOVE
    reader.close()  # it has the segment open
    after[-1].write_bytes(b"no segment at all")
    assert reader.check_checkpoint(first + 99) is Checkpoint.UNKNOWN
    reader.drop_through(first - 1)
    assert reader.check_checkpoint(first - 1) is Checkpoint.KNOWN, "its segment was shipped and deleted"


def test_segments_that_begin_below_a_number_are_kept_and_not_deleted(
    directory: Path, reader: JournalReader
) -> None:
    before = fill(directory)
    texts = {path.name: path.read_bytes() for path in before}
    middle = first_seq(before[1]) + 1
    assert reader.drop_through(100, keep_through=middle) == len(before) - 1
    kept = files.kept_segments(directory)
    assert [path.name for path in kept] == [f"kept-{path.name}" for path in before[:2]]
    assert [path.read_bytes() for path in kept] == [texts[path.name] for path in before[:2]]
    assert segments(directory) == before[-1:]
    assert files.segments(directory) == [(first_seq(before[-1]), before[-1])], (
        "no reader takes them for segments"
    )


def test_no_hosts_name_makes_a_node_that_is_another_kind_of_source(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, node in (
        ("detail:1", "detail-1-"),
        ("radius1.example", "radius1.example-"),
        ("", "localhost-"),
    ):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        assert files.new_node().startswith(node)
