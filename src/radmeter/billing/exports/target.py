"""Where an export goes: a file that appears when it is whole, or standard output. What is written is hashed in passing.

A file is written under its name with `UNFINISHED` appended, and synced. Then the old manifest goes, the file takes its
name, and the new manifest takes its own. So wherever it is killed, a manifest beside a file is the file's.
"""

import fcntl
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from radmeter import output
from radmeter.errors import RadmeterError

UNFINISHED = ".part"
MANIFEST = ".manifest.json"


class TargetError(RadmeterError):
    """The file cannot be written."""


class Sink:
    """Takes bytes, counts and hashes them. It cannot go back, so a writer writes the same to a file and to a pipe.

    It has what pyarrow and zipfile ask of a file.
    """

    closed = False

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._digest = hashlib.sha256()
        self.size = 0
        # A writer that failed may try to write its end when the garbage collector finds it.
        self.given_up = False

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def readable(self) -> bool:
        """Return that it is not."""
        return False

    def seekable(self) -> bool:
        """Return that it is not."""
        return False

    def flush(self) -> None:
        """Keep nothing back: nothing is."""

    def close(self) -> None:
        """Leave the place open: it is the target's."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:
        """Write all of the data."""
        content = bytes(data)
        if self.given_up:
            return len(content)
        self._digest.update(content)
        self.size += len(content)
        self._write(content)
        return len(content)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of what was written, in hexadecimal."""
        return self._digest.hexdigest()


class Target(Protocol):
    """A place for an export, as a context manager. If the block fails, nothing new appears."""

    sink: Sink

    def __enter__(self) -> Self:
        """Make it ready."""

    def finish(self, manifest: bytes) -> None:
        """Let what was written appear, and the manifest."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear up."""


class FileTarget:
    """A file with its manifest. What was there before stays until the new ones are whole.

    Raises
    ------
    TargetError
        The name is that of something else than a file, or another export writes this file.
    OSError
        It cannot be written.
    """

    def __init__(self, path: Path, manifest: Path | None = None) -> None:
        self._file = _Unfinished(path)
        self._manifest = _Unfinished(manifest or Path(f"{path}{MANIFEST}"))
        if self._file.names & self._manifest.names:
            raise TargetError(f"{path} cannot be the file and its manifest: give the manifest another name")
        # The manifest of an older file, if this one's gets another name.
        self._beside = _Unfinished(Path(f"{path}{MANIFEST}"))

    def __enter__(self) -> Self:
        self._file.open()
        try:
            self._manifest.open()
        except BaseException:
            self._file.close()
            raise
        self.sink = Sink(self._file.write)
        return self

    def finish(self, manifest: bytes) -> None:
        """Let the file and its manifest appear, durably."""
        self._manifest.write(manifest)
        self._file.sync()
        self._manifest.sync()
        self._manifest.remove_older()
        self._beside.remove_older()
        self._file.appear()
        self._manifest.appear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        finally:
            self._manifest.close()


class OutputTarget:
    """Standard output. A manifest is written only if it has a name."""

    def __init__(self, manifest: Path | None = None) -> None:
        self._manifest = None if manifest is None else _Unfinished(manifest)

    def __enter__(self) -> Self:
        if self._manifest is not None:
            self._manifest.open()
        self.sink = Sink(output.binary)
        return self

    def finish(self, manifest: bytes) -> None:
        """Let the manifest appear."""
        output.flush()
        if self._manifest is not None:
            self._manifest.write(manifest)
            self._manifest.sync()
            self._manifest.appear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._manifest is not None:
            self._manifest.close()


class _Unfinished:
    """A file that has not got its name yet. A lock keeps others from writing it; it ends with the process."""

    def __init__(self, path: Path) -> None:
        # A symbolic link stays one.
        self.path = Path(os.path.realpath(path))
        if self.path.exists() and not self.path.is_file():
            raise TargetError(f"{path} is not a regular file: give another name, or - for standard output")
        self._place = Path(f"{self.path}{UNFINISHED}")
        self._file: io.FileIO | None = None

    @property
    def names(self) -> set[Path]:
        """Which names it takes while it is written, and afterwards."""
        return {self.path, self._place}

    def open(self) -> None:
        """Open it, and empty what a killed export left."""
        while self._file is None:
            # Not blocking: a pipe of this name would wait for its reader.
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            found = os.open(self._place, flags, 0o666)
            if not stat.S_ISREG(os.fstat(found).st_mode):
                os.close(found)
                raise TargetError(f"{self._place} is not a regular file: remove it, or give another name")
            try:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(found)
                raise TargetError(
                    f"another export writes {self.path}: wait for it, or give another name"
                ) from None
            if self._is(found):
                self._file = io.FileIO(found, "wb")
                self._file.truncate(0)
                # Who may read the file stays.
                with suppress(FileNotFoundError):
                    os.fchmod(found, stat.S_IMODE(self.path.stat().st_mode))
            else:
                os.close(found)  # the other export has finished meanwhile, and this is its file

    def write(self, data: bytes) -> None:
        """Write all of the data."""
        assert self._file is not None
        rest = memoryview(data)
        with self._named():
            while rest:
                rest = rest[self._file.write(rest) :]

    def sync(self) -> None:
        """Have the content on the disk."""
        assert self._file is not None
        with self._named():
            os.fsync(self._file.fileno())

    def remove_older(self) -> None:
        """Remove what has the name now."""
        with suppress(FileNotFoundError):
            self.path.unlink()
            self._sync_directory()

    def appear(self) -> None:
        """Give the file its name, durably."""
        self._place.rename(self.path)
        self._sync_directory()

    def close(self) -> None:
        """Close it. If it has not got its name, it goes."""
        if self._file is not None:
            file, self._file = self._file, None
            with file, suppress(OSError):
                if self._is(file.fileno()):
                    self._place.unlink()

    def _is(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._place.stat())
        except FileNotFoundError:
            return False

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = str(self.path)
            raise

    def _sync_directory(self) -> None:
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
