"""What a shipper finds about its journal when time went back. The log says it, and the database notes incidents.

`radmeter.ingest.incidents` reads them for people.
"""

import logging
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from radmeter.errors import StoreError
from radmeter.ingest.folders import journal_of
from radmeter.ingest.known import Known
from radmeter.ingest.position import Position
from radmeter.ingest.store import Registered, Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import Loss, Segment
from radmeter.units import counted, span

log = logging.getLogger(__name__)

ACCEPTED = "an operator accepted this database with --accept-database; the former one has what it counted"


class Rewound(NamedTuple):
    """A segment of which the database has less than it had: the numbers above `last_seq`, up to `had_seq`."""

    known: Known
    last_seq: int
    had_seq: int


class Said:
    """What a shipper has said of the incidents that last: each comparison finds them again."""

    def __init__(self) -> None:
        # By kind, segment and first number, as the database tells incidents apart.
        self._details: dict[tuple[str, str | None, int | None], str] = {}
        self._found: set[tuple[str, str | None, int | None]] = set()

    def is_news(self, kind: str, segment_id: str | None, first_seq: int | None, detail: str) -> bool:
        """Tell whether an incident was not said before, or has changed since."""
        key = kind, segment_id, first_seq
        self._found.add(key)
        former, self._details[key] = self._details.get(key), detail
        return former != detail

    def forget(self, kind: str, segment_id: str | None, first_seq: int | None) -> None:
        """Forget an incident that has ended: when it begins again, it is news."""
        self._details.pop((kind, segment_id, first_seq), None)

    def begin_comparison(self) -> None:
        """Note that the journal is about to be compared with the database."""
        self._found.clear()

    def end_comparison(self) -> None:
        """Forget the incidents that the comparison did not find again. Damage is found by reading, not by comparing."""
        self._details = {
            key: detail for key, detail in self._details.items() if key in self._found or key[0] == "damaged"
        }


