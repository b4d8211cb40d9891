"""Ships segments that no shipper carries: damaged ones, and those of a journal whose machine is gone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError
from radmeter.ingest.ledger import Known, Ledger
from radmeter.ingest.positions import Position, note_loss, registered
from radmeter.ingest.records import as_json
from radmeter.ingest.sending import Sender
from radmeter.ingest.store import Progress, Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import old_segment_id, read_node
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.orphan import read_orphan
from radmeter.plugin.journal.reader import Entry, Loss, Segment, digest_after
from radmeter.plugin.journal.segment_format import HeaderError, SegmentHeader
from radmeter.units import counted

BATCH = 1000
FOLDERS = ("", *files.FOLDERS)


class Result(NamedTuple):
    """What became of one file: packets counted now, packets that the database had, and what cannot be read.

    `refused`: why nothing of it is shipped. `counted` includes packets that were set aside.
    """

    path: Path
    counted: int
    had: int
    lost: tuple[Loss, ...] = ()
    refused: str | None = None


def segment_files(place: Path) -> list[Path]:
    """Return the segments in a journal's directory or in a folder of one, or the one file that is named, in order.

    Raises
    ------
    JournalError
        There is no such file, or no segment in the directory.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise JournalError(f"{place} is neither a file nor a directory")
    found = _all_in(place)
    if not found:
        raise JournalError(f"{place} holds no segments (segment-*.log)")
    return sorted(found, key=lambda path: (_first_seq(path), path))


def journal_of(path: Path) -> Path:
    """Return the directory of the journal in which a segment lies."""
    return path.parent if path.parent.name not in FOLDERS[1:] else path.parent.parent


def ship(
    store: Store, paths: Sequence[Path], node: str, on_progress: Callable[[int], None] = lambda packets: None
) -> Iterator[Result]:
    """Ship what can be read of segments and what the database lacks. Yield what became of each.

    `node` is the name of a journal whose segments do not say it.
    """
    for path in paths:
        yield _ship(store, path, node, paths, on_progress)


def _ship(
    store: Store, path: Path, node: str, paths: Sequence[Path], on_progress: Callable[[int], None]
) -> Result:
    header = _identity(path, node, paths)
    segment = Segment(header.first_seq, path, header)
    row = registered(store, header.node or node, [segment])[header.id]
    known = Known(
        header.id,
        path.name,
        header.format,
        header.node or node,
        header.first_seq,
        header.previous,
        row.last_seq,
        row.digest,
    )
    position = Position(segment, known, Progress(row.last_seq, row.digest))
    sender, batch, lost = Sender(), [], []
    had = total = 0
    digest: int | None = 0
    for each in read_orphan(path):
        if isinstance(each, Loss):
            lost.append(each)
            continue
        if each.seq <= row.last_seq:
            had += 1
            digest = digest_after(digest or 0, [each])
            # Records that are lost now may have been readable when they were counted.
            if each.seq == row.last_seq and not lost and row.digest is not None and digest != row.digest:
                return Result(
                    path,
                    0,
                    0,
                    tuple(lost),
                    f"the database has counted other records under the identity {header.id}: another machine went on "
                    "with a copy of this segment. Which of its packets are counted is not known",
                )
            continue
        batch.append(each)
        if len(batch) == BATCH:
            total += _send(sender, store, position, batch, on_progress)
            batch = []
    if batch:
        total += _send(sender, store, position, batch, on_progress)
    for loss in lost:
        # Up to the progress of before, the numbers are counted, or they were said to be lost then.
        if loss.last_seq is None or loss.last_seq > row.last_seq:
            unknown = loss._replace(first_seq=max(loss.first_seq, row.last_seq + 1))
            note_loss(store, header.node or node, position, unknown)
    store.finish(header.id, position.progress.seq)
    return Result(path, total, had, tuple(lost))


def _send(
    sender: Sender, store: Store, position: Position, batch: list[Entry], on_progress: Callable[[int], None]
) -> int:
    sender.send(store, position, batch, [as_json(entry) for entry in batch])
    on_progress(len(batch))
    return len(batch)


def _identity(path: Path, node: str, paths: Sequence[Path]) -> SegmentHeader:
    """Return the header of a segment, or one that is made up from its surroundings if it is damaged.

    Its identity is then the one that the journal's ledger knows, or that the following segment names, or one that is
    computed from its name. So it is the same each time.
    """
    first_seq = _first_seq(path)
    try:
        header = read_header(path)
        if not header.id:  # format 1
            of = read_node(journal_of(path)) or node
            return header._replace(id=old_segment_id(of, first_seq), node=of)
        return header
    except HeaderError:
        pass
    top = journal_of(path)
    ledger = Ledger(top)
    with suppress(JournalError, OSError):
        ledger.read()
    known = ledger.named(path.name)
    if known is None:
        known = next((row for row in ledger.gone_segments() if row.name == path.name), None)
    segment_id = known.id if known else _named_by_following(path, [*paths, *_all_in(top)])
    return SegmentHeader(
        format=known.format if known else 2,
        id=segment_id or old_segment_id(known.node if known else node, first_seq),
        previous=known.previous if known else None,
        previous_first_seq=None,
        first_seq=first_seq,
        node=known.node if known else node,
        records="",
        made_at_us=None,
    )


def _named_by_following(path: Path, paths: Sequence[Path]) -> str | None:
    first_seq = _first_seq(path)
    for other in paths:
        if _first_seq(other) > first_seq:
            try:
                header = read_header(other)
            except (HeaderError, OSError):
                continue
            if header.previous_first_seq == first_seq:
                return header.previous
    return None


def _all_in(journal: Path) -> list[Path]:
    """Return all segments of a journal: the one that follows may be in another folder."""
    return [path for folder in FOLDERS for path in _segments(journal / folder)]


def _segments(directory: Path) -> list[Path]:
    try:
        found = [segment.path for segment in files.segments(directory)]
        # Earlier releases kept segments under this name after a power cut.
        return found + sorted(directory.glob("kept-segment-*.log"))
    except FileNotFoundError:
        return []


def _first_seq(path: Path) -> int:
    digits = path.name.removeprefix("kept-").removeprefix("segment-")[:20]
    if not digits.isdecimal():
        raise JournalError(f"{path} is not named like a segment (segment-<20 digits>.log)")
    return int(digits)


def summary(result: Result) -> str:
    """Return what became of a file, in one line."""
    if result.refused:
        return f"{result.path.name}: nothing is shipped: {result.refused}"
    said = f"{result.path.name}: {counted(result.counted, 'packet')} shipped, {result.had} counted before"
    return said if not result.lost else f"{said}, {counted(len(result.lost), 'stretch', 'stretches')} lost"


def described(loss: Loss) -> str:
    """Return in one line what is lost: numbers, and the arrivals of the packets around them."""
    numbers = (
        f"records from {loss.first_seq} on"
        if loss.last_seq is None
        else f"records {loss.first_seq} to {loss.last_seq}"
    )
    times = [
        f"{word} {datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S %Z}"
        for word, us in (("after", loss.after_us), ("before", loss.before_us))
        if us is not None
    ]
    return f"{numbers}" + (f", received {' and '.join(times)}" if times else "") + f": {loss.what}"
