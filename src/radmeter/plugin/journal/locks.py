"""The locks of a journal: one process writes it, and one process ships it."""

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path

from radmeter.errors import JournalLocked
from radmeter.plugin.journal.files import file_mode, open_or_create

# The roles.
WRITER, READER = "writer", "reader"

# `held_by` has the lock for an instant, or for as long as a busy machine keeps it from a processor. So another process
# tries for a quarter of a second before it gives up.
ASK_AGAIN = 50
ASK_SECONDS = 0.005


def lock_path(directory: Path, role: str) -> Path:
    """Return the file that the process with a role has locked."""
    return directory / f"{role}.lock"


class RoleLock:
    """A lock for one process per journal and role. flock releases it when the process ends."""

    def __init__(self, directory: Path, role: str) -> None:
        self._directory = directory
        self._role = role
        self._path = lock_path(directory, role)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or keep it. Raises JournalLocked, which names the holder, or OSError."""
        if self._descriptor is not None:
            if self._in_place(self._descriptor):
                return
            self.release()  # the directory was removed and made again: the locked file is gone
        descriptor = open_or_create(self._path)
        try:
            _lock(descriptor)
            with contextlib.suppress(PermissionError):  # the file of another user, who had the role before
                os.fchmod(descriptor, file_mode(self._directory))
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        except BaseException as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise JournalLocked(
                    f"the journal {self._directory} has its {self._role} already: "
                    f"{holder} holds {self._path}; stop that one first, or use another directory"
                ) from None
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def held_by(directory: Path, role: str) -> str | None:
    """Return which process has a role now, as it wrote that into the file; None if no process has it.

    This takes the lock for an instant. Raises OSError, also if this user may not read the file.
    """
    try:
        descriptor = os.open(lock_path(directory, role), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _holder(descriptor: int) -> str:
    """Return the process that wrote its name into a lock's file."""
    words = os.pread(descriptor, 200, 0).decode("utf-8", "replace").split()
    return f"process {words[0]} on {words[-1]}" if words else "another process"


def _lock(descriptor: int) -> None:
    """Lock a file. Raises BlockingIOError if another process has it for longer than `held_by` needs to ask."""
    for _ in range(ASK_AGAIN):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(ASK_SECONDS)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
