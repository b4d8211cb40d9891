"""Ships segments that no shipper carries: damaged ones, and those of a journal whose machine is gone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError, ProgressMoved, StoreTimeout
from radmeter.ingest.findings import Findings
from radmeter.ingest.folders import PLACES, journal_of
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.ledger import Known, Ledger
from radmeter.ingest.orphan_identity import Identity, Surroundings, first_seq_of
from radmeter.ingest.position import Position
from radmeter.ingest.positions import Positions
from radmeter.ingest.records import as_json
from radmeter.ingest.registration import registered
from radmeter.ingest.sending import Sender
from radmeter.ingest.store import Progress, Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.orphan import read_orphan
from radmeter.plugin.journal.reader import BATCH_TEXT, Entry, JournalReader, Loss, Segment, digest_after
from radmeter.plugin.journal.segment_format import SegmentHeader
from radmeter.plugin.journal.segment_reader import DamagedSegment, SegmentReader
from radmeter.units import counted

BATCH = 1000
# Another shipper may ship the same segment at the same time. Each time it is faster, this one asks how far it is.
TRIES = 100

# Called with the number of packets that were read since the last call.
Listener = Callable[[int], None]


class Result(NamedTuple):
    """What became of one file: packets counted now, packets that the database had, and what cannot be read.

    `refused`: why nothing more of it is shipped. `counted` includes packets that were set aside.
    """

    path: Path
    counted: int
    had: int
    lost: tuple[Loss, ...] = ()
    refused: str | None = None
    segment: str | None = None

    @property
    def lost_packets(self) -> int | None:
        """How many packets are lost; None if nobody knows."""
        if any(loss.last_seq is None for loss in self.lost):
            return None
        return sum((loss.last_seq or 0) - loss.first_seq + 1 for loss in self.lost)


class _Forked(Exception):
    """The database has counted other records under the segment's identity."""


def segment_files(place: Path) -> list[Path]:
    """Return the segments in a journal's directory or in a folder of one, or the one file that is named, in order.

    Raises
    ------
    JournalError
        There is no such file, or no segment in the directory.
    OSError
        The directory cannot be read.
    """
    if place.is_dir():
        found = [path for folder in PLACES for path in _segments(place / folder)]
        if not found:
            raise JournalError(f"{place} holds no segments (segment-*.log)")
        return sorted(found, key=lambda path: (first_seq_of(path), path))
    place.stat()  # the error says why it cannot be seen
    return [place]


def packets_in(paths: Sequence[Path]) -> int:
    """Return about how many packets segments hold. One that cannot be read counts as empty."""
    total = 0
    for path in paths:
        with suppress(OSError, JournalError):
            try:
                with closing(SegmentReader(path, files.first_seq_in_name(path.name) or 1)) as log:
                    total += max(0, log.last_seq() - log.header.first_seq + 1)
            except DamagedSegment:
                total += sum(isinstance(each, Entry) for each in read_orphan(path))
    return total


def ship(
    store: Store,
    paths: Sequence[Path],
    node: str | None = None,
    on_progress: Listener = lambda packets: None,
    *,
    uncounted: bool = False,
) -> Iterator[Result]:
    """Ship what can be read of segments and what the database lacks. Yield what became of each.

    Parameters
    ----------
    node
        The name of a journal whose segments do not say it; None: nobody has given it.
    uncounted
        A person said that nothing is counted of segments that nothing identifies.
    """
    around = Surroundings(paths, node, uncounted=uncounted)
    for path in paths:
        yield _ship(store, path, around, on_progress)


def missing(store: Store, journal: Path, node: str) -> list[str]:
    """Note which packets of a journal are neither counted nor there, once all that is there is shipped.

    Return it in words. Nothing in the journal is changed. Raises JournalError if it cannot be read.
    """
    ledger = Ledger(journal)
    with suppress(JournalError, OSError):
        ledger.read()
    with closing(JournalReader(journal)) as reader:
        return Positions(reader, ledger, KeptSegments(journal)).missing(store, node)


