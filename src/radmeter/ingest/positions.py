"""Compares the segments of a journal with the database's progress, and says where to go on.

The database, the journal's directory, or both can step back in time: a backup is restored, a standby is promoted, a
disk is cloned. Each segment has an identity, so nothing is mistaken for something else. What the database lacks is
shipped again from what is kept. What is no longer there is said.
"""

import logging
import shlex
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from radmeter.errors import JournalError, StoreError, StoreUnavailable, WrongDatabase
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.ledger import Known, Ledger
from radmeter.ingest.store import Progress, Registered, Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader, Loss, Segment
from radmeter.units import counted

log = logging.getLogger(__name__)

# Another shipper of the same node, after the journal was copied, touches its segments every minute.
VANISHED_SECONDS = 3600
# Segments in one call.
CALL = 500
ACCEPTED = "an operator accepted this database with --accept-database; the former one has what it counted"


@dataclass
class Position:
    """A segment that is not wholly counted, what is known of it, and how far the database has it."""

    segment: Segment
    known: Known
    progress: Progress
    # The last number that is shipped from here; None: all. The records behind it have another id (a fork).
    until: int | None = None
    # The last number that is known to be lost.
    lost_seq: int = 0

    @property
    def id(self) -> str:
        """The id under which the database has its progress."""
        return self.known.id if self.until is not None else self.known.shipped_as or self.known.id

    @property
    def is_again(self) -> bool:
        """Whether the segment was shipped before, and the database lacks it."""
        return self.segment.path.parent.name == files.AGAIN


