"""Which segments of a journal are on this machine, with the ids under which the database knows them."""

from collections.abc import Iterable

from radmeter.errors import JournalError
from radmeter.ingest.folders import DONE
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import Ledger
from radmeter.ingest.registration import forked_part
from radmeter.plugin.journal.reader import JournalReader, Segment


class SegmentsHere:
    """The segments of a journal. The ledger says the ids that their headers do not say.

    Parameters
    ----------
    journal
        The journal.
    ledger
        What its shipper knows of it.
    """

    def __init__(self, journal: JournalReader, ledger: Ledger) -> None:
        self._journal = journal
        self._ledger = ledger

    def present(self) -> list[Segment]:
        """Return the segments that may have to be shipped. Raises JournalError if one has no identity."""
        found = []
        for segment in self._journal.segments():
            known = self._old(segment)
            if known is not None:
                segment = _with_identity(segment, known)
            elif not segment.header.id:  # the file `node` is lost, and so is the ledger
                raise JournalError(
                    f"{segment.path} is of an older release, and its journal has lost its name, by which the "
                    f"database knows what is counted of it. Write the name into {segment.path.parent / 'node'}: "
                    "the names that the database knows are in `radmeter status`"
                )
            found.append(segment)
        return found

    def kept(self) -> list[Segment]:
        """Return the segments in the folders of what is shipped. One without an identity is left out."""
        found = []
        for folder in DONE:
            for segment in self._journal.segments_in(folder):
                if known := self._old(segment):
                    found.append(_with_identity(segment, known))
                elif segment.header.id:
                    found.append(segment)
        return found

    def forks(self, segments: Iterable[Segment]) -> list[Segment]:
        """Return the parts of forked segments that are shipped under ids of their own."""
        return [
            forked_part(each, known) for each in segments if (known := self._ledger.forked(each.header.id))
        ]

    def _old(self, segment: Segment) -> Known | None:
        """Return what the ledger knows of a segment of format 1. The journal may have another name than then."""
        return self._ledger.named(segment.path.name) if segment.header.format == 1 else None


def _with_identity(segment: Segment, known: Known) -> Segment:
    """Return a segment of format 1 with the identity that the ledger knows."""
    return segment._replace(header=segment.header._replace(id=known.id, node=known.node))
