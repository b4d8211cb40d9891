"""Writes a file so that it is there whole or not at all, also after a power cut."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

LONGEST_NAME = 60


def write_durably(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file under a temporary name, sync it, and give it its name. One of that name is replaced.

    `mode` is that of the file; None: the one of any new file, by the umask.

    Raises
    ------
    OSError
        The file cannot be written. Nothing of it is left.
    """
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name[:LONGEST_NAME]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # mkstemp's file is for its owner only.
            os.fchmod(file.fileno(), _usual_mode() if mode is None else mode)
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(unfinished).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _usual_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
