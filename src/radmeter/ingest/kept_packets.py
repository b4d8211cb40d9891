"""Finds a user's packets in the segments of this machine's journal: those that are open, and those that are kept."""

import json
import os
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radmeter.errors import RejectedPacket
from radmeter.ingest.folders import PLACES, segments_in
from radmeter.packet.record import AccountingRecord, parse
from radmeter.plugin.journal import files
from radmeter.plugin.journal.headers import open_unnoticed
from radmeter.plugin.journal.packet_text import BETWEEN, END_OF_NAMES
from radmeter.plugin.journal.segment_reader import DamagedSegment, Loss, SegmentReader

CHUNK_BYTES = 1 << 20
USER_NAME = "User-Name"
# How much the clocks of the packets and of the file system may differ.
CLOCK_SECONDS = 86_400
COLUMNS = (
    "arrived_at",
    "event_at",
    "status",
    "session_seconds",
    "reported_in",
    "reported_out",
    "username",
    "calling_station_id",
    "session_id",
    "unique_id",
    "segment",
    "number",
)


def packets_of(
    directory: Path, username: str, session_ids: Collection[str], since: datetime | None
) -> Iterator[dict[str, Any]]:
    """Yield a user's packets, and those without a user name that have one of the session ids, segment by segment.

    What cannot be read or parsed is left out. The octets are those that the router reported, for the session so far.
    Only segments that name the user are parsed: there may be 16 GiB of them. So a packet without a user name is only
    found beside one that has it.

    Parameters
    ----------
    since
        When the first of the sessions began. Segments that were last written before are left out. None: none is.

    Raises
    ------
    JournalError
        The journal's directory cannot be read.
    """
    try:
        files.segments(directory)  # raises an error if there is no journal
        found = segments_in(*(directory / place for place in PLACES))
    except OSError as error:
        raise files.unusable(directory, error) from error
    names = _forms(username)
    for file in found:
        try:
            if since is not None and file.path.stat().st_mtime < since.timestamp() - CLOCK_SECONDS:
                continue
            if _has_one(file.path, names):
                yield from _packets(file.path, file.first_seq, username, session_ids)
        except (OSError, DamagedSegment):
            continue  # `radmeter doctor` and `journal status` say so


def _packets(
    path: Path, first_seq: int, username: str, session_ids: Collection[str]
) -> Iterator[dict[str, Any]]:
    names = [form.decode("utf-8", "surrogatepass") for form in _forms(username)]
    reader = SegmentReader(path, first_seq)
    try:
        for entry in reader.items(reader.header.first_seq, open_loss=False):
            if isinstance(entry, Loss):
                continue
            pairs = entry.pairs
            if USER_NAME in pairs and not any(each in pairs for each in names):
                continue
            try:
                record = parse(pairs, entry.received_at_us, entry.seq)
            except RejectedPacket:
                continue
            if record.username == username or (not record.username and record.session_id in session_ids):
                yield _row(path, record)
    finally:
        reader.close()


def _row(path: Path, record: AccountingRecord) -> dict[str, Any]:
    return {
        "arrived_at": datetime.fromtimestamp(record.received_us / 1e6, UTC),
        "event_at": datetime.fromtimestamp(record.event_us / 1e6, UTC),
        "status": record.status,
        "session_seconds": record.session_time,
        "reported_in": record.input_octets,
        "reported_out": record.output_octets,
        "username": record.username,
        "calling_station_id": record.calling_station_id,
        "session_id": record.session_id,
        "unique_id": record.uid,
        "segment": path.name,
        "number": record.seq,
    }


def _forms(text: str) -> set[bytes]:
    """Return a text as it may be in a segment: as a value behind another, as JSON, in ASCII or not, or as octets."""
    return {
        *(mark.encode() + text.encode("utf-8", "surrogatepass") for mark in (BETWEEN, END_OF_NAMES)),
        json.dumps(text).encode(),
        json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        b'"0x' + text.encode("utf-8", "surrogatepass").hex().encode() + b'"',
    }


def _has_one(path: Path, needles: Collection[bytes]) -> bool:
    """Return whether a file has one of the texts. Most segments do not, and are not parsed."""
    overlap = max(map(len, needles)) - 1
    with os.fdopen(open_unnoticed(path), "rb") as file:
        tail = b""
        while chunk := file.read(CHUNK_BYTES):
            content = tail + chunk
            if any(each in content for each in needles):
                return True
            tail = content[-overlap:]
    return False
