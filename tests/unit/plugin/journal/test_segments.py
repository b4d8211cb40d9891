"""Segments have an identity and a predecessor, whatever wrote them and wherever they lie."""

import os
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from support.journals import TEXT, fill, first_seq, old_segment, pairs_of, read_journal, segments

from radmeter.errors import JournalError
from radmeter.plugin.journal import files, kept
from radmeter.plugin.journal.reader import JournalReader, digest_after
from radmeter.plugin.journal.segment_format import HEADER_2
from radmeter.plugin.journal.writer import JournalWriter


def append(directory: Path, count: int = 1) -> None:
    journal = JournalWriter(directory)
    for _ in range(count):
        journal.append(1, TEXT)
    journal.close()


def test_each_segment_has_an_id_and_names_the_one_before_it(directory: Path, reader: JournalReader) -> None:
    fill(directory)
    fill(directory)
    found = reader.segments()
    assert len({segment.id for segment in found}) == len(found) >= 8
    assert all(uuid.UUID(segment.id).version == 4 for segment in found)
    assert [each.header.previous for each in found] == [None, *(each.id for each in found[:-1])]
    assert [each.header.previous_first_seq for each in found] == [
        None,
        *(each.first_seq for each in found[:-1]),
    ]
    assert {each.header.node for each in found} == {reader.node()}
    assert [each.first_seq for each in found] == [first_seq(path) for path in segments(directory)]


def test_segments_that_go_back_into_the_journal_are_read_in_order_with_the_others(
    directory: Path, reader: JournalReader
) -> None:
    paths = fill(directory)
    texts = read_journal(directory)
    again = directory / files.AGAIN
    again.mkdir()
    for path in paths[::2]:
        path.rename(again / path.name)
    assert [segment.first_seq for segment in reader.segments()] == [first_seq(path) for path in paths]
    assert read_journal(directory) == texts
    assert reader.depth({}).records == 100
    assert reader.segments_in(files.AGAIN) == reader.segments()[::2]
    assert reader.segments_in(files.SHIPPED) == []


def test_two_segments_with_the_same_first_number_are_both_read(directory: Path, tmp_path: Path) -> None:
    append(directory, 3)
    append(tmp_path / "other", 5)
    (other,) = JournalReader(tmp_path / "other").segments()
    (directory / files.AGAIN).mkdir()
    for folder in (directory, directory / files.AGAIN):
        shutil.copy(other.path, files.segment_path(folder, 1, other.id))
    reader = JournalReader(directory)
    assert [segment.first_seq for segment in reader.segments()] == [1, 1, 1]
    assert [len(reader.read(segment, 0, 100)) for segment in reader.segments()].count(5) == 2
    assert files.segment_path(directory, 1, other.id).name == f"segment-{1:020d}-{other.id[:8]}.log"


def test_the_newest_segment_is_finished_when_it_has_a_trailer_and_others_when_another_follows(
    directory: Path,
) -> None:
    journal = JournalWriter(directory, segment_bytes=20_000)
    journal.append(1, TEXT)
    reader = JournalReader(directory)
    (first,) = reader.segments()
    assert reader.end(first) is None
    assert reader.writer_alive()
    copy = directory.parent / "copy"
    shutil.copytree(directory, copy)  # as after a kill, without a trailer
    journal.close()
    assert reader.end(first) == 1
    assert not reader.writer_alive()
    append(copy)
    killed = JournalReader(copy)
    old, new = killed.segments()
    assert killed.end(old, new) == killed.end(old) == 1
    assert new.header.previous == old.id


def test_an_empty_segment_ends_before_its_first_number(directory: Path, reader: JournalReader) -> None:
    append(directory)
    journal = JournalWriter(directory)
    journal.append(1, TEXT)
    path = segments(directory)[-1]
    content = path.read_bytes()
    journal.close()
    path.write_bytes(content[: content.index(b"\xffREC")])
    empty = reader.segments()[-1]
    assert reader.read(empty, 0, 10) == []
    assert reader.end(empty) is None
    assert reader.digest(empty, 2**62) == (empty.first_seq - 1, 0)
    append(directory)
    reader.segments()
    assert reader.end(empty) == empty.first_seq - 1


def test_a_digest_is_that_of_the_records_up_to_a_number(directory: Path, reader: JournalReader) -> None:
    fill(directory, segment_bytes=64 << 20)
    (segment,) = reader.segments()
    entries = reader.read(segment, 0, 1000)
    assert len({entry.check for entry in entries}) == 100
    for through in (1, 50, 100):
        assert reader.digest(segment, through) == (through, digest_after(0, entries[:through]))
    assert reader.digest(segment, 0) == (0, 0)
    assert reader.digest(segment, 1000) == (100, digest_after(digest_after(0, entries[:40]), entries[40:]))


