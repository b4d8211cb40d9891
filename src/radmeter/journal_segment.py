"""The journal's active segment: one SQLite database that one process writes.

It is never checkpointed while it is written: the records live in its write-ahead log until it is closed. So
no append waits for a checkpoint, no reader can hold the log back, and the log's size says when it is full.
"""

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from radmeter import journal_files as files

Record = tuple[int, str]  # received_at_us, pairs

_TABLE = "CREATE TABLE record (seq INTEGER PRIMARY KEY, received_at_us INTEGER NOT NULL, pairs TEXT NOT NULL)"
_INSERT = "INSERT INTO record VALUES (?, ?, ?)"


class Segment:
    """The segment being written.

    `sync_commits`: a commit waits for the disk. Otherwise it survives the death of the process only, and a
    power cut from the next `sync` on.
    """

    @classmethod
    def create(cls, directory: Path, first_seq: int, *, sync_commits: bool) -> "Segment":
        """Make a segment, whole and durable before it has its name. Raises OSError, sqlite3.Error."""
        path = files.segment_path(directory, first_seq)
        unfinished = files.unfinished_path(path)
        os.close(files.create_file(unfinished))  # SQLite gives the log the mode of the database
        connection = sqlite3.connect(unfinished, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_TABLE)
        finally:
            connection.close()
        files.sync_path(unfinished)
        unfinished.rename(path)
        segment = cls(path, first_seq, sync_commits=sync_commits)
        try:
            files.sync_path(directory)  # the names of the database and of its log
        except BaseException:
            segment.close()
            raise
        return segment

    def __init__(self, path: Path, first_seq: int, *, sync_commits: bool) -> None:
        self.path = path
        self.next_seq = self.first_seq = first_seq
        self.wal_bytes = 0
        self.sync_error: OSError | None = None
        self._wal: int | None = None
        self._wal_lock = threading.Lock()  # the log's descriptor must not be closed under a sync
        self._connection = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if sync_commits else 'NORMAL'}")
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            self._connection.execute("SELECT count(*) FROM record").fetchone()  # makes the log
            # A descriptor of our own on the log is safe. On the database it would not be: closing it drops
            # the POSIX locks that SQLite holds there.
            self._wal = os.open(f"{path}{files.WAL}", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def commit(self, records: Sequence[Record]) -> int:
        """Write `records` in one transaction and return the first one's number. Raises OSError, sqlite3.Error.

        After an error nothing in this segment may be acknowledged any more: what the disk has of it is unknown.
        """
        seq = self.next_seq
        if len(records) == 1:
            self._connection.execute(_INSERT, (seq, *records[0]))
        else:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, [(seq + n, *record) for n, record in enumerate(records)])
            self._connection.execute("COMMIT")
        assert self._wal is not None
        wal = os.fstat(self._wal)
        # SQLite goes on writing to files that were deleted under it; such a record would be gone with them.
        if not (wal.st_nlink and os.access(self.path, os.F_OK)):
            raise FileNotFoundError(f"{self.path} was removed while it was being written")
        self.wal_bytes = wal.st_size
        self.next_seq = seq + len(records)
        return seq

    def sync(self) -> None:
        """Make every commit so far survive a power cut. Raises OSError."""
        with self._wal_lock:
            if self.sync_error is not None:
                raise self.sync_error
            if self._wal is not None:
                try:
                    os.fdatasync(self._wal)
                except OSError as error:
                    # The kernel reports a failed write once and then forgets it: never trust this file again.
                    self.sync_error = error
                    raise

    def close(self) -> None:
        """Close the segment, folding its log into the database, unless both were deleted meanwhile."""
        with self._wal_lock:
            if self._wal is not None:
                os.close(self._wal)
                self._wal = None
        # The last connection checkpoints as it goes. If it cannot (a full disk), the log stays for another.
        self._connection.close()
