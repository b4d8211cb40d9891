"""The journal's reading side: records in order, and deletion of the segments that have been shipped."""

import itertools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from radmeter import journal_files as files
from radmeter.errors import JournalError

_FROM = "SELECT seq, received_at_us, pairs FROM record WHERE seq >= ? ORDER BY seq LIMIT ?"
_LAST = "SELECT max(seq) FROM record"
_RANGE = f"SELECT min(seq), ({_LAST}) FROM record WHERE seq > ?"  # noqa: S608  constants only
# What is wrong around a segment, not in it: rights, memory, space, another process in the middle of a recovery.
_AROUND = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


class Entry(NamedTuple):
    """One packet: its number, when it arrived (microseconds since 1970, UTC) and its attributes as JSON."""

    seq: int
    received_at_us: int
    pairs: str


class JournalDepth(NamedTuple):
    """What waits in the journal. `unreadable` names the segments that could not be counted."""

    records: int
    oldest_received_at_us: int | None
    segments: int
    size_bytes: int
    unreadable: tuple[str, ...] = ()


class JournalReader:
    """Reads a journal that another process may be writing. Neither waits for the other."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._connection: sqlite3.Connection | None = None
        self._path: Path | None = None
        self._node: str | None = None
        self._directory = Path(directory).absolute()

    def node(self) -> str:
        """Return the node that this journal's records are counted. Raises JournalError if there is none."""
        if self._node is None:
            self._node = self._read_node()
        if self._node is None:
            raise JournalError(
                f"there is no journal in {self._directory} yet: radiusd makes it at the first packet"
            )
        return self._node

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the journal's only shipper. Raises JournalLocked naming the process that is."""
        lock = files.RoleLock(self._directory, "reader")
        try:
            lock.acquire()
        except OSError as error:
            raise files.unusable(self._directory, error) from error
        try:
            yield
        finally:
            lock.release()

    def read(self, after: int, limit: int) -> list[Entry]:
        """Return up to `limit` records with numbers above `after`, in order.

        Raises
        ------
        JournalError
            A segment is damaged, and the records before the damage have been returned already; or the journal
            was made anew since `node` was asked. Nothing is ever skipped.
        """
        self._check_node()
        found: list[Entry] = []
        # Listed before reading: a segment that is not the last of this list gets no more records.
        listed = self._segments()
        for segment, following in itertools.zip_longest(listed, listed[1:]):
            if following is not None and following.first_seq <= after + 1:
                continue
            expected = max(after + 1, segment.first_seq)
            try:
                for row in self._open(segment.path, newest=following is None).execute(
                    _FROM, (expected, limit - len(found))
                ):
                    if row[0] != expected:
                        raise sqlite3.DatabaseError(f"records {expected} to {row[0] - 1} are missing")
                    found.append(Entry(*row))
                    expected += 1
                if len(found) >= limit:
                    break
                # A segment the writer left for being full ends where the next begins.
                if following is not None and expected < following.first_seq < segment.first_seq + files.GAP:
                    raise sqlite3.DatabaseError(
                        f"records {expected} to {following.first_seq - 1} are missing"
                    )
            except sqlite3.Error as error:
                self.close()
                if found:
                    break
                raise self._unreadable(segment.path, error) from error
        return found

    def drop_through(self, seq: int) -> int:
        """Delete the segments, but the newest, whose records are all `seq` or below; return how many."""
        dropped = 0
        for segment, following in itertools.pairwise(self._segments()):
            if following.first_seq > seq + 1 and not self._ends_by(segment, seq):
                break
            if self._path == segment.path:
                self.close()
            try:
                files.remove_segment(segment.path)
            except OSError as error:
                raise files.unusable(self._directory, error) from error
            dropped += 1
        return dropped

    def depth(self, after: int) -> JournalDepth:
        """Return how much waits with numbers above `after`."""
        records, oldest, unreadable = 0, None, []
        listed = self._segments()
        for segment, following in itertools.zip_longest(listed, listed[1:]):
            if following is not None and following.first_seq <= after + 1:
                continue
            try:
                connection = self._open(segment.path, newest=following is None)
                first, last = connection.execute(_RANGE, (after,)).fetchone()
                if first is not None:
                    records += last - first + 1  # numbers are contiguous in a segment
                if first is not None and oldest is None:
                    oldest = connection.execute(_FROM, (first, 1)).fetchall()[0][1]
            except sqlite3.Error:
                self.close()
                if segment.path.exists():  # else the shipper has deleted it meanwhile
                    unreadable.append(str(segment.path))
        try:
            size = files.size_bytes(self._directory) if listed else 0
        except OSError as error:
            raise files.unusable(self._directory, error) from error
        return JournalDepth(records, oldest, len(listed), size, tuple(unreadable))

    def close(self) -> None:
        """Close the segment that is open. Reading again opens it again."""
        connection, self._connection, self._path = self._connection, None, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.close()

    def _segments(self) -> list[files.SegmentFile]:
        try:
            return files.segments(self._directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise files.unusable(self._directory, error) from error

    def _read_node(self) -> str | None:
        try:
            return files.read_node(self._directory)
        except OSError as error:
            raise files.unusable(self._directory, error) from error

    def _check_node(self) -> None:
        """A journal made anew begins its numbers again: whoever knows the old one would skip its records."""
        if self._node is not None and (now := self._read_node()) not in (None, self._node):
            raise JournalError(
                f"the journal {self._directory} was made anew while it was read: it was {self._node} "
                f"and is now {now}; start this program again"
            )

    def _open(self, path: Path, *, newest: bool) -> sqlite3.Connection:
        """Return a connection to a segment, the one used last if it is the same."""
        if self._connection is None or self._path != path:
            self.close()
            # A segment that is closed for good is read as it lies: SQLite's usual way makes files beside it, which a
            # full disk does not allow, and reading is what frees the disk. One with a log, on the other hand, may
            # need the log recovered by the first who looks after a crash, hence not mode=ro.
            closed = not newest and not Path(f"{path}{files.WAL}").exists()
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?{'mode=ro&immutable=1' if closed else 'mode=rw'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            self._path = path
            self._connection.execute("PRAGMA query_only = 1")
        return self._connection

    def _ends_by(self, segment: files.SegmentFile, seq: int) -> bool:
        """Tell whether no record of a sealed segment is above `seq`. One that cannot be read is kept."""
        if segment.first_seq > seq + 1:
            return False
        try:
            (last,) = self._open(segment.path, newest=False).execute(_LAST).fetchone()
        except sqlite3.Error:
            self.close()
            return False
        return last is None or last <= seq

    def _unreadable(self, path: Path, error: sqlite3.Error) -> JournalError:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _AROUND:
            return files.unusable(self._directory, error)
        return JournalError(
            f"the journal's segment {path} cannot be read: {error}. Shipping stops before it and skips nothing. "
            f"To go on with the next, move it and its {files.WAL} file out of the directory, and keep them"
        )
