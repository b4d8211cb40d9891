"""Kept segments give way on a full disk: they are shipped already, and the packet that comes now is not."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from radmeter.plugin.journal import files

# With less free space on the disk than that, the next segment begins only after kept ones are deleted.
LEAST_FREE_BYTES = 64 << 20


def is_full(error: Exception) -> bool:
    """Tell whether `error` says that the disk, or its user's part of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def delete_oldest(journal: Path, on_deleted: Callable[[Path], None]) -> int | None:
    """Delete the oldest kept segment that this user may delete. Return its bytes, None if there is none."""
    shipped = journal / files.SHIPPED
    if shipped.is_symlink():  # to another disk: deleting there frees nothing here
        return None
    with contextlib.suppress(OSError):
        for segment in files.segments(shipped):
            with contextlib.suppress(OSError):  # a directory, or another user's: the next one may do
                size = segment.path.lstat().st_size
                segment.path.unlink()
                on_deleted(segment.path)
                return size
    return None


def make_room(journal: Path, on_deleted: Callable[[Path], None]) -> None:
    """Delete kept segments, oldest first, until enough is free for the next segment."""
    with contextlib.suppress(OSError):
        disk = os.statvfs(journal)
        # Not asked again after each one: some file systems free the space of a deleted file a moment later.
        missing = LEAST_FREE_BYTES - disk.f_bavail * disk.f_frsize
        while missing > 0 and (size := delete_oldest(journal, on_deleted)) is not None:
            missing -= size
