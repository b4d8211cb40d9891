"""The journal survives a killed writer, a torn log, a full disk, and a disk that becomes read-only."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.journals import read_journal, records_begin
from support.small_disks import fill as fill_disk
from support.small_disks import small_file_system

from radmeter.errors import JournalError
from radmeter.plugin.journal import files, kept
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.segment_writer import LAYOUT_BYTES
from radmeter.plugin.journal.writer import RETRY_SECONDS, JournalWriter

WRITER = """
import sys, threading
from radmeter.plugin.journal.writer import JournalWriter
directory, sync, threads, segment_bytes = sys.argv[1:]
journal = JournalWriter(directory, sync=sync, segment_bytes=int(segment_bytes))
printing = threading.Lock()
def append(thread):
    n = 0
    while True:
        text = f'["{thread}-{n}", "{"x" * 600}"]'
        seq = journal.append(1, text)
        with printing:
            print(seq, f"{thread}-{n}", flush=True)
        n += 1
running = [threading.Thread(target=append, args=(thread,)) for thread in range(int(threads))]
for thread in running:
    thread.start()
for thread in running:
    thread.join()
"""


def killed_writer(
    directory: Path, sync: str, threads: int = 1, *, after: int, segment_bytes: int = 64 << 20
) -> dict[int, str]:
    """Run a writer, kill it under traffic, and return the records that it acknowledged."""
    command = [sys.executable, "-c", WRITER, str(directory), sync, str(threads), str(segment_bytes)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged: dict[int, str] = {}
    for line in writer.stdout:
        if not line.endswith("\n"):
            break
        seq, name = line.split()
        acknowledged[int(seq)] = name
        if len(acknowledged) == after:
            writer.send_signal(signal.SIGKILL)  # also read what it prints before it dies
    writer.stdout.close()
    assert writer.wait(20) == -signal.SIGKILL
    return acknowledged


def read_all(directory: Path) -> dict[int, str]:
    return {entry.seq: entry.pairs for entry in read_journal(directory)}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_everything_a_killed_writer_acknowledged_is_read_and_its_successor_goes_on(
    tmp_path: Path, sync: str, threads: int
) -> None:
    directory = tmp_path / "journal"
    acknowledged = killed_writer(directory, sync, threads, after=1500, segment_bytes=200_000)
    assert len(acknowledged) >= 1500
    assert len(list(directory.glob("segment-*.log"))) > 2, "it was killed over several segments"
    successor = JournalWriter(directory, sync=sync)
    first = successor.append(2, '["successor"]')
    read = read_all(directory)
    successor.close()
    missing = [seq for seq, name in acknowledged.items() if f'["{name}",' not in read.get(seq, "")]
    assert missing == []
    assert first >= max(acknowledged) + 2**32
    assert list(read)[-1] == first


@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_zeros_that_a_killed_writer_has_laid_out_are_not_read_as_records(tmp_path: Path, sync: str) -> None:
    ahead = LAYOUT_BYTES // 4096
    for pages in (0, 1, 2, ahead - 1, ahead, ahead + 1, ahead + 44, 2 * ahead - 1):
        directory = tmp_path / f"journal-{pages}"
        run = subprocess.run(
            [sys.executable, "-c", KILLED_LAYING_OUT, str(directory), sync, str(pages)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert run.returncode == -signal.SIGKILL
        acknowledged = [int(line) for line in run.stdout.splitlines()]
        assert len(acknowledged) > 0.8 * LAYOUT_BYTES / 1500 or pages <= ahead
        assert list(read_all(directory)) == acknowledged
        assert JournalReader(directory).depth({}).records == len(acknowledged)
        with ClosingJournal(directory, sync=sync) as journal:
            first = journal.append(1, '["successor"]')
        assert list(read_all(directory)) == [*acknowledged, first]


KILLED_LAYING_OUT = """
import os, signal, sys
from radmeter.plugin.journal import segment_writer
from radmeter.plugin.journal.writer import JournalWriter
directory, sync, pages = sys.argv[1], sys.argv[2], int(sys.argv[3])
pwrite, left = os.pwrite, pages
def counted(descriptor, data, offset):
    global left
    if not data.strip(b"\\0"):
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
    return pwrite(descriptor, data, offset)
segment_writer.os.pwrite = counted
journal = JournalWriter(directory, sync=sync)
while True:
    print(journal.append(1, '["' + "x" * 1500 + '"]'), flush=True)
