"""Finds packets that the database lacks and that no folder of the journal has any more."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from radmeter.errors import JournalError
from radmeter.ingest.findings import Findings
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import Ledger
from radmeter.ingest.registration import registered_known, removed_known
from radmeter.ingest.store import Registered, Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader, Segment

# Another shipper of the same node, after the journal was copied, touches its segments every minute.
VANISHED_SECONDS = 3600


class MissingPackets:
    """Finds what is missing of a journal.

    Parameters
    ----------
    journal
        The journal.
    ledger
        What its shipper knows of it.
    segments
        All segments that are still there, in the order of their numbers.
    rows
        The segments as the database has them, from `registered`.
    refused
        The ids of segments that are there, and that the database does not take from this shipper.
    """

    def __init__(
        self,
        journal: JournalReader,
        ledger: Ledger,
        segments: Sequence[Segment],
        rows: Mapping[str, Registered],
        refused: Collection[str] = (),
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._segments = segments
        self._rows = rows
        self._here = {segment.header.id for segment in segments}.union(refused)

    def report(self, store: Store, findings: Findings, *, rewound: bool) -> None:
        """Note what is missing. `rewound`: the database has stepped back, so older segments are compared, too."""
        lacking = {str(segment.header.previous): segment for segment in reversed(list(self._lacking()))}
        vanished = self._vanished()
        away = {known.id: known for known in self._ledger.all() if known.id not in self._here}
        if rewound or lacking.keys() - away.keys() or vanished:
            away = {
                known.id: known for known in self._ledger.gone_segments() if known.id not in self._here
            } | away
        self._report_known(store, findings, away)
        for row in vanished:
            if row.id not in away:
                findings.lacks_rest(row, None)
        for previous in sorted(lacking.keys() - away.keys()):
            segment = lacking[previous]
            findings.lacks_before(segment, *self._numbers_before(segment, self._rows.get(previous)))
            self._report_hole(findings, segment)

    def _lacking(self) -> Iterator[Segment]:
        """Yield the segments whose predecessor is neither here nor wholly counted."""
        for segment in self._segments:
            previous = segment.header.previous
            unknown = previous is not None and previous not in self._here
            if unknown and not self._is_known_before(segment, self._rows[segment.header.id]):
                yield segment

    def _is_known_before(self, segment: Segment, row: Registered) -> bool:
        """Tell whether the segment before is counted, or was compared when this one was shipped.

        Its row may have been removed since, because it is old.
        """
        known = self._ledger.known(segment.header.id)
        was_judged = row.finished and known is not None and known.ended
        return row.previous_finished is True or (row.previous_finished is None and was_judged)

    def _vanished(self) -> list[Registered]:
        """Return the node's segments that are not wholly counted, are not here, and that no shipper has any more."""
        known = [self._ledger.forked(segment.header.id) for segment in self._segments]
        forks = {each.shipped_as for each in known if each is not None}
        return [
            row
            for row in self._rows.values()
            if not row.given and row.id not in self._here | forks and row.unseen_seconds > VANISHED_SECONDS
        ]

    def _report_known(self, store: Store, findings: Findings, away: Mapping[str, Known]) -> None:
        """Note what the database lacks of segments that the ledger knows and that are not here."""
        # Before they are registered: then they have rows again.
        removed = removed_known(store, away.values())
        found = registered_known(store, findings.node, away.values(), removed)
        for known in away.values():
            if (
                known.shipped_as is not None
                and known.id not in removed
                and found[known.id].last_seq < known.shipped_after
            ):
                # What both machines had before the fork.
                findings.lacks_rest(found[known.id], known, known.shipped_after)
            if (known.shipped_as or known.id) in removed:
                continue
            row = found[known.shipped_as or known.id]
            if not row.finished and known.ended and known.end <= row.last_seq:
                store.finish(row.id, row.last_seq)
            elif not row.finished or row.last_seq < known.most_seq:
                # Another machine may have finished a shorter copy of it.
                findings.lacks_rest(row, known)

    def _numbers_before(self, segment: Segment, row: Registered | None) -> tuple[int | None, int | None]:
        """Return which numbers of the segment before are not counted; None, None: nobody knows how many it had."""
        first = segment.header.previous_first_seq
        if first is None or segment.first_seq >= first + files.GAP:  # radiusd was started again in between
            return None, None
        first = max(first, row.last_seq + 1 if row else 0)
        return (first, segment.first_seq - 1) if first < segment.first_seq else (None, None)

    def _report_hole(self, findings: Findings, segment: Segment) -> None:
        """Note which numbers are in no segment, just before the segment that `segment` follows."""
        end = segment.header.previous_first_seq
        if end is None or segment.first_seq >= end + files.GAP:
            return
        before = [each for each in self._segments if end - files.GAP < each.first_seq < end]
        if not before:
            return
        with suppress(JournalError):
            last = self._journal.end(before[-1], segment)
            if last is not None and last + 1 < end:
                findings.lacks_between(before[-1], segment, last + 1, end - 1)