class Rewound(NamedTuple):
    """A segment of which the database has less than it had: the numbers above `last_seq`, up to `had_seq`."""

    known: Known
    last_seq: int
    had_seq: int


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
        self._before_fork: set[str] = set()  # forked segments that were read up to the fork
        self._refused: dict[
            str, Segment
        ] = {}  # by their ids: segments that the database does not let this one ship
        ledger.give_way_with(kept.make_room)

    def compare(self, store: Store, *, accepted: bool = False) -> None:
        """Register all segments, find out what the database lacks, and bring kept segments back that it needs.

        `accepted`: an operator has just said that this database takes over from another.
        """
        node = self._journal.node()
        self._open.clear()
        self._put_unreadable_aside(store, node)
        kept = self._kept_segments()
        segments = sorted([*self._present(), *kept], key=lambda segment: segment.first_seq)
        seen = {known.id for known in self._ledger.all()}
        forks = [_fork(segment, known) for segment in segments if (known := self._forked(segment))]
        rows = self._register(store, node, [*segments, *forks])
        segments = [segment for segment in segments if not self._refused.keys() & self._ids(segment)]
        rewound, vanished = [], set()
        for segment in segments:
            row, known = rows[segment.header.id], self._ledger.saw(segment, node)
            if known.shipped_as is None and row.last_seq < known.last_seq:
                rewound.append(Rewound(known, row.last_seq, known.last_seq))
            if segment not in kept:
                self._place(store, node, segment, known, rows)
            elif self._is_needed(segment, known, rows, seen=known.id in seen):
                try:
                    path = self._kept.bring_back(segment.path, known.id)
                except FileNotFoundError:  # the plugin has deleted it meanwhile, on a full disk
                    vanished.add(segment.path)
                    continue
                known.name = path.name
                self._place(store, node, segment._replace(path=path), known, rows)
            else:
                _learn(known, row)
            if row.siblings:
                _note(store, node, "copied", known.previous, segment.first_seq, detail=_copied(segment, node))
        if rewound and not accepted:
            self._ledger.note_rewound(_say_rewound(rewound))
        # Noted again at each connect: the incident's id may be another one after a restore.
        self._rewound = [store.note_incident(node, each) for each in self._ledger.rewound]
        here = [segment for segment in segments if segment.path not in vanished]
        self._report_missing(store, node, here, rows, rewound=bool(rewound), accepted=accepted)
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
        forks = [_fork(segment, known) for segment in segments if (known := self._forked(segment))]
        told: list[str] = []
        rows = registered(store, node, [*segments, *forks])
        self._report_missing(store, node, segments, rows, rewound=True, accepted=False, told=told)
        return told

    def current(self, store: Store) -> Position | None:
        """Return the first segment that is not wholly counted; None if there is none."""
        present = self._allowed()
        if self._journal.unreadable() or any(segment.header.id not in self._open for segment in present):
            self.compare(store)
            present = self._allowed()
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
        have = max(position.progress.seq, position.lost_seq)
        if have < known.most_seq:
            _note_shorter(store, self._journal.node(), position.id, have, known)
        known.ended, known.ended_us = True, time.time_ns() // 1000
        known.name = self._kept.keep(position.segment.path, known.id, damaged=known.damaged).name
        self._open.pop(known.id, None)
        self._ledger.change()
        self._ledger.save()

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
            forks = [_fork(each.segment, each.known) for each in self._open.values() if each.known.shipped_as]
            registered(store, self._journal.node(), [*segments, *forks])

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
            if not segment.header.id:  # format 1, and the file `node` is lost
                known = self._ledger.named(segment.path.name)
                if known is None:
                    raise JournalError(
                        f"{segment.path} is of an older release, and its journal has lost its name, by which the "
                        f"database knows what is counted of it. Write the name into {segment.path.parent / 'node'}: "
                        "the names that the database knows are in `radmeter status`"
                    )
                segment = _with_identity(segment, known)
            found.append(segment)
        return found

    def _allowed(self) -> list[Segment]:
        return [each for each in self._present() if not self._refused.keys() & self._ids(each)]

    def _ids(self, segment: Segment) -> set[str]:
        """Return the ids under which the records of a segment are shipped."""
        known = self._forked(segment)
        return {segment.header.id} | ({known.shipped_as} if known and known.shipped_as else set())

    def _register(self, store: Store, node: str, segments: Sequence[Segment]) -> dict[str, Registered]:
        """Register segments. Those that the database refuses are said and left alone, so that the others go on."""
        former, self._refused = self._refused, {}
        try:
            rows = registered(store, node, segments)
        except (StoreUnavailable, WrongDatabase):
            raise
        except StoreError as error:
            rows, reasons = {}, {}
            for segment in segments:
                try:
                    found = registered(store, node, [segment])
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
                _note(
                    store,
                    node,
                    "damaged",
                    None,
                    segment.first_seq,
                    detail=_not_allowed(segment, reasons[identity]),
                )
        for identity, segment in former.items():
            if identity not in self._refused:
                incident = {"kind": "damaged", "first_seq": segment.first_seq, "detail": "it is shipped now"}
                store.settle(store.note_incident(node, incident))
        return rows

    def _kept_segments(self) -> list[Segment]:
        found = []
        for folder in (files.SHIPPED, files.DAMAGED, files.LEFT_OUT):
            for segment in self._journal.segments_in(folder):
                if segment.header.id:
                    found.append(segment)
                elif known := self._ledger.named(segment.path.name):
                    found.append(_with_identity(segment, known))
        return found

    def _forked(self, segment: Segment) -> Known | None:
        known = self._ledger.known(segment.header.id)
        return known if known is not None and known.shipped_as is not None else None

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

    def _put_unreadable_aside(self, store: Store, node: str) -> None:
        """Move segments away whose header is damaged, and say so: the others must not wait for them."""
        newest = max((file.path for file in files.segments(self._journal.directory)), default=None)
        for path, reason in self._journal.unreadable():
            first_seq = files.first_seq_in_name(path.name) or 0
            if path == newest and self._journal.writer_alive():
                raise JournalError(
                    f"the segment {path}, which radiusd writes, cannot be read: {reason}. Restart radiusd: it begins "
                    "another one"
                )
            aside = self._kept.keep(path, "", damaged=True)
            _note(
                store,
                node,
                "damaged",
                None,
                first_seq,
                detail=f"segment {path.name} cannot be read: {reason}. Its packets are not counted yet. "
                f"`radmeter journal salvage {shlex.quote(str(aside))}` ships what can be read of it",
            )

    def _place(
        self, store: Store, node: str, segment: Segment, known: Known, rows: dict[str, Registered]
    ) -> None:
        """Note where to go on in a segment."""
        row, until = rows[known.id], None
        if known.shipped_as is not None:
            if row.last_seq < known.shipped_after and known.id not in self._before_fork:
                # The database lacks what both machines had before the fork. It has the original's id.
                until, progress = known.shipped_after, Progress(row.last_seq, row.digest)
                self._open[known.id] = Position(segment, known, progress, until)
                return
            progress = self._fork_progress(store, node, segment, known, rows[known.shipped_as])
        elif row.digest is None or (row.last_seq, row.digest) == (known.last_seq, known.digest):
            progress = Progress(row.last_seq, row.digest)
        else:
            progress = self._checked(store, node, segment, known, row)
        known.last_seq, known.digest = progress
        known.most_seq = max(known.most_seq, progress.seq)
        self._open[known.id] = Position(segment, known, progress)

    def _checked(self, store: Store, node: str, segment: Segment, known: Known, row: Registered) -> Progress:
        """Compare what the database has of a segment with the segment. Return where to go on."""
        end, digest = self._journal.digest(segment, row.last_seq)
        if any(
            loss.first_seq <= row.last_seq for loss in self._journal.losses(segment, segment.first_seq - 1)
        ):
            # Some of these records were readable once. Their digest cannot be compared.
            return Progress(row.last_seq, row.digest)
        # A clean end is no power cut, and nothing is added behind it: the other records are another machine's.
        if end < row.last_seq and not self._is_ended(segment):
            # Another machine may have finished it, and this one may have other records than those.
            if not row.finished or end > known.last_seq:
                _note(
                    store,
                    node,
                    "shorter",
                    known.id,
                    end + 1,
                    last_seq=row.last_seq,
                    detail=f"segment {segment.path.name} ends with record {end}, and the database has counted up to "
                    f"{row.last_seq}: a power cut took records that were counted, or the file is older than it was",
                )
            return Progress(row.last_seq, row.digest)
        if end == row.last_seq and digest == row.digest:
            return Progress(row.last_seq, row.digest)
        known.shipped_as = str(uuid.uuid4())
        known.shipped_after = min(known.last_seq, row.last_seq)
        self._ledger.save_at_once()  # without it, its records would go under a third id after a crash
        _note(
            store,
            node,
            "forked",
            known.id,
            known.shipped_after + 1,
            last_seq=row.last_seq,
            detail=f"another journal has shipped other records of segment {segment.path.name} under the "
            "same identity, up "
            f"to {row.last_seq}: this machine was copied while radiusd ran. This journal's records after "
            f"{known.shipped_after} are shipped as segment {known.shipped_as}",
        )
        registered(store, node, [_fork(segment, known)])
        return Progress(known.shipped_after, 0)

    def _is_ended(self, segment: Segment) -> bool:
        """Tell whether no power cut can have taken records from a segment: radiusd writes it, or has closed it."""
        return self._journal.is_written(segment) or self._journal.is_closed(segment)

    def _fork_progress(
        self, store: Store, node: str, segment: Segment, known: Known, row: Registered
    ) -> Progress:
        """Return where to go on in the part of a forked segment that has an id of its own.

        That part is forked once more if this machine was copied again, with its ledger.
        """
        progress = Progress(row.last_seq, row.digest)
        if row.last_seq <= known.shipped_after or progress == (known.last_seq, known.digest):
            return progress
        if any(loss.first_seq <= row.last_seq for loss in self._journal.losses(segment, known.shipped_after)):
            return progress  # as in _checked
        found = self._journal.digest(segment, row.last_seq, known.shipped_after)
        if found == progress or (found[0] < row.last_seq and not self._is_ended(segment)):
            return progress
        former, known.shipped_as = known.shipped_as, str(uuid.uuid4())
        self._ledger.save_at_once()
        _note(
            store,
            node,
            "forked",
            former,
            known.shipped_after + 1,
            last_seq=row.last_seq,
            detail=f"another journal has shipped other records of segment {segment.path.name} as segment {former}, up "
            f"to {row.last_seq}: this machine was copied again while radiusd ran. This journal's records after "
            f"{known.shipped_after} are shipped as segment {known.shipped_as}. Those that both have come as duplicates",
        )
        registered(store, node, [_fork(segment, known)])
        return Progress(known.shipped_after, 0)

    def _report_missing(
        self,
        store: Store,
        node: str,
        segments: Sequence[Segment],
        rows: dict[str, Registered],
        *,
        rewound: bool,
        accepted: bool,
        told: list[str] | None = None,
    ) -> None:
        """Say which packets the database lacks, and are no longer here: in the log, or in `told`."""
        here = {segment.header.id for segment in segments} | self._refused.keys()
        forks = {known.shipped_as for segment in segments if (known := self._forked(segment))}
        away = {known.id: known for known in self._ledger.all() if known.id not in here}
        lacking = {
            segment.header.previous
            for segment in segments
            if segment.header.previous not in (None, *here)
            and not self._is_known_before(segment, rows[segment.header.id])
        }
        vanished = [
            row
            for row in rows.values()
            if not row.given
            and row.id not in here | forks
            and datetime.now(UTC) - row.seen_at > timedelta(seconds=VANISHED_SECONDS)
        ]
        if rewound or lacking - away.keys() or vanished:
            away = {known.id: known for known in self._ledger.gone_segments() if known.id not in here} | away
        found = _registered_known(store, node, away.values())
        for known in away.values():
            row = found[known.shipped_as or known.id]
            if known.shipped_as is not None and found[known.id].last_seq < known.shipped_after:
                # What both machines had before the fork.
                _note_missing(
                    store,
                    node,
                    found[known.id],
                    known,
                    until=known.shipped_after,
                    accepted=accepted,
                    told=told,
                )
            if not row.finished and known.ended and known.most_seq <= row.last_seq:
                store.finish(row.id, row.last_seq)
            elif not row.finished or row.last_seq < known.most_seq:
                # Another machine may have finished a shorter copy of it.
                _note_missing(store, node, row, known, accepted=accepted, told=told)
        for row in vanished:
            if row.id not in away:
                _note_missing(store, node, row, None, accepted=accepted, told=told)
        for previous in sorted(each for each in lacking - away.keys() if each):
            segment = next(each for each in segments if each.header.previous == previous)
            reason = ACCEPTED if accepted else None
            first, last = self._numbers_before(segment, rows.get(previous))
            many = (
                "How many packets it had is not known" if first is None else f"It had {_packets(first, last)}"
            )
            _note(
                store,
                node,
                "missing",
                previous,
                first,
                last_seq=last,
                records=None if first is None or last is None else last - first + 1,
                to_at=segment.header.made_at_us,
                detail=f"segment {previous}, the one before {segment.path.name}, is not wholly counted, and it is in "
                f"no folder of this journal. {many}",
                told=told,
                reason=reason,
            )
            self._report_hole(store, node, segments, segment, reason, told)

    def _is_known_before(self, segment: Segment, row: Registered) -> bool:
        """Tell whether the segment before is counted, or was judged when this one was shipped.

        Its row may have been removed since, because it is old.
        """
        known = self._ledger.known(segment.header.id)
        was_judged = row.finished and known is not None and known.ended
        return row.previous_finished is True or (row.previous_finished is None and was_judged)

    def _numbers_before(self, segment: Segment, row: Registered | None) -> tuple[int | None, int | None]:
        """Return which numbers of the segment before are not counted; None, None: how many it had is not known."""
        first = segment.header.previous_first_seq
        if first is None or segment.first_seq >= first + files.GAP:  # radiusd was started again in between
            return None, None
        first = max(first, row.last_seq + 1 if row else 0)
        return (first, segment.first_seq - 1) if first < segment.first_seq else (None, None)

    def _report_hole(
        self,
        store: Store,
        node: str,
        segments: Sequence[Segment],
        segment: Segment,
        reason: str | None,
        told: list[str] | None,
    ) -> None:
        """Say which numbers before the one before `segment` no segment has. They go on from segment to segment."""
        end = segment.header.previous_first_seq
        if end is None or segment.first_seq >= end + files.GAP:
            return
        before = [each for each in segments if end - files.GAP < each.first_seq < end]
        if not before:
            return
        with suppress(JournalError):
            last = self._journal.end(before[-1], segment)
            if last is not None and last + 1 < end:
                _note(
                    store,
                    node,
                    "missing",
                    None,
                    last + 1,
                    last_seq=end - 1,
                    records=end - last - 1,
                    from_at=before[-1].header.made_at_us,
                    to_at=segment.header.made_at_us,
                    detail=f"{_packets(last + 1, end - 1)} between {before[-1].path.name} and {segment.path.name} are "
                    "in no folder of this journal",
                    told=told,
                    reason=reason,
                )


