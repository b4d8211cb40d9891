"""Rejected packets that were left out because of a limit: list them, and salvage them from the journal."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import JournalError
from radmeter.ingest.record_ranges import read_range, segments_of, segments_with
from radmeter.ingest.records import as_json
from radmeter.ingest.store import records_json
from radmeter.plugin.journal import files

# Packets in one transaction. Ingest waits for it.
BATCH = 500
NAMES = ("kind", "node", "client", "hour", "kept", "left_out", "salvaged", "first_seq", "last_seq")


def left_out(connection: Connection, journal: Path) -> list[dict[str, Any]]:
    """Return what was left out, a row for each node, client and hour, the latest hour first.

    `segments` names the segments of this machine's journal that still hold packets of the range. It is empty if they
    are gone, and None if the packets are of another journal or are no packets.
    """
    with explained_errors("radmeter_reader"):
        rows = connection.execute(
            """SELECT kind, node, client, hour, kept, left_out, salvaged, first_seq, last_seq FROM radmeter.left_out
               ORDER BY hour DESC, kind, node, client"""
        )
        found = [dict(zip(NAMES, row, strict=True)) for row in rows]
    node = None
    with contextlib.suppress(OSError):
        node = files.read_node(journal)
    segments = segments_of(journal) if node else []
    for row in found:
        row["segments"] = None
        if row["kind"] == "rejected packet" and row["node"] == node:
            first, last = row["first_seq"], row["last_seq"]
            row["segments"] = [
                segment.path.name
                for segment in segments_with(segments, first, last)
                if next(read_range([segment], first, last, lambda _: None), None) is not None
            ]
    return found


def salvage(
    connection: Connection, journal: Path, on_damage: Callable[[str], None] = lambda message: None
) -> Iterator[int]:
    """Set aside the packets of a journal that were left out because of a limit. Yield how many, batch by batch.

    Only a packet that still cannot be parsed is taken: of one that can be parsed nobody knows whether it was left out
    or counted. No packet is taken twice: see `radmeter.salvage_rejected`.

    Raises
    ------
    JournalError
        There is no journal in the directory.
    """
    node = files.read_node(journal)
    if node is None:
        raise JournalError(f"there is no journal in {journal}")
    with explained_errors("radmeter_ingest"):
        ranges = connection.execute(
            "SELECT first_seq, last_seq FROM radmeter.left_out_ranges(%s)", (node,)
        ).fetchall()
    if not ranges:
        return
    first, last = min(first for first, _ in ranges), max(last for _, last in ranges)
    of: str | None = None  # the segment that the batch is of
    batch: list[dict[str, Any]] = []
    for header, entry in read_range(segments_of(journal), first, last, on_damage):
        segment = header.id or files.old_segment_id(node, header.first_seq)
        if batch and (segment != of or len(batch) == BATCH):
            yield _send(connection, node, of, batch)
            batch = []
        of, record = segment, as_json(entry)
        if "reason" in record:
            batch.append(record)
    if batch:
        yield _send(connection, node, of, batch)


def _send(connection: Connection, node: str, segment: str | None, batch: list[dict[str, Any]]) -> int:
    with explained_errors("radmeter_ingest"):
        row = connection.execute(
            "SELECT radmeter.salvage_rejected(%s, %s::uuid, %s::json)", (node, segment, records_json(batch))
        ).fetchone()
    return int(row[0]) if row else 0
