"""Ships segments that no shipper carries: damaged ones, and those of a journal whose machine is gone."""

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from radmeter.errors import JournalError
from radmeter.ingest import database_of_journal, holders
from radmeter.ingest.folders import DONE, PLACES, journal_of, segments_in
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.ledger import read_ledger
from radmeter.ingest.orphan_identity import Identity, Surroundings, first_seq_of
from radmeter.ingest.orphan_part import Listener, parts_of, ship_part
from radmeter.ingest.orphan_result import Result
from radmeter.ingest.positions import Positions
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.orphan import read_orphan
from radmeter.plugin.journal.reader import Entry, JournalReader, Loss
from radmeter.plugin.journal.segment_reader import DamagedSegment, SegmentReader


def segment_files(place: Path) -> list[Path]:
    """Return the segments of a place, in order: a journal's directory, a folder of one, or a single file.

    Raises
    ------
    JournalError
        There is no such file, or no segment in the directory.
    OSError
        The directory cannot be read.
    """
    if place.is_dir():
        directories = [place / folder for folder in PLACES]
        found = [segment.path for segment in segments_in(*directories)]
        # Earlier releases kept segments under another name after a power cut.
        found += [path for directory in directories for path in files.kept_segments(directory)]
        if not found:
            raise JournalError(f"{place} holds no segments (segment-*.log)")
        return sorted(found, key=lambda path: (first_seq_of(path), path))
    place.stat()  # the error says why it cannot be seen
    return [place]


def refuse_if_in_use(paths: Sequence[Path], *, whole: bool) -> None:
    """Check that no other process writes or ships the segments. `whole`: they are all segments of their journals.

    Without `whole`, a shipper may run if it has shipped the segments, or has put them aside. No file is changed.

    Raises
    ------
    JournalLocked
        A process writes or ships them. The message names it.
    """
    for journal in sorted(
        {journal_of(path) for path in paths if whole or path.absolute().parent.name not in DONE}
    ):
        holders.refuse_if_in_use(journal)


def refuse_other_database(store: Store, paths: Sequence[Path], accepted: str | None) -> None:
    """Check that the journals of the segments have shipped to this database, or to none.

    `accepted`: the identity of a database to which they may ship although they have shipped to another.

    Raises
    ------
    WrongDatabase
        One has shipped to another database.
    """
    for journal in sorted({journal_of(path) for path in paths}):
        database_of_journal.check_only(journal, store.database_id(), accepted)


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


def missing(
    store: Store, paths: Sequence[Path], node: str | None = None, *, uncounted: bool = False
) -> list[str]:
    """Note which packets of a journal are neither counted nor there. Call it once all that is there is shipped.

    Parameters
    ----------
    paths
        All segments of the journal.
    node, uncounted
        As for `ship`.

    Returns
    -------
    list
        What is missing, in words. It is empty also if nothing says the journal's name. No file is changed.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """
    journal = journal_of(paths[0])
    name = Surroundings(paths, node, uncounted=uncounted).node(journal)
    if name is None:
        return []
    with closing(JournalReader(journal)) as reader:
        return Positions(reader, read_ledger(journal), KeptSegments(journal)).missing(store, name)


def _ship(store: Store, path: Path, around: Surroundings, on_progress: Listener) -> Result:
    shipped, had, lost = 0, 0, list[Loss]()
    identity = None

    def count(packets: int) -> None:
        nonlocal shipped
        shipped += packets
        on_progress(packets)

    try:
        if not path.exists():
            path = _moved(path)
        next(iter(read_orphan(path)), None)  # without any record, it needs no identity
        identity = around.identity(store, path)
        node = identity.header.node or around.node(journal_of(path))
        if node is None:
            raise JournalError("nothing says the name of its journal: give --node NAME")
        for part in parts_of(identity):
            before, damage = ship_part(store, path, node, part, count, on_progress)
            had, lost = had + before, lost + damage
        if identity.damaged:
            _settle_header(store, path, around.node(journal_of(path)) or node, identity)
    except JournalError as error:
        reason = f"{error}".removeprefix(f"{path}: ").replace(f"{path} ", "it ", 1)
        return Result(path, shipped, 0, (), reason, identity.header.id if identity else None)
    # What was shipped before the last attempt is counted in `had`, too.
    return Result(path, shipped, max(0, had - shipped), tuple(lost), None, identity.header.id)


def _moved(path: Path) -> Path:
    """Return where a shipper has moved a segment meanwhile."""
    for folder in PLACES:
        if (other := journal_of(path) / folder / path.name).exists():
            return other
    raise JournalError("it is gone: the shipper has moved or deleted it meanwhile")


def _settle_header(store: Store, path: Path, node: str, identity: Identity) -> None:
    """Settle the incident of a segment whose header cannot be read: what can be read of it is counted now."""
    incident = {
        "kind": "damaged",
        "first_seq": identity.header.first_seq,
        "detail": f"the header of segment {path.name} cannot be read. `radmeter journal` shipped the segment",
    }
    store.settle(store.note_incident(node, incident))
