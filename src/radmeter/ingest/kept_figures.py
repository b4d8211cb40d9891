"""How much of a journal is kept in case the database is restored, and since when. Reads only."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from radmeter.ingest.folders import segments_in
from radmeter.ingest.kept_segments import limit_in_force
from radmeter.plugin.journal import files
from radmeter.units import counted, disk_size, duration


class Kept(NamedTuple):
    """The kept segments of a journal, and when the oldest of them was shipped (None: there are none).

    A backup that was made since then has all packets that are no longer kept.
    `largest_bytes`: the size of the largest one.
    """

    segments: int
    size_bytes: int
    since: datetime | None
    largest_bytes: int = 0


def kept(directory: Path) -> Kept:
    """Return how much is kept in case the database is restored. Raises JournalError."""
    try:
        kept_files = segments_in(directory / files.SHIPPED)
    except OSError as error:
        raise files.unusable(directory, error) from error
    found = []
    for file in kept_files:
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
        f"{disk_size(found.size_bytes)} in {counted(found.segments, 'segment')}, "
        f"since {found.since.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    )
    if (seconds := cut_to(limits, found)) is not None:
        limit = disk_size(limit_in_force(limits.journal, limits.kept_bytes))
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
