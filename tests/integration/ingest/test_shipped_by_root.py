"""Root ships the journal of another user once, as an operator may: that user's shipper and radiusd go on with it."""

import os
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import radmeter
from support.doctoring import faults, paste
from support.shipping import counted, fill, once, ship

from radmeter.ingest import gone_segments
from radmeter.plugin.journal import files

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


def names(journal: Path) -> set[str]:
    """Return the files that shippers and radiusd make in a journal, and the names under which they make them."""
    found = {str(each.relative_to(journal)) for each in journal.rglob("*") if each.is_file()}
    unfinished = {str(files.unfinished_path(Path(name))) for name in found}
    return found | unfinished | {f".{name}" for name in found if "/" not in name}


def test_links_that_the_owner_put_there_lead_root_to_no_other_file(tmp_path: Path, database: str) -> None:
    journal, other = tmp_path / "journal", tmp_path / "other"

    def ship_twice() -> None:
        for _ in range(2):  # the second run forgets the segments that the first has shipped
            radmeter(
                database, "ship", "--until-empty", RADMETER_JOURNAL=str(journal), RADMETER_KEPT_HOURS="0"
            )

    fill(journal, range(300))
    ship_twice()
    made = {name for name in names(journal) if "segment-" not in name and name != "node"}
    assert made >= {"reader.lock", "ledger.json", "database", gone_segments.GONE}
    database_id = (journal / "database").read_text()  # a shipper waits for a person if it is another one
    for name in sorted(made):
        shutil.rmtree(journal)
        fill(journal, range(300))
        for each in (journal, *journal.iterdir()):
            os.chown(each, USER, USER)
        journal.chmod(0o2770)
        text = database_id if name == "database" else "root's"
        other.write_text(text)
        other.chmod(0o600)
        (journal / name).unlink(missing_ok=True)
        (journal / name).symlink_to(other)
        if name == gone_segments.GONE:  # a shipper would wait until somebody removes it
            with pytest.raises(OSError, match="symbolic links"):
                gone_segments.append(journal, [])
        else:
            ship_twice()
        status = other.stat()
        assert (other.read_text(), status.st_mode & 0o777, status.st_uid) == (text, 0o600, 0), name


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
