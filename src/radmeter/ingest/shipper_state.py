"""Tells whether the shipper of a journal gets on: from its lock, and from what the database last heard of it.

The shipper tells the database each minute which segments it has, also when nothing waits.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from radmeter.database.connection import Connection, explained_errors
from radmeter.ingest.holders import holder
from radmeter.ingest.waiting_packets import ids_to_ship
from radmeter.plugin.journal.locks import READER, lock_path
from radmeter.plugin.journal.reader import JournalDepth

# More than the minute between two signs of life and the 60 s that a batch may take.
STUCK_SECONDS = 180

HEARD = """
SELECT extract(epoch FROM clock_timestamp() - max(seen_at))::float8,
       extract(epoch FROM clock_timestamp() - max(updated_at))::float8
FROM radmeter.journal_segments WHERE id = ANY (%s::uuid[])"""


@dataclass(frozen=True, kw_only=True)
class ShipperState:
    """How the shipper of a journal gets on.

    Attributes
    ----------
    process
        The shipper, as `holder` names it.
    since_seconds
        For how long it has had the journal.
    heard_seconds
        How long ago the database last heard of one of the journal's segments. None: never, or there is no database.
    stuck_seconds
        For how long it has got nowhere. None: it gets on, or too little time has passed to tell.
    """

    process: str
    since_seconds: float
    heard_seconds: float | None
    stuck_seconds: float | None

    @property
    def pid(self) -> int | None:
        """Its process id, if it is one of this machine."""
        word = self.process.removeprefix("process ")
        return int(word) if word.isdigit() else None

    @property
    def has_been_heard(self) -> bool:
        """Whether the database has heard of this process lately, and not of the one before it."""
        return self.heard_seconds is not None and self.heard_seconds < min(STUCK_SECONDS, self.since_seconds)

    @property
    def reaches(self) -> bool:
        """Whether the database has heard of it lately, although it ships nothing."""
        return self.heard_seconds is not None and self.heard_seconds < STUCK_SECONDS


class Heard(NamedTuple):
    """How long ago the database heard of a journal's segments, and counted something of them. None: never."""

    seen_seconds: float | None
    counted_seconds: float | None


def heard(connection: Connection, directory: Path) -> Heard | None:
    """Return when the database last heard of a journal; None if the journal has no segments.

    Raises
    ------
    JournalError
        The journal cannot be read.
    StoreError
        The database cannot be read.
    """
    ids, forks = ids_to_ship(directory)
    if not ids:
        return None
    with explained_errors("radmeter_reader"):
        (found,) = connection.execute(HEARD, ([*ids, *forks],)).fetchall()
    return Heard(*found)


def shipper_state(heard: Heard | None, directory: Path, depth: JournalDepth | None) -> ShipperState | None:
    """Return how the shipper of a journal gets on; None if there is none.

    Parameters
    ----------
    heard
        What the database says of the journal. None: that is not known, so the shipper is not judged.
    depth
        What waits in the journal. None: it is not known.

    Raises
    ------
    PermissionError
        This user may not ask who has the journal.
    """
    process = holder(directory, READER)
    if process is None:
        return None
    try:
        # The shipper writes its name into the file when it takes the journal.
        since = max(0.0, time.time() - lock_path(directory, READER).stat().st_mtime)
    except FileNotFoundError:
        return None
    if heard is None:
        return ShipperState(process=process, since_seconds=since, heard_seconds=None, stuck_seconds=None)
    times = [each for each in heard if each is not None]
    latest = max(0.0, min(times)) if times else None
    silent = since if latest is None else min(since, latest)
    still = since if heard.counted_seconds is None else min(since, heard.counted_seconds)
    oldest_us = None if depth is None or not depth.records else depth.oldest_received_at_us
    waiting = 0.0 if oldest_us is None else time.time() - oldest_us / 1e6
    stuck = silent if silent > STUCK_SECONDS else min(still, waiting)
    return ShipperState(
        process=process,
        since_seconds=since,
        heard_seconds=latest,
        stuck_seconds=stuck if stuck > STUCK_SECONDS else None,
    )
