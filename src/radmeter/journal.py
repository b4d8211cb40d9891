"""The journal: what an accounting packet said, on disk before the packet is answered. Standard library only.

Segments are SQLite databases in WAL mode, read by `radmeter.journal_reader`. The active segment is never
checkpointed: its records live in the write-ahead log until it rolls over, so no append ever waits for a checkpoint and
no reader can hold the log back. A full segment is handed to a background thread that folds the log into the database.
"""

import os
import sqlite3
import threading
import time
from pathlib import Path

from radmeter import journal_files as files
from radmeter.errors import JournalError
from radmeter.journal_reader import Entry, JournalDepth, JournalReader

__all__ = ["Entry", "Journal", "JournalDepth", "JournalReader"]

RETRY_SECONDS = (
    0.2  # after a failure appends fail at once for so long: a sick disk is not asked for every packet
)
SEAL_SECONDS = 2.0  # a segment shipped and deleted within this needs no checkpoint at all

_INSERT = "INSERT INTO record VALUES (?, ?, ?)"
_TABLE = "CREATE TABLE record (seq INTEGER PRIMARY KEY, received_at_us INTEGER NOT NULL, pairs TEXT NOT NULL)"


class _Ticket:
    """One append on its way into a commit."""

    __slots__ = ("error", "gate", "pairs", "received_at_us", "seq")

    def __init__(self, received_at_us: int, pairs: str) -> None:
        self.received_at_us = received_at_us
        self.pairs = pairs
        self.seq: int | None = None
        self.error: JournalError | None = None
        self.gate: threading.Lock | None = None


class _Segment:
    """The segment being written."""

    def __init__(self, path: str, first_seq: int, *, sync_commits: bool) -> None:
        self.path = path
        self.wal = path + files.WAL
        self.first_seq = first_seq
        self.wal_bytes = 0
        self.sync_error: OSError | None = None
        self._lock = threading.Lock()  # closing the log's descriptor must not meet a sync of it
        self.connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        self._wal_descriptor: int | None = None
        try:
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if sync_commits else 'NORMAL'}")
            self.connection.execute("PRAGMA wal_autocheckpoint = 0")
            self.connection.execute(
                "SELECT count(*) FROM record"
            ).fetchone()  # the first look makes the log file
            # A second descriptor on the log is safe. On the database file it would not be: closing it would drop
            # the POSIX locks SQLite holds there.
            self._wal_descriptor = os.open(self.wal, os.O_RDONLY | os.O_CLOEXEC)
            self.execute = self.connection.cursor().execute
        except BaseException:
            self.close()
            raise

    def sync(self) -> None:
        """Make every commit so far survive a power cut. Raises OSError."""
        with self._lock:
            if self._wal_descriptor is not None:
                os.fdatasync(self._wal_descriptor)

    def close(self) -> None:
        """Fold the log into the database, unless the segment was deleted meanwhile, and close it."""
        with self._lock:
            if self._wal_descriptor is not None:
                os.close(self._wal_descriptor)
                self._wal_descriptor = None
        self.__dict__.pop("execute", None)  # a cursor left would keep the database open
        # The last connection checkpoints as it closes. If it cannot (a full disk), the log stays and the next one does.
        self.connection.close()


