"""Compares the segments of a journal with the database's progress, and says where to go on.

The database, the journal's directory, or both can step back in time: a backup is restored, a standby is promoted, a
disk is cloned. Each segment has an identity, so none is mistaken for another one. Kept segments that the database
lacks are shipped again. If they are no longer there, an incident says so.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from radmeter.errors import JournalError, StoreError, StoreUnavailable, WrongDatabase
from radmeter.ingest.continuation import Continuation
from radmeter.ingest.findings import Findings, Rewound, Said, rewound_incident
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import Ledger
from radmeter.ingest.missing_packets import MissingPackets
from radmeter.ingest.position import Position
from radmeter.ingest.registration import registered
from radmeter.ingest.segments_here import SegmentsHere
from radmeter.ingest.store import Registered, Store
from radmeter.ingest.unreadable_segments import UnreadableSegments
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader, Loss, Segment

log = logging.getLogger(__name__)


class Positions:
    """How far the shipper is in each segment of a journal.

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
        self._here = SegmentsHere(journal, ledger)
        self._continuation = Continuation(journal, ledger)
        self._open: dict[str, Position] = {}
        self._said = Said()
        # The incidents in this database that end when all is shipped again.
        self._rewound: list[int] = []
        self._lost: dict[str, int] = {}  # by id: the last lost number that was told to this database
        self._counted: set[str] = set()  # the names of kept segments that cannot be read, and are all counted
        self._before_fork: set[str] = set()  # forked segments that were read up to the fork
        # By their ids: segments that the database does not let this shipper ship.
        self._refused: dict[str, Segment] = {}
        ledger.give_way_with(kept.make_room)

    def forget(self) -> None:
        """Forget what the database was told: the next connection may be to another one, or to one that was restored."""
        self._rewound = []
        self._lost.clear()
        self._before_fork.clear()
        self._journal.tell_losses_again()

    def compare(self, store: Store, *, accepted: bool = False) -> None:
        """Register all segments, find out what the database lacks, and bring back the kept segments that it needs.

        `accepted`: an operator has just said that this database takes over from another.
        """
        node = self._journal.node()
        self._open.clear()
        unreadable = UnreadableSegments(self._journal, self._ledger, self._kept)
        self._said.begin_comparison()
        unreadable.put_aside(self._findings(store))
        self._counted = unreadable.put_kept_aside(store, self._findings(store))
        kept = self._here.kept()
        segments = sorted([*self._here.present(), *kept], key=lambda segment: segment.first_seq)
        seen = {known.id for known in self._ledger.all()}
        findings = self._findings(store, accepted=accepted)
        rows = self._register(store, findings, [*segments, *self._here.forks(segments)])
        segments = [segment for segment in segments if not self._is_refused(segment)]
        kept_paths = {segment.path for segment in kept}
        rewound, vanished = [], set()
        for segment in segments:
            row, known = rows[segment.header.id], self._ledger.saw(segment, node)
            if known.shipped_as is None and row.last_seq < known.last_seq:
                rewound.append(Rewound(known, row.last_seq, known.last_seq))
            if segment.path not in kept_paths:
                self._place(store, findings, segment, known, rows)
            else:
                try:
                    self._compare_kept(store, findings, segment, known, rows, seen=known.id in seen)
                except FileNotFoundError:  # the plugin has deleted it meanwhile, on a full disk
                    vanished.add(segment.path)
                    continue
            if row.siblings:
                findings.copied(segment, known.previous)
        if rewound and not accepted:
            self._ledger.note_rewound(rewound_incident(rewound))
        # Noted again at each connect: the incident's id may be another one after a restore.
        self._rewound = [store.note_incident(node, each) for each in self._ledger.rewound]
        here = [segment for segment in segments if segment.path not in vanished]
        missing = MissingPackets(self._journal, self._ledger, here, rows, self._refused)
        missing.report(store, findings, rewound=bool(rewound))
        self._said.end_comparison()
        # Their numbers and times are not forgotten, in case the database steps back again.
        ids = {segment.header.id for segment in here} | self._refused.keys()
        gone = [known for known in self._ledger.all() if known.id not in ids]
        for known in gone:
            if known.done_us is None:
                known.ended_us = time.time_ns() // 1000
        self._ledger.gone(gone)
        self._ledger.change()
        self._ledger.save(durable=True)

    def _compare_kept(
        self,
        store: Store,
        findings: Findings,
        segment: Segment,
        known: Known,
        rows: dict[str, Registered],
        *,
        seen: bool,
    ) -> None:
        """Bring a kept segment back if the database lacks records of it. Raises FileNotFoundError if it is gone."""
        try:
            is_needed = self._is_needed(segment, known, rows, seen=seen)
        except JournalError as error:
            # Nothing says how many records it had, so nobody may delete it.
            segment.path.stat()
            aside = segment.path
            if aside.parent.name != files.DAMAGED:
                aside = self._kept.keep(segment.path, known.id, damaged=True)
            known.name, known.damaged = aside.name, True
            findings.unreadable(segment.path, segment.first_seq, f"{error}", aside, is_kept=True)
            is_needed = False
        if is_needed:
            path = self._kept.bring_back(segment.path, known.id)
            known.name = path.name
            self._place(store, findings, segment._replace(path=path), known, rows)
        else:
            _learn(segment, known, rows[segment.header.id])

    def missing(self, store: Store, node: str) -> list[str]:
        """Note which packets are neither counted nor here. Return that in words.

        For a journal whose machine is gone, once all that is here is counted. Nothing in its directory is changed.
        """
        present = [segment for segment in self._journal.segments() if segment.header.id]
        segments = sorted([*present, *self._here.kept()], key=lambda segment: segment.first_seq)
        rows = registered(store, node, [*segments, *self._here.forks(segments)])
        told: list[str] = []
        findings = Findings(store, node, told=told)
        MissingPackets(self._journal, self._ledger, segments, rows).report(store, findings, rewound=True)
        return told

    def current(self, store: Store) -> Position | None:
        """Return the first segment that is not wholly counted; None if there is none."""
        present = [segment for segment in self._here.present() if not self._is_refused(segment)]
        if self._journal.unreadable() or any(segment.header.id not in self._open for segment in present):
            self.compare(store)
            present = [segment for segment in self._here.present() if not self._is_refused(segment)]
        # What is shipped again is older than the rest, also if its numbers are higher, as of an adopted journal.
        for segment in sorted(present, key=lambda each: each.path.parent.name != files.AGAIN):
            if position := self._open.get(segment.header.id):
                position.segment = segment
                return position
        return None

    def following(self, position: Position) -> Segment | None:
        """Return the segment that radiusd began after this one; None if this is the newest."""
        newer = [each for each in self._here.present() if each.first_seq > position.segment.first_seq]
        return newer[0] if newer else None

    def finish(self, store: Store, position: Position, end: int) -> None:
        """Note that all of a segment is counted, and keep it."""
        store.finish(position.id, min(end, position.progress.seq))
        known = position.known
        have = max(position.progress.seq, self._lost.get(known.id, 0))
        if have < known.end:
            self._findings(store).lost_counted(position.id, have, known)
        known.ended, known.ended_us = True, time.time_ns() // 1000
        known.name = self._kept.keep(position.segment.path, known.id, damaged=known.damaged).name
        self._open.pop(known.id, None)
        self._ledger.change()
        self._ledger.save()

    def lose(self, store: Store, position: Position, loss: Loss) -> None:
        """Say which records of a segment are lost."""
        self._findings(store).damaged(position, loss)
        known, last = position.known, loss.last_seq or 0
        known.damaged, known.lost_seq = True, max(known.lost_seq, last)
        self._lost[known.id] = max(self._lost.get(known.id, 0), last)
        self._ledger.change()
        self._ledger.save(durable=True)

    def go_on_in_fork(self, store: Store, position: Position) -> None:
        """Go on behind the fork of a segment, where the records have another id. Those before it are counted."""
        self._before_fork.add(position.known.id)
        self.compare(store)

    def settle(self, store: Store) -> None:
        """End the incidents of packets that the database lacked, once all of these are shipped again."""
        if not self._rewound or any(
            each.is_again or each.progress.seq < each.known.most_seq for each in self._open.values()
        ):
            return
        for incident in self._rewound:
            store.settle(incident)
        self._rewound, self._ledger.rewound = [], []
        self._ledger.change()
        log.info("the packets that the database lacked are shipped again")

    def touch(self, store: Store) -> None:
        """Tell the database that the segments that are not wholly counted are still here."""
        if self._open:
            segments = [position.segment for position in self._open.values()]
            registered(store, self._journal.node(), [*segments, *self._here.forks(segments)])

    def prune(self, store: Store) -> None:
        """Delete the kept segments that are too old or too many, and note what is no longer kept."""
        ranges = store.left_out(self._journal.node())

        def is_left_out(segment: files.SegmentFile) -> bool:
            known = self._ledger.named(segment.path.name)
            last = known.most_seq if known else segment.first_seq + files.GAP
            return any(first <= last and until >= segment.first_seq for first, until in ranges)

        # Of any other segment, nobody has seen that it is counted.
        counted = {known.name for known in self._ledger.all()} | self._counted
        gone = {path.name for path in self._kept.prune(counted, is_left_out, self._ledger.ages)}
        self._ledger.change()  # the ages
        self._ledger.gone([known for known in self._ledger.all() if known.ended and known.name in gone])

    def _findings(self, store: Store, *, accepted: bool = False) -> Findings:
        return Findings(store, self._journal.node(), accepted=accepted, said=self._said)

    def _is_refused(self, segment: Segment) -> bool:
        """Tell whether the database does not let this shipper ship a segment, or a forked part of it."""
        known = self._ledger.forked(segment.header.id)
        ids = {segment.header.id, *((known.shipped_as,) if known else ())}
        return bool(self._refused.keys() & ids)

    def _register(
        self, store: Store, findings: Findings, segments: Sequence[Segment]
    ) -> dict[str, Registered]:
        """Register segments. Those that the database refuses become incidents, and the others go on."""
        former, self._refused = self._refused, {}
        try:
            rows = registered(store, findings.node, segments)
        except (StoreUnavailable, WrongDatabase):
            raise
        except StoreError as error:
            rows, reasons = {}, {}
            for segment in segments:
                try:
                    found = registered(store, findings.node, [segment])
                except StoreUnavailable:
                    raise
                except StoreError as reason:
                    reasons[segment.header.id] = reason
                    self._refused[segment.header.id] = segment
                else:
                    rows.update({key: row for key, row in found.items() if row.given or key not in rows})
            if not any(row.given for row in rows.values()):
                raise error from None  # it is not about one of them
            for identity, segment in self._refused.items():
                findings.refused(segment, reasons[identity])
        for identity, segment in former.items():
            if identity not in self._refused:
                findings.not_refused(segment)
        return rows

    def _is_needed(self, segment: Segment, known: Known, rows: dict[str, Registered], *, seen: bool) -> bool:
        """Tell whether the database lacks records of a kept segment.

        It may lack some although the segment is finished: another machine may have finished a shorter copy. Raises
        JournalError if only the segment says how many records it has, and it cannot be read.
        """
        row = rows[known.shipped_as or known.id]
        if known.shipped_as is not None and rows[known.id].last_seq < known.shipped_after:
            return known.id not in self._before_fork
        if not row.finished:
            return True
        if seen and row.last_seq >= known.most_seq:
            return False
        return row.last_seq < (self._journal.end(segment) or 0)

    def _place(
        self, store: Store, findings: Findings, segment: Segment, known: Known, rows: dict[str, Registered]
    ) -> None:
        """Note where to go on in a segment."""
        row, until = rows[known.id], None
        if known.shipped_as is not None:
            if row.last_seq < known.shipped_after and known.id not in self._before_fork:
                # The database lacks what both machines had before the fork. It has the original's id.
                until, progress = known.shipped_after, row.progress
                self._open[known.id] = Position(segment, known, progress, until)
                return
            progress = self._continuation.of_fork(store, findings, segment, known, rows[known.shipped_as])
        elif row.digest is None or (row.last_seq, row.digest) == (known.last_seq, known.digest):
            progress = row.progress
        else:
            progress = self._continuation.of_segment(store, findings, segment, known, row)
        known.last_seq, known.digest = progress
        known.most_seq = max(known.most_seq, progress.seq)
        self._open[known.id] = Position(segment, known, progress)


def _learn(segment: Segment, known: Known, row: Registered) -> None:
    """Note what the database has of a kept segment: the ledger may be older, after a crash."""
    known.ended = True
    if known.ended_us is None:
        with suppress(FileNotFoundError):  # the plugin has deleted it meanwhile, on a full disk
            known.ended_us = segment.path.stat().st_ctime_ns // 1000  # when it was moved
    if known.shipped_as is None and known.last_seq < row.last_seq:
        known.last_seq, known.digest = row.progress
        known.most_seq = max(known.most_seq, row.last_seq)
