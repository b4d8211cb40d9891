"""The folders of a journal: which there are, what lies in them, and how a segment gets into one."""

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from radmeter.plugin.journal import files
from radmeter.plugin.journal.files import SegmentFile

# The journal's directory itself, and its folders.
PLACES = ("", *files.FOLDERS)
# The folders of segments that the shipper does not ship any more.
DONE = (files.SHIPPED, files.DAMAGED, files.LEFT_OUT)


def journal_of(path: Path) -> Path:
    """Return the directory of the journal in which a segment lies."""
    parent = path.absolute().parent
    return parent if parent.name not in files.FOLDERS else parent.parent


def segments_in(*directories: Path) -> list[SegmentFile]:
    """Return the segments in some directories, in order. A directory that is not there has none. Raises OSError."""
    found: list[SegmentFile] = []
    for directory in directories:
        with suppress(FileNotFoundError):
            found += files.segments(directory)
    return sorted(found)


def move(journal: Path, path: Path, folder: str, segment_id: str = "") -> Path:
    """Move a segment into one of the journal's folders. Return where it is now. Raises OSError.

    If the folder has a file of that name, it is another segment with the same first number, and keeps its name. The
    segment that is moved then gets another name, with the first digits of `segment_id` if that name is free.
    """
    directory = journal / folder
    if not directory.exists():
        directory.mkdir(mode=0o700)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            files.give_to_owner(descriptor, journal)
            os.fchmod(descriptor, journal.stat().st_mode & 0o770)
        finally:
            os.close(descriptor)
        files.sync_path(journal)
    to, digits = directory / path.name, segment_id
    first_seq = files.first_seq_in_name(path.name) or 0
    while to.exists():
        to = files.segment_path(directory, first_seq, digits or secrets.token_hex(4))
        digits = ""
    _rename(path, to)
    return to


def _rename(path: Path, to: Path) -> None:
    """Move a file, also to another disk: a folder may be a link or a mount. After a crash it may be in both places."""
    try:
        path.rename(to)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    unfinished = files.unfinished_path(to)
    try:
        with path.open("rb") as source, os.fdopen(files.create_file(unfinished), "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
    except OSError:
        unfinished.unlink(missing_ok=True)  # it takes room on a full disk
        raise
    unfinished.rename(to)
    files.sync_path(to.parent)
    path.unlink()
