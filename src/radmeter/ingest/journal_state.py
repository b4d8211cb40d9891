"""What there is of a journal on this machine, beside what the database has of it. Reads only."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from radmeter.config import Settings
from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import JournalError
from radmeter.ingest.kept_segments import limit_in_force
from radmeter.ingest.ledger import Known, Ledger
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile
from radmeter.plugin.journal.reader import read_header
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


def progress(connection: Connection) -> dict[str, int]:
    """Return the last number that the database has of each segment."""
    with explained_errors("radmeter_reader"):
        return {
            str(segment): last_seq
            for segment, last_seq in connection.execute("SELECT id, last_seq FROM radmeter.journal_segments")
        }


def segments(directory: Path, known_progress: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """Return a row for each segment of a journal, in the order of their numbers.

    `known_progress`: from `progress`; None: the database cannot be asked. A value that is not known is None.

    Raises
    ------
    JournalError
        The directory cannot be read.
    """
    ledger = Ledger(directory)
    with suppress(OSError):
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
    header = None
    with suppress(JournalError, OSError):
        header = read_header(file.path, file.first_seq, files.read_node(directory))
    known: Known | None = ledger.named(file.path.name)
    if header is not None and header.id:
        known = ledger.known(header.id) or known
    segment_id = header.id if header is not None and header.id else known.id if known else None
    shipped_as = known.shipped_as if known and known.shipped_as else segment_id
    size, last = None, None
    with suppress(OSError, JournalError):
        size = file.path.stat().st_size
        last = last_number(file)
    shipped = None
    if known_progress is not None and segment_id is not None:
        at = known_progress.get(str(shipped_as), file.first_seq - 1)
        shipped = max(0, at - file.first_seq + 1)
        waiting = None if last is None else max(0, last - at)
    else:
        waiting = None
    return {
        "segment": segment_id,
        "state": state if segment_id is not None else "unknown",
        "first_seq": file.first_seq,
        "shipped": shipped,
        "waiting": waiting,
        "bytes_on_disk": size,
        "first_packet_at": _time(known.first_us if known else None),
        "last_packet_at": _time(known.last_us if known else None),
        "file": str(file.path.relative_to(directory)),
    }


def last_number(file: SegmentFile) -> int:
    """Return the last record's number of a segment, or the number before its first if it has none."""
    from radmeter.plugin.journal.segment_reader import DamagedSegment, SegmentReader

    reader = SegmentReader(file.path, file.first_seq)
    try:
        return max((entry.seq for entry in reader.read(None)), default=file.first_seq - 1)
    except DamagedSegment as error:
        raise JournalError(str(error)) from error
    finally:
        reader.close()


def _files(journal: Path, directory: Path) -> list[SegmentFile]:
    try:
        return files.segments(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise files.unusable(journal, error) from error


def _time(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC)
