"""What the journal looks like on disk: names, modes, locks. The one thing its writer and its reader share."""

import fcntl
import os
import re
import secrets
import socket
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError, JournalLocked

# Every opening starts a segment this far beyond the last sequence number that may ever have been given out. In a
# power cut the file can lose records that were shipped already; if their numbers came again, the database would take
# new packets for ones it has counted.
GAP = 2**32

_SEGMENT = re.compile(r"segment-(\d{20})\.sqlite")
_NEW_PREFIX = ".new-"  # what a crash leaves of a segment (or node file) that was never finished
WAL, SHM = "-wal", "-shm"


class SegmentFile(NamedTuple):
    """A segment's place: the first sequence number it may hold, and its file."""

    first_seq: int
    path: str


def segment_path(directory: str, first_seq: int) -> str:
    """Return where the segment that begins with `first_seq` lives."""
    return f"{directory}/segment-{first_seq:020d}.sqlite"


def unfinished_path(directory: str, name: str) -> str:
    """Return where a file is made before it gets its real `name` by a rename, whole or not at all."""
    return f"{directory}/{_NEW_PREFIX}{name}"


def segments(directory: str) -> list[SegmentFile]:
    """Return the segments in order, oldest first, from their names alone. Raises OSError."""
    with os.scandir(directory) as entries:
        found = [(match, entry.path) for entry in entries if (match := _SEGMENT.fullmatch(entry.name))]
    return sorted(SegmentFile(int(match[1]), path) for match, path in found)


def remove_segment(path: str) -> None:
    """Delete a segment. Its log goes last: a database without its log would look like one with records missing."""
    for suffix in ("", WAL, SHM):
        Path(path + suffix).unlink(missing_ok=True)


def remove_leftovers(directory: str) -> None:
    """Delete what a crash left behind: files never finished, logs whose segment is gone. For the writer only."""
    names = set(os.listdir(directory))
    for name in names:
        orphan = name.endswith((WAL, SHM)) and _SEGMENT.fullmatch(name[:-4]) and name[:-4] not in names
        if orphan or name.startswith(_NEW_PREFIX):
            Path(directory, name).unlink(missing_ok=True)


def size_bytes(directory: str, *, without: str | None = None) -> int:
    """Return what the journal takes on disk, leaving out the segment at `without`."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if without is not None and entry.path.startswith(without):
                continue
            try:
                total += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:  # the shipper deletes segments while this looks
                continue
    return total


def file_mode(directory: str) -> int:
    """Return the mode of files made in `directory`: shared with its group exactly if the directory is.

    radiusd runs with a umask of its own, so the operator's choice is read from the directory instead.
    """
    return 0o600 | (os.stat(directory).st_mode & 0o060)


def create_file(path: str, mode: int) -> int:
    """Create `path`, which must not exist, and return a descriptor to write it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    os.fchmod(descriptor, mode)
    return descriptor


def sync_path(path: str) -> None:
    """Make a file's content, or a directory's names, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_node(directory: str) -> str | None:
    """Return the name this journal goes by in the database, None if it has none yet."""
    try:
        return Path(directory, "node").read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def write_node(directory: str, node: str | None = None) -> str:
    """Give the journal a name, a new one unless `node` is given, and return it."""
    node = node or f"{socket.gethostname() or 'localhost'}-{secrets.token_hex(4)}"
    unfinished = unfinished_path(directory, "node")
    Path(unfinished).unlink(missing_ok=True)
    descriptor = create_file(unfinished, file_mode(directory))
    try:
        os.write(descriptor, f"{node}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(unfinished, f"{directory}/node")
    sync_path(directory)
    return node


class RoleLock:
    """One process per role (`writer`, `reader`) and journal, by flock: it cannot outlive its process."""

    def __init__(self, directory: str, role: str) -> None:
        self._directory = directory
        self._role = role
        self._path = f"{directory}/{role}.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or keep it. Raises JournalLocked naming the holder, or OSError."""
        if self._descriptor is not None:
            if self._in_place():
                return
            self.release()  # the directory was removed and made again: the file locked is nobody's any more
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").split()
            os.close(descriptor)
            who = f"process {holder[0]} on {holder[-1]}" if holder else "another process"
            raise JournalLocked(
                f"the journal {self._directory} has its {self._role} already: {who} "
                f"(it holds {self._path}); stop that one first, or use another directory"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _in_place(self) -> bool:
        assert self._descriptor is not None
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False


def unusable(directory: str, error: Exception) -> JournalError:
    """Return `error`, whatever the operating system or SQLite said, as the journal's own."""
    return JournalError(f"the journal {directory} cannot be used: {error}")