"""


def log_of(directory: Path) -> tuple[Path, int]:
    """Return a killed writer's segment, and where its log ends, before the zeros that are laid out."""
    (log,) = directory.glob("segment-*.log")
    return log, len(log.read_bytes().rstrip(b"\0"))


@pytest.mark.parametrize("torn_bytes", [1, 7, 23, 39, 300, 646])
def test_a_torn_tail_behind_the_acknowledged_records_loses_none(tmp_path: Path, torn_bytes: int) -> None:
    directory = tmp_path / "journal"
    acknowledged = killed_writer(directory, "packet", after=40)
    log, end = log_of(directory)
    with log.open("r+b") as tail:  # a part of an unfinished commit
        tail.seek(end)
        begin = records_begin(log)
        tail.write(log.read_bytes()[begin : begin + torn_bytes])
    before = list(read_all(directory))
    with ClosingJournal(directory) as journal:
        first = journal.append(1, '["successor"]')
    assert list(read_all(directory)) == [*before, first]
    assert set(acknowledged) <= set(before)


@pytest.mark.parametrize("lost_bytes", [1, 500, 647, 30_000])
@pytest.mark.parametrize("how", ["cut off", "zeros"])
def test_a_truncated_log_keeps_every_commit_before_the_cut(tmp_path: Path, lost_bytes: int, how: str) -> None:
    directory = tmp_path / "journal"
    acknowledged = killed_writer(directory, "interval", after=90)
    log, end = log_of(directory)
    size = log.stat().st_size
    os.truncate(log, end - lost_bytes)
    if how == "zeros":
        os.truncate(log, size)
    with ClosingJournal(directory) as journal:
        first = journal.append(1, '["successor"]')
    read = list(read_all(directory))
    kept = read[:-1]
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) >= len(acknowledged) - 1 - lost_bytes // 640 > 30
    assert read[-1] == first >= max(acknowledged) + 2**32


class ClosingJournal:
    """A journal that is closed at the end of the block."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self._journal = JournalWriter(directory, **settings)  # type: ignore[arg-type]

    def __enter__(self) -> JournalWriter:
        return self._journal

    def __exit__(self, *_: object) -> None:
        self._journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB. Without it the file size limit is tested."""
    with small_file_system(tmp_path / "disk", megabytes=2) as disk:
        yield disk


@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_on_a_full_disk_it_refuses_keeps_what_it_acknowledged_and_recovers_when_space_is_back(
    small_disk: Path, sync: str
) -> None:
    directory = small_disk / "journal"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 900_000)
    with ClosingJournal(directory, sync=sync) as journal:
        acknowledged = fill(journal)
        assert acknowledged[-1] == len(acknowledged) > 20
        refused_until = time.monotonic() + 3 * RETRY_SECONDS
        while time.monotonic() < refused_until:
            with pytest.raises(JournalError, match=r"\d+ bytes are free on its disk"):
                journal.append(1, "x" * 2000)
        assert len(list(directory.glob("segment-*.log"))) <= 2, "attempts that failed leave nothing behind"
        ballast.unlink()
        after = append_once_recovered(journal, '["after"]')
        assert after >= acknowledged[-1] + 2**32
        assert list(read_all(directory)) == [*acknowledged, after]
    assert list(read_all(directory)) == [*acknowledged, after]


def keep(directory: Path, count: int, kept_bytes: int) -> list[Path]:
    """Lay kept segments into a journal, as the shipper moves them there."""
    shipped = directory / files.SHIPPED
    shipped.mkdir()
    for first_seq in range(1, count + 1):
        files.segment_path(shipped, first_seq).write_bytes(b"\1" * kept_bytes)
    return sorted(shipped.iterdir())