class Findings:
    """Notes what is found about one journal.

    Parameters
    ----------
    store
        The database.
    node
        The journal's name.
    accepted
        An operator has just accepted this database: what it lacks and the former one has counted is acknowledged at
        once, with that reason. What nobody has counted is not.
    told
        A list that gets the words, for a caller who says them. None: they are logged.
    said
        What was logged before, and is not logged again. None: nothing was.
    """

    def __init__(
        self,
        store: Store,
        node: str,
        *,
        accepted: bool = False,
        told: list[str] | None = None,
        said: Said | None = None,
    ) -> None:
        self._store = store
        self.node = node
        self._reason = ACCEPTED if accepted else None
        self._told = told
        self._said = said or Said()

    def lacks_rest(self, row: Registered, known: Known | None, until: int | None = None) -> None:
        """Say that the database lacks the rest of a segment that is no longer here, or its numbers up to `until`.

        `known`: what the ledger has of it.
        """
        last = until
        if last is None and known is not None and known.end > row.last_seq:
            last = known.end
        many = "packets" if last is None else counted(last - row.last_seq, "packet")
        is_all = until is not None or (last is not None and known is not None and known.ended)
        was_counted = is_all and last is not None and known is not None and last <= known.most_seq
        self._note(
            "missing",
            row.id,
            row.last_seq + 1,
            last_seq=last,
            records=None if last is None else last - row.last_seq,
            from_at=known.first_us if known else None,
            to_at=known.last_us if known else None,
            detail=f"{many} of segment {row.id} are not counted, and the segment is no longer kept here"
            + ("" if is_all else ". It may have had more packets than are known"),
            reason=self._reason if was_counted else None,
        )

    def lacks_before(self, segment: Segment, first_seq: int | None, last_seq: int | None) -> None:
        """Say that the segment before another one is not wholly counted, and gone. None: its numbers are unknown."""
        previous = segment.header.previous
        many = (
            "How many packets it had is not known"
            if first_seq is None or last_seq is None
            else f"It had {_packets(first_seq, last_seq)}"
        )
        self._note(
            "missing",
            previous,
            first_seq,
            last_seq=last_seq,
            records=None if first_seq is None or last_seq is None else last_seq - first_seq + 1,
            to_at=segment.header.made_at_us,
            detail=f"segment {previous}, the one before {segment.path.name}, is not wholly counted, and it is in "
            f"no folder of this journal. {many}",
        )

    def lacks_between(self, before: Segment, after: Segment, first_seq: int, last_seq: int) -> None:
        """Say that no segment has the numbers between two segments."""
        self._note(
            "missing",
            None,
            first_seq,
            last_seq=last_seq,
            records=last_seq - first_seq + 1,
            from_at=before.header.made_at_us,
            to_at=after.header.made_at_us,
            detail=f"{_packets(first_seq, last_seq)} between {before.path.name} and {after.path.name} are "
            "in no folder of this journal",
        )

    def lost_counted(self, segment_id: str, have: int, known: Known) -> None:
        """Say that a segment has fewer records than were shipped of it, and that the database lacks the others, too."""
        self._note(
            "missing",
            segment_id,
            have + 1,
            last_seq=known.end,
            records=known.end - have,
            from_at=known.first_us,
            to_at=known.last_us,
            detail=f"the database lacks {counted(known.end - have, 'packet')} of segment {known.name}. The file "
            "is shorter than it was: a power cut took them, or it was cut off, or an older copy of it was put back",
        )

    def shorter(
        self,
        segment: Segment,
        known: Known,
        end: int,
        counted_to: int,
        from_at: int | None,
        to_at: int | None,
    ) -> None:
        """Say that a segment ends before the last record that is counted of it.

        The incident is about the records that are there and that this shipper may not have shipped, else about those
        that are no longer there. `from_at`, `to_at`: the arrivals of the first and of the last one that is there.
        """
        detail = (
            f"segment {segment.path.name} ends with record {end}, and the database has counted up to "
            f"{counted_to}: a power cut took records that were counted, or the file is older than it was"
        )
        first, last = end + 1, counted_to
        if known.last_seq < end:
            first, last = known.last_seq + 1, end
            detail += (
                f". {span('Record', first, last)}, received from {_time(from_at)} to {_time(to_at)}, "
                f"{'is' if first == last else 'are'} taken for counted. This shipper does not know that it shipped "
                f"{'it' if first == last else 'them'}: if this machine was resumed from a memory image, another one "
                f"shipped other records under these numbers, and these are lost"
            )
        self._note(
            "shorter",
            known.id,
            first,
            last_seq=last,
            records=last - first + 1,
            from_at=from_at,
            to_at=to_at if known.last_seq < end else known.last_us if known.most_seq >= counted_to else None,
            detail=detail,
        )

    def forked(self, segment: Segment, known: Known, counted_to: int) -> None:
        """Say that another machine went on with the same segment."""
        self._note(
            "forked",
            known.id,
            known.shipped_after + 1,
            last_seq=counted_to,
            detail=f"another journal has shipped other records of segment {segment.path.name} under the same identity, "
            f"up to {counted_to}: this machine was copied while radiusd ran. This journal's records after "
            f"{known.shipped_after} are shipped as segment {known.shipped_as}",
        )

    def forked_again(self, segment: Segment, known: Known, row: Registered) -> None:
        """Say that another machine went on with the part of a segment that was forked before. `row`: of that part."""
        self._note(
            "forked",
            row.id,
            known.shipped_after + 1,
            last_seq=row.last_seq,
            detail=f"another journal has shipped other records of segment {segment.path.name} as segment {row.id}, up "
            f"to {row.last_seq}: this machine was copied again while radiusd ran. This journal's records after "
            f"{known.shipped_after} are shipped as segment {known.shipped_as}. Those that both have come as duplicates",
        )

    def copied(self, segment: Segment, previous: str | None) -> None:
        """Say that two segments follow the same one. `previous`: its id, as the ledger has it."""
        self._note(
            "copied",
            previous,
            segment.first_seq,
            detail=f"two segments of {self.node} go on after the same one, {segment.header.previous}: this journal "
            "was copied, or an older copy of its directory was put back. Both are counted. If another machine goes on "
            "with the copy, give one of the two a name of its own. Stop its radiusd and its shipper, write another "
            f"name into the file `node` of its journal (here {journal_of(segment.path) / 'node'}), and start them "
            "again",
        )

    def damaged(
        self,
        position: Position,
        loss: Loss,
        kept: str = f"When all is shipped, the file goes to {files.DAMAGED}/",
    ) -> None:
        """Say which records of a segment cannot be read. `kept` says where the file is."""
        last = loss.last_seq
        self._note(
            "damaged",
            position.known.id,
            loss.first_seq,
            last_seq=last,
            records=None if last is None else last - loss.first_seq + 1,
            from_at=loss.after_us or position.segment.header.made_at_us,
            to_at=loss.before_us,
            detail=f"{span('record', loss.first_seq, last)} of segment {position.segment.path.name} cannot be read: "
            f"{loss.what}. The packets around them are counted. {kept}",
        )

    def unreadable(
        self, path: Path, first_seq: int, reason: str, aside: Path, *, is_kept: bool = False
    ) -> None:
        """Say that a segment cannot be read. `aside`: where the file is now. `is_kept`: it was shipped once."""
        packets = (
            "It was shipped, and whether the database has all of its packets is not known"
            if is_kept
            else "Its packets are not counted yet"
        )
        self._note(
            "damaged",
            None,
            first_seq,
            detail=f"segment {path.name} cannot be read: {reason}. {packets}. "
            f"`radmeter journal salvage {shlex.quote(str(aside))}` ships what can be read of it",
        )

    def refused(self, segment: Segment, reason: StoreError) -> None:
        """Say that the database refuses a segment of this shipper."""
        self._note(
            "damaged",
            None,
            segment.first_seq,
            detail=f"segment {segment.path.name} is not shipped: {reason}. Its packets are not counted from here; all "
            "other segments are shipped",
        )

    def not_refused(self, segment: Segment) -> None:
        """Say that the database takes a segment that it refused before."""
        self._said.forget("damaged", None, segment.first_seq)
        incident = {"kind": "damaged", "first_seq": segment.first_seq, "detail": "it is shipped now"}
        self._store.settle(self._store.note_incident(self.node, incident))

    def _note(
        self,
        kind: str,
        segment_id: str | None,
        first_seq: int | None,
        *,
        detail: str,
        from_at: int | None = None,
        to_at: int | None = None,
        **more: Any,
    ) -> None:
        """Say something, and note it in the database. Times are in microseconds since 1970."""
        if self._told is not None:
            self._told.append(detail)
        elif self._said.is_news(kind, segment_id, first_seq, detail):
            log.log(logging.ERROR if kind in ("missing", "damaged") else logging.WARNING, "%s", detail)
        incident = _without_none(
            kind=kind,
            segment=segment_id,
            first_seq=first_seq,
            from_at=_time(from_at),
            to_at=_time(to_at),
            detail=detail,
            **more,
        )
        self._store.note_incident(self.node, incident)


def rewound_incident(rewound: Sequence[Rewound]) -> dict[str, Any]:
    """Log that the database has stepped back. Return the incident, for `Store.note_incident`."""
    packets = sum(each.had_seq - each.last_seq for each in rewound)
    first, last = rewound[0], rewound[-1]
    detail = (
        f"the database lacks {counted(packets, 'packet')} of {counted(len(rewound), 'segment')} that it had "
        "counted: it was restored from a backup, or a standby that was behind was promoted. What is kept is shipped "
        "again"
    )
    log.warning("%s", detail)
    return _without_none(
        kind="rewound",
        segment=first.known.id,
        first_seq=first.last_seq + 1,
        last_seq=last.had_seq,
        records=packets,
        from_at=_time(first.known.first_us),
        to_at=_time(last.known.last_us),
        detail=detail,
    )


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _packets(first_seq: int, last_seq: int) -> str:
    return f"{counted(last_seq - first_seq + 1, 'packet')} (numbers {first_seq} to {last_seq})"


def _time(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).isoformat()
