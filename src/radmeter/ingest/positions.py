"""Compares the segments of a journal with the database's progress, and says where to go on.

The database, the journal's directory, or both can step back in time: a backup is restored, a standby is promoted, a
disk is cloned. Each segment has an identity, so nothing is mistaken for something else. What the database lacks is
shipped again from what is kept. What is no longer there is said.
"""

import logging
import time
import uuid
from collections.abc import Iterable, Sequence

from radmeter.errors import JournalError, StoreError, StoreUnavailable, WrongDatabase
from radmeter.ingest.findings import Findings, Rewound, rewound_incident
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import Ledger
from radmeter.ingest.missing_packets import MissingPackets
from radmeter.ingest.position import Position
from radmeter.ingest.registration import forked_part, registered
from radmeter.ingest.store import Progress, Registered, Store
from radmeter.ingest.unreadable_segments import UnreadableSegments
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader, Loss, Segment

log = logging.getLogger(__name__)


class Positions:
    """The positions in a journal's segments.

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
        self._open: dict[str, Position] = {}
        # The incidents in this database that end when all is shipped again.
        self._rewound: list[int] = []
        self._lost: dict[str, int] = {}  # by id: the last lost number that was told to this database
        self._before_fork: set[str] = set()  # forked segments that were read up to the fork
        # By their ids: segments that the database does not let this shipper ship.
        self._refused: dict[str, Segment] = {}
        ledger.give_way_with(kept.make_room)

    def forget(self) -> None:
        """Forget what a database was told: the next one may be another, or have been restored."""
        self._rewound = []
        self._lost.clear()
        self._before_fork.clear()
        self._journal.tell_losses_again()

    def compare(self, store: Store, *, accepted: bool = False) -> None:
        """Register all segments, find out what the database lacks, and bring kept segments back that it needs.

        `accepted`: an operator has just said that this database takes over from another.
        """
        node = self._journal.node()
        self._open.clear()
        unreadable = UnreadableSegments(self._journal, self._ledger, self._kept)
        unreadable.put_aside(Findings(store, node))
        unreadable.put_kept_aside(store, Findings(store, node))
        kept = self._kept_segments()
        segments = sorted([*self._present(), *kept], key=lambda segment: segment.first_seq)
        seen = {known.id for known in self._ledger.all()}
        findings = Findings(store, node, accepted=accepted)
        rows = self._register(store, findings, [*segments, *self._forks(segments)])
        segments = [segment for segment in segments if not self._is_refused(segment)]
        kept_paths = {segment.path for segment in kept}
        rewound, vanished = [], set()
        for segment in segments:
            row, known = rows[segment.header.id], self._ledger.saw(segment, node)
            if known.shipped_as is None and row.last_seq < known.last_seq:
                rewound.append(Rewound(known, row.last_seq, known.last_seq))
            if segment.path not in kept_paths:
                self._place(store, findings, segment, known, rows)
            elif self._is_needed(segment, known, rows, seen=known.id in seen):
                try:
                    path = self._kept.bring_back(segment.path, known.id)
                except FileNotFoundError:  # the plugin has deleted it meanwhile, on a full disk
                    vanished.add(segment.path)
                    continue
                known.name = path.name
                self._place(store, findings, segment._replace(path=path), known, rows)
            else:
                _learn(known, row)
            if row.siblings:
                findings.copied(segment, known.previous)
        if rewound and not accepted:
            self._ledger.note_rewound(rewound_incident(rewound))
        # Noted again at each connect: the incident's id may be another one after a restore.
        self._rewound = [store.note_incident(node, each) for each in self._ledger.rewound]
        here = [segment for segment in segments if segment.path not in vanished]
        missing = MissingPackets(self._journal, self._ledger, here, rows, self._refused)
        missing.report(store, findings, rewound=bool(rewound))
        # Their numbers and times are not forgotten, in case the database steps back again.
        ids = {segment.header.id for segment in here} | self._refused.keys()
        self._ledger.gone([known for known in self._ledger.all() if known.id not in ids])
        self._ledger.change()
        self._ledger.save(durable=True)

    def missing(self, store: Store, node: str) -> list[str]:
        """Note which packets are neither counted nor here, once all that is here is counted. Return it in words.

        For a journal whose machine is gone. Nothing in its directory is changed.
        """
        present = [segment for segment in self._journal.segments() if segment.header.id]
        segments = sorted([*present, *self._kept_segments()], key=lambda segment: segment.first_seq)
        rows = registered(store, node, [*segments, *self._forks(segments)])
        told: list[str] = []
        findings = Findings(store, node, told=told)
        MissingPackets(self._journal, self._ledger, segments, rows).report(store, findings, rewound=True)
        return told

    def current(self, store: Store) -> Position | None:
        """Return the first segment that is not wholly counted; None if there is none."""
        present = [segment for segment in self._present() if not self._is_refused(segment)]
        if self._journal.unreadable() or any(segment.header.id not in self._open for segment in present):
            self.compare(store)
            present = [segment for segment in self._present() if not self._is_refused(segment)]
        # What is shipped again is older than the rest, also if its numbers are higher, as of an adopted journal.
        for segment in sorted(present, key=lambda each: each.path.parent.name != files.AGAIN):
            if position := self._open.get(segment.header.id):
                position.segment = segment
                return position
        return None

    def following(self, position: Position) -> Segment | None:
        """Return the segment that radiusd began after this one; None if this is the newest."""
        newer = [each for each in self._present() if each.first_seq > position.segment.first_seq]
        return newer[0] if newer else None

    def finish(self, store: Store, position: Position, end: int) -> None:
        """Note that all of a segment is counted, and keep it."""
        store.finish(position.id, min(end, position.progress.seq))
        known = position.known
        have = max(position.progress.seq, self._lost.get(known.id, 0))
        if have < known.end:
            Findings(store, self._journal.node()).lost_counted(position.id, have, known)
        known.ended, known.ended_us = True, time.time_ns() // 1000
        known.name = self._kept.keep(position.segment.path, known.id, damaged=known.damaged).name
        self._open.pop(known.id, None)
        self._ledger.change()
        self._ledger.save()

    def lose(self, store: Store, position: Position, loss: Loss) -> None:
        """Say which records of a segment are lost."""
        Findings(store, self._journal.node()).damaged(position, loss)
        known, last = position.known, loss.last_seq or 0
        known.damaged, known.lost_seq = True, max(known.lost_seq, last)
        self._lost[known.id] = max(self._lost.get(known.id, 0), last)
        self._ledger.change()
        self._ledger.save(durable=True)

    def go_on_in_fork(self, store: Store, position: Position) -> None:
        """Go on with the records of a forked segment that have another id, once those before them are counted."""
        self._before_fork.add(position.known.id)
        self.compare(store)

    def settle(self, store: Store) -> None:
        """Say that the packets that the database lacked are shipped again, once that is so."""
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
            registered(store, self._journal.node(), [*segments, *self._forks(segments)])

    def prune(self, store: Store) -> None:
        """Delete the kept segments that are too old or too many, and note what is no longer kept."""
        ranges = store.left_out(self._journal.node())

        def is_left_out(segment: files.SegmentFile) -> bool:
            known = self._ledger.named(segment.path.name)
            last = known.most_seq if known else segment.first_seq + files.GAP
            return any(first <= last and until >= segment.first_seq for first, until in ranges)

        gone = {path.name for path in self._kept.prune(is_left_out)}
        self._ledger.gone([known for known in self._ledger.all() if known.ended and known.name in gone])

    def _present(self) -> list[Segment]:
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

    def _is_refused(self, segment: Segment) -> bool:
        """Tell whether the database does not let this shipper ship a segment, or a forked part of it."""
        known = self._ledger.forked(segment.header.id)
        ids = {segment.header.id, *((known.shipped_as,) if known else ())}
        return bool(self._refused.keys() & ids)

    def _register(
        self, store: Store, findings: Findings, segments: Sequence[Segment]
    ) -> dict[str, Registered]:
        """Register segments. Those that the database refuses are said and left alone, so that the others go on."""
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

    def _kept_segments(self) -> list[Segment]:
        found = []
        for folder in (files.SHIPPED, files.DAMAGED, files.LEFT_OUT):
            for segment in self._journal.segments_in(folder):
                if known := self._old(segment):
                    found.append(_with_identity(segment, known))
                elif segment.header.id:
                    found.append(segment)
        return found

    def _old(self, segment: Segment) -> Known | None:
        """Return what the ledger knows of a segment of format 1. The journal may have another name than then."""
        return self._ledger.named(segment.path.name) if segment.header.format == 1 else None

    def _forks(self, segments: Iterable[Segment]) -> list[Segment]:
        """Return the parts of forked segments that are shipped under ids of their own."""
        return [
            forked_part(each, known) for each in segments if (known := self._ledger.forked(each.header.id))
        ]

    def _is_needed(self, segment: Segment, known: Known, rows: dict[str, Registered], *, seen: bool) -> bool:
        """Tell whether the database lacks records of a kept segment.

        That it is finished does not say so: another machine may have finished a shorter copy of it.
        """
        row = rows[known.shipped_as or known.id]
        if known.shipped_as is not None and rows[known.id].last_seq < known.shipped_after:
            return known.id not in self._before_fork
        if not row.finished:
            return True
        if seen and row.last_seq >= known.most_seq:
            return False
        try:
            return row.last_seq < (self._journal.end(segment) or 0)
        except JournalError:  # it is gone meanwhile, or cannot be read
            return False

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
            progress = self._fork_progress(store, findings, segment, known, rows[known.shipped_as])
        elif row.digest is None or (row.last_seq, row.digest) == (known.last_seq, known.digest):
            progress = row.progress
        else:
            progress = self._checked(store, findings, segment, known, row)
        known.last_seq, known.digest = progress
        known.most_seq = max(known.most_seq, progress.seq)
        self._open[known.id] = Position(segment, known, progress)

    def _checked(
        self, store: Store, findings: Findings, segment: Segment, known: Known, row: Registered
    ) -> Progress:
        """Compare what the database has of a segment with the segment. Return where to go on."""
        end, digest = self._journal.digest(segment, row.last_seq)
        if any(
            loss.first_seq <= row.last_seq for loss in self._journal.losses(segment, segment.first_seq - 1)
        ):
            # Some of these records were readable once. Their digest cannot be compared.
            return row.progress
        # A clean end is no power cut, and nothing is added behind it: the other records are another machine's.
        if end < row.last_seq and not self._is_ended(segment):
            # Another machine may have finished it, and this one may have other records than those.
            if not row.finished or end > known.last_seq:
                findings.shorter(segment, known, end, row.last_seq)
            return row.progress
        if end == row.last_seq and digest == row.digest:
            return row.progress
        known.shipped_as = str(uuid.uuid4())
        known.shipped_after = min(known.last_seq, row.last_seq)
        self._ledger.save_at_once()  # without it, its records would go under a third id after a crash
        findings.forked(segment, known, row.last_seq)
        registered(store, findings.node, [forked_part(segment, known)])
        return Progress(known.shipped_after, 0)

    def _is_ended(self, segment: Segment) -> bool:
        """Tell whether no power cut can have taken records from a segment: radiusd writes it, or has closed it."""
        return self._journal.is_written(segment) or self._journal.is_closed(segment)

    def _fork_progress(
        self, store: Store, findings: Findings, segment: Segment, known: Known, row: Registered
    ) -> Progress:
        """Return where to go on in the part of a forked segment that has an id of its own.

        That part is forked once more if this machine was copied again, with its ledger.
        """
        if row.last_seq <= known.shipped_after or row.progress == (known.last_seq, known.digest):
            return row.progress
        if any(loss.first_seq <= row.last_seq for loss in self._journal.losses(segment, known.shipped_after)):
            return row.progress  # as in _checked
        found = self._journal.digest(segment, row.last_seq, known.shipped_after)
        if found == row.progress or (found[0] < row.last_seq and not self._is_ended(segment)):
            return row.progress
        known.shipped_as = str(uuid.uuid4())
        self._ledger.save_at_once()
        findings.forked_again(segment, known, row)
        registered(store, findings.node, [forked_part(segment, known)])
        return Progress(known.shipped_after, 0)


def _with_identity(segment: Segment, known: Known) -> Segment:
    """Return a segment of format 1 with the identity that the ledger knows."""
    return segment._replace(header=segment.header._replace(id=known.id, node=known.node))


def _learn(known: Known, row: Registered) -> None:
    """Note what the database has of a kept segment: the ledger may be older, after a crash."""
    known.ended = True
    if known.shipped_as is None and known.last_seq < row.last_seq:
        known.last_seq, known.digest = row.progress
        known.most_seq = max(known.most_seq, row.last_seq)
