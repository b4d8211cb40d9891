"""Journals on a disk, filled with segments."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from radmeter.errors import JournalError
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import Entry, JournalReader, Segment
from radmeter.plugin.journal.record_format import pack, unpack
from radmeter.plugin.journal.segment_format import HEADER_1, PAIRS_JSON, SegmentHeader, unpack_header
from radmeter.plugin.journal.writer import JournalWriter

TEXT = f'["{"x" * 700}"]'


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("segment-*.log"))


def first_seq(segment: Path) -> int:
    return int(segment.stem.removeprefix("segment-"))


def fill(directory: Path, *, sync: str = "interval", segment_bytes: int = 20_000) -> list[Path]:
    """Make a journal of closed segments with a hundred records, numbered from 1 without a gap."""
    journal = JournalWriter(directory, sync=sync, segment_bytes=segment_bytes)
    for n in range(100):
        journal.append(n, TEXT)
    journal.close()
    assert len(segments(directory)) >= 4 or segment_bytes > 20_000
    return segments(directory)


def old_segment(
    directory: Path, first_seq: int, texts: Sequence[str] = (TEXT,) * 5, *, node: str = "old"
) -> Path:
    """Make a segment of format 1 with one durable record for each text, as earlier releases wrote it."""
    directory.mkdir(exist_ok=True)
    if not (directory / "node").exists():
        files.write_node(directory, node)
    path = files.segment_path(directory, first_seq)
    records = (pack(seq, seq, seq, text.encode()) for seq, text in enumerate(texts, first_seq))
    path.write_bytes(HEADER_1 + b"".join(records))
    return path


def header(first_seq: int = 1, **fields: object) -> SegmentHeader:
    """Return a header of format 2."""
    identity = f"00000000-0000-4000-8000-{first_seq:012x}"[:36]
    made = SegmentHeader(2, identity, None, None, first_seq, "n", PAIRS_JSON, 1)
    return made._replace(**fields)  # type: ignore[arg-type]


def records_begin(segment: Path) -> int:
    """Return where the records of a segment begin."""
    return unpack_header(segment.read_bytes())[1]


def records_at(segment: Path) -> list[tuple[int, int]]:
    """Return where each record of a segment begins and ends."""
    content, places, start = segment.read_bytes(), [], records_begin(segment)
    while record := unpack(content, start):
        places.append((start, record.end))
        start = record.end
    return places


def segment_at(reader: JournalReader, path: Path) -> Segment:
    """Return the segment at a path."""
    return next(segment for segment in reader.segments() if segment.path == path)


def batches(reader: JournalReader, limit: int = 1000, after: int = 0) -> Iterator[list[Entry]]:
    """Yield what waits in a journal above a number, in batches. Raises JournalError where one cannot be read."""
    for segment in reader.segments():
        read = after
        while batch := reader.read(segment, read, limit):
            read = batch[-1].seq
            yield batch
    if unreadable := reader.unreadable():
        raise JournalError(f"{unreadable}")


def read_journal(directory: Path, after: int = 0) -> list[Entry]:
    """Return all records of a journal above a number. Raises JournalError if one cannot be read."""
    reader = JournalReader(directory)
    try:
        return [entry for batch in batches(reader, after=after) for entry in batch]
    finally:
        reader.close()


def pairs_of(directory: Path, after: int = 0) -> list[str]:
    """Return the texts of all records of a journal above a number."""
    return [entry.pairs for entry in read_journal(directory, after)]


def waiting(reader: JournalReader, after: int = 0) -> tuple[int, int | None]:
    """Return how many records of a journal wait above a number, and the first one's arrival."""
    depth = reader.depth({segment.id: after for segment in reader.segments()})
    return depth.records, depth.oldest_received_at_us
