"""The journal's reader: order, ends of segments, other readers and writers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.journals import TEXT, batches, fill, read_journal, segments, waiting

from radmeter.errors import JournalError, JournalLocked
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter


@pytest.fixture
def journal(directory: Path) -> Iterator[JournalWriter]:
    journal = JournalWriter(directory, sync="interval", segment_bytes=20_000)
    yield journal
    journal.close()


def test_where_no_journal_is_there_is_nothing_to_read(reader: JournalReader) -> None:
    assert reader.segments() == []
    assert reader.unreadable() == []
    assert reader.depth({}) == (0, None, 0, 0, ())
    assert not reader.writer_alive()
    with pytest.raises(JournalError, match=r"there is no journal in .* yet"):
        reader.node()
    with pytest.raises(JournalError, match="there is no such directory"), reader.lock():
        pass


def test_batches_follow_each_other_over_segments_and_openings(directory: Path, reader: JournalReader) -> None:
    fill(directory)
    fill(directory)
    seen = []
    for batch in batches(reader, 7):
        assert len(batch) <= 7
        seen += batch
    assert [entry.received_at_us for entry in seen] == [*range(100), *range(100)]
    assert [entry.seq for entry in seen[:100]] == list(range(1, 101))
    assert [entry.seq - seen[100].seq for entry in seen[100:]] == list(range(100))


def test_a_reader_sees_what_was_appended_a_moment_ago(journal: JournalWriter, reader: JournalReader) -> None:
    for n in range(300):
        seq = journal.append(n, TEXT)
        newest = reader.segments()[-1]
        assert [(entry.seq, entry.received_at_us) for entry in reader.read(newest, seq - 1, 10)] == [(seq, n)]


def test_depth_counts_the_records_that_wait(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    for n in range(100):
        journal.append(1000 + n, TEXT)
    depth = reader.depth({})
    assert (depth.records, depth.oldest_received_at_us, depth.unreadable) == (100, 1000, ())
    assert depth.segments == len(segments(directory))
    assert depth.size_bytes == sum(path.stat().st_size for path in directory.iterdir())
    assert waiting(reader, 40) == (60, 1040)
    assert waiting(reader, 99) == (1, 1099)
    assert waiting(reader, 100) == (0, None)


def test_a_reader_in_the_middle_of_a_segment_sees_it_grow_and_end(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    journal.append(1, TEXT)
    (first,) = reader.segments()
    assert [entry.seq for entry in reader.read(first, 0, 1)] == [1]
    assert reader.end(first) is None
    for n in range(2, 200):
        assert journal.append(1, TEXT) == n
    journal.close()
    assert [entry.seq for entry in reader.read(first, 1, 1000)] == list(range(2, 28))
    assert reader.end(first) == 27, "it has a trailer"
    assert [entry.seq for entry in read_journal(directory)] == list(range(1, 200))


def test_any_record_is_found_wherever_it_lies(directory: Path) -> None:
    journal = JournalWriter(directory)
    texts = [f'["{"x" * (n * 37 % 5000)}"]' for n in range(1000)]
    for n, text in enumerate(texts):
        journal.append(n, text)
    journal.close()
    for after in (0, 1, 2, 499, 500, 777, 998, 999, 1000, 5000, 2**40):
        other = JournalReader(directory)
        (segment,) = other.segments()
        assert [entry.pairs for entry in other.read(segment, after, 2)] == texts[after : after + 2]
        assert waiting(other, after) == (max(0, 1000 - after), after if after < 1000 else None)
        other.close()


def test_reading_does_not_change_the_records_of_a_live_journal(
    journal: JournalWriter, reader: JournalReader, directory: Path
) -> None:
    journal.append(1, TEXT)
    (segment,) = reader.segments()
    reader.read(segment, 0, 10)
    reader.close()  # must not remove the log while the writer uses it
    journal.append(2, TEXT)
    assert [entry.received_at_us for entry in reader.read(segment, 0, 10)] == [1, 2]


def test_reading_leaves_the_access_time_alone(directory: Path, reader: JournalReader) -> None:
    (segment, *_) = fill(directory)
    os.utime(
        segment, ns=(0, 1)
    )  # last read before it was last written: then relatime would update the access time
    assert reader.read(reader.segments()[0], 0, 1)
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
    assert len(reader.read(reader.segments()[0], 0, 1)) == 1


def test_a_second_shipper_gets_an_error_that_names_the_first(
    journal: JournalWriter, reader: JournalReader
) -> None:
    journal.append(1, TEXT)
    with reader.lock():
        other = JournalReader(reader.directory)
        with pytest.raises(JournalLocked, match=f"reader already: process {os.getpid()} on"), other.lock():
            pass
        code = f"""
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader
with JournalReader({str(reader.directory)!r}).lock(): pass
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"JournalLocked: the journal {reader.directory} has its reader already" in run.stderr
    with other.lock():
        pass


def test_no_hosts_name_makes_a_node_that_is_another_kind_of_source(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, node in (
        ("detail:1", "detail-1-"),
        ("radius1.example", "radius1.example-"),
        ("", "localhost-"),
    ):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        assert files.new_node().startswith(node)