class Journal:
    """The journal's writer. Thread safe; concurrent appends share commits.

    Nothing is touched on disk before the first append.

    Parameters
    ----------
    sync
        ``packet``: an append returns when its record would survive a power cut. ``interval``: it returns when the
        record would survive the death of this process; a power cut can cost the last `interval_seconds`.
    segment_bytes
        A segment whose write-ahead log has grown to this is closed and the next one begun.
    limit_bytes
        Appends fail while the journal takes this much on disk.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        sync: str = "packet",
        interval_seconds: float = 0.005,
        segment_bytes: int = 64 << 20,
        limit_bytes: int = 8 << 30,
    ) -> None:
        if sync not in ("packet", "interval"):
            raise ValueError(f"sync is 'packet' or 'interval', not {sync!r}")
        self._directory = os.path.abspath(directory)
        self._sync_commits = sync == "packet"
        self._interval_seconds = interval_seconds
        # The newest segment is never deleted, so it must not be able to use up the limit by itself.
        self._segment_bytes = max(1, min(segment_bytes, limit_bytes // 4))
        self._limit_bytes = limit_bytes
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._mutex = threading.Lock()  # guards _leading and _waiting
        self._leading = False
        self._waiting: list[_Ticket] = []
        self._writing = threading.Lock()  # held by the one thread that writes
        self._lock = files.RoleLock(self._directory, "writer")
        self._node: str | None = None
        self._segment: _Segment | None = None
        self._other_bytes = 0  # on disk, all but the active segment, when last looked at
        self._next_seq = 0  # 0: never opened
        self._failure: JournalError | None = None
        self._retry_at = 0.0
        self._closed = threading.Event()
        self._unsynced = threading.Event()
        self._syncer: threading.Thread | None = None
        self._sealers: list[threading.Thread] = []

    def append(self, received_at_us: int, pairs_json: str) -> int:
        """Keep one packet and return its sequence number.

        Raises
        ------
        JournalError
            The packet is not kept and must not be acknowledged. The journal recovers by itself at a later append.
        """
        if os.getpid() != self._pid:
            self._forked()
        if not pairs_json.isascii():
            pairs_json.encode()  # text that is not Unicode fails here, alone, and not the others in its commit
        ticket = _Ticket(received_at_us, pairs_json)
        with self._mutex:
            lead = not self._leading
            if lead:
                self._leading = True
            else:
                ticket.gate = threading.Lock()
                ticket.gate.acquire()
                self._waiting.append(ticket)
        if lead:
            self._lead([ticket])
        else:
            assert ticket.gate is not None
            ticket.gate.acquire()
            if ticket.seq is None and ticket.error is None:  # woken to lead, not because all is done
                with self._mutex:
                    batch, self._waiting = self._waiting, []
                self._lead(batch)
        if ticket.seq is None:
            assert ticket.error is not None
            raise ticket.error
        return ticket.seq

    def close(self) -> None:
        """Make everything appended durable and give the journal back. Raises JournalError if that cannot be done."""
        with self._writing:
            self._closed.set()
            self._unsynced.set()
            segment, self._segment = self._segment, None
            self._failure, self._retry_at = (
                JournalError(f"the journal {self._directory} is closed"),
                float("inf"),
            )
        try:
            if segment is not None:
                segment.sync()
        except OSError as error:
            raise files.unusable(self._directory, error) from error
        finally:
            for thread in (*self._sealers, *((self._syncer,) if self._syncer else ())):
                thread.join()
            if segment is not None:
                segment.close()
            self._lock.release()

    def _lead(self, batch: list[_Ticket]) -> None:
        """Commit for all in `batch`, wake them, and pass the lead on."""
        try:
            with self._writing:
                first_seq = self._write(batch)
            for offset, ticket in enumerate(batch):
                ticket.seq = first_seq + offset
        except BaseException as error:
            for ticket in batch:
                # One exception per thread: each adds its own traceback.
                ticket.error = (type(error) if isinstance(error, JournalError) else JournalError)(str(error))
            if not isinstance(error, JournalError):
                raise
        finally:
            with self._mutex:
                heir = self._waiting[0] if self._waiting else None
                self._leading = heir is not None
            if heir is not None and heir.gate is not None:
                heir.gate.release()
            for ticket in batch[1:]:
                if ticket.gate is not None:
                    ticket.gate.release()

    def _write(self, batch: list[_Ticket]) -> int:
        segment = self._segment
        if (
            segment is None
            or segment.sync_error is not None
            or segment.wal_bytes >= self._segment_bytes
            or segment.wal_bytes + self._other_bytes >= self._limit_bytes
        ):
            segment = self._make_ready()
        seq = self._next_seq
        try:
            if len(batch) == 1:
                segment.execute(_INSERT, (seq, batch[0].received_at_us, batch[0].pairs))
            else:
                segment.execute("BEGIN IMMEDIATE")
                segment.connection.executemany(
                    _INSERT,
                    [(seq + n, ticket.received_at_us, ticket.pairs) for n, ticket in enumerate(batch)],
                )
                segment.execute("COMMIT")
            # SQLite goes on writing to files that were deleted under it; such a record would be gone with them.
            segment.wal_bytes = os.stat(segment.wal).st_size
            os.stat(segment.path)
        except Exception as error:
            raise self._failed(error) from error
        self._next_seq = seq + len(batch)
        if not self._sync_commits and not self._unsynced.is_set():
            self._unsynced.set()
        return seq

    def _make_ready(self) -> _Segment:
        """Return a segment that can take records: the slow path of an append. Raises JournalError."""
        if self._failure is not None and time.monotonic() < self._retry_at:
            raise type(self._failure)(str(self._failure))
        segment = self._segment
        try:
            if segment is not None and segment.sync_error is not None:
                raise segment.sync_error
            if segment is None:
                segment = self._open()
            elif segment.wal_bytes >= self._segment_bytes:
                segment.sync()
                self._segment = None
                self._seal(segment)
                segment = self._create(self._next_seq)
            self._other_bytes = files.size_bytes(self._directory, without=segment.path)
        except Exception as error:
            raise self._failed(error) from error
        if segment.wal_bytes + self._other_bytes >= self._limit_bytes:
            self._failure = JournalError(
                f"the journal {self._directory} has reached its limit of {self._limit_bytes} bytes: "
                "it takes packets again when the shipper (radmeter ship) has carried some away"
            )
            self._retry_at = time.monotonic() + RETRY_SECONDS
            raise self._failure
        self._failure = None
        return segment

    def _failed(self, error: Exception) -> JournalError:
        """Give the active segment up, whose state is in doubt after `error`, and hold the next attempt back."""
        segment, self._segment = self._segment, None
        if segment is not None:
            self._seal(segment)
            if self._next_seq == segment.first_seq:  # nothing acknowledged is in it
                files.remove_segment(segment.path)
        self._failure = error if isinstance(error, JournalError) else files.unusable(self._directory, error)
        self._retry_at = time.monotonic() + RETRY_SECONDS
        return self._failure

    def _open(self) -> _Segment:
        """Open the journal, making it if need be, with a gap in the numbers."""
        Path(self._directory).mkdir(mode=0o770, parents=True, exist_ok=True)
        self._lock.acquire()
        files.remove_leftovers(self._directory)
        existing = files.segments(self._directory)
        if self._node is None:
            # Without segments nobody knows which numbers were used: a journal made anew is a new node.
            self._node = (files.read_node(self._directory) if existing else None) or files.write_node(
                self._directory
            )
        elif files.read_node(self._directory) != self._node:
            files.write_node(self._directory, self._node)
        # The newest segment is not opened to find its last number, for it may be damaged: it holds fewer than GAP.
        after_newest = existing[-1].first_seq + 2 * files.GAP if existing else 1
        after_own = self._next_seq + files.GAP if self._next_seq else 1
        return self._create(max(after_newest, after_own))

    def _create(self, first_seq: int) -> _Segment:
        """Make a segment, whole and durable before it has its name, and write to it from now on."""
        path = files.segment_path(self._directory, first_seq)
        unfinished = files.unfinished_path(self._directory, os.path.basename(path))
        Path(unfinished).unlink(missing_ok=True)
        try:
            os.close(files.create_file(unfinished, files.file_mode(self._directory)))
            connection = sqlite3.connect(unfinished, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_TABLE)
            finally:
                connection.close()
            files.sync_path(unfinished)
            os.rename(unfinished, path)
        except BaseException:
            files.remove_leftovers(self._directory)
            raise
        try:
            segment = _Segment(path, first_seq, sync_commits=self._sync_commits)
            files.sync_path(self._directory)  # the names of the database and of its log
        except BaseException:
            files.remove_segment(path)
            raise
        self._segment, self._next_seq = segment, first_seq
        if not self._sync_commits and self._syncer is None:
            self._syncer = threading.Thread(target=self._sync_regularly, name="radmeter-sync", daemon=True)
            self._syncer.start()
        return segment

    def _seal(self, segment: _Segment) -> None:
        """Close `segment` in the background, a little later: most are shipped and deleted by then."""

        def seal() -> None:
            self._closed.wait(SEAL_SECONDS)
            segment.close()

        self._sealers = [thread for thread in self._sealers if thread.is_alive()]
        self._sealers.append(threading.Thread(target=seal, name="radmeter-seal", daemon=True))
        self._sealers[-1].start()

    def _sync_regularly(self) -> None:
        """Sync the active segment every interval in which something was appended."""
        while not self._closed.is_set():
            self._unsynced.wait()
            self._closed.wait(self._interval_seconds)
            self._unsynced.clear()
            segment = self._segment
            try:
                if segment is not None:
                    segment.sync()
            except OSError as error:
                # The kernel reports a failed write once and forgets it: this segment is not to be trusted again.
                segment.sync_error = error

    def _forked(self) -> None:
        """Start afresh in a child process. SQLite connections must not cross a fork, so they are left alone."""
        _left_alone.append(self._segment)
        self._lock.release()  # of the copy only: the parent's descriptor still holds it
        self._begin()


_left_alone: list[_Segment | None] = []
