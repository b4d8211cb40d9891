"""A FreeRADIUS host as a whole: radiusd with its journal, and the shipper. Databases that step back."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

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
def host(directory: Path, dsn: str, *, journal: Path | None = None, **settings: object) -> Iterator[Host]:
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


def records(database: Database) -> int:
    """Return how many packets the database has counted."""
    ((found,),) = database.rows("SELECT coalesce(sum(records), 0)::bigint FROM radmeter.nodes")
    assert isinstance(found, int)
    return found


def ship(database: Database, packets: int, *loads: Load) -> None:
    """Wait until each load has got so many more answers, and the database has counted so many more packets."""
    goal = records(database) + packets
    for more in [load.more(packets) for load in loads]:
        until("packets are answered", more)
    until("packets are counted", lambda: records(database) >= goal)


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
    } - found  # type: ignore[operator]


class Backups:
    """Copies of a database, which can be put in its place."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
        self._copies: list[str] = []

    def take(self) -> int:
        """Copy the database, and return the copy's number. Its sessions end."""
        name = f"{self._name}_{len(self._copies)}"
        self._replace(name, self._name)
        self._copies.append(name)
        return len(self._copies) - 1

    def restore(self, number: int) -> None:
        self._replace(self._name, self._copies[number])

    def drop(self) -> None:
        with psycopg.connect(self._dsn, dbname="postgres", autocommit=True) as server:
            for name in self._copies:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _replace(self, name: str, template: str) -> None:
        """Make a database from another one. Nobody can connect to either of them meanwhile."""
        there, source = sql.Identifier(name), sql.Identifier(template)
        with psycopg.connect(self._dsn, dbname="postgres", autocommit=True) as server:
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(source))
            try:
                server.execute(
                    "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = %s",
                    (template,),
                )
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(there))
                server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(there, source))
            finally:
                server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(source))


@contextmanager
def backups(dsn: str) -> Iterator[Backups]:
    """Backups of a database for the block."""
    found = Backups(dsn)
    try:
        yield found
    finally:
        found.drop()
