"""The journal on disk: names, modes and writing of its files. Its writer and its reader share this."""

import contextlib
import os
import re
import secrets
import shutil
import socket
import uuid
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError, os_reason

# Each time the journal is opened, it starts a segment at least this far beyond the last sequence number in use. So the
# numbers of a segment say that radiusd was started again before it, and a number is not used twice after a power cut.
GAP = 2**32

# A host's name has at most 64 bytes on Linux.
LONGEST_NODE_BYTES = 1024

# The ids of segments of format 1 are made from it. It must never change.
OLD_SEGMENTS = uuid.UUID("067c0a23-a7d3-407f-919a-27a20319ff4a")

# The digits at the end are the id's first. They are there if another segment has the same first number.
_SEGMENT = re.compile(r"segment-(\d{20})(?:-[0-9a-f]{8})?\.log")
_UNFINISHED = ".new-"

# Folders below the journal's directory. Their files are no part of what waits: they never make it refuse packets.
# Segments that are shipped and kept for a while. The writer deletes the oldest on a full disk.
SHIPPED = "shipped"
# Segments that the shipper ships again.
AGAIN = "again"
# Segments from which records are lost, after the others were shipped.
DAMAGED = "damaged"
# Segments that are no longer kept, and in which packets lie that the database left out.
LEFT_OUT = "left-out"
FOLDERS = (AGAIN, SHIPPED, DAMAGED, LEFT_OUT)


class SegmentFile(NamedTuple):
    """A segment: the first sequence number it may hold, and its file."""

    first_seq: int
    path: Path


def segment_path(directory: Path, first_seq: int, identity: str = "") -> Path:
    """Return the path of the segment that begins with `first_seq`.

    `identity`: the segment's id, if another segment has that path. It then makes the name another one.
    """
    other = f"-{identity[:8]}" if identity else ""
    return directory / f"segment-{first_seq:020d}{other}.log"


def first_seq_in_name(name: str) -> int | None:
    """Return the first number that a segment's file name says; None if it is no segment's name."""
    match = _SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def old_segment_id(node: str, first_seq: int) -> str:
    """Return the id of a segment of format 1, which has none in its header."""
    return str(uuid.uuid5(OLD_SEGMENTS, f"{node}:{first_seq}"))


def kept_segments(directory: Path) -> list[Path]:
    """Return the segments that an earlier release kept because it did not know whether it had shipped them."""
    return sorted(directory.glob("kept-segment-*.log"))


def unfinished_path(path: Path) -> Path:
    """Return the path at which a file is made. A rename then gives the finished file its name."""
    return path.with_name(_UNFINISHED + path.name)


def segments(directory: Path) -> list[SegmentFile]:
    """Return the segments in order, oldest first, from their names alone. Raises OSError."""
    with os.scandir(directory) as entries:
        matches = [match for entry in entries if (match := _SEGMENT.fullmatch(entry.name))]
    return sorted(SegmentFile(int(match[1]), directory / match[0]) for match in matches)


def remove_leftovers(directory: Path) -> None:
    """Delete the files that a crash left unfinished. For the writer only."""
    for path in directory.glob(f"{_UNFINISHED}*"):
        path.unlink(missing_ok=True)


def size_bytes(directory: Path, *, without: Path | None = None) -> int:
    """Return the bytes of the files in a directory, without those in its folders and the segment at `without`."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if without is None or entry.name != without.name:
                with contextlib.suppress(FileNotFoundError):  # the shipper moves segments away meanwhile
                    if not entry.is_dir(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
    return total


def make_directory(directory: Path) -> None:
    """Make the journal's directory durably; its group may write in it unless the umask keeps the group out."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    if missing:
        directory.mkdir(mode=0o770, parents=True, exist_ok=True)
        # radiusd's own umask (027) would let a shipper of the same group read, and not delete.
        if directory.stat().st_mode & 0o050:
            directory.chmod(0o770)
        try:
            for place in missing:
                sync_path(place.parent)
        except OSError:
            # The names are not durable. Without the directories the next packet is refused as well.
            for place in missing:
                with contextlib.suppress(OSError):
                    place.rmdir()
            raise
    else:
        # A writer that was killed after it had made the directories has not synced their names. A parent that radiusd
        # may not read belongs to another user, who made what is in it.
        with contextlib.suppress(PermissionError):
            sync_path(directory.parent)
        for place in directory.parent.parents:
            with contextlib.suppress(OSError):  # not every file system far above can be asked
                sync_path(place)


