"""Figures of the journal of this host: what waits, what is kept, and the disk. Reads only."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from radmeter.database.connection import Connection
from radmeter.errors import JournalError, StoreError
from radmeter.ingest import kept_figures, waiting_packets
from radmeter.ingest.holders import holder
from radmeter.plugin.journal.locks import READER, WRITER
from radmeter.plugin.journal.reader import JournalReader


@dataclass(frozen=True, kw_only=True)
class JournalFigures:
    """The journal of this host.

    Attributes
    ----------
    node
        The journal's name. None: nothing says it.
    records
        How many records wait to be shipped. None: only the database knows, and it did not answer.
    oldest_seconds
        How old the oldest of them is; 0 if none waits.
    size_bytes, segments
        What the journal takes on disk, without what is kept after shipping. A segment stays until all of it is shipped,
        so they are not what waits.
    unreadable
        How many segments could not be counted.
    kept_segments, kept_bytes, kept_since
        What is kept after shipping, and when the oldest of it was shipped, in seconds since 1970.
    written, shipped
        Whether a process writes the journal, and whether one ships it. None: this user may not see it.
    disk_free, disk_size
        Of the file system, in bytes.
    """

    node: str | None
    records: int | None
    oldest_seconds: float | None
    size_bytes: int
    segments: int
    unreadable: int
    kept_segments: int
    kept_bytes: int
    kept_since: float | None
    written: bool | None
    shipped: bool | None
    disk_free: int
    disk_size: int


def is_for_others(directory: Path) -> bool:
    """Tell whether there may be a journal which this user may not read, as `radmeter serve` beside FreeRADIUS."""
    try:
        directory.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(directory, os.R_OK | os.X_OK)


def read(directory: Path, connect: Callable[[], Connection] | None) -> JournalFigures | None:
    """Return the figures of a journal; None if there is none.

    Parameters
    ----------
    connect
        Gives a connection in a transaction, which ends here. Without one, or if it raises StoreError, nobody knows
        what waits.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """
    if not directory.is_dir():
        return None
    known, progress = _progress(directory, connect)
    reader = JournalReader(directory)
    try:
        depth = reader.depth(progress)
        try:
            node: str | None = reader.node()
        except JournalError:
            node = None
    finally:
        reader.close()
    kept = kept_figures.kept(directory)
    oldest = depth.oldest_received_at_us
    disk = shutil.disk_usage(directory)
    return JournalFigures(
        node=node,
        records=depth.records if known else None,
        oldest_seconds=None if not known else 0.0 if oldest is None else max(0.0, time.time() - oldest / 1e6),
        size_bytes=depth.size_bytes,
        segments=depth.segments,
        unreadable=len(depth.unreadable),
        kept_segments=kept.segments,
        kept_bytes=kept.size_bytes,
        kept_since=None if kept.since is None else kept.since.timestamp(),
        written=_held(directory, WRITER),
        shipped=_held(directory, READER),
        disk_free=disk.free,
        disk_size=disk.total,
    )


def _progress(directory: Path, connect: Callable[[], Connection] | None) -> tuple[bool, dict[str, int]]:
    """Return whether the database says what it has, and how far each segment is shipped."""
    if connect is not None:
        with suppress(StoreError):
            connection = connect()
            try:
                return True, waiting_packets.progress(connection, directory)
            finally:
                with suppress(psycopg.Error):  # it was lost
                    connection.rollback()
    return False, waiting_packets.progress(None, directory)


def _held(directory: Path, role: str) -> bool | None:
    try:
        return holder(directory, role) is not None
    except OSError:
        return None
