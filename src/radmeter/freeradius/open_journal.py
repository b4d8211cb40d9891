"""Says which journal a process has open for writing, as far as this user may know."""

import os
from collections.abc import Iterable
from pathlib import Path

from radmeter.ingest.holders import locked_by
from radmeter.plugin.journal.locks import WRITER, lock_path


def open_journal(pid: int, candidates: Iterable[Path]) -> Path | None:
    """Return the journal that a process has open for writing; None if there is none, or if that is not known.

    radiusd opens its journal at the first packet. Only root may see the files of a radiusd. The kernel's list of locks
    is for all users, but it has no names: another user recognises the journal only if it is one of the candidates. A
    candidate that is a symbolic link to the journal is returned as it is.
    """
    candidates = list(candidates)
    name = lock_path(Path(), WRITER).name
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                opened = entry.readlink()
            except FileNotFoundError:  # closed meanwhile
                continue
            if opened.name == name:
                return next((each for each in candidates if same(each, opened.parent)), opened.parent)
    except PermissionError:
        inodes = locked_by(pid)
        return next((each for each in candidates if _inode(lock_path(each, WRITER)) in inodes), None)
    except OSError:  # the process has ended
        return None
    return None


def same(one: Path, other: Path) -> bool:
    """Tell whether two paths are of one directory, which need not exist."""
    return os.path.realpath(one) == os.path.realpath(other)


def is_contained(pid: int) -> bool:
    """Tell whether a process has another root directory, as in a container. Then its paths are not ours."""
    try:
        return not Path("/").samefile(f"/proc/{pid}/root/")
    except OSError:
        return False


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