def _ship(store: Store, path: Path, around: Surroundings, on_progress: Listener) -> Result:
    shipped: list[int] = []
    identity = None
    try:
        if not path.exists():
            path = _moved(path)
        next(iter(read_orphan(path)), None)  # without any record, it needs no identity
        identity = around.identity(store, path)
        node = identity.header.node or around.node(journal_of(path))
        if node is None:
            raise JournalError("nothing says the name of its journal: give --node NAME")
        had, lost = 0, list[Loss]()
        for part in _parts(identity):
            before, damage = _ship_part(store, path, node, part, shipped, on_progress)
            had, lost = had + before, lost + damage
        had = max(0, had - sum(shipped))
        if identity.damaged:
            _settle_header(store, path, around.node(journal_of(path)) or node, identity)
    except _Forked as fork:
        return Result(path, sum(shipped), 0, (), f"{fork}", identity.header.id if identity else None)
    except JournalError as error:
        reason = f"{error}".removeprefix(f"{path}: ").replace(f"{path} ", "it ", 1)
        return Result(path, sum(shipped), 0, (), reason, identity.header.id if identity else None)
    return Result(path, sum(shipped), had, tuple(lost), None, identity.header.id)


def _moved(path: Path) -> Path:
    """Return where a shipper has moved a segment meanwhile."""
    for folder in PLACES:
        if (other := journal_of(path) / folder / path.name).exists():
            return other
    raise JournalError("it is gone: the shipper has moved or deleted it meanwhile")


class _Part(NamedTuple):
    """The records of a segment that have one id, with the numbers above `after` and up to `until` (None: to its end).

    `is_shared`: another machine may have shipped other records under the same id, after these.
    """

    header: SegmentHeader
    after: int
    until: int | None = None
    is_shared: bool = False


def _parts(identity: Identity) -> list[_Part]:
    """Return the parts of a segment: two if another machine went on with a copy of it, and its shipper saw that."""
    header, known = identity.header, identity.known
    begins_after = header.first_seq - 1
    if known is None or known.shipped_as is None:
        return [_Part(header, begins_after)]
    fork = header._replace(id=known.shipped_as, previous=known.id, first_seq=known.shipped_after + 1)
    return [
        _Part(header, begins_after, known.shipped_after, is_shared=True),
        _Part(fork, known.shipped_after),
    ]


