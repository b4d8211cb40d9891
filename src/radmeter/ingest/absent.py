"""Which segments of a journal are in no folder of it, and not all counted. Its shipper says so; this is for the others.

A journal whose machine is gone is shipped by `radmeter journal adopt`, which changes nothing in it.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from radmeter.ingest.ledger import Known, Ledger
from radmeter.ingest.positions import VANISHED_SECONDS, open_all
from radmeter.ingest.store import Registered, Store
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.segment_format import HeaderError, SegmentHeader
from radmeter.units import counted


class Absent(NamedTuple):
    """A segment that is not here. `packets`: how many are missing as far as the ledger knows; None: nobody knows."""

    segment: str
    packets: int | None
    detail: str


def absent(
    store: Store, node: str, paths: Sequence[Path], ledger: Ledger, ids: Iterable[str]
) -> list[Absent]:
    """Note which segments of a journal are missing, as incidents, and return them.

    Parameters
    ----------
    paths
        The segments that are here. All that can be read of them is shipped.
    ids
        Their identities, as far as they are known.
    """
    headers = list(_headers(paths))
    here = {header.id for header in headers} | set(ids)
    previous = {header.previous: header for header in headers if header.previous not in (None, *here)}
    known = {row.id: row for row in ledger.all() if row.id not in here and row.shipped_as is None}
    rows = _registered(store, node, [*map(_of_header, headers), *map(_of_known, known.values())])
    lacking = {
        each: header
        for each, header in previous.items()
        if each is not None
        and header.id in rows
        and not rows[header.id].previous_finished
        and each not in known
    }
    vanished = {
        row.id: row
        for row in rows.values()
        if not row.given
        and row.id not in here
        and datetime.now(UTC) - row.seen_at > timedelta(seconds=VANISHED_SECONDS)
    }
    if lacking or vanished:
        gone = [row for row in ledger.gone_segments() if row.id in lacking or row.id in vanished]
        rows |= _registered(store, node, map(_of_known, gone))
        known |= {row.id: row for row in gone}
    found = []
    for row in known.values():
        if not rows[row.id].finished and row.most_seq > rows[row.id].last_seq:
            found.append(_note(store, node, rows[row.id], row))
    for segment_id, registered in vanished.items():
        if segment_id not in known:
            found.append(_note(store, node, registered, None))
    for segment_id, header in lacking.items():
        if segment_id not in known and segment_id not in vanished:
            detail = f"segment {segment_id}, the one before {header.first_seq}, is not there. How many packets it had "
            detail += "is not known"
            incident = {
                "kind": "missing",
                "segment": segment_id,
                "detail": detail,
                "to_us": header.made_at_us,
            }
            store.note_incident(node, incident)
            found.append(Absent(segment_id, None, detail))
    return found


def _note(store: Store, node: str, row: Registered, known: Known | None) -> Absent:
    missing = known.most_seq - row.last_seq if known is not None and known.most_seq > row.last_seq else None
    many = "packets" if missing is None else counted(missing, "packet")
    detail = f"{many} of segment {row.id} are not counted, and the segment is not there"
    if known is None or not known.ended:
        detail += ". It may have had more packets than are known"
    incident: dict[str, Any] = {
        "kind": "missing",
        "segment": row.id,
        "first_seq": row.last_seq + 1,
        "last_seq": known.most_seq if known is not None and missing is not None else None,
        "records": missing,
        "from_us": known.first_us if known else None,
        "to_us": known.last_us if known else None,
        "detail": detail,
    }
    store.note_incident(node, {name: value for name, value in incident.items() if value is not None})
    return Absent(row.id, missing, detail)


def _headers(paths: Sequence[Path]) -> Iterable[SegmentHeader]:
    for path in paths:
        with suppress(OSError, HeaderError):
            header = read_header(path)
            if header.id:
                yield header


def _registered(store: Store, node: str, described: Iterable[dict[str, Any]]) -> dict[str, Registered]:
    return open_all(store, node, list(described))


def _of_header(header: SegmentHeader) -> dict[str, Any]:
    return {name: getattr(header, name) for name in ("id", "node", "format", "first_seq", "previous")}


def _of_known(known: Known) -> dict[str, Any]:
    return {name: getattr(known, name) for name in ("id", "node", "format", "first_seq", "previous")}
