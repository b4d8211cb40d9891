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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from radmeter.errors import JournalError
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.ledger import Known, Ledger
from radmeter.ingest.store import Progress, Registered, Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader, Loss, Segment, digest_after
from radmeter.units import counted

log = logging.getLogger(__name__)

# Another shipper of the same node, after the journal was copied, touches its segments every minute.
VANISHED_SECONDS = 3600
# Segments in one call.
CALL = 500
# Records read at a time to compare a segment.
READ = 1000
ACCEPTED = "an operator accepted this database with --accept-database; the former one has what it counted"


@dataclass
class Position:
    """A segment that is not wholly counted, what is known of it, and how far the database has it."""

    segment: Segment
    known: Known
    progress: Progress

    @property
    def id(self) -> str:
        """The id under which the database has its progress."""
        return self.known.shipped_as or self.known.id

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
        self._rewound: int | None = None  # the incident that ends when all is shipped again

    def compare(self, store: Store, *, accepted: bool = False) -> None:
        """Register all segments, find out what the database lacks, and bring kept segments back that it needs.

        `accepted`: an operator has just said that this database takes over from another.
        """
        node = self._journal.node()
        self._open.clear()
        self._put_unreadable_aside(store, node)
        kept = self._kept_segments()
        segments = sorted([*self._present(), *kept], key=lambda segment: segment.first_seq)
        rows = registered(store, node, segments)
        rewound = []
        for segment in segments:
            row, known = rows[segment.header.id], self._ledger.saw(segment, node)
            if known.shipped_as is None and row.last_seq < known.last_seq:
                rewound.append(Rewound(known, row.last_seq, known.last_seq))
            if segment not in kept:
                self._place(store, node, segment, known, row)
            elif not row.finished:
                path = self._kept.bring_back(segment.path, known.id)
                known.name = path.name
                self._place(store, node, segment._replace(path=path), known, row)
            if row.siblings:
                _note(store, node, "copied", known.previous, segment.first_seq, detail=_copied(segment, node))
        if rewound and not accepted:
            self._rewound = _say_rewound(store, node, rewound)
        self._report_missing(store, node, segments, rows, accepted=accepted)
        self._ledger.change()
        self._ledger.save(durable=True)

    def current(self, store: Store) -> Position | None:
        """Return the first segment that is not wholly counted; None if there is none."""
        present = self._present()
        if self._journal.unreadable() or any(segment.header.id not in self._open for segment in present):
            self.compare(store)
            present = self._present()
        for segment in present:
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
        known.ended, known.ended_us = True, time.time_ns() // 1000
        known.name = self._kept.keep(position.segment.path, known.id, damaged=known.damaged).name
        self._open.pop(known.id, None)
        self._ledger.change()
        self._ledger.save()
        if self._rewound is not None and not any(each.is_again for each in self._open.values()):
            store.settle(self._rewound)
            self._rewound = None
            log.info("the packets that the database lacked are shipped again")

    def touch(self, store: Store) -> None:
        """Tell the database that the segments that are not wholly counted are still here."""
        if self._open:
            registered(store, self._journal.node(), [position.segment for position in self._open.values()])

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

    def _kept_segments(self) -> list[Segment]:
        found = []
        for folder in (files.SHIPPED, files.DAMAGED, files.LEFT_OUT):
            for segment in self._journal.segments_in(folder):
                if segment.header.id:
                    found.append(segment)
                elif known := self._ledger.named(segment.path.name):
                    found.append(_with_identity(segment, known))
        return found

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

    def _place(self, store: Store, node: str, segment: Segment, known: Known, row: Registered) -> None:
        """Note where to go on in a segment."""
        if known.shipped_as is not None:
            fork = segment.header._replace(
                id=known.shipped_as, previous=known.id, first_seq=known.shipped_after + 1
            )
            row = registered(store, node, [segment._replace(header=fork)])[known.shipped_as]
            progress = Progress(row.last_seq, row.digest)
            if (row.last_seq, row.digest) != (known.last_seq, known.digest):
                progress = Progress(row.last_seq, self._digest(segment, known.shipped_after, row.last_seq))
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
        if end < row.last_seq and not self._journal.is_written(segment):
            if not row.finished:
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
        self._ledger.change()
        self._ledger.save(durable=True)
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
        fork = segment.header._replace(
            id=known.shipped_as, previous=known.id, first_seq=known.shipped_after + 1
        )
        registered(store, node, [segment._replace(header=fork)])
        return Progress(known.shipped_after, 0)

    def _digest(self, segment: Segment, after: int, through: int) -> int:
        """Return the digest of a segment's records above `after`, up to `through`."""
        digest = 0
        while after < through and (entries := self._journal.read(segment, after, READ)):
            digest = digest_after(digest, [entry for entry in entries if entry.seq <= through])
            after = entries[-1].seq
        return digest

    def _report_missing(
        self,
        store: Store,
        node: str,
        segments: Sequence[Segment],
        rows: dict[str, Registered],
        *,
        accepted: bool,
    ) -> None:
        """Say which packets the database lacks, and are no longer here."""
        here = {segment.header.id for segment in segments}
        away = {known.id: known for known in self._ledger.all() if known.id not in here}
        lacking = {
            segment.header.previous
            for segment in segments
            if segment.header.previous not in (None, *here) and not rows[segment.header.id].previous_finished
        }
        vanished = [
            row
            for row in rows.values()
            if not row.given
            and row.id not in here
            and datetime.now(UTC) - row.seen_at > timedelta(seconds=VANISHED_SECONDS)
        ]
        if lacking - away.keys() or vanished:
            away = {known.id: known for known in self._ledger.gone_segments() if known.id not in here} | away
        found = _registered_known(store, node, away.values())
        for known in away.values():
            if known.shipped_as is None and not (row := found[known.id]).finished:
                if known.ended and known.most_seq <= row.last_seq:
                    store.finish(known.id, row.last_seq)
                else:
                    _note_missing(store, node, row, known, accepted=accepted)
        for row in vanished:
            if row.id not in away:
                _note_missing(store, node, row, None, accepted=accepted)
        for previous in sorted(each for each in lacking - away.keys() if each):
            segment = next(each for each in segments if each.header.previous == previous)
            _note(
                store,
                node,
                "missing",
                previous,
                None,
                to_at=segment.header.made_at_us,
                detail=f"segment {previous}, the one before {segment.path.name}, is not wholly counted, "
                "and it is in no "
                "folder of this journal. How many packets it had is not known",
                reason=ACCEPTED if accepted else None,
            )
        # Their numbers and times are not forgotten, in case the database steps back again.
        self._ledger.gone([known for known in self._ledger.all() if known.id not in here])


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
    return open_all(
        store,
        node,
        [
            {
                "id": each.id,
                "node": each.node,
                "format": each.format,
                "first_seq": each.first_seq,
                "previous": each.previous,
            }
            for each in known
        ],
    )


