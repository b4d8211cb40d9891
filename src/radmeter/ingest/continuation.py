"""Says where to go on in a segment if the database has another progress than the ledger.

The database may have been restored. Or another machine has gone on with a copy of the segment (a fork). Or a power cut
took records that were counted already.
"""

import uuid

from radmeter.ingest.findings import Findings
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import Ledger
from radmeter.ingest.registration import forked_part, registered
from radmeter.ingest.store import Progress, Registered, Store
from radmeter.plugin.journal.reader import JournalReader, Segment


class Continuation:
    """Compares the database's progress with the records of a segment.

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

    def of_segment(
        self, store: Store, findings: Findings, segment: Segment, known: Known, row: Registered
    ) -> Progress:
        """Return where to go on in a segment. It becomes a forked one if the database has other records of it."""
        end, digest = self._journal.digest(segment, row.last_seq)
        if any(
            loss.first_seq <= row.last_seq for loss in self._journal.losses(segment, segment.first_seq - 1)
        ):
            # Some of these records were readable once. Their digest cannot be compared.
            return row.progress
        # A clean end is no power cut, and nothing is added behind it: the other records are another machine's.
        # And two machines may make the same id for segments of format 1. Records that this shipper does not know to
        # have shipped may then be nowhere else. If they were counted, they come as duplicates.
        is_made_up = segment.header.format == 1 and end > known.last_seq
        if end < row.last_seq and not is_made_up and not self._is_whole(segment):
            # Another machine may have finished it, and this one may have other records than those.
            if not row.finished or end > known.last_seq:
                arrivals = self._arrivals(segment, min(known.last_seq + 1, end), end)
                findings.shorter(segment, known, end, row.last_seq, *arrivals)
            return row.progress
        if end == row.last_seq and digest == row.digest:
            return row.progress
        self._begin_fork(known, min(known.last_seq, row.last_seq))
        findings.forked(segment, known, row.last_seq)
        registered(store, findings.node, [forked_part(segment, known)])
        return Progress(known.shipped_after, 0)

    def of_fork(
        self, store: Store, findings: Findings, segment: Segment, known: Known, row: Registered
    ) -> Progress:
        """Return where to go on in the part of a forked segment that has an id of its own.

        That part is forked once more if this machine was copied again, with its ledger.
        """
        if row.last_seq <= known.shipped_after or row.progress == (known.last_seq, known.digest):
            return row.progress
        if any(loss.first_seq <= row.last_seq for loss in self._journal.losses(segment, known.shipped_after)):
            return row.progress  # as in `of_segment`
        found = self._journal.digest(segment, row.last_seq, known.shipped_after)
        if found == row.progress or (found[0] < row.last_seq and not self._is_whole(segment)):
            return row.progress
        self._begin_fork(known, known.shipped_after)
        findings.forked_again(segment, known, row)
        registered(store, findings.node, [forked_part(segment, known)])
        return Progress(known.shipped_after, 0)

    def _begin_fork(self, known: Known, after: int) -> None:
        """Give the records of a segment above a number an id of their own."""
        known.shipped_as, known.shipped_after = str(uuid.uuid4()), after
        self._ledger.save_at_once()  # without it, the records would go under a third id after a crash

    def _arrivals(self, segment: Segment, *numbers: int) -> list[int | None]:
        """Return when records of a segment arrived; None for one that is not there."""
        found = [self._journal.read(segment, number - 1, 1) for number in numbers]
        return [each[0].received_at_us if each else None for each in found]

    def _is_whole(self, segment: Segment) -> bool:
        """Tell whether no power cut can have taken records from a segment: radiusd writes it, or has closed it."""
        return self._journal.is_written(segment) or self._journal.is_closed(segment)