def test_segments_of_the_old_format_have_an_id_from_node_and_number(
    directory: Path, reader: JournalReader
) -> None:
    old_segment(directory, 1, [TEXT] * 20)
    old_segment(directory, 21, [TEXT] * 5)
    first, second = reader.segments()
    assert first.id == files.old_segment_id("old", 1) == "3c4b9280-958b-5f59-9ab3-883396c6e865"
    assert second.id == files.old_segment_id("old", 21) != files.old_segment_id("old2", 1)
    assert first.header[2:] == (None, None, 1, "old", "pairs-json-1", None)
    assert reader.end(first) == 20
    assert reader.end(second) is None
    assert len(read_journal(directory)) == 25


def test_old_and_new_segments_may_alternate(directory: Path, reader: JournalReader) -> None:
    """The plugin was upgraded, downgraded and upgraded again."""
    old_segment(directory, 1)
    append(directory, 3)
    after = reader.segments()[-1].first_seq + 2 * files.GAP
    old_segment(directory, after)
    append(directory, 2)
    found = reader.segments()
    assert [segment.header.format for segment in found] == [1, 2, 1, 2]
    assert [segment.header.previous for segment in found] == [None, found[0].id, None, found[2].id]
    assert [reader.end(segment) for segment in found] == [
        5,
        found[1].first_seq + 2,
        after + 4,
        found[3].first_seq + 1,
    ]
    assert [len(reader.read(segment, 0, 100)) for segment in found] == [5, 3, 5, 2]
    assert reader.depth({found[1].id: found[1].first_seq}).records == 5 + 2 + 5 + 2
    assert {segment.header.node for segment in found} == {"old"}


def test_a_lost_name_harms_no_new_segment_and_old_ones_have_no_id(
    directory: Path, reader: JournalReader
) -> None:
    append(directory)
    name = reader.node()
    (directory / "node").unlink()
    assert reader.node() == name
    before = reader.segments()
    append(directory)
    assert (directory / "node").read_text() == f"{name}\n"
    assert reader.segments()[0] == before[0]
    assert {segment.header.node for segment in reader.segments()} == {name}


def test_a_lost_name_is_not_replaced_while_old_segments_need_it(
    directory: Path, reader: JournalReader
) -> None:
    old = old_segment(directory, 1)
    identity = reader.segments()[0].id
    (directory / "node").unlink()
    assert (reader.segments()[0].id, reader.segments()[0].header.node) == ("", None)
    with pytest.raises(JournalError, match=f"write the name into {directory / 'node'}"):
        reader.node()
    for _ in range(2):
        append(directory)
        found = reader.segments()
        assert [segment.id == "" for segment in found] == [True] + [False] * (len(found) - 1)
        assert found[1].header[2:4] == (None, 1), "whose id nobody knows"
        assert {segment.header.node for segment in found[1:]} == {reader.node()}
        assert not (directory / "node").exists()
    assert [len(reader.read(segment, 0, 9)) for segment in found] == [5, 1, 1]
    files.write_node(directory, "old")
    assert reader.segments()[0].id == identity
    (directory / "node").unlink()
    old.unlink()
    append(directory)
    assert (directory / "node").exists()


def test_a_writer_whose_segments_are_all_shipped_keeps_its_name_and_goes_on_above(
    directory: Path, reader: JournalReader
) -> None:
    append(directory)
    (segment,) = reader.segments()
    name = reader.node()
    (directory / files.SHIPPED).mkdir()
    segment.path.rename(directory / files.SHIPPED / segment.path.name)
    append(directory)
    (following,) = reader.segments()
    assert (reader.node(), following.header.node, following.header.previous) == (name, name, segment.id)
    assert following.first_seq > segment.first_seq


def test_a_predecessor_that_cannot_be_read_is_named_by_its_number(
    directory: Path, reader: JournalReader
) -> None:
    append(directory)
    (path,) = segments(directory)
    path.write_bytes(b"\xff" * 100)
    append(directory)
    (segment,) = reader.segments()
    assert segment.header[2:4] == (None, 1)


