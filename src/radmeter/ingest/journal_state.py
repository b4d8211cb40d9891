"""What there is of a journal on this machine, beside what the database has of it. Reads only."""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from radmeter.config import Settings
from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import JournalError
from radmeter.ingest.kept_segments import limit_in_force
from radmeter.ingest.ledger import Ledger
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile
from radmeter.plugin.journal.segment_reader import SegmentReader
from radmeter.units import counted, human_bytes

STATES = {
    files.AGAIN: "again",
    "": "open",
    files.SHIPPED: "kept",
    files.DAMAGED: "damaged",
    files.LEFT_OUT: "left out",
}


class Kept(NamedTuple):
    """The kept segments of a journal, and when the oldest of them was shipped (None: there are none)."""

    segments: int
    size_bytes: int
    since: datetime | None


def progress(connection: Connection, directory: Path) -> dict[str, int]:
    """Return the last number that the database has of each segment, by the id in the segment's header."""
    with explained_errors("radmeter_reader"):
        found = {
            str(segment): last_seq
            for segment, last_seq in connection.execute("SELECT id, last_seq FROM radmeter.journal_segments")
        }
    return with_forks(found, directory)


def with_forks(found: Mapping[str, int], directory: Path) -> dict[str, int]:
    """Return the last number of each segment, where a forked one has the progress of its new id."""
    ledger = Ledger(directory)
    with suppress(OSError, JournalError):
        ledger.read()
    forked = {row.id: found.get(row.shipped_as, row.shipped_after) for row in ledger.all() if row.shipped_as}
    return {**found, **forked}


def segments(directory: Path, known_progress: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """Return a row for each segment of a journal, in the order of their numbers.

    `known_progress`: from `progress`; None: the database cannot be asked. A value that is not known is None.

    Raises
    ------
    JournalError
        The directory cannot be read.
    """
    ledger = Ledger(directory)
    with suppress(OSError, JournalError):
        ledger.read()
    rows = []
    for folder, state in STATES.items():
        for file in _files(directory, directory / folder):
            rows.append(_row(file, state, ledger, known_progress, directory))
    return sorted(rows, key=lambda row: row["first_seq"])


def kept(directory: Path) -> Kept:
    """Return how much is kept in case the database is restored."""
    found = []
    for file in _files(directory, directory / files.SHIPPED):
        with suppress(FileNotFoundError):
            found.append(file.path.stat())
    since = min((max(each.st_mtime, each.st_ctime) for each in found), default=None)
    return Kept(
        len(found),
        sum(each.st_size for each in found),
        None if since is None else datetime.fromtimestamp(since, UTC),
    )


def summary(settings: Settings, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in lines how much waits, and how much is kept."""
    waiting = [row["waiting"] for row in rows if row["state"] in ("open", "again")]
    lines = []
    if waiting and None not in waiting:
        lines.append(f"{counted(sum(waiting), 'packet')} not shipped yet")
    found = kept(settings.journal)
    limit = human_bytes(limit_in_force(settings.journal, settings.kept_bytes)) if found.segments else ""
    lines.append(
        f"kept: {counted(found.segments, 'segment')}"
        + (
            f", {human_bytes(found.size_bytes)} of {limit}, since {found.since.astimezone():%Y-%m-%d %H:%M:%S %Z}"
            if found.since
            else ""
        )
    )
    return lines


def _row(
    file: SegmentFile, state: str, ledger: Ledger, known_progress: Mapping[str, int] | None, directory: Path
) -> dict[str, Any]:
    known, segment_id, last, size = ledger.named(file.path.name), None, None, None
    try:
        size = file.path.stat().st_size
        with closing(SegmentReader(file.path, file.first_seq)) as log:
            last = log.last_seq()
            segment_id = log.header.id or (
                files.old_segment_id(node, file.first_seq) if (node := files.read_node(directory)) else None
            )
    except (OSError, JournalError):
        pass
    segment_id = segment_id or (known.id if known else None)
    if segment_id is not None:
        known = ledger.known(segment_id) or known
    at = None
    if known_progress is not None and segment_id is not None:
        at = max(file.first_seq - 1, known_progress.get(segment_id, 0))
    return {
        "segment": segment_id,
        "state": state if segment_id is not None else "unknown",
        "first_seq": file.first_seq,
        "shipped": None if at is None else at - file.first_seq + 1,
        "waiting": None if at is None or last is None else max(0, last - at),
        "bytes_on_disk": size,
        "first_packet_at": _time(known.first_us if known else None),
        "last_packet_at": _time(known.last_us if known else None),
        "file": str(file.path.relative_to(directory)),
    }


def _files(journal: Path, directory: Path) -> list[SegmentFile]:
    try:
        return files.segments(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise files.unusable(journal, error) from error


def _time(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC)
