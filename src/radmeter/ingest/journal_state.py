"""Describes each segment of a journal on this machine, with what the database has of it. Reads only."""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radmeter.database.connection import Connection
from radmeter.errors import JournalError
from radmeter.ingest.folders import segments_in
from radmeter.ingest.kept_figures import Limits, kept, kept_line
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import Ledger, read_ledger
from radmeter.ingest.waiting_packets import last_numbers
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile
from radmeter.plugin.journal.segment_reader import SegmentReader
from radmeter.units import counted

STATES = {
    files.AGAIN: "again",
    "": "open",
    files.SHIPPED: "kept",
    files.DAMAGED: "damaged",
    files.LEFT_OUT: "left out",
}


def segments(directory: Path) -> list[dict[str, Any]]:
    """Return a row for each segment of a journal, in the order of their numbers.

    What only the database knows is None; see `add_progress`. A value that nobody knows is None, too.

    Raises
    ------
    JournalError
        The directory cannot be read.
    """
    try:
        files.segments(directory)  # raises an error if there is no journal
        found = [
            (file, state) for folder, state in STATES.items() for file in segments_in(directory / folder)
        ]
    except OSError as error:
        raise files.unusable(directory, error) from error
    ledger = read_ledger(directory)
    by_name = {row.name: row for row in ledger.all()}
    node = None
    with suppress(OSError, JournalError):
        node = files.read_node(directory)
    rows = [_row(file, state, ledger, by_name.get(file.path.name), node, directory) for file, state in found]
    return sorted(rows, key=lambda row: row["first_seq"])


def add_progress(rows: Sequence[dict[str, Any]], connection: Connection) -> None:
    """Fill in how many packets of each segment are shipped, and how many wait. Raises StoreError."""
    shipped = last_numbers(connection, [row["counted_as"] for row in rows if row["counted_as"] is not None])
    for row in rows:
        if row["counted_as"] is not None:
            at = max(row["counted_after"], shipped.get(row["counted_as"], 0))
            row["shipped"] = at - row["first_seq"] + 1
            row["waiting"] = None if row["last_seq"] is None else max(0, row["last_seq"] - at)


def summary(limits: Limits, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in lines how much waits, and how much is kept. Raises JournalError."""
    waiting = [row["waiting"] for row in rows if row["state"] in ("open", "again")]
    lines = []
    if None not in waiting:
        lines.append(f"waiting: {counted(sum(waiting), 'packet')}")
    lines.append(f"kept: {kept_line(limits, kept(limits.journal))}")
    return lines


def _row(
    file: SegmentFile, state: str, ledger: Ledger, named: Known | None, node: str | None, directory: Path
) -> dict[str, Any]:
    segment_id, last, size = None, None, None
    try:
        size = file.path.stat().st_size
        with closing(SegmentReader(file.path, file.first_seq)) as log:
            last = log.last_seq()
            segment_id = log.header.id or (files.old_segment_id(node, file.first_seq) if node else None)
    except (OSError, JournalError):
        state = "unknown"
    if segment_id is None and named is not None:
        segment_id = named.id
    known = ledger.known(segment_id) if segment_id else None
    forked = known is not None and known.shipped_as is not None
    return {
        "segment": segment_id,
        "state": state if segment_id is not None else "unknown",
        "first_seq": file.first_seq,
        "shipped": None,
        "waiting": None,
        "bytes_on_disk": size,
        "first_packet_at": _time(known.first_us if known else None),
        "last_packet_at": _time(known.last_us if known else None),
        "file": str(file.path.relative_to(directory)),
        "path": file.path,
        "last_seq": last,
        "counted_as": known.shipped_as if known and forked else segment_id,
        "counted_after": known.shipped_after if known and forked else file.first_seq - 1,
    }


def _time(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC)