def file_mode(directory: Path) -> int:
    """Return the mode for files in `directory`: the group gets the same rights as on the directory."""
    return 0o600 | (directory.stat().st_mode & 0o060)


def create_file(path: Path) -> int:
    """Create `path`, replacing a file that a crash left there; return a descriptor for writing."""
    path.unlink(missing_ok=True)
    return open_new(path)


def open_new(path: Path, flags: int = 0) -> int:
    """Create `path`, and return a descriptor for reading and writing. Raises FileExistsError if it is there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | flags, 0o600)
    give_to_owner(descriptor, path.parent)
    os.fchmod(descriptor, file_mode(path.parent))
    return descriptor


def open_or_create(path: Path, flags: int = 0) -> int:
    """Return a descriptor for reading and writing of `path`. It is created if it is not there.

    A link is refused (OSError, ELOOP). The journal's owner could lead root to any file of the machine by it.
    """
    existing = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, existing)
    with contextlib.suppress(FileExistsError):
        return open_new(path, flags)
    return os.open(path, existing)  # another process has made it meanwhile


def give_to_owner(descriptor: int, directory: Path) -> None:
    """Give what root has just made in a journal to the journal's owner, whose programs could not use it else.

    Only for what this process has made. The owner may put a link to any other file in its place.
    """
    if os.geteuid() == 0:
        owner = directory.stat()
        with contextlib.suppress(OSError):  # root of a container, or of another machine, may not
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def sync_path(path: Path) -> None:
    """Make a file's content, or a directory's names, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_node(directory: Path) -> str | None:
    """Return the journal's node name, by which the database knows it; None if it has none yet.

    Raises
    ------
    JournalError
        The file `node` does not hold a name.
    """
    path = directory / "node"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        data = os.read(descriptor, LONGEST_NODE_BYTES + 1)
        if len(data) <= LONGEST_NODE_BYTES:
            return data.decode().strip() or None
    except UnicodeDecodeError:
        pass
    finally:
        os.close(descriptor)
    raise JournalError(f"{path} does not hold a node's name")


def new_node() -> str:
    """Return a new, unique node name: the host's name and a random number.

    It never begins like another source of the database (``detail:``), whatever the host's name is.
    """
    host = re.sub(r"[^\w.-]", "-", socket.gethostname(), flags=re.ASCII) or "localhost"
    return f"{host}-{secrets.token_hex(4)}"


def write_node(directory: Path, node: str) -> None:
    """Give the journal its node name, durably."""
    path = directory / "node"
    replace_file(path, f"{node}\n".encode(), unfinished_path(path))


def replace_file(path: Path, data: bytes, unfinished: Path, *, durable: bool = True) -> None:
    """Make a file anew. It gets its name when it is complete. `durable`: it then survives a power cut."""
    descriptor = create_file(unfinished)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        if durable:
            os.fsync(descriptor)
    except OSError:
        unfinished.unlink(missing_ok=True)  # it takes room on a full disk
        raise
    finally:
        os.close(descriptor)
    unfinished.rename(path)
    if durable:
        sync_path(path.parent)


def unusable(directory: Path, error: Exception) -> JournalError:
    """Return an error of the operating system as a JournalError, with the free space if there is little."""
    said = os_reason(error) if isinstance(error, OSError) else str(error)
    if isinstance(error, FileNotFoundError) and error.filename and not os.path.isdir(directory):  # noqa: PTH112 # no error if it may not be seen
        said = "there is no such directory"
    with contextlib.suppress(OSError):
        free_bytes = shutil.disk_usage(directory).free
        if free_bytes < 1 << 20:
            said += f"; {free_bytes} bytes are free on its disk"
    return JournalError(f"the journal {directory} cannot be used: {said}")
