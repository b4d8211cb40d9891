"""Whatever happens to a journal's writers, each packet is read once, and each segment names the one before it."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from support.fuzz import fuzzing
from support.journals import old_segment

from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

EVENTS = st.lists(
    st.sampled_from(["append", "fill", "close", "kill", "old plugin", "ship", "lose the name"]), max_size=12
)


class Line:
    """A journal, its writer of the moment, and what it must hold."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._copies = 0
        self.directory = base / "journal"
        self.writer = JournalWriter(self.directory, sync="interval", segment_bytes=1500)
        self.expected: dict[int, str] = {}
        self.old: set[int] = set()  # first numbers of segments of format 1

    def append(self) -> None:
        text = f'["{len(self.expected):0300d}"]'
        self.expected[self.writer.append(len(self.expected), text)] = text

    def fill(self) -> None:
        for _ in range(6):
            self.append()

    def close(self) -> None:
        self.writer.close()
        self.writer = JournalWriter(self.directory, sync="interval", segment_bytes=1500)

    def kill(self) -> None:
        """Go on with a copy of the files as they are: no trailer, zeros behind the log."""
        self._copies += 1
        copy = self._base / f"journal-{self._copies}"
        if self.directory.exists():
            shutil.copytree(self.directory, copy)
        self.writer.close()
        self.directory = copy
        self.writer = JournalWriter(self.directory, sync="interval", segment_bytes=1500)

    def old_plugin(self) -> None:
        self.close()
        existing = files.segments(self.directory) if self.directory.exists() else []
        first = existing[-1].first_seq + 2 * files.GAP if existing else 1
        texts = [f'["{len(self.expected) + n} of the old plugin"]' for n in range(3)]
        if (self.directory / "node").exists() or not existing:
            old_segment(self.directory, first, texts)
            self.old.add(first)
            self.expected |= dict(enumerate(texts, first))

    def ship(self) -> None:
        """Move the oldest segment away, as when it is shipped."""
        if self.directory.exists() and len(found := files.segments(self.directory)) > 1:
            shipped = self.directory / files.SHIPPED
            shipped.mkdir(exist_ok=True)
            found[0].path.rename(shipped / found[0].path.name)

    def lose_the_name(self) -> None:
        if not self.old:
            (self.directory / "node").unlink(missing_ok=True)


@fuzzing(60)
@given(events=EVENTS)
@example(["fill", "kill", "append", "old plugin", "append", "ship", "ship", "close", "fill"])
def test_every_packet_is_read_once_and_the_chain_has_no_gap(events: list[str]) -> None:
    base = Path(tempfile.mkdtemp(prefix="radmeter-fuzz-"))
    line = Line(base)
    ids: dict[int, str] = {}
    try:
        for event in events:
            getattr(line, event.replace(" ", "_"))()
            reader = JournalReader(line.directory)
            listed = sorted([*reader.segments(), *reader.segments_in(files.SHIPPED)])
            assert reader.unreadable() == []
            found = {entry.seq: entry.pairs for each in listed for entry in reader.read(each, 0, 1000)}
            assert found == line.expected
            assert list(found) == sorted(found)
            for before, segment in zip([None, *listed], listed, strict=False):
                assert ids.setdefault(segment.first_seq, segment.id) == segment.id
                assert (segment.header.format == 1) == (segment.first_seq in line.old)
                if segment.header.format == 2:
                    assert segment.header.previous == (before.id if before else None)
                    assert segment.header.previous_first_seq == (before.first_seq if before else None)
                    assert segment.header.node
                assert reader.losses(segment, 0) == []
                entries = reader.read(segment, 0, 1000)
                last = entries[-1].seq if entries else segment.first_seq - 1
                assert reader.end(segment) == last or (reader.end(segment) is None and segment == listed[-1])
            assert len(set(ids.values())) == len(ids)
            reader.close()
    finally:
        line.writer.close()
        shutil.rmtree(base)