def _packets(first_seq: int, last_seq: int | None) -> str:
    if last_seq is None:
        return f"packets from number {first_seq} on"
    return f"{counted(last_seq - first_seq + 1, 'packet')} (numbers {first_seq} to {last_seq})"


def _with_identity(segment: Segment, known: Known) -> Segment:
    """Return a segment of format 1, whose journal has lost its name, with the identity that the ledger knows."""
    return segment._replace(header=segment.header._replace(id=known.id, node=known.node))


def registered(store: Store, node: str, segments: Sequence[Segment]) -> dict[str, Registered]:
    """Register segments. Return them, and those of the node that are not wholly counted, by their ids."""
    return open_all(
        store,
        node,
        [
            {
                "id": segment.header.id,
                "node": segment.header.node or node,
                "format": segment.header.format,
                "first_seq": segment.header.first_seq,
                "previous": segment.header.previous,
            }
            for segment in segments
        ],
    )


def _registered_known(store: Store, node: str, known: Iterable[Known]) -> dict[str, Registered]:
    described = []
    for each in known:
        described.append(
            {
                "id": each.id,
                "node": each.node,
                "format": each.format,
                "first_seq": each.first_seq,
                "previous": each.previous,
            }
        )
        if each.shipped_as is not None:
            fork = {"id": each.shipped_as, "first_seq": each.shipped_after + 1, "previous": each.id}
            described.append(described[-1] | fork)
    return open_all(store, node, described)


