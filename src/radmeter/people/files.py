"""Files on this machine that hold a user's name: journal segments, detail and quarantine files, archives."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from radmeter.config import Settings
from radmeter.plugin.journal import files

# Where Debian's FreeRADIUS writes its detail and quarantine files.
RADACCT = Path("/var/log/freeradius/radacct")
# The variable with the directory above it for a FreeRADIUS with the configuration under radius/, as in the container.
RUN = "RADMETER_RUN"

CHUNK_BYTES = 1 << 20


class FileWithName(NamedTuple):
    """A file, what it is, and what to do with it. `unreadable`: this user may not read it, so it may have the name."""

    path: Path
    kind: str
    remedy: str
    unreadable: bool = False


def files_with_name(settings: Settings, username: str) -> Iterator[FileWithName]:
    """Yield the files of this machine's FreeRADIUS and journal that have the name."""
    for path, kind, remedy in _segments(settings.journal):
        yield from _checked(path, username, kind, remedy)
    places = {RADACCT, settings.state / "radius" / "radacct"}
    if run := os.environ.get(RUN):
        places.add(Path(run) / "radacct")
    for place in sorted(places):
        for path in _files_below(place):
            yield from _checked(
                path, username, "detail or quarantine file", "delete it, or let logrotate do so"
            )


def sessions_in_archive(path: Path, username: str) -> int | None:
    """Return how many sessions of a user are in an archive; None if it cannot be read here."""
    try:
        from pyarrow import ArrowException, compute, parquet
    except ImportError:
        return None
    try:
        names = parquet.ParquetFile(path)
        return sum(
            compute.sum(compute.equal(batch.column(0), username)).as_py() or 0
            for batch in names.iter_batches(columns=["username"])
        )
    except (OSError, ArrowException, IndexError):
        return None


# What a segment in a folder of the journal is, and what to do with it.
KINDS = {
    "": ("journal segment", "the shipper moves it when it is full and all of it is shipped"),
    files.AGAIN: ("segment that is shipped again", "the shipper moves it when all of it is shipped"),
    files.SHIPPED: (
        "kept segment",
        "the shipper deletes it after RADMETER_KEPT_HOURS. Until then it brings the name back if the database "
        "is restored",
    ),
    files.LEFT_OUT: (
        "left-out segment",
        "`rejected salvage` brings the name back; the shipper deletes it after 7 days, or delete it",
    ),
    files.DAMAGED: ("damaged segment", "delete it when you have salvaged what you need"),
}


def _segments(journal: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield the segments of a journal, also those that are kept, each with what it is and what to do with it."""
    for folder, (kind, remedy) in KINDS.items():
        with suppress(OSError):
            for segment in files.segments(journal / folder):
                yield segment.path, kind, remedy
    with suppress(OSError):
        for path in files.kept_segments(journal):
            yield (
                path,
                "kept segment of an older release",
                "delete it when you know that its packets are counted",
            )


def _files_below(place: Path) -> list[Path]:
    try:
        return sorted(path for path in place.rglob("*") if path.is_file())
    except OSError:
        return []


def _checked(path: Path, username: str, kind: str, remedy: str) -> Iterator[FileWithName]:
    try:
        if has_name(path, username):
            yield FileWithName(path, kind, remedy)
    except FileNotFoundError:
        return  # shipped or rotated meanwhile
    except OSError:
        yield FileWithName(path, kind, remedy, unreadable=True)


def has_name(path: Path, username: str) -> bool:
    """Return whether a journal segment or detail file has the name as a value. Compressed files cannot be searched.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    forms = {
        json.dumps(username).encode(),
        json.dumps(username, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        b'"0x' + username.encode().hex().encode() + b'"',
        b'"' + username.encode() + b'"',
    }
    overlap = max(map(len, forms)) - 1
    # Not mapped into memory: the writer may cut the file meanwhile.
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(CHUNK_BYTES):
            content = tail + chunk
            if any(form in content for form in forms):
                return True
            tail = content[-overlap:]
    return False
