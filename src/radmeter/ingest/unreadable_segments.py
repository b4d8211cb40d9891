"""Puts segments aside whose header is damaged. The others do not wait for them, and no program deletes them."""

from contextlib import suppress
from pathlib import Path

from radmeter.errors import JournalError
from radmeter.ingest.findings import Findings
from radmeter.ingest.folders import DONE
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import Ledger
from radmeter.ingest.registration import registered_known
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader, Segment


class UnreadableSegments:
    """The segments of a journal whose header is damaged.

    Parameters
    ----------
    journal
        The journal.
    ledger
        What its shipper knows of it.
    kept
        The segments that are shipped and kept.
    """

    def __init__(self, journal: JournalReader, ledger: Ledger, kept: KeptSegments) -> None:
        self._journal = journal
        self._ledger = ledger
        self._kept = kept

    def put_aside(self, findings: Findings) -> None:
        """Put the segments aside that wait, and note an incident for each.

        Raises JournalError if radiusd writes one of them now.
        """
        newest = max((file.path for file in files.segments(self._journal.directory)), default=None)
        for path, reason in self._journal.unreadable():
            first_seq = files.first_seq_in_name(path.name) or 0
            if path == newest and self._journal.writer_alive():
                raise JournalError(
                    f"the segment {path}, which radiusd writes, cannot be read: {reason}. Restart radiusd: it begins "
                    "another one"
                )
            self._identify(path, findings.node)
            aside = self._kept.keep(path, "", damaged=True)
            if known := self._ledger.named(path.name):
                known.name = aside.name
            findings.unreadable(path, first_seq, reason, aside)

    def _identify(self, path: Path, node: str) -> None:
        """Note the id of a segment. The segment that follows it says the id, as long as that is here."""
        if self._ledger.named(path.name) is not None:
            return
        for following in self._journal.segments():
            if known := _before(following, path, node):
                self._ledger.add(known)
                self._ledger.save(durable=True)  # before the file is moved: later nothing may say it any more
                return

    def put_kept_aside(self, store: Store, findings: Findings) -> set[str]:
        """Put the kept segments aside that the database needs, so that nobody deletes them.

        Return the names of those that the database has. One that nothing identifies stays where it is:
        `journal salvage` must not take it for one that was never shipped.
        `MissingPackets` says that their packets are missing, as if the segments were not here.
        """
        damaged = [each for each in self._journal.segments_in(files.SHIPPED) if each.header.format == 0]
        if not damaged:
            return set()
        gone = {known.name: known for known in self._ledger.gone_segments()}
        found = []
        for segment in damaged:
            name = segment.path.name
            known = self._ledger.named(name) or gone.get(name) or self._followed(segment, findings.node)
            if known is None:
                findings.unreadable(
                    segment.path, segment.first_seq, "its header is damaged", segment.path, is_kept=True
                )
            else:
                found.append((segment, known))
        rows = registered_known(store, findings.node, [known for _, known in found])
        counted = set()
        for segment, known in found:
            row = rows[known.shipped_as or known.id]
            # Without a ledger, only the segment behind it may say how many records it had.
            is_known = known.ended or known.end > 0
            if row.finished and is_known and row.last_seq >= (known.most_seq or known.end):
                counted.add(segment.path.name)
                continue
            with suppress(FileNotFoundError):  # the plugin has deleted it meanwhile, on a full disk
                self._ledger.add(known)
                self._ledger.save(durable=True)
                aside = self._kept.keep(segment.path, known.id, damaged=True)
                known.name = aside.name
                findings.unreadable(
                    segment.path, segment.first_seq, "its header is damaged", aside, is_kept=True
                )
        return counted

    def _followed(self, segment: Segment, node: str) -> Known | None:
        """Return what the segment behind a kept one says about it; None if there is none."""
        others = [*self._journal.segments()]
        for folder in DONE:
            others += self._journal.segments_in(folder)
        return next((known for each in others if (known := _before(each, segment.path, node))), None)


def _before(following: Segment, path: Path, node: str) -> Known | None:
    """Return what a segment says about the file before it; None if that is another one."""
    header, first_seq = following.header, files.first_seq_in_name(path.name) or 0
    if header.previous is None or header.previous_first_seq != first_seq:
        return None
    known = Known(header.previous, path.name, 2, header.node or node, first_seq, None, first_seq - 1)
    if following.first_seq < first_seq + files.GAP:
        known.lost_seq = following.first_seq - 1
    return known