def _fork(segment: Segment, known: Known) -> Segment:
    """Return the part of a forked segment that is shipped under an id of its own."""
    assert known.shipped_as is not None
    fork = segment.header._replace(id=known.shipped_as, previous=known.id, first_seq=known.shipped_after + 1)
    return segment._replace(header=fork)


def _learn(known: Known, row: Registered) -> None:
    """Note what the database has of a kept segment: the ledger may be older, after a crash."""
    known.ended = True
    if known.shipped_as is None and known.last_seq < row.last_seq:
        known.last_seq, known.digest = row.progress
        known.most_seq = max(known.most_seq, row.last_seq)


def open_all(store: Store, node: str, described: Sequence[dict[str, Any]]) -> dict[str, Registered]:
    """Register segments as `Store.open_segments` takes them, some at a time. Return what it returns, by the ids."""
    rows: dict[str, Registered] = {}
    for start in range(0, max(1, len(described)), CALL):
        for row in store.open_segments(node, described[start : start + CALL]):
            if row.given or row.id not in rows:
                rows[row.id] = row
    return rows


def _say_rewound(rewound: Sequence[Rewound]) -> dict[str, Any]:
    """Log that the database has stepped back. Return the incident."""
    packets = sum(each.had_seq - each.last_seq for each in rewound)
    first, last = rewound[0], rewound[-1]
    detail = (
        f"the database lacks {counted(packets, 'packet')} of {counted(len(rewound), 'segment')} that it had "
        "counted: it was restored from a backup, or a standby that was behind was promoted. What is kept is shipped "
        "again"
    )
    log.warning("%s", detail)
    incident = {
        "kind": "rewound",
        "segment": first.known.id,
        "first_seq": first.last_seq + 1,
        "last_seq": last.had_seq,
        "records": packets,
        "from_at": _time(first.known.first_us),
        "to_at": _time(last.known.last_us),
        "detail": detail,
    }
    return {name: value for name, value in incident.items() if value is not None}


