"""Says what the operating system refused, in one line, and what to do."""

import errno
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from radmeter.errors import RadmeterError, os_reason

# Errors of the disk and of limits have no file name. Any other error without one is a fault of the program.
_OF_THE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)


def explained(error: OSError, directories: Mapping[str, Path] | None = None) -> RadmeterError | None:
    """Return an error with a message for people. None: its traceback says more, because the program is at fault.

    Parameters
    ----------
    error
        The error of the operating system.
    directories
        The directories in force by their options, such as ``--state``, to name the option that chooses another one.
    """
    if not isinstance(error.filename, str | bytes):
        return RadmeterError(os_reason(error)) if error.errno in _OF_THE_SYSTEM else None
    other = ""
    if isinstance(error, PermissionError):
        path = Path(os.fsdecode(error.filename))
        for option, directory in (directories or {}).items():
            if path.is_relative_to(directory) or directory.is_relative_to(path):
                other = f", or give {option} DIRECTORY of your own"
                break
    return RadmeterError(refused(error) + other)


def refused(error: OSError) -> str:
    """Return what the operating system said. If the file belongs to another user, name that user."""
    if isinstance(error, PermissionError) and isinstance(error.filename, str | bytes):
        path = _visible(Path(os.fsdecode(error.filename)))
        owner = path.stat().st_uid
        if owner != os.geteuid():
            return f"{path} belongs to {_name(owner)}: run as {_name(owner)}"
    return os_reason(error)


def _visible(path: Path) -> Path:
    """Return the path itself, or the nearest directory above it that this user can see."""
    for each in (path, *path.absolute().parents):
        try:
            each.stat()
        except OSError:
            continue
        return each
    return Path("/")


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
