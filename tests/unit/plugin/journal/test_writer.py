"""The journal's writer, on a real directory."""

import itertools
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.journals import header, pairs_of, read_journal, records_at, segments

from radmeter.errors import JournalError, JournalLocked
from radmeter.plugin.journal import files, segment_writer
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import RETRY_SECONDS, JournalWriter

Open = Callable[..., JournalWriter]


@pytest.fixture
def opened(directory: Path) -> Iterator[Open]:
    """Make journals in the test's directory, and close them at the end."""
    made: list[JournalWriter] = []

    def open_journal(place: Path = directory, **settings: object) -> JournalWriter:
        made.append(JournalWriter(place, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield open_journal
    for journal in made:
        journal.close()


def append_once_recovered(journal: JournalWriter, pairs: str) -> int:
    """Append a record as soon as the journal takes it, as retransmissions do."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return journal.append(1, pairs)
        except JournalError:
            assert time.monotonic() < deadline, "the journal did not recover"
            time.sleep(RETRY_SECONDS / 10)


@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_appended_records_are_read_in_order_with_contiguous_numbers(
    opened: Open, directory: Path, sync: str
) -> None:
    journal = opened(sync=sync)
    assert [journal.append(1_700_000_000_000_000 + n, f'[["n","{n}"]]') for n in range(3)] == [1, 2, 3]
    assert [entry[:3] for entry in read_journal(directory, after=1)] == [
        (2, 1_700_000_000_000_001, '[["n","1"]]'),
        (3, 1_700_000_000_000_002, '[["n","2"]]'),
    ]


def test_text_is_kept_to_the_letter(opened: Open, directory: Path) -> None:
    text = '[["User-Name","Zoë \\u0000 \\" ☃ 𝄞"]]'
    opened().append(1, text)
    assert pairs_of(directory) == [text]


def test_text_that_is_not_unicode_is_refused_alone(opened: Open, directory: Path) -> None:
    journal = opened()
    with pytest.raises(UnicodeEncodeError):
        journal.append(1, "\udc80")
    assert journal.append(1, "[]") == 1


def test_no_file_is_made_before_the_first_append(opened: Open, directory: Path) -> None:
    opened().close()
    assert not directory.exists()


def test_a_closed_journal_refuses(opened: Open) -> None:
    journal = opened()
    journal.append(1, "[]")
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append(1, "[]")


@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_the_log_is_laid_out_ahead_and_closing_cuts_that_off(
    opened: Open, directory: Path, sync: str
) -> None:
    journal = opened(sync=sync)
    journal.append(1, "[]")
    segment = directory / "segment-00000000000000000001.log"
    assert segment.stat().st_size > segment_writer.LAYOUT_BYTES
    assert pairs_of(directory) == ["[]"]
    journal.close()
    assert segment.stat().st_size < 400
    assert sorted(path.name for path in directory.iterdir()) == ["node", segment.name, "writer.lock"]
    assert pairs_of(directory) == ["[]"]


@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_records_longer_than_the_laid_out_stretch_are_kept(opened: Open, directory: Path, sync: str) -> None:
    texts = [f'["{"x" * size}"]' for size in (1, 500_000, 1, 300_000, 2, 70_000, 3)]
    journal = opened(sync=sync)
    for text in texts:
        journal.append(1, text)
    assert pairs_of(directory) == texts
    journal.close()
    assert pairs_of(directory) == texts
    assert pairs_of(directory, 3) == texts[3:]


def test_a_disk_without_room_to_lay_out_takes_records(
    opened: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def short_of_space(
        descriptor: int, data: bytes, offset: int, pwrite: Callable[..., int] = os.pwrite
    ) -> int:
        if not data.strip(b"\0"):
            written.append(offset)
            if len(written) > 3:
                raise OSError(28, "No space left on device")
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", short_of_space)
    texts = [f'["{n:0700d}"]' for n in range(50)]
    journal = opened()
    assert [journal.append(1, text) for text in texts] == list(range(1, 51))
    assert len(written) == 4, "it was not tried again for every packet"
    assert pairs_of(directory) == texts
    journal.close()
    assert pairs_of(directory) == texts


def test_a_write_that_was_cut_short_is_continued(
    opened: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def part(descriptor: int, data: bytes, offset: int, pwrite: Callable[..., int] = os.pwrite) -> int:
        return pwrite(descriptor, data[: max(1, len(data) // 2)], offset)

    monkeypatch.setattr(os, "pwrite", part)
    texts = [f'["{n:0700d}"]' for n in range(5)]
    journal = opened()
    for text in texts:
        journal.append(1, text)
    journal.close()
    assert pairs_of(directory) == texts


def test_a_record_whose_sync_failed_is_neither_acknowledged_nor_left(
    opened: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    first = journal.append(1, '["before"]')

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        with pytest.raises(JournalError, match="Input/output error"):
            journal.append(1, '["refused"]')
    assert append_once_recovered(journal, '["after"]') >= first + 1 + 2**32
    assert pairs_of(directory) == ['["before"]', '["after"]']


def test_a_segment_is_not_closed_under_a_sync(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir()
    segment = segment_writer.SegmentWriter(directory, header(), sync_commits=False, full_bytes=20_000)
    segment.commit([(1, b"[]")])
    closing = threading.Thread(target=segment.close)

    def meanwhile(descriptor: int, sync: Callable[[int], None] = os.fdatasync) -> None:
        closing.start()
        closing.join(0.5)  # a close that does not wait is done by then
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", meanwhile)
    segment.sync()
    closing.join(20)
    assert not closing.is_alive()


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_a_segment_stays_once_it_was_begun(
    opened: Open, directory: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    sync: Callable[[int], None] = getattr(os, call)

    def failing(descriptor: int) -> None:
        if list(directory.glob("segment-*")):
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, call, failing)
    journal = opened()
    with pytest.raises(JournalError, match="Input/output error"):
        journal.append(1, "[]")
    left = {path.name for path in directory.iterdir()} - {"node", "writer.lock"}
    if call == "fsync":  # it was not made
        assert not left
    else:  # a shipper may have seen it. The record that was not answered is cut off.
        (name,) = left
        assert records_at(directory / name) == []
        monkeypatch.setattr(os, call, sync)
        append_once_recovered(journal, "[]")
        first, second = segments(directory)
        assert read_header(second).previous == read_header(first).id


def test_every_opening_starts_a_segment_beyond_a_gap(opened: Open, directory: Path) -> None:
    last = 0
    for _ in range(3):
        journal = opened()
        first = journal.append(1, "[]")
        assert first >= last + 2**32 or last == 0
        assert (directory / f"segment-{first:020d}.log").exists()
        last = journal.append(1, "[]")
        assert last == first + 1
        journal.close()


@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_rolling_over_goes_on_without_a_gap(opened: Open, directory: Path, sync: str) -> None:
    journal = opened(sync=sync, segment_bytes=20_000)
    texts = [f'[["n","{n:0700d}"]]' for n in range(200)]
    assert [journal.append(1, text) for text in texts] == list(range(1, 201))
    assert len(list(directory.glob("segment-*.log"))) > 5
    assert pairs_of(directory) == texts
    assert all(path.stat().st_size < 21_000 for path in directory.glob("segment-*"))
    journal.close()
    assert pairs_of(directory) == texts


@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_many_threads_share_commits(
    opened: Open, directory: Path, monkeypatch: pytest.MonkeyPatch, sync: str
) -> None:
    commits: list[int] = []
    commit = segment_writer.SegmentWriter.commit

    def counted(self: segment_writer.SegmentWriter, records: list[segment_writer.Record]) -> int:
        commits.append(len(records))
        return commit(self, records)

    monkeypatch.setattr(segment_writer.SegmentWriter, "commit", counted)
    journal = opened(sync=sync, segment_bytes=200_000)
    numbers: dict[str, int] = {}

    def appends(thread: int) -> None:
        for n in range(100):
            text = f'["{thread}-{n}"]'
            numbers[text] = journal.append(1, text)

    threads = [threading.Thread(target=appends, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers.values()) == list(range(1, 1601))
    assert {entry.pairs: entry.seq for entry in read_journal(directory)} == numbers
    assert sum(commits) == 1600
    assert len(commits) < 1600


def test_in_interval_mode_a_record_is_on_disk_soon(
    opened: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Event()

    def counted(descriptor: int, sync: Callable[[int], None] = os.fdatasync) -> None:
        sync(descriptor)
        synced.set()

    monkeypatch.setattr(os, "fdatasync", counted)
    journal = opened(sync="interval", interval_seconds=0.001)
    for n in range(3):
        journal.append(n, "[]")
        assert synced.wait(10)
        synced.clear()


def test_in_interval_mode_a_record_appended_during_a_sync_gets_the_next_sync(
    opened: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[list[str]] = []
    during, go_on, again = threading.Event(), threading.Event(), threading.Event()

    def held(descriptor: int, sync: Callable[[int], None] = os.fdatasync) -> None:
        syncs.append(pairs_of(directory))
        sync(descriptor)
        if len(syncs) == 1:
            during.set()
            assert go_on.wait(20)
        else:
            again.set()

    monkeypatch.setattr(os, "fdatasync", held)
    journal = opened(sync="interval", interval_seconds=0.001)
    journal.append(1, '["before the sync"]')
    assert during.wait(20)
    try:
        journal.append(2, '["during the sync"]')
    finally:
        go_on.set()
    assert again.wait(20), "the second record was never synced"
    assert syncs == [['["before the sync"]'], ['["before the sync"]', '["during the sync"]']]


def test_a_failed_background_sync_makes_appends_fail_until_a_new_segment_is_there(
    opened: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(sync="interval", interval_seconds=0.001)
    first = journal.append(1, '["before"]')
    failed = threading.Event()

    def failing(descriptor: int) -> None:
        failed.set()
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        journal.append(1, '["in the failing interval"]')
        assert failed.wait(10)
        with pytest.raises(JournalError, match="Input/output error"):  # noqa: PT012  the sync sets it a moment later
            for _ in range(10_000):
                journal.append(1, '["refused, or of the failing interval"]')
                time.sleep(0.001)
    assert append_once_recovered(journal, '["after"]') >= first + 2**32
    assert len(list(directory.glob("segment-*.log"))) == 2
    assert pairs_of(directory)[0] == '["before"]'
    assert pairs_of(directory)[-1] == '["after"]'


def test_a_second_writer_gets_an_error_that_names_the_first(opened: Open, directory: Path) -> None:
    first, second = opened(), opened()
    first.append(1, "[]")
    with pytest.raises(JournalLocked, match=f"process {os.getpid()} on"):
        second.append(1, "[]")
    first.close()
    append_once_recovered(second, "[]")


def test_the_lock_names_its_holder_and_nothing_of_the_holder_before(opened: Open, directory: Path) -> None:
    directory.mkdir()
    (directory / "writer.lock").write_text(f"1234567890 {'radius' * 20}\n", encoding="utf-8")
    opened().append(1, "[]")
    holder = f"process {os.getpid()} on {socket.gethostname()} holds"
    with pytest.raises(JournalLocked, match=re.escape(holder)):
        opened().append(1, "[]")


def test_a_second_writer_touches_nothing_of_the_firsts(opened: Open, directory: Path) -> None:
    opened().append(1, "[]")
    begun = directory / ".new-segment-00000000000000000002.log"  # as the first makes it when one is full
    begun.touch()
    with pytest.raises(JournalLocked):
        opened().append(1, "[]")
    assert begun.exists()


def test_a_second_writing_process_gets_an_error_that_names_the_first(opened: Open, directory: Path) -> None:
    opened().append(1, "[]")
    code = f"""
from radmeter.plugin.journal.writer import JournalWriter
JournalWriter({str(directory)!r}).append(1, '[]')"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        f"JournalLocked: the journal {directory} has its writer already: process {os.getpid()}" in run.stderr
    )


def test_a_forked_child_does_not_touch_its_parents_journal(directory: Path) -> None:
    code = f"""
import os, sys
from radmeter.errors import JournalLocked
from radmeter.plugin.journal.writer import JournalWriter
journal = JournalWriter({str(directory)!r}, sync="interval")
journal.append(1, '["parent"]')
child = os.fork()
if not child:
    try:
        journal.append(1, '["child"]')
    except JournalLocked as error:
        os._exit(7 if f"process {{os.getppid()}}" in str(error) else 8)
    os._exit(9)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
journal.append(1, '["parent again"]')
journal.close()
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], check=True)
    assert pairs_of(directory) == ['["parent"]', '["parent again"]']


def test_a_journal_opened_before_daemonising_belongs_to_the_daemon(directory: Path) -> None:
    code = f"""
import os, time
from radmeter.plugin.journal.writer import JournalWriter
journal = JournalWriter({str(directory)!r})
journal.append(1, '["parent"]')
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:  # its locks are gone with it
    time.sleep(0.001)
journal.append(1, '["daemon"]')
journal.close()
print("done", flush=True)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    assert run.stdout == "done\n"  # the pipe closes when the daemon ends
    assert pairs_of(directory) == ['["parent"]', '["daemon"]']


def test_at_its_size_limit_it_refuses_and_recovers_when_segments_are_shipped(
    opened: Open, directory: Path
) -> None:
    journal = opened(sync="interval", limit_bytes=1 << 20)
    text = f'["{"x" * 700}"]'
    with pytest.raises(JournalError, match="limit of 1048576 bytes"):  # noqa: PT012  which append it is is open
        for _ in range(5000):
            last = journal.append(1, text)
    with pytest.raises(JournalError, match="limit of 1048576 bytes"):
        journal.append(1, text)
    assert files.size_bytes(directory) < 1.2 * (1 << 20)
    shipped = directory / files.SHIPPED
    shipped.mkdir()
    for segment in files.segments(directory)[:-1]:
        segment.path.rename(shipped / segment.path.name)
    assert append_once_recovered(journal, '["after"]') == last + 1
    assert pairs_of(directory, last) == ['["after"]']


def test_a_journal_that_cannot_be_made_refuses_and_recovers_without_being_opened_again(
    opened: Open, tmp_path: Path
) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("in the way")
    journal = opened(obstacle / "journal")
    with pytest.raises(JournalError, match="cannot be used"):
        journal.append(1, '["refused"]')
    obstacle.unlink()
    append_once_recovered(journal, '["kept"]')
    assert pairs_of(obstacle / "journal") == ['["kept"]']


def test_a_failing_disk_is_not_tried_for_every_packet(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def failing(directory: Path) -> None:
        asked.append(time.monotonic())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "make_directory", failing)
    journal = opened()
    until = time.monotonic() + 3 * RETRY_SECONDS
    refused = 0
    while time.monotonic() < until:
        with pytest.raises(JournalError, match="No space left"):
            journal.append(1, "[]")
        refused += 1
    assert refused > 100
    assert all(later - earlier >= RETRY_SECONDS for earlier, later in itertools.pairwise(asked))


def test_a_directory_that_was_removed_is_noticed_and_made_again(opened: Open, directory: Path) -> None:
    journal = opened()
    first = journal.append(1, '["lost with the directory"]')
    node = JournalReader(directory).node()
    shutil.rmtree(directory)
    with pytest.raises(JournalError, match="was removed"):
        journal.append(1, '["refused"]')
    assert append_once_recovered(journal, '["kept"]') >= first + 2**32
    assert JournalReader(directory).node() == node
    assert pairs_of(directory) == ['["kept"]']
    with pytest.raises(JournalLocked):
        opened().append(1, "[]")


def test_a_segment_that_was_removed_is_noticed(opened: Open, directory: Path) -> None:
    journal = opened()
    journal.append(1, '["lost"]')
    for path in directory.glob("segment-*.log"):
        path.unlink()
    with pytest.raises(JournalError, match="was removed"):
        journal.append(1, '["refused"]')
    append_once_recovered(journal, '["kept"]')
    assert pairs_of(directory) == ['["kept"]']


def test_a_journal_made_anew_is_a_new_node(opened: Open, directory: Path) -> None:
    journal = opened()
    journal.append(1, "[]")
    journal.close()
    old = JournalReader(directory)
    name = old.node()
    opened().append(1, "[]")
    assert JournalReader(directory).node() == name


def test_without_its_segments_a_journal_is_a_new_node(opened: Open, directory: Path) -> None:
    journal = opened()
    journal.append(1, "[]")
    journal.close()
    reader = JournalReader(directory)
    name = reader.node()
    for path in directory.glob("segment-*"):
        path.unlink()
    assert opened().append(1, "[]") == 1
    assert reader.node() != name


@pytest.mark.parametrize(("of_directory", "of_files"), [(0o770, 0o660), (0o750, 0o640), (0o700, 0o600)])
def test_files_are_shared_with_the_group_as_the_directory_is(
    opened: Open, directory: Path, of_directory: int, of_files: int
) -> None:
    directory.mkdir()
    directory.chmod(of_directory)
    opened().append(1, "[]")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert len(modes) == 3  # node, writer.lock, a segment
    assert set(modes.values()) == {of_files}, modes


@pytest.mark.parametrize(("umask", "mode"), [(0o027, 0o770), (0o077, 0o700)])
def test_the_group_may_write_in_a_directory_it_makes_unless_the_umask_keeps_the_group_out(
    directory: Path, umask: int, mode: int
) -> None:
    code = f"""
import os
from radmeter.plugin.journal.writer import JournalWriter
os.umask({umask})
JournalWriter({str(directory)!r}).append(1, "[]")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert stat.S_IMODE(directory.stat().st_mode) == mode


def test_leftovers_of_a_crash_are_removed(opened: Open, directory: Path) -> None:
    directory.mkdir()
    left = [
        ".new-segment-00000000000000000001.log",
        ".new-node",
    ]
    for name in left:
        (directory / name).write_text("left")
    (directory / "notes of the operator.txt").write_text("kept")
    opened().append(1, "[]")
    names = {path.name for path in directory.iterdir()}
    assert names.isdisjoint(left)
    assert "notes of the operator.txt" in names


def test_a_corrupt_old_segment_stops_no_append_and_its_numbers_are_not_used_again(
    opened: Open, directory: Path
) -> None:
    journal = opened()
    last = journal.append(1, '["lost"]')
    journal.close()
    (segment,) = directory.glob("segment-*.log")
    segment.write_bytes(b"\xff" * 8192)
    assert opened().append(1, '["kept"]') >= last + 2**32