def _note_missing(
    store: Store,
    node: str,
    row: Registered,
    known: Known | None,
    *,
    until: int | None = None,
    accepted: bool,
    told: list[str] | None,
) -> None:
    """Say that packets are not counted and no longer here: all that are known, or those up to number `until`."""
    if until is not None:
        last: int | None = until
    else:
        last = known.most_seq if known is not None and known.most_seq > row.last_seq else None
    many = "packets" if last is None else counted(last - row.last_seq, "packet")
    _note(
        store,
        node,
        "missing",
        row.id,
        row.last_seq + 1,
        last_seq=last,
        records=None if last is None else last - row.last_seq,
        from_at=known.first_us if known else None,
        to_at=known.last_us if known else None,
        detail=f"{many} of segment {row.id} are not counted, and the segment is no longer kept here"
        + (
            ""
            if last is not None and known and (known.ended or until is not None)
            else ". It may have had more packets than are known"
        ),
        told=told,
        reason=ACCEPTED if accepted else None,
    )


def _note_shorter(store: Store, node: str, segment_id: str, have: int, known: Known) -> None:
    """Say that a segment has fewer records than were shipped of it, and that the database has no more."""
    _note(
        store,
        node,
        "missing",
        segment_id,
        have + 1,
        last_seq=known.most_seq,
        records=known.most_seq - have,
        from_at=known.first_us,
        to_at=known.last_us,
        detail=f"the database lacks {counted(known.most_seq - have, 'packet')} of segment {known.name} that it had "
        "counted. The file is shorter than it was: a power cut took them, or an older copy of it was put back",
    )