def test_a_journal_that_vanished_under_its_writer_is_named_as_the_predecessor(
    directory: Path, reader: JournalReader
) -> None:
    journal = JournalWriter(directory)
    journal.append(1, TEXT)
    (lost,) = reader.segments()
    shutil.rmtree(directory)
    with pytest.raises(JournalError, match="was removed"):
        journal.append(1, TEXT)
    journal._retry_at = 0.0
    journal.append(1, TEXT)
    journal.close()
    (segment,) = reader.segments()
    assert segment.header[2:4] == (lost.id, lost.first_seq)


def become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "zeros": (lambda path: path.write_bytes(bytes(100_000)), "it has only zeros"),
    "another file": (lambda path: path.write_bytes(b"no segment" * 100), "does not begin as a segment does"),
    "a bit of the id": (lambda path: flip(path, 40), "its header is damaged"),
    "a later release": (
        lambda path: path.write_bytes(b"radmeter log 7\n\0x"),
        "of a later release: it has format 7",
    ),
    "a directory": (become_a_directory, "it is a directory and no file"),
    "a pipe": (become_a_pipe, "it is a pipe and no file"),
    "cut off": (lambda path: path.write_bytes(HEADER_2 + b"\0"), "its header is cut off"),
}


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("folder", ["", files.AGAIN])
def test_a_segment_without_a_header_is_told_and_stops_no_other(
    directory: Path, reader: JournalReader, kind: str, which: int, folder: str
) -> None:
    paths = fill(directory)
    texts = {
        path: [entry.seq for entry in reader.read(each, 0, 999)]
        for path, each in zip(paths, reader.segments(), strict=True)
    }
    make, said = UNREADABLE[kind]
    bad = paths[which]
    if folder:
        (directory / folder).mkdir()
        bad = bad.rename(directory / folder / bad.name)
    make(bad)
    fresh = JournalReader(directory)
    ((path, reason),) = fresh.unreadable()
    assert path == bad
    assert said in reason
    others = [each for each in paths if each.name != bad.name]
    assert [segment.path for segment in fresh.segments()] == others
    for segment in fresh.segments():
        assert [entry.seq for entry in fresh.read(segment, 0, 999)] == texts[segment.path]
        assert fresh.losses(segment, 0) == []
        assert fresh.end(segment) == texts[segment.path][-1]
    assert fresh.depth({}).unreadable == (str(bad),)
    assert fresh.node()
    if not folder and kind != "a directory":
        append(directory)  # the writer goes on above it
        assert fresh.segments()[-1].first_seq > first_seq(paths[-1])
    fresh.close()


def test_a_header_is_read_once_and_again_when_another_file_takes_the_name(
    directory: Path, reader: JournalReader, tmp_path: Path
) -> None:
    append(directory)
    append(tmp_path / "other", 2)
    (before,) = reader.segments()
    (other,) = segments(tmp_path / "other")
    shutil.copy(other, tmp_path / "copy")
    (tmp_path / "copy").rename(before.path)
    (after,) = reader.segments()
    assert after.id != before.id
    assert len(reader.read(after, 0, 10)) == 2


def test_a_journal_that_was_only_written_by_an_old_plugin_and_a_name_are_a_journal(
    directory: Path,
) -> None:
    old_segment(directory, 1, ['["one"]', '["two"]'])
    assert pairs_of(directory) == ['["one"]', '["two"]']
    append(directory)
    assert pairs_of(directory)[:2] == ['["one"]', '["two"]']


def test_files_in_folders_do_not_count_towards_the_limit(directory: Path) -> None:
    fill(directory)
    size = files.size_bytes(directory)
    for folder in (files.SHIPPED, files.AGAIN, files.DAMAGED, "left-out"):
        (directory / folder).mkdir()
        (directory / folder / "segment-00000000000000000001.log").write_bytes(bytes(100_000))
    assert files.size_bytes(directory) == size


def test_asking_for_the_writer_keeps_no_writer_out(directory: Path) -> None:
    """The one who asks holds the lock for an instant. The writer tries again."""
    append(directory)
    stop, asked = threading.Event(), threading.Event()

    def ask() -> None:
        reader = JournalReader(directory)
        while not stop.is_set():
            reader.writer_alive()
            asked.set()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert asked.wait(20)
        for _ in range(50):
            append(directory)
    finally:
        stop.set()
        asking.join()
    assert len(read_journal(directory)) == 51


def test_kept_segments_on_another_disk_are_not_deleted(directory: Path, tmp_path: Path) -> None:
    append(directory)
    (tmp_path / "other").mkdir()
    kept_one = old_segment(tmp_path / "other", 1)
    (directory / files.SHIPPED).symlink_to(tmp_path / "other")
    assert kept.delete_oldest(directory, lambda path: None) is None
    assert kept_one.exists()
