"""Ready is who reaches the database and its journal, and counts packets in time."""

import time
from contextlib import ExitStack, closing
from pathlib import Path
from unittest.mock import patch

from support.commands import Packets
from support.servers import Connection
from support.shipping import append, fill, ship

from radmeter.metrics import health
from radmeter.metrics.figures import Row, Source
from radmeter.plugin.journal.writer import JournalWriter


def about(source: Source) -> list[str]:
    """Return what the faults are about."""
    try:
        return [fault.about for fault in health.faults(source.read())]
    finally:
        source.close()


def test_a_host_on_which_all_is_well_is_ready(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    assert about(Source(database, journal=journal)) == []  # there is none
    with closing(JournalWriter(journal, sync="interval")) as writer:
        append(writer, range(3))
        assert about(Source(database, journal=journal)) == []
    ship(journal, database)
    assert about(Source(database, journal=journal)) == []


def test_a_database_that_is_away() -> None:
    source = Source("postgresql://127.0.0.1:1/none?connect_timeout=1")
    (fault,) = health.faults(source.read())
    assert fault.about == "database"
    assert "cannot be reached" in fault.text


def test_packets_that_wait_for_long(database: str, tmp_path: Path) -> None:
    with closing(JournalWriter(tmp_path, sync="interval")) as writer:
        append(writer, range(3), time.time() - 90)
    source = Source(database, journal=tmp_path)
    figures = source.read()
    source.close()
    (fault,) = health.faults(figures)
    assert fault.about == "lag"
    assert fault.text.startswith("3 records of this host's journal wait, the oldest for 1 min")
    assert health.faults(figures, lag_seconds=600) == []


def test_a_node_that_is_behind(database: str) -> None:
    with Packets(database, "radius2") as packets:
        packets.add("Start", "s1", ago=300, User_Name="alice")
    assert about(Source(database)) == ["lag"]


def test_a_journal_that_cannot_be_read(database: str, tmp_path: Path) -> None:
    with closing(JournalWriter(tmp_path, sync="interval")) as writer:
        append(writer, range(3))
    (segment,) = tmp_path.glob("segment-*.log")
    segment.write_bytes(b"\xff" * 100)
    assert about(Source(database, journal=tmp_path)) == ["journal"]


def test_a_database_that_is_lost_in_between_is_no_fault_of_the_journal(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    fill(tmp_path, range(3))
    source = Source(database, journal=tmp_path, cached_seconds=0)
    reading, asked = source._reading, source._ask

    def reading_that_is_lost() -> Connection:
        opened = reading()
        connection.execute("SELECT pg_terminate_backend(%s, 60000)", (opened.info.backend_pid,))
        return opened

    def ask() -> Row:
        row = asked()
        lost.enter_context(patch.object(source, "_reading", reading_that_is_lost))
        return row

    with ExitStack() as lost, patch.object(source, "_ask", ask):
        figures = source.read()
    assert figures.database is not None
    assert figures.journal is not None
    assert figures.journal.records is None
    assert health.faults(figures) == []
    again = source.read()
    source.close()
    assert again.journal is not None
    assert again.journal.records == 3


def test_nothing_known_is_a_fault_of_the_database() -> None:
    assert about(Source(None)) == ["database"]