def _note(
    store: Store,
    node: str,
    kind: str,
    segment: str | None,
    first_seq: int | None,
    *,
    detail: str,
    told: list[str] | None = None,
    from_at: int | None = None,
    to_at: int | None = None,
    **more: Any,
) -> int:
    """Log an incident, or add it to `told`, and note it in the database."""
    if told is None:
        log.log(logging.ERROR if kind in ("missing", "damaged") else logging.WARNING, "%s", detail)
    else:
        told.append(detail)
    incident = {
        "kind": kind,
        "segment": segment,
        "first_seq": first_seq,
        "from_at": _time(from_at),
        "to_at": _time(to_at),
        "detail": detail,
        **more,
    }
    return store.note_incident(node, {name: value for name, value in incident.items() if value is not None})


def note_loss(
    store: Store,
    node: str,
    position: Position,
    loss: Loss,
    *,
    kept: str = f"The file is kept in {files.DAMAGED}/",
    logged: bool = False,
) -> None:
    """Say which records of a segment are damaged. `kept` says where the file is. `logged`: the caller says it, too."""
    last = loss.last_seq
    position.lost_seq = max(position.lost_seq, last or 0)
    if last is None:
        numbers = f"records from {loss.first_seq} on"
    else:
        numbers = f"record {last}" if last == loss.first_seq else f"records {loss.first_seq} to {last}"
    _note(
        store,
        node,
        "damaged",
        position.known.id,
        loss.first_seq,
        last_seq=last,
        records=None if last is None else last - loss.first_seq + 1,
        from_at=loss.after_us or position.segment.header.made_at_us,
        to_at=loss.before_us,
        detail=f"{numbers} of segment {position.segment.path.name} cannot be read: "
        f"{loss.what}. The packets around them are counted. {kept}",
        told=[] if logged else None,
    )


def _not_allowed(segment: Segment, reason: StoreError) -> str:
    return (
        f"segment {segment.path.name} is not shipped: {reason}. Its packets are not counted from here; all other "
        "segments are shipped"
    )


def _copied(segment: Segment, node: str) -> str:
    return (
        f"two segments of {node} go on after the same one, {segment.header.previous}: this journal was copied, or an "
        "older copy of its directory was put back. Both are counted. If another machine goes on with the copy, give "
        "this one a name of its own: stop radiusd, write another name into the file `node` of the journal, and start "
        "radiusd again"
    )


def _time(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).isoformat()
