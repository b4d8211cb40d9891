"""A disk that at a power cut loses everything that was not synced: the worst case that POSIX permits."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple, Self

import pytest

PAGE_BYTES = 4096


class _Inode(NamedTuple):
    """A file or directory. A descriptor of it stays open, so that its inode number is not used again."""

    number: int
    descriptor: int
    is_directory: bool


class PowerCut:
    """Watches a directory, and shows what a power cut would leave of it.

    Everything that is there at the beginning is durable. Later a file's content is durable as it was at the file's last
    sync, and a name is durable since its directory's last sync.

    Parameters
    ----------
    top
        The directory.
    before_sync
        Called before every sync. A power cut at this moment shows whether the order is right.
    """

    def __init__(self, top: Path, before_sync: Callable[[], None] = lambda: None) -> None:
        self.before_sync = before_sync
        self.syncs = 0
        self._inodes: dict[int, _Inode] = {}
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, _Inode]] = {}
        self._top = self._inode(os.open(top, os.O_RDONLY))
        self._all_durable(self._top)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Watch the syncs of this process from now on."""
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))
        return self

    def close(self) -> None:
        """Close the open descriptors."""
        for inode in self._inodes.values():
            os.close(inode.descriptor)

    def leave(self, place: Path, *, names: str, pages: Random | None = None) -> Path:
        """Make in `place` a copy of what a power cut would leave now; return `place`.

        `names`: the names that it leaves, only the ``synced`` ones or ``all``, since the disk may also have written
        the others. `pages`: choose by it which pages of each file the disk has written since the file's last sync, and
        whether it has the present length. Without it, none.
        """
        self._leave(self._top, place, names, pages)
        return place

    def _leave(self, directory: _Inode, place: Path, names: str, pages: Random | None) -> None:
        place.mkdir()
        found = self._names.get(directory.number, {}) if names == "synced" else self._entries(directory)
        for name, inode in found.items():
            if inode.is_directory:
                self._leave(inode, place / name, names, pages)
            else:
                left = self._contents.get(inode.number, b"")
                (place / name).write_bytes(_mixed(left, self._content(inode), pages) if pages else left)

    def _watched(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def watched(descriptor: int) -> None:
            self.before_sync()
            inode = self._inode(os.dup(descriptor))
            # Read before the sync: data that is written during the sync need not be durable after it.
            names = self._entries(inode) if inode.is_directory else {}
            content = b"" if inode.is_directory else self._content(inode)
            sync(descriptor)
            self.syncs += 1
            if inode.is_directory:
                self._names[inode.number] = names
            else:
                self._contents[inode.number] = content

        return watched

    def _inode(self, descriptor: int) -> _Inode:
        status = os.fstat(descriptor)
        known = self._inodes.get(status.st_ino)
        if known is not None:
            os.close(descriptor)
            return known
        inode = _Inode(status.st_ino, descriptor, os.path.isdir(f"/proc/self/fd/{descriptor}"))  # noqa: PTH112
        return self._inodes.setdefault(inode.number, inode)

    def _entries(self, directory: _Inode) -> dict[str, _Inode]:
        found = {}
        for name in os.listdir(f"/proc/self/fd/{directory.descriptor}"):  # noqa: PTH208
            with suppress(FileNotFoundError):  # another thread or process deletes files
                # The directory above may be the machine's /tmp. Whoever opens a named pipe there waits for ever.
                kind = os.stat(name, dir_fd=directory.descriptor).st_mode
                if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
                    found[name] = self._inode(os.open(name, os.O_RDONLY, dir_fd=directory.descriptor))
        return found

    def _content(self, file: _Inode) -> bytes:
        return Path(f"/proc/self/fd/{file.descriptor}").read_bytes()

    def _all_durable(self, directory: _Inode) -> None:
        self._names[directory.number] = self._entries(directory)
        for inode in self._names[directory.number].values():
            if inode.is_directory:
                self._all_durable(inode)
            else:
                self._contents[inode.number] = self._content(inode)


def _mixed(synced: bytes, now: bytes, pages: Random) -> bytes:
    """Return a file of which the disk has written some pages of the present content, and its length or not."""
    size = len(pages.choice((synced, now)))
    longest = max(len(synced), len(now))
    content = b"".join(
        pages.choice((synced, now))[start : start + PAGE_BYTES].ljust(PAGE_BYTES, b"\0")
        for start in range(0, longest, PAGE_BYTES)
    )
    return content[:size]
