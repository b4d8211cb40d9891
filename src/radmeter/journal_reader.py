"""The journal's reading side: records in order, and deletion of segments that have been shipped."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from radmeter import journal_files as files
from radmeter.errors import JournalError


class Entry(NamedTuple):
    """One packet: its number, when it arrived (microseconds since 1970, UTC) and its attributes as JSON."""

    seq: int
    received_at_us: int
    pairs: str


class JournalDepth(NamedTuple):
    """What waits in the journal. `unreadable` names segments that could not be counted."""

    records: int
    oldest_received_at_us: int | None
    segments: int
    size_bytes: int
    unreadable: tuple[str, ...] = ()


class JournalReader:
    """Reads a journal that another process may be writing; neither ever waits for the other."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = os.path.abspath(directory)
        self._node: str | None = None
        self._path: str | None = None
        self._connection: sqlite3.Connection | None = None

    def node(self) -> str:
        """Return the name under which this journal's records are counted. Raises JournalError if it has none yet."""
        if self._node is None:
            try:
                self._node = files.read_node(self._directory)
            except OSError as error:
                raise files.unusable(self._directory, error) from error
        if self._node is None:
            raise JournalError(
                f"there is no journal in {self._directory} yet: radiusd makes it when the first packet arrives"
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
            A segment is damaged. Records before the damage have been returned by then; nothing is skipped.
        """
        self._check_node()
        found: list[Entry] = []
        # Listed before reading: whatever segment is not the last of this list gets no more records.
        listed = self._segments()
        for segment, following in zip(listed, [*listed[1:], None], strict=True):
            if following is not None and following.first_seq <= after + 1:
                continue
            expected = max(after + 1, segment.first_seq)
            try:
                for row in self._open(segment.path).execute(
                    "SELECT seq, received_at_us, pairs FROM record WHERE seq >= ? ORDER BY seq LIMIT ?",
                    (expected, limit - len(found)),
                ):
                    if row[0] != expected:
                        raise sqlite3.DatabaseError(f"records {expected} to {row[0] - 1} are missing")
                    found.append(Entry(*row))
                    expected += 1
            except sqlite3.Error as error:
                self.close()
                if found:
                    return found
                raise _damaged(segment.path, error) from error
            if len(found) >= limit:
                break
        return found

    def drop_through(self, seq: int) -> int:
        """Delete the segments whose records are all numbered `seq` or below, never the newest; return how many."""
        dropped = 0
        listed = self._segments()
        for segment, following in zip(listed, listed[1:], strict=False):
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
        for segment, following in zip(listed, [*listed[1:], None], strict=True):
            if following is not None and following.first_seq <= after + 1:
                continue
            try:
                connection = self._open(segment.path)
                first, last = connection.execute(
                    "SELECT min(seq), (SELECT max(seq) FROM record) FROM record WHERE seq > ?", (after,)
                ).fetchone()
                if first is None:
                    continue
                records += last - first + 1  # contiguous in a segment
                if oldest is None:
                    (oldest,) = connection.execute(
                        "SELECT received_at_us FROM record WHERE seq = ?", (first,)
                    ).fetchone()
            except sqlite3.Error:
                self.close()
                if Path(segment.path).exists():  # else the shipper has deleted it meanwhile
                    unreadable.append(segment.path)
        size = files.size_bytes(self._directory) if listed else 0
        return JournalDepth(records, oldest, len(listed), size, tuple(unreadable))

    def close(self) -> None:
        """Close the segment that is open. Reading again opens it again."""
        connection, self._connection, self._path = self._connection, None, None
        if connection is not None:
            connection.close()

    def _segments(self) -> list[files.SegmentFile]:
        try:
            return files.segments(self._directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise files.unusable(self._directory, error) from error

    def _check_node(self) -> None:
        """A journal made anew starts its numbers again: whoever knows the old node would skip its records."""
        if self._node is not None and (current := files.read_node(self._directory)) != self._node:
            raise JournalError(
                f"the journal {self._directory} was made anew: it was {self._node} and is now {current}; start again"
            )

    def _open(self, path: str) -> sqlite3.Connection:
        """Return a connection to a segment, the one used last if it is the same."""
        if self._connection is None or self._path != path:
            self.close()
            # Not mode=ro: after a crash the first to look at a WAL database has to recover its log.
            self._connection = sqlite3.connect(
                f"file:{quote(path)}?mode=rw",
                uri=True,
                timeout=5.0,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.execute("PRAGMA query_only = 1")
            self._path = path
        return self._connection

    def _ends_by(self, segment: files.SegmentFile, seq: int) -> bool:
        """Tell whether no record of a sealed segment is above `seq`. A segment that cannot be read is kept."""
        if segment.first_seq > seq + 1:
            return False
        try:
            (last,) = self._open(segment.path).execute("SELECT max(seq) FROM record").fetchone()
        except sqlite3.Error:
            self.close()
            return False
        return last is None or last <= seq


def _damaged(path: str, error: Exception) -> JournalError:
    return JournalError(
        f"the journal's segment {path} cannot be read: {error}. Shipping has stopped before it, nothing was skipped. "
        "Keep the file with its -wal for rescue and move both out of the directory to go on with the next segment"
    )
