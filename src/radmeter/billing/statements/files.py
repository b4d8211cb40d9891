"""Writes a file so that it is there whole or not at all, and finds a name for a tenant's file."""

import os
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path

LONGEST_NAME = 60


def write_durably(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, sync it, and give it its name. One of that name is replaced.

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
            # mkstemp's file is for its owner only; a bill has the rights of any new file.
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)
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


def file_name(period: date, tenant_id: int, tenant: str, suffix: str) -> str:
    """Return the name of a tenant's file: no two tenants have the same, and none leaves its directory."""
    # A name has at most 255 bytes, a letter up to four.
    plain = "".join(char if char.isalnum() else "-" for char in tenant)
    short = plain.encode()[:150].decode(errors="ignore")
    return f"{period:%Y-%m}-{short}-{tenant_id}{suffix}"