@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_kept_segments_give_way_on_a_full_disk_and_no_packet_is_refused(
    small_disk: Path, sync: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LEAST_FREE_BYTES", 0)  # only a full disk counts here
    directory = small_disk / "journal"
    deleted: list[Path] = []
    with ClosingJournal(
        directory, sync=sync, segment_bytes=100_000, interval_seconds=3600, on_deleted=deleted.append
    ) as journal:
        first = journal.append(1, '["first"]')
        kept_ones = keep(directory, 4, 200_000)
        other = [directory / "shipped" / "notes.txt", directory / "ledger.json"]
        for folder in (files.AGAIN, files.DAMAGED, "left-out"):
            (directory / folder).mkdir()
            other.append(files.segment_path(directory / folder, 1))
        for path in other:
            path.write_bytes(b"\1" * 1000)
        fill_disk(small_disk)
        acknowledged = [first]
        while len(deleted) < len(kept_ones):
            acknowledged.append(journal.append(1, f'["{"x" * 2000}"]'))
        assert deleted == kept_ones, "oldest first"
        assert len(acknowledged) > 200
        acknowledged += fill(journal)  # until the disk is full again
        with pytest.raises(JournalError, match="No space left"):
            journal.append(1, f'["{"x" * 2000}"]')
        assert all(path.stat().st_size == 1000 for path in other), "nothing else is deleted"
        (small_disk / "filler").unlink()
        acknowledged.append(append_once_recovered(journal, '["after"]'))
    read = JournalReader(directory)
    own = [segment for segment in read.segments() if segment.path.parent == directory]
    assert [entry.seq for each in own for entry in read.read(each, 0, 10_000)] == acknowledged
    assert [each.header.previous for each in own] == [None, *(each.id for each in own[:-1])]
    read.close()


def test_a_full_disk_that_is_met_at_the_first_packet_is_freed_too(small_disk: Path) -> None:
    directory = small_disk / "journal"
    with ClosingJournal(directory) as journal:
        journal.append(1, '["before"]')
    (kept_one,) = keep(directory, 1, 100_000)
    fill_disk(small_disk)
    with ClosingJournal(directory) as journal:
        journal.append(1, '["after"]')
    assert list(read_all(directory).values()) == ['["before"]', '["after"]']
    assert not kept_one.exists()


def test_kept_segments_that_may_not_be_deleted_are_passed_over(small_disk: Path) -> None:
    directory = small_disk / "journal"
    with ClosingJournal(directory) as journal:
        journal.append(1, '["before"]')
        keep(directory, 1, 100_000)
        files.segment_path(directory / files.SHIPPED, 0).mkdir()  # unlink(2) refuses a directory
        fill_disk(small_disk)
        assert len(fill(journal)) > 20
    assert [path.is_dir() for path in (directory / files.SHIPPED).iterdir()] == [True]


def test_a_roll_over_makes_room_when_little_is_free(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LEAST_FREE_BYTES", 1 << 20)
    directory = small_disk / "journal"
    deleted: list[Path] = []
    with ClosingJournal(directory, segment_bytes=65536, on_deleted=deleted.append) as journal:
        journal.append(1, f'["{"x" * 65536}"]')
        kept_ones = keep(directory, 10, 150_000)
        journal.append(1, '["next"]')
        assert deleted == kept_ones[: len(deleted)]
        free = shutil.disk_usage(small_disk).free
        assert 1 << 20 <= free + (1 << 18) < (1 << 20) + 2 * 150_000 + (1 << 18), "no more than that"


def test_at_a_file_size_limit_it_refuses_and_recovers(tmp_path: Path) -> None:
    code = f"""
import resource, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[3])!r}]
from test_crash import append_once_recovered, fill, read_all
from radmeter.plugin.journal.writer import JournalWriter
from pathlib import Path
directory = Path({str(tmp_path / "journal")!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = JournalWriter(directory)
journal.append(1, "[]")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
acknowledged = fill(journal)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
after = append_once_recovered(journal, '["after"]')
journal.close()
assert list(read_all(directory)) == [1, *acknowledged, after]
assert len(acknowledged) > 20
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_disk_that_becomes_read_only_is_refused_and_used_again_when_it_is_writable(
    small_disk: Path,
) -> None:
    directory = small_disk / "journal"
    with ClosingJournal(directory) as journal:
        journal.append(1, '["before"]')
        journal.close()
    with ClosingJournal(directory) as journal:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        with pytest.raises(JournalError, match=r"[Rr]ead-only"):
            journal.append(1, '["refused"]')
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
        append_once_recovered(journal, '["after"]')
    assert list(read_all(directory).values()) == ['["before"]', '["after"]']


def fill(journal: JournalWriter) -> list[int]:
    """Append until the journal refuses; return the records that it acknowledged."""
    acknowledged = []
    for _ in range(5000):
        try:
            acknowledged.append(journal.append(1, f'["{"x" * 2000}"]'))
        except JournalError:
            return acknowledged
    raise AssertionError("the disk never got full")


def append_once_recovered(journal: JournalWriter, pairs: str) -> int:
    """Append a record as soon as the journal takes it, as retransmissions do."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return journal.append(1, pairs)
        except JournalError:
            assert time.monotonic() < deadline, "the journal did not recover"
            time.sleep(RETRY_SECONDS / 10)