def _ship_part(
    store: Store, path: Path, node: str, part: _Part, shipped: list[int], on_progress: Listener
) -> tuple[int, list[Loss]]:
    """Ship a part, however often another shipper is faster. Return how many packets of it the database had."""
    size = BATCH
    for tried in range(TRIES):
        try:
            return _ship_once(store, path, node, part, size, shipped, on_progress)
        except ProgressMoved:
            if tried == TRIES - 1:
                raise
        except StoreTimeout:
            if size == 1:
                raise
            size = max(1, size // 2)
    raise AssertionError("not reached")


def _ship_once(
    store: Store,
    path: Path,
    node: str,
    part: _Part,
    size: int,
    shipped: list[int],
    on_progress: Listener,
) -> tuple[int, list[Loss]]:
    header, begins_after = part.header, part.after
    segment = Segment(header.first_seq, path, header)
    row = registered(store, node, [segment])[header.id]
    position = Position(
        segment,
        Known(header.id, path.name, header.format, node, header.first_seq, header.previous, row.last_seq),
        Progress(row.last_seq, row.digest),
    )
    sender, text = Sender(), 0
    batch: list[Entry] = []
    lost: list[Loss] = []
    had, last, digest, compared = 0, begins_after, 0, False

    def compare() -> None:
        """Compare what was counted of the segment with what the file has of that."""
        nonlocal compared
        if not compared:
            known = None if part.is_shared and row.last_seq > last else row.digest
            is_whole = last == row.last_seq or (begins_after < last and _is_closed(path, header.first_seq))
            lost[:] = _lost_of_counted(lost, is_whole, row.last_seq, digest, known, header.id)
        compared = True

    def send() -> None:
        nonlocal text
        if batch:
            sender.send(store, position, batch, [as_json(entry) for entry in batch])
            shipped.append(len(batch))
            on_progress(len(batch))
        batch.clear()
        text = 0

    for each in read_orphan(path):
        if isinstance(each, Loss):
            is_before = each.last_seq is not None and each.last_seq <= begins_after
            is_behind = part.until is not None and each.first_seq > part.until
            if not is_before and not is_behind:
                lost.append(each)
        elif each.seq <= begins_after:
            continue
        elif part.until is not None and each.seq > part.until:
            break
        elif each.seq <= row.last_seq:
            had, last, digest = had + 1, each.seq, digest_after(digest, [each])
            if had % BATCH == 0:
                on_progress(BATCH)
        else:
            compare()
            batch.append(each)
            text += len(each.pairs)
            if len(batch) >= size or text >= BATCH_TEXT:
                send()
    compare()
    send()
    for loss in lost:
        # The caller says it, so nothing is logged.
        Findings(store, node, told=[]).damaged(position, loss, kept=f"The file is {path.absolute()}")
    if not part.is_shared and (position.progress.seq > row.last_seq or last >= row.last_seq or lost):
        # A file that ends before what is counted of it is not all of the segment.
        store.finish(header.id, position.progress.seq)
    on_progress(had % BATCH)
    return had, lost


def _is_closed(path: Path, first_seq: int) -> bool:
    """Tell whether radiusd has closed a segment cleanly. Nothing is added behind that."""
    with suppress(OSError, DamagedSegment), closing(SegmentReader(path, first_seq)) as log:
        return log.trailer() is not None
    return False


def _lost_of_counted(
    lost: Sequence[Loss], is_whole: bool, counted_to: int, digest: int, known: int | None, identity: str
) -> list[Loss]:
    """Return those of the losses that were not counted before the file was damaged.

    `counted_to`: the database's progress. `is_whole`: no power cut took records of the file up to that number.
    `digest`: over those that the file has; `known`: over what the database has counted.

    Raises
    ------
    _Forked
        The database has counted other records under this identity.
    """
    if digest == known:
        return list(lost)  # they were lost when the rest was counted
    if known is not None and not lost and is_whole:
        raise _Forked(
            f"the database has counted other records under its identity, {identity}: another machine went on with a "
            "copy of this segment, or this file was damaged when it was shipped. It cannot be said which of its "
            "packets are counted"
        )
    left = []
    for loss in lost:
        if loss.last_seq is None or loss.last_seq > counted_to:
            left.append(loss._replace(first_seq=max(loss.first_seq, counted_to + 1)))
    return left


def _settle_header(store: Store, path: Path, node: str, identity: Identity) -> None:
    """Settle the incident of a segment whose header cannot be read: what can be read of it is counted now."""
    incident = {
        "kind": "damaged",
        "first_seq": identity.header.first_seq,
        "detail": f"the header of segment {path.name} cannot be read. `radmeter journal` shipped the segment",
    }
    store.settle(store.note_incident(node, incident))


def _segments(directory: Path) -> list[Path]:
    try:
        # Earlier releases kept segments under another name after a power cut.
        return [segment.path for segment in files.segments(directory)] + files.kept_segments(directory)
    except FileNotFoundError:
        return []


def summary(result: Result) -> str:
    """Return what became of a file, in one line."""
    name = f"{result.path.parent.name}/{result.path.name}"
    said = f"{counted(result.counted, 'packet')} shipped"
    if result.refused:
        before = "nothing is shipped" if not result.counted else f"{said}, then no more"
        return f"{name}: {before}: {result.refused}"
    said += f", {result.had:,} counted before"
    if result.lost:
        many = result.lost_packets
        said += f", {'an unknown number' if many is None else f'{many:,}'} lost"
    return f"{name}: {said}"


def described(loss: Loss) -> str:
    """Return in one line what is lost: numbers, and the arrivals of the packets around them."""
    if loss.last_seq is None:
        numbers = f"numbers from {loss.first_seq} on"
    elif loss.last_seq == loss.first_seq:
        numbers = f"number {loss.first_seq}"
    else:
        numbers = f"numbers {loss.first_seq} to {loss.last_seq}"
    times = [
        f"{word} {datetime.fromtimestamp(us / 1e6, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"
        for word, us in (("after", loss.after_us), ("before", loss.before_us))
        if us is not None
    ]
    return numbers + (f", received {' and '.join(times)}" if times else "") + f": {loss.what}"