def open_all(store: Store, node: str, described: Sequence[dict[str, Any]]) -> dict[str, Registered]:
    """Register segments as `Store.open_segments` takes them, some at a time. Return what it returns, by the ids."""
    rows: dict[str, Registered] = {}
    for start in range(0, max(1, len(described)), CALL):
        for row in store.open_segments(node, described[start : start + CALL]):
            if row.given or row.id not in rows:
                rows[row.id] = row
    return rows


def _say_rewound(store: Store, node: str, rewound: Sequence[Rewound]) -> int:
    packets = sum(each.had_seq - each.last_seq for each in rewound)
    first, last = rewound[0], rewound[-1]
    detail = (
        f"the database lacks {counted(packets, 'packet')} of {counted(len(rewound), 'segment')} that it had "
        "counted: it was restored from a backup, or a standby that was behind was promoted. What is kept is shipped "
        "again"
    )
    log.warning("%s", detail)
    return _note(
        store,
        node,
        "rewound",
        first.known.id,
        first.last_seq + 1,
        last_seq=last.had_seq,
        records=packets,
        from_at=first.known.first_us,
        to_at=last.known.last_us,
        detail=detail,
        logged=True,
    )


def _note_missing(store: Store, node: str, row: Registered, known: Known | None, *, accepted: bool) -> None:
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
            if last is not None and known and known.ended
            else ". It may have had more packets than are known"
        ),
        reason=ACCEPTED if accepted else None,
    )


def _note(
    store: Store,
    node: str,
    kind: str,
    segment: str | None,
    first_seq: int | None,
    *,
    detail: str,
    logged: bool = False,
    from_at: int | None = None,
    to_at: int | None = None,
    **more: Any,
) -> int:
    """Log an incident, and note it in the database."""
    if not logged:
        log.log(logging.ERROR if kind in ("missing", "damaged") else logging.WARNING, "%s", detail)
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
        logged=logged,
    )


def _copied(segment: Segment, node: str) -> str:
    return (
        f"two segments of {node} go on after the same one, {segment.header.previous}: this journal was copied, "
        f"or an older "
        "copy of its directory was put back. Both are counted. If another machine goes on with the copy, give "
        "this one a "
        "name of its own: stop radiusd, remove the file `node` of the journal, and start radiusd again"
    )


def _time(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).isoformat()
