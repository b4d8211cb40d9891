"""A FreeRADIUS host as a whole: radiusd with its journal, and the shipper."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import Database, FreeRadius, Shipper, until
from support.routers_with_ledger import Load

SEGMENT_BYTES = 1 << 16


@dataclass
class Host:
    """A host whose programs are started by the test."""

    radius: FreeRadius
    shipper: Shipper

    @property
    def journal(self) -> Path:
        return self.radius.journal

    def start(self) -> None:
        self.radius.start()
        self.shipper.start()


@contextmanager
def host(directory: Path, dsn: str, *, journal: Path | None = None, **settings: Any) -> Iterator[Host]:
    """A host with all its files in a directory, or its journal elsewhere. Its segments are small. No program runs."""
    with ExitStack() as stack:
        radius = stack.enter_context(
            FreeRadius(
                directory / "run",
                journal or directory / "journal",
                **{"segment_bytes": SEGMENT_BYTES, **settings},
            )
        )
        shipper = stack.enter_context(Shipper(directory / "ship.log", radius.journal, dsn))
        yield Host(radius, shipper)


def copy_journal(of: Host, to: Host) -> None:
    """Copy the journal of a host to another one. The first one's radiusd may write meanwhile."""
    assert of.shipper.process is None
    shutil.copytree(of.journal, to.journal)


def ship(database: Database, packets: int, *loads: Load) -> None:
    """Wait until each load has got so many more answers, and the database has counted so many more packets."""
    goal = database.records() + packets
    for more in [load.more(packets) for load in loads]:
        until("packets are answered", more)
    until("packets are counted", lambda: database.records() >= goal)


def incidents(database: Database) -> list[tuple[object, ...]]:
    """Return kind, segment, first and last number, count, and whether it is settled, of all incidents."""
    return database.rows(
        """SELECT kind, segment::text, first_seq, last_seq, records, settled_at IS NOT NULL
           FROM radmeter.journal_incident ORDER BY id"""
    )


def lost(database: Database, loads: Sequence[Load]) -> set[str]:
    """Return the sessions that were answered and are not counted."""
    found = {session for (session,) in database.rows("SELECT acctsessionid FROM public.radacct")}
    return {
        f"{router.number}-{packet}" for load in loads for router in load.routers for packet in router.answered
    } - found
