"""Opening a segment and reading its header, for the writer and for the reader."""

import errno
import os
from pathlib import Path

from radmeter.plugin.journal import files
from radmeter.plugin.journal.segment_format import LONGEST_HEADER, HeaderError, SegmentHeader, unpack_header


def open_unnoticed(path: Path) -> int:
    """Open a segment without updating its access time: that update would delay the writer's next sync."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        # Only the file's owner may use O_NOATIME. For others, mount the file system with noatime.
        return os.open(path, flags)


def read_header(path: Path) -> SegmentHeader:
    """Return a segment's header. Raises HeaderError, or OSError if the file cannot be read."""
    descriptor = open_unnoticed(path)
    try:
        return header_of(descriptor, files.first_seq_in_name(path.name) or 0)[0]
    finally:
        os.close(descriptor)


def header_of(descriptor: int, first_seq: int) -> tuple[SegmentHeader, int]:
    """Return the header of an open file, and where the records begin. `first_seq`: the first number in its name."""
    try:
        data = os.pread(descriptor, LONGEST_HEADER, 0)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ESPIPE):
            kind = "a directory" if error.errno == errno.EISDIR else "a pipe"
            raise HeaderError(f"it is {kind} and no file") from None
        raise
    header, start = unpack_header(data)
    return (header._replace(first_seq=first_seq) if header.format == 1 else header), start
