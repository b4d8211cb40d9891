"""A journal whose disk is lost: nobody ships it any more, and `radmeter doctor` says so."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from support.commands import radmeter
from support.doctoring import Line, faults
from support.documents import block, changed
from support.servers import Connection
from support.shipping import append, fill, ship

from radmeter.ingest.store import Store
from radmeter.plugin.journal.files import read_node
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(180, func_only=True)


def lose(journal: Path, database: str) -> str:
    """Let a host lose its disk while packets wait there. It begins a new journal. Return the old one's name."""
    with closing(JournalWriter(journal)) as writer:
        append(writer, range(20))
        ship(journal, database)
        append(writer, range(20, 40))
    node = read_node(journal)
    assert node is not None
    shutil.rmtree(journal)
    fill(journal, range(100, 110))
    ship(journal, database)
    return node


def make_older(connection: Connection, node: str, age: str) -> None:
    """Let all that happened to the segments of a journal have happened earlier."""
    connection.execute(
        """UPDATE radmeter.journal_segment SET seen_at = seen_at - %s::interval,
               updated_at = updated_at - %s::interval WHERE node = %s""",
        (age, age, node),
    )


def told(journal: Path, database: str) -> list[Line]:
    return faults(database, "incidents", RADMETER_JOURNAL=str(journal))


def test_a_journal_that_is_made_anew_does_not_hide_what_the_former_one_had_not_shipped(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    journal = tmp_path / "journal"
    node = lose(journal, database)
    assert told(journal, database) == []
    make_older(connection, node, "2 hours")
    ship(journal, database)
    (line,) = told(journal, database)
    assert line.level == "yellow"
    assert line.said.startswith(
        f"{node}: 1 segment is not known to be all counted, and no shipper has had it for "
    )
    make_older(connection, node, "31 days")
    ship(journal, database)
    (line,) = told(journal, database)
    assert line.level == "yellow"
    connection.execute(
        changed(block("operators/recovery.md", "lost-journal"), {"radius1-1f0c9a3e": node}).encode()
    )
    assert told(journal, database) == []
    assert "WHAT HAPPENED, TICKET" in radmeter(database, "journal", "incidents", "--all").output


def test_a_journal_that_comes_back_is_no_fault(tmp_path: Path, database: str, connection: Connection) -> None:
    with closing(JournalWriter(tmp_path)) as writer:
        append(writer, range(20))
        ship(tmp_path, database)
        make_older(connection, read_node(tmp_path) or "", "2 days")
        assert [line.level for line in told(tmp_path, database)] == ["yellow"]
        ship(tmp_path, database)
        assert told(tmp_path, database) == []


def test_what_a_shipper_found_to_be_missing_is_said_once(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    node = lose(tmp_path / "journal", database)
    ((segment, last_seq),) = connection.execute(
        "SELECT id::text, last_seq FROM radmeter.journal_segments WHERE node = %s", (node,)
    ).fetchall()
    make_older(connection, node, "2 days")
    with closing(Store(database)) as store:
        incident = {"kind": "missing", "segment": segment, "first_seq": last_seq + 1, "detail": ""}
        store.note_incident(node, incident)
    (line,) = told(tmp_path / "journal", database)
    assert "acknowledged and are not counted" in line.said
