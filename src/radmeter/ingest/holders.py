"""Says which process has a journal open for writing, or ships it."""

import fcntl
import os
from pathlib import Path

from radmeter.errors import JournalLocked

WRITER, READER = "writer", "reader"


def holder(directory: Path, role: str) -> str | None:
    """Return who holds the journal's lock for a role, None if nobody does.

    The kernel's list of locks says it. If that has nothing, this takes the lock for a moment: a process in another
    container is not in our list. Raises PermissionError if neither tells it.
    """
    path = directory / f"{role}.lock"
    try:
        listed = _listed(path.stat().st_ino)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError:
        if listed := _listed(path.stat().st_ino):
            return listed
        raise
    try:
        # Also if it is listed: a file of a copied disk has the same inode number.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        words = os.pread(descriptor, 200, 0).decode("utf-8", "replace").split()
        return listed or (f"process {' on '.join(words)}" if words else "another process")
    finally:
        os.close(descriptor)
    return None


def _listed(inode: int) -> str | None:
    """Return the process that the kernel lists as the holder of a lock on a file with this inode number."""
    try:
        lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        listed = len(words) > 4 and "FLOCK" in words and words[-4] != "0"
        if listed and words[-3].rpartition(":")[2] == str(inode):
            return f"process {words[-4]}"
    return None


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
