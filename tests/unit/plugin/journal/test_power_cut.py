"""The journal on a disk that loses unsynced data: power cuts at every sync and between syncs."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from support.journals import batches
from support.power_cut import PowerCut

from radmeter.errors import JournalError
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

SEGMENT_BYTES = 2000
NEVER_SECONDS = 3600.0


class Disk:
    """A journal in its own directory, and what a power cut would leave of it."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = base / "disk"
        self.top.mkdir()
        self.directory = self.top / "journal"
        self.cut = PowerCut(self.top).watch(monkeypatch)
        self.journals: list[JournalWriter] = []
        self._places = (base / f"left-{number}" for number in itertools.count())

    def open(self, **settings: object) -> JournalWriter:
        self.journals.append(JournalWriter(self.directory, segment_bytes=SEGMENT_BYTES, **settings))  # type: ignore[arg-type]
        return self.journals[-1]

    def left(self, names: str, pages: Random | None = None) -> tuple[list[str], list[int], str | None]:
        """Return what a power cut leaves now: the records, their numbers, and the journal's name.

        Raises
        ------
        JournalError
            It leaves something that the reader takes for damage.
        """
        left = self.cut.leave(next(self._places), names=names, pages=pages)
        reader = JournalReader(left / self.directory.relative_to(self.top))
        found = [(entry.pairs, entry.seq) for batch in batches(reader) for entry in batch]
        node = reader.node() if found else None
        reader.close()
        return [text for text, _ in found], [seq for _, seq in found], node


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(tmp_path, monkeypatch)
    yield disk
    disk.cut.before_sync = lambda: None
    for journal in disk.journals:
        journal.close()
    disk.cut.close()


def texts() -> Iterator[str]:
    return (f'["{number}", "{"x" * 300}"]' for number in itertools.count())


def checked(disk: Disk, must_be_left: Callable[[], list[str]]) -> Callable[[], None]:
    """Return a check of what a power cut would leave now, whichever pages the disk has written by itself."""
    chosen = Random(12)

    def check() -> None:
        for names, pages in (
            ("synced", None),
            ("all", None),
            ("synced", chosen),
            ("all", chosen),
            ("all", chosen),
        ):
            records, _, node = disk.left(names, pages)
            wanted = must_be_left()
            assert records[: len(wanted)] == wanted, f"with {names} names"
            assert node == (JournalReader(disk.directory).node() if records else None)

    return check


def test_acknowledged_records_survive_a_power_cut_at_any_moment(disk: Disk) -> None:
    acknowledged: list[str] = []
    disk.cut.before_sync = check = checked(disk, lambda: acknowledged)
    for _ in range(2):
        journal = disk.open(sync="packet")
        for text in itertools.islice(texts(), 15):
            journal.append(1, text)
            acknowledged.append(text)
            check()
        journal.close()
        check()
    assert len(list(disk.directory.glob("segment-*"))) > 4
    assert disk.cut.syncs > 30 + 4 * 2


def test_the_directory_and_those_above_it_that_were_missing_survive_a_power_cut(disk: Disk) -> None:
    disk.directory = disk.top / "lib" / "radmeter" / "journal"
    disk.open().append(1, '["kept"]')
    assert disk.left("synced")[0] == ['["kept"]']


def test_the_directory_survives_if_the_writer_that_made_it_was_killed_before_the_sync(disk: Disk) -> None:
    disk.directory = disk.top / "lib" / "radmeter" / "journal"
    disk.directory.mkdir(parents=True)
    disk.open().append(1, '["kept"]')
    assert disk.left("synced")[0] == ['["kept"]']


def test_a_directory_whose_name_cannot_be_made_durable_is_refused_each_time(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync_path", lambda path: os.close(os.open("/nonexistent", os.O_RDONLY)))
    journal = disk.open()
    for _ in range(2):
        with pytest.raises(JournalError):
            journal.append(1, "[]")
        assert not disk.directory.exists()


def test_in_interval_mode_a_segment_is_durable_before_the_next_one_is_begun(disk: Disk) -> None:
    # The interval is too long to matter here: only the roll-over and the close can have synced the segment.
    journal = disk.open(sync="interval", interval_seconds=NEVER_SECONDS)
    appended: list[str] = []

    def begun() -> list[Path]:
        return sorted(disk.directory.glob("segment-*"))

    def of_full_segments() -> list[str]:
        if len(begun()) < 2:
            return []
        return appended[: int(begun()[-1].stem.removeprefix("segment-")) - 1]

    disk.cut.before_sync = check = checked(disk, of_full_segments)
    for text in itertools.islice(texts(), 25):
        journal.append(1, text)
        appended.append(text)
        check()
    assert len(begun()) > 3
    assert disk.left("all")[0] == of_full_segments() != appended, "what was not synced is lost"
    journal.close()
    assert disk.left("synced")[0] == appended, "close makes the rest durable"


@pytest.mark.parametrize("sync", ["packet", "interval"])
@pytest.mark.parametrize("names", ["synced", "all"])
def test_no_number_is_used_again_after_a_power_cut(disk: Disk, tmp_path: Path, sync: str, names: str) -> None:
    journal = disk.open(sync=sync, interval_seconds=NEVER_SECONDS)
    for text in itertools.islice(texts(), 20):
        last = journal.append(1, text)
        left = disk.cut.leave(tmp_path / f"cut after {last}", names=names) / "journal"
        successor = JournalWriter(left, sync=sync)
        try:
            first = successor.append(1, "[]")
        finally:
            successor.close()
        assert first > last
