"""Root ships the journal of another user once, as an operator may: that user's shipper and radiusd go on with it."""

import os
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.doctoring import faults, paste
from support.shipping import counted, fill, once, ship

pytestmark = [
    pytest.mark.timeout(180, func_only=True),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away"),
]

USER = 65534


def owners(journal: Path) -> set[tuple[int, int]]:
    """Return the owners of all that is in a journal."""
    return {(each.lstat().st_uid, each.lstat().st_gid) for each in journal.rglob("*")}


def test_all_that_root_makes_belongs_to_the_journals_owner(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    os.chown(journal, USER, USER)
    fill(journal, range(300))
    ship(journal, database)
    assert {each.name for each in journal.iterdir()} >= {"reader.lock", "ledger.json", "database", "shipped"}
    assert owners(journal) == {(USER, USER)}
    assert counted(connection) == once(range(300))


def test_a_link_that_the_owner_put_there_gives_no_other_file_away(tmp_path: Path, database: str) -> None:
    journal, other = tmp_path / "journal", tmp_path / "other"
    fill(journal, range(10))
    for each in (journal, *journal.iterdir()):
        os.chown(each, USER, USER)
    other.write_text("")
    (journal / "reader.lock").symlink_to(other)
    ship(journal, database)
    assert (other.stat().st_uid, other.stat().st_gid) == (0, 0)


def test_doctor_finds_what_root_has_left(tmp_path: Path, database: str) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(10))
    ship(journal, database)
    assert not [
        line for line in faults(database, "journal", RADMETER_JOURNAL=str(journal)) if "root" in line.said
    ]
    for each in (journal, *journal.rglob("*")):
        os.chown(each, USER, USER)
    os.chown(journal / "reader.lock", 0, 0)
    (line,) = [
        line for line in faults(database, "journal", RADMETER_JOURNAL=str(journal)) if "root" in line.said
    ]
    assert line.level == "red"
    assert "root owns reader.lock" in line.said
    if shutil.which("sudo"):
        paste(line.remedy)
        assert owners(journal) == {(USER, USER)}
