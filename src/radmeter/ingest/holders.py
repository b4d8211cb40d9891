"""Says which process has a journal open for writing, or ships it."""

from collections.abc import Iterator
from pathlib import Path

from radmeter.errors import JournalLocked
from radmeter.plugin.journal.locks import READER, WRITER, held_by, lock_path


def holder(directory: Path, role: str) -> str | None:
    """Return which process has a role (`WRITER`, `READER`) in a journal; None if no process has it.

    The kernel's list of locks names the process. A process in another container is not in our list, so the lock itself
    is asked, too. Raises PermissionError if the process is not listed and this user may not ask the lock.
    """
    try:
        listed = _listed(lock_path(directory, role).stat().st_ino)
    except FileNotFoundError:
        return None
    try:
        # Also if a process is listed: a file of a copied disk has the same inode number.
        held = held_by(directory, role)
    except PermissionError:
        if listed is None:
            raise
        return listed
    return None if held is None else listed or held


def locked_by(pid: int) -> set[int]:
    """Return the inode numbers of the files that a process has locked."""
    return {inode for holding, inode in _locks() if holding == pid}


def _listed(inode: int) -> str | None:
    """Return the process that the kernel lists as the holder of a lock on a file with this inode number."""
    return next((f"process {pid}" for pid, locked in _locks() if locked == inode), None)


def _locks() -> Iterator[tuple[int, int]]:
    """Yield the process id and the inode number of each lock that the kernel lists, as `held_by` takes them (flock)."""
    try:
        lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        if len(words) > 4 and "FLOCK" in words and words[-4] != "0":
            yield int(words[-4]), int(words[-3].rpartition(":")[2])


def refuse_if_in_use(directory: Path) -> None:
    """Check that nobody writes or ships a journal. Nothing in its directory is changed, so it may be read-only.

    Raises
    ------
    JournalLocked
        A process of this machine does. The message names it.
    """
    try:
        writer, reader = holder(directory, WRITER), holder(directory, READER)
    except PermissionError:
        return  # another user's lock, which the kernel does not list either
    if reader is not None:
        raise JournalLocked(
            f"the shipper of the journal {directory} is running ({reader}). It ships the segments there itself. "
            "Stop it first, or name a folder of the journal in which only finished segments are, such as "
            f"{directory / 'damaged'}"
        )
    if writer is not None:
        raise JournalLocked(
            f"radiusd is writing the journal {directory} ({writer}). Stop it first, or let "
            f"`radmeter ship --journal {directory}` ship the journal"
        )
