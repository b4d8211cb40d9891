"""What there is of a journal on this machine, beside what the database has of it. Reads only."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import JournalError
from radmeter.ingest.kept_segments import limit_in_force
from radmeter.ingest.known import Known
from radmeter.ingest.ledger import Ledger
from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.segment_reader import SegmentReader
from radmeter.units import counted, duration, human_bytes

STATES = {
    files.AGAIN: "again",
    "": "open",
    files.SHIPPED: "kept",
    files.DAMAGED: "damaged",
    files.LEFT_OUT: "left out",
}
PROGRESS = "SELECT id::text, last_seq FROM radmeter.journal_segments WHERE id = ANY (%s::uuid[])"


class Kept(NamedTuple):
    """The kept segments of a journal, and when the oldest of them was shipped (None: there are none).

    A backup that was made since then has all packets that are no longer kept.
    `largest_bytes`: the size of the largest one.
    """

    segments: int
    size_bytes: int
    since: datetime | None
    largest_bytes: int = 0


def progress(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Return the last number that the database has of segments, by their ids."""
    with explained_errors("radmeter_reader"):
        return dict(connection.execute(PROGRESS, (list(ids),)).fetchall())


def waiting_ids(directory: Path) -> list[str]:
    """Return the ids under which the database has the segments that may have to be shipped. Raises JournalError."""
    with closing(JournalReader(directory)) as reader:
        ids = [segment.id for segment in reader.segments() if segment.id]
    ledger = _ledger(directory)
    return [*ids, *(row.shipped_as for row in ledger.all() if row.shipped_as)]


def with_forks(found: Mapping[str, int], directory: Path) -> dict[str, int]:
    """Return the last number of each segment, where a forked one has the progress of its new id."""
    forked = {
        row.id: found.get(row.shipped_as, row.shipped_after)
        for row in _ledger(directory).all()
        if row.shipped_as
    }
    return {**found, **forked}


def segments(directory: Path) -> list[dict[str, Any]]:
    """Return a row for each segment of a journal, in the order of their numbers.

    What only the database knows is None; see `add_progress`. A value that nobody knows is None, too.

    Raises
    ------
    JournalError
        The directory cannot be read.
    """
    _files(directory, directory, must_exist=True)
    ledger = _ledger(directory)
    by_name = {row.name: row for row in ledger.all()}
    with suppress(OSError, JournalError):
        node = files.read_node(directory)
    rows = [
        _row(file, state, ledger, by_name.get(file.path.name), node, directory)
        for folder, state in STATES.items()
        for file in _files(directory, directory / folder)
    ]
    return sorted(rows, key=lambda row: row["first_seq"])


def ids_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ids under which the database has the segments of these rows."""
    return [row["counted_as"] for row in rows if row["counted_as"] is not None]


def add_progress(rows: Iterable[dict[str, Any]], known_progress: Mapping[str, int]) -> None:
    """Fill in how many packets of each segment are shipped, and how many wait. `known_progress`: from `progress`."""
    for row in rows:
        if row["counted_as"] is not None:
            at = max(row["counted_after"], known_progress.get(row["counted_as"], 0))
            row["shipped"] = at - row["first_seq"] + 1
            row["waiting"] = None if row["last_seq"] is None else max(0, row["last_seq"] - at)


def kept(directory: Path) -> Kept:
    """Return how much is kept in case the database is restored. Raises JournalError."""
    found = []
    for file in _files(directory, directory / files.SHIPPED):
        with suppress(FileNotFoundError):
            found.append(file.path.stat())
    since = min((max(each.st_mtime, each.st_ctime) for each in found), default=None)
    return Kept(
        len(found),
        sum(each.st_size for each in found),
        None if since is None else datetime.fromtimestamp(since, UTC),
        max((each.st_size for each in found), default=0),
    )


class Limits(Protocol):
    """The settings of what is kept: for how long, and how many bytes (None: see `limit_in_force`)."""

    @property
    def journal(self) -> Path: ...

    @property
    def kept_hours(self) -> int: ...

    @property
    def kept_bytes(self) -> int | None: ...


def kept_line(limits: Limits, found: Kept) -> str:
    """Return in words how much is kept, since when, and whether its size cuts the time that was set."""
    if found.since is None:
        return "nothing"
    said = (
        f"{human_bytes(found.size_bytes)} in {counted(found.segments, 'segment')}, "
        f"since {found.since.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    )
    if (seconds := cut_to(limits, found)) is not None:
        limit = human_bytes(limit_in_force(limits.journal, limits.kept_bytes))
        said += f": {duration(seconds)} of {counted(limits.kept_hours, 'hour')}, since more than {limit} is not kept"
    return said


def cut_to(limits: Limits, found: Kept) -> float | None:
    """Return to how many seconds the size cuts the time for which segments are kept; None if it does not.

    It does if the next segment will push out the oldest one.
    """
    limit = limit_in_force(limits.journal, limits.kept_bytes)
    if found.since is None or found.size_bytes + found.largest_bytes <= limit:
        return None
    seconds = max(0.0, time.time() - found.since.timestamp())
    return seconds if seconds < limits.kept_hours * 3600 else None


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


def _ledger(directory: Path) -> Ledger:
    ledger = Ledger(directory)
    with suppress(OSError, JournalError):
        ledger.read()
    return ledger


def _files(journal: Path, directory: Path, *, must_exist: bool = False) -> list[SegmentFile]:
    try:
        return files.segments(directory)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not must_exist:
            return []
        raise files.unusable(journal, error) from error


def _time(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC)
