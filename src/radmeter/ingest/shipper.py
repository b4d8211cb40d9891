"""Ships a journal: reads its packets in order, parses them, and ingests them in batches, exactly once."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from radmeter.errors import (
    JournalError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    WrongDatabase,
)
from radmeter.ingest import database_of_journal
from radmeter.ingest.batch_size import BatchSize
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.ledger import Ledger
from radmeter.ingest.position import Position
from radmeter.ingest.positions import Positions
from radmeter.ingest.rows import KnownLists, Rows
from radmeter.ingest.sending import Sender
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import DamagedSegment, Entry, JournalReader, Segment
from radmeter.units import counted

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 5.0
# The ledger is written, and old kept segments are deleted, at most so often.
SAVE_SECONDS = 1.0
PRUNE_SECONDS = 60.0
# A pooler may hide that the database behind it is another one, which was behind.
COMPARE_SECONDS = 3600.0


class Shipper:
    """Ships one journal. The caller holds the journal's reader lock.

    Parameters
    ----------
    journal
        The journal to read.
    open_store
        Opens a connection to the database. Called again after each failure.
    batch_records, batch_seconds
        A batch is shipped when it has so many records, or when its first record has waited so long.
    kept
        Keeps the segments that are shipped. None: as `KeptSegments` does by default.
    accept_database
        The identity of a database to which the journal may ship although it has shipped to another.
    """

    def __init__(
        self,
        journal: JournalReader,
        open_store: Callable[[], Store],
        *,
        batch_records: int = 1000,
        batch_seconds: float = 0.05,
        kept: KeptSegments | None = None,
        accept_database: str | None = None,
    ) -> None:
        self._journal = journal
        self._open_store = open_store
        self._size = BatchSize(batch_records)
        self._sender = Sender()
        self._batch_seconds = batch_seconds
        self._accept_database = accept_database
        self._ledger = Ledger(journal.directory)
        self._positions = Positions(journal, self._ledger, kept or KeptSegments(journal.directory))
        self._store: Store | None = None
        self._ahead: list[Entry] = []  # the next batch, read while the database ingests the one before
        self._ahead_after = ("", 0)  # the segment and the number that it follows
        self._lists = KnownLists()
        self._ahead_rows = Rows(lists=self._lists)  # the same, parsed, if the batch is full
        self._trouble: str | None = None
        self._saved_at = 0.0
        self._pruned_at = -math.inf
        self._compared_at = -math.inf

    def run(self, stop: threading.Event, *, until_empty: bool = False) -> None:
        """Ship until `stop` is set, or, with `until_empty`, until the journal is empty. A begun batch is finished."""
        retry_seconds = FIRST_RETRY_SECONDS
        while not stop.is_set():
            try:
                shipped = self._next_batch(stop)
                self._note_recovery()
                if not shipped and until_empty:
                    break
                retry_seconds = FIRST_RETRY_SECONDS
            except (StoreError, JournalError, OSError) as error:
                if until_empty and isinstance(error, WrongDatabase):
                    raise  # it would wait for ever
                if isinstance(error, OSError):  # the shipper's own files, for example on a sick disk
                    error = files.unusable(self._journal.directory, error)
                self._note_trouble(error)
                self._close_store()
                stop.wait(retry_seconds)
                retry_seconds = min(2 * retry_seconds, LONGEST_RETRY_SECONDS)
        with contextlib.suppress(StoreError, JournalError, OSError):  # the next shipper does it
            if self._store is not None:
                self._positions.prune(self._store)
        self._close_store()

    def _connect(self) -> Store:
        """Connect, and compare the database with the journal."""
        self._journal.node()  # without a journal, no connection
        self._ledger.load()
        self._positions.forget()
        store = self._open_store()
        try:
            identity = store.database_id()
            accepted = database_of_journal.check(
                self._journal.directory, identity, self._ledger, self._accept_database
            )
            self._positions.compare(store, accepted=accepted)
            self._compared_at = time.monotonic()
            if accepted:
                # Only now: after a crash in between, the next shipper would take it for a database that was restored.
                database_of_journal.remember(self._journal.directory, identity)
        except BaseException:
            store.close()
            raise
        self._store = store
        return store

    def _next_batch(self, stop: threading.Event) -> bool:
        """Ship the next batch if there is one, or finish a segment. Return whether either was done."""
        store = self._store or self._connect()
        position = self._positions.current(store)
        if position is None:
            stop.wait(self._batch_seconds)
            self._keep_house(store)
            return False
        entries, rows = self._taken_ahead(position)
        if not entries:
            entries = self._read(store, position, position.progress.seq, self._size.records)
        if len(entries) < self._size.records:
            following = self._positions.following(position)
            if not entries and self._end(store, position, following):
                return True
            if following is None:
                # Give the batch time to fill, to avoid a transaction for each packet.
                stop.wait(self._batch_seconds)
                if entries:
                    entries += self._read(store, position, entries[-1].seq, self._size.records - len(entries))
        if entries:
            # The records of a batch that has grown since it was read ahead are those of its beginning.
            rows.extend(entries[len(rows) :])
            self._send(store, position, entries, rows)
        self._keep_house(store)
        return bool(entries)

    def _taken_ahead(self, position: Position) -> tuple[list[Entry], Rows]:
        """Return what was read ahead, and its records, if it follows the position."""
        entries, rows = self._ahead, self._ahead_rows
        self._ahead, self._ahead_rows = [], Rows(lists=self._lists)
        if self._ahead_after != (position.id, position.progress.seq):
            return [], self._ahead_rows  # another shipper has gone on, or segments have come back
        return entries, rows

    def _send(self, store: Store, position: Position, entries: list[Entry], rows: Rows) -> None:
        """Send a batch, and read the next one meanwhile. The time that it takes decides how large the next one is."""
        began = time.monotonic()
        try:
            self._sender.send(store, position, entries, rows, lambda last: self._read_ahead(position, last))
        except StoreTimeout as timeout:
            self._size.timed_out(len(entries), time.monotonic() - began)
            raise StoreTimeout(_timed_out(entries, timeout)) from timeout
        self._ledger.change()
        self._size.taken(time.monotonic() - began)

    def _read(self, store: Store, position: Position, after: int, limit: int) -> list[Entry]:
        """Read records of a segment. Damage becomes an incident, and the records behind it are read."""
        while True:
            try:
                return _until(position, self._journal.read(position.segment, after, limit))
            except DamagedSegment as damage:
                if damage.loss is None:  # the header
                    raise
                self._positions.lose(store, position, damage.loss)
                self._journal.skip(position.segment, damage.loss)

    def _end(self, store: Store, position: Position, following: Segment | None) -> bool:
        """End with a position from which nothing more can be read now. Return whether the next one may have more."""
        if position.until is not None:
            self._positions.go_on_in_fork(store, position)
            return True
        return self._finish(store, position, following)

    def _finish(self, store: Store, position: Position, following: Segment | None) -> bool:
        """Finish a segment if all of it is counted and radiusd adds nothing more. Return whether it is finished."""
        seq = position.progress.seq
        end = seq if position.known.ended else self._journal.end(position.segment, following, after=seq)
        if end is None or end > seq:
            return False
        if following is None and not position.is_again:
            return False  # radiusd asks the newest segment for its identity when it starts
        self._positions.finish(store, position, end)
        return True

    def _read_ahead(self, position: Position, after: int) -> None:
        """Read the next batch. If that fails, the error is reported when the batch's turn comes."""
        self._ahead, self._ahead_rows = [], Rows(lists=self._lists)
        self._ahead_after = (position.id, after)
        with contextlib.suppress(JournalError):
            self._ahead = _until(position, self._journal.read(position.segment, after, self._size.records))
            if len(self._ahead) == self._size.records:
                self._ahead_rows.extend(self._ahead)

    def _keep_house(self, store: Store) -> None:
        """Write the ledger now and then, tell the database that the segments are here, and delete old kept ones."""
        self._positions.settle(store)
        now = time.monotonic()
        if now - self._saved_at >= SAVE_SECONDS:
            self._ledger.save()
            self._saved_at = now
        if now - self._compared_at >= COMPARE_SECONDS:
            self._compared_at = now
            self._positions.compare(store)
        if now - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = now
            self._positions.touch(store)
            self._positions.prune(store)

    def _close_store(self) -> None:
        store, self._store = self._store, None
        self._sender.forget()
        self._ahead, self._ahead_rows = [], Rows(lists=self._lists)
        with contextlib.suppress(OSError):
            self._ledger.save()
        if store is not None:
            store.close()

    def _note_trouble(self, error: Exception) -> None:
        """Log an error when it begins and when it changes, not at every try."""
        message = str(error)
        if message != self._trouble:
            level = logging.WARNING if isinstance(error, StoreUnavailable | JournalError) else logging.ERROR
            log.log(level, "shipping waits: %s", message)
        self._trouble = message

    def _note_recovery(self) -> None:
        if self._trouble is not None:
            log.info("shipping goes on")
        self._trouble = None


def _until(position: Position, entries: list[Entry]) -> list[Entry]:
    """Return the entries that belong to a position. Those behind `until` belong to a fork."""
    return entries if position.until is None else [each for each in entries if each.seq <= position.until]


def _timed_out(entries: Sequence[Entry], timeout: StoreTimeout) -> str:
    if len(entries) > 1:
        return f"a batch of {counted(len(entries), 'packet')}: {timeout}. It is tried again, then with half as many"
    return (
        f"packet {entries[0].seq} alone: {timeout}. It is tried again and not set aside: "
        "find out what slows the database down"
    )
