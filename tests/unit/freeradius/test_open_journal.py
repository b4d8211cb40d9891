"""Which journal a process has open: by its files, or by the kernel's list of locks for a user who may not see them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from radmeter.freeradius.open_journal import is_contained, open_journal

HOLD = """
import sys; from pathlib import Path; from radmeter.plugin.journal.locks import WRITER, RoleLock
lock = RoleLock(Path(sys.argv[1]), WRITER)
lock.acquire()
print(flush=True)
sys.stdin.read()
"""
ASK = """
import os, sys; from pathlib import Path; from radmeter.freeradius.open_journal import open_journal
os.setgid(65534); os.setuid(65534)
print(open_journal(int(sys.argv[1]), map(Path, sys.argv[2:])))
"""


@pytest.fixture
def journal() -> Iterator[Path]:
    # Not pytest's own directory, through which nobody else may pass.
    with TemporaryDirectory(prefix="radmeter-test-") as directory:
        Path(directory).chmod(0o755)
        for name in ("other", "journal"):
            (Path(directory) / name).mkdir()
            (Path(directory) / name / "writer.lock").touch()
        yield Path(directory) / "journal"


@pytest.fixture
def writer(journal: Path) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, journal], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate()


def test_the_files_of_a_process_of_ours_tell_its_journal(journal: Path, writer: int) -> None:
    assert open_journal(writer, []) == journal
    assert open_journal(os.getpid(), [journal]) is None
    link = journal.parent / "link"
    link.symlink_to(journal)
    assert open_journal(writer, [journal.parent / "other", link]) == link
    assert not is_contained(writer)


def test_a_process_that_has_ended_has_none(journal: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert open_journal(process.pid, [journal]) is None
    assert not is_contained(process.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_another_user_recognises_the_journal_among_those_it_knows(journal: Path, writer: int) -> None:
    def asked(*candidates: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", ASK, str(writer), *candidates],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        return done.stdout.strip()

    other = journal.parent / "other"
    assert asked(other, journal) == str(journal)
    assert asked(other, journal.parent / "none") == "None"
