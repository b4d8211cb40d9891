"""Says which segment a file is: from its header, or from the files around it if the header is damaged.

If a segment were taken for another one, it would be counted twice.
"""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError
from radmeter.ingest.folders import PLACES, journal_of
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import LEDGER, Ledger, read_ledger
from radmeter.ingest.registration import registered
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import old_segment_id, read_node
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.orphan import read_orphan
from radmeter.plugin.journal.reader import Entry, Segment
from radmeter.plugin.journal.segment_format import NAMES_FIRST, HeaderError, SegmentHeader


class Identity(NamedTuple):
    """A segment's header, and what the journal's ledger knows of the segment.

    `damaged`: the header cannot be read. This one was made from what the files around the segment say. `end`: the last
    number that the segment had; None if the segment that follows is not here, or does not say it.
    """

    header: SegmentHeader
    known: Known | None
    damaged: bool
    end: int | None = None


class Surroundings:
    """What the files around some segments say about them.

    Parameters
    ----------
    paths
        The segments.
    node
        The journal's name as a person gave it; None: the files have to say it.
    uncounted
        A person said that nothing is counted of segments that nothing identifies.
    """

    def __init__(self, paths: Sequence[Path], node: str | None, *, uncounted: bool) -> None:
        self._paths = paths
        self._node = node
        self._uncounted = uncounted
        self._ledgers: dict[Path, Ledger] = {}
        self._headers: dict[Path, list[SegmentHeader]] = {}

    def identity(self, store: Store, path: Path) -> Identity:
        """Return which segment a file is.

        Raises
        ------
        JournalError
            Nothing says it, or the file is of a later release, or it cannot be read.
        """
        identity = self._identity(store, path)
        return identity._replace(end=self._end(journal_of(path), identity.header))

    def _end(self, journal: Path, header: SegmentHeader) -> int | None:
        """Return the last number of a segment, as the segment says that radiusd began when this one was full."""
        for each in self._around(journal):
            if each.previous == header.id and each.first_seq < header.first_seq + files.GAP:
                return each.first_seq - 1
        return None

    def _identity(self, store: Store, path: Path) -> Identity:
        journal = journal_of(path)
        ledger = self.ledger(journal)
        try:
            header = read_header(path)
        except OSError as error:
            raise files.unusable(journal, error) from error
        except HeaderError as error:
            if error.later:
                raise JournalError(f"{error}") from None
            return self._made_up(store, path, journal, ledger)
        known = ledger.known(header.id) if header.id else ledger.named(path.name)
        if header.format == 1:
            first_seq = first_seq_of(path)
            node = read_node(journal) or (known.node if known else None) or self._node
            if node is None:
                raise JournalError(
                    "it is of an older release, and nothing here says the name of its journal, by which the database "
                    "knows it: give --node NAME. `radmeter status` lists the names"
                )
            known = ledger.known(old_segment_id(node, first_seq))
            header = header._replace(id=old_segment_id(node, first_seq), node=node, first_seq=first_seq)
            if path.name.startswith("kept-"):
                header = self._kept(store, Segment(first_seq, path, header), node)
        return Identity(header, known, damaged=False)

    def _kept(self, store: Store, segment: Segment, node: str) -> SegmentHeader:
        """Return the header of a segment that an earlier release kept, since nothing showed that it was counted.

        It lies below its journal's checkpoint, so that does not show it either.
        """
        header = segment.header
        if registered(store, node, [segment])[header.id].digest is not None:
            return header
        if not self._uncounted:
            raise JournalError(
                "an earlier release kept it, since nothing showed that its packets are counted, and nothing shows it "
                "now. After a power cut they are. If the journal was copied or put back, they may not be: give "
                "--uncounted to ship them"
            )
        return header._replace(
            id=str(uuid.uuid5(files.OLD_SEGMENTS, f"kept:{node}:{segment.first_seq}")), format=2
        )

    def node(self, journal: Path) -> str | None:
        """Return the name of a journal, as its files or a person say it; None if nothing does."""
        named = (header.node for header in reversed(self._around(journal)) if header.node)
        return read_node(journal) or self._node or next(named, None)

    def ledger(self, journal: Path) -> Ledger:
        """Return what the shipper of a journal wrote down. It is empty if there is none, or if it is damaged."""
        if journal not in self._ledgers:
            self._ledgers[journal] = read_ledger(journal)
        return self._ledgers[journal]

    def _made_up(self, store: Store, path: Path, journal: Path, ledger: Ledger) -> Identity:
        """Return the identity of a segment whose header is damaged: the same one each time."""
        first_seq = first_seq_of(path)
        known = ledger.named(path.name)
        if known is None:
            known = next((row for row in ledger.gone_segments() if row.name == path.name), None)
        if known is not None and self._is_of_another(journal, path, known.id):
            known = None
        node = known.node if known else self.node(journal)
        segment_id = known.id if known else self._named_by_following(journal, first_seq)
        if segment_id is None and node is not None:
            # The database knows it, and not all of it is counted.
            rows = [row for row in store.open_segments(node, []) if row.first_seq == first_seq]
            segment_id = rows[0].id if len(rows) == 1 else None
            if segment_id is not None and self._is_of_another(journal, path, segment_id):
                segment_id = None
        if segment_id is None:
            # A ledger that does not know it: the shipper has never seen it whole, so nothing of it is counted. But a
            # segment in these folders was shipped, and the ledger has been lost since.
            was_shipped = path.absolute().parent.name in (files.SHIPPED, files.LEFT_OUT)
            seen = (journal / LEDGER).exists() and not (journal / f"{LEDGER}.damaged").exists()
            if node is None or not ((seen and not was_shipped) or self._uncounted):
                raise JournalError(
                    "its header is damaged, and nothing here says which segment it is, so some of its packets may be "
                    "counted already. Put it back into its journal and name it there. If you know that nothing of it "
                    "is counted, give --uncounted" + (" and --node NAME" if node is None else "")
                )
            segment_id = old_segment_id(node, first_seq)
        header = SegmentHeader(
            format=known.format if known else 2,
            id=segment_id,
            previous=known.previous if known else None,
            previous_first_seq=None,
            first_seq=first_seq,
            node=node,
            records=NAMES_FIRST,
            made_at_us=None,
        )
        return Identity(header, known, damaged=True)

    def _is_of_another(self, journal: Path, path: Path, segment_id: str) -> bool:
        """Tell whether a segment here has an id, can be read, and has other records than a file.

        radiusd uses a number again if the damaged segment that had it was moved away. Both files then have one name.
        """
        for place in PLACES:
            with suppress(OSError):
                for each in files.segments(journal / place):
                    with suppress(OSError, HeaderError, JournalError):
                        if read_header(each.path).id == segment_id and not _have_same_record(each.path, path):
                            return True
        return False

    def _named_by_following(self, journal: Path, first_seq: int) -> str | None:
        """Return the id that another segment gives for the one before it."""
        for header in self._around(journal):
            if header.previous_first_seq == first_seq:
                return header.previous
        return None

    def _around(self, journal: Path) -> list[SegmentHeader]:
        """Return the headers of all segments of a journal, also of the given paths, in the order of their numbers."""
        if journal not in self._headers:
            found = {path.absolute() for path in self._paths if journal_of(path) == journal}
            for place in PLACES:
                with suppress(OSError):
                    found |= {segment.path for segment in files.segments(journal / place)}
            headers = []
            for path in found:
                with suppress(OSError, HeaderError):
                    headers.append(read_header(path))
            self._headers[journal] = sorted(headers, key=lambda header: header.first_seq)
        return self._headers[journal]


def _have_same_record(path: Path, other: Path) -> bool:
    """Tell whether two files have the same first record. Raises JournalError if one has none that can be read."""
    first, second = (
        next((each for each in read_orphan(file) if isinstance(each, Entry)), None) for file in (path, other)
    )
    return first is None or second is None or first.seq != second.seq or first == second


def first_seq_of(path: Path) -> int:
    """Return the first number that a file's name says.

    Raises
    ------
    JournalError
        It is not named like a segment.
    """
    # Earlier releases kept segments under this name after a power cut.
    first_seq = files.first_seq_in_name(path.name.removeprefix("kept-"))
    if first_seq is None:
        raise JournalError("it is not named like a segment (segment-<20 digits>.log)")
    return first_seq
