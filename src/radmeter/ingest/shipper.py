"""Ships a journal: reads its packets in order, parses them, and ingests them in batches, exactly once."""

import contextlib
import ipaddress
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from radmeter.errors import (
    IgnoredPacket,
    JournalError,
    RecordRefused,
    RejectedPacket,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from radmeter.ingest.batch_size import BatchSize
from radmeter.ingest.clients_seen import ClientsSeen
from radmeter.ingest.halving import send_halving
from radmeter.ingest.left_out_segments import LeftOutSegments
from radmeter.ingest.store import Store
from radmeter.packet.attributes import UNIQUE_ID_OF_ERASED
from radmeter.packet.record import client_ip, parse
from radmeter.plugin.journal.files import SegmentFile
from radmeter.plugin.journal.reader import Checkpoint, Entry, JournalReader
from radmeter.units import counted

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 5.0
# Only whole segments are deleted, so a check once a second is often enough.
DROP_SECONDS = 1.0
# After the database has refused packets of a router that is bound to other clients, records have their attributes, too,
# for so long. It then sets such packets aside without an error, which PostgreSQL would log for each batch of a flood.
ATTRIBUTES_SECONDS = 60.0


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
        Takes the segments in which packets lie that the database left out.
    """

    def __init__(
        self,
        journal: JournalReader,
        open_store: Callable[[], Store],
        *,
        batch_records: int = 1000,
        batch_seconds: float = 0.05,
        kept: LeftOutSegments | None = None,
    ) -> None:
        self._journal = journal
        self._open_store = open_store
        self._size = BatchSize(batch_records)
        self._clients = ClientsSeen()
        self._batch_seconds = batch_seconds
        self._kept = kept
        self._store: Store | None = None
        self._after = 0  # where to go on reading: the database's checkpoint
        self._sent = 0  # the highest number that this shipper has sent
        self._shipped = 0  # the highest number that this shipper knows to be ingested
        self._doubted = (
            0  # the highest checkpoint that is no number of the journal, and not of this shipper's making
        )
        self._ahead: list[Entry] = []  # the next batch, read while the database ingests the one before
        self._ahead_records: list[dict[str, Any]] = []  # the same, parsed, if the batch is full
        self._trouble: str | None = None
        self._dropped_at = 0.0
        self._attributes_until = -math.inf

    def run(self, stop: threading.Event, *, until_empty: bool = False) -> None:
        """Ship until `stop` is set, or, with `until_empty`, until the journal is empty. A begun batch is finished."""
        retry_seconds = FIRST_RETRY_SECONDS
        while not stop.is_set():
            try:
                entries = self._next_batch(stop)
                self._note_recovery()
                if not entries and until_empty:
                    break
                retry_seconds = FIRST_RETRY_SECONDS
            except (StoreError, JournalError) as error:
                self._note_trouble(error)
                self._close_store()
                stop.wait(retry_seconds)
                retry_seconds = min(2 * retry_seconds, LONGEST_RETRY_SECONDS)
        with contextlib.suppress(StoreError, JournalError):  # the next shipper drops them
            self._drop_shipped()
        self._close_store()

    def _next_batch(self, stop: threading.Event) -> Sequence[Entry]:
        """Ship the next batch if there is one. Return its entries."""
        node = self._journal.node()
        if self._store is None:
            self._store = self._open_store()
            self._read_checkpoint(node, self._store.checkpoint(node))
        (entries, self._ahead), (records, self._ahead_records) = (self._ahead, []), (self._ahead_records, [])
        if not entries:
            entries = self._journal.read(self._after, self._size.records)
        if len(entries) < self._size.records:
            # Give the batch time to fill, to avoid a transaction for each packet.
            stop.wait(self._batch_seconds)
            if entries:
                entries += self._journal.read(entries[-1].seq, self._size.records - len(entries))
        if entries:
            # The records of a batch that has grown since it was read ahead are those of its beginning.
            records += [as_json(entry) for entry in entries[len(records) :]]
            began = time.monotonic()
            try:
                self._ingest(self._store, node, entries, records)
            except StoreTimeout as timeout:
                self._size.timed_out(len(entries), time.monotonic() - began)
                raise StoreTimeout(_timed_out(entries, timeout)) from timeout
            self._size.taken(time.monotonic() - began)
        if time.monotonic() - self._dropped_at >= DROP_SECONDS:
            self._drop_shipped()
        return entries

    def _ingest(
        self, store: Store, node: str, entries: Sequence[Entry], records: Sequence[dict[str, Any]]
    ) -> None:
        """Ingest entries. An entry that the database refuses is set aside with the reason, the others go in."""

        def send(batch: Sequence[tuple[Entry, dict[str, Any]]]) -> None:
            last = batch[-1][0].seq
            self._sent = max(self._sent, last)
            answer = store.ingest(
                node, [record for _, record in batch], meanwhile=lambda: self._read_ahead(last)
            )
            self._take_answer(answer, last)

        def set_aside(item: tuple[Entry, dict[str, Any]], reason: str) -> None:
            entry, _ = item
            log.debug("packet %d is set aside: %s", entry.seq, reason)
            try:
                self._take_answer(store.ingest(node, [as_rejected(entry, reason)]), entry.seq)
            except RecordRefused as error:
                raise StoreError(
                    f"packet {entry.seq} can be neither counted nor set aside: {error}"
                ) from error

        def marked(
            item: tuple[Entry, dict[str, Any]], reasons: Mapping[int, str]
        ) -> tuple[Entry, dict[str, Any]]:
            entry, record = item
            self._attributes_until = time.monotonic() + ATTRIBUTES_SECONDS
            return (entry, as_rejected(entry, reasons[entry.seq]) if entry.seq in reasons else record)

        self._clients.mark(records)
        if time.monotonic() < self._attributes_until:
            records = [_with_attributes(*item) for item in zip(entries, records, strict=True)]
        send_halving(list(zip(entries, records, strict=True)), send, set_aside, marked)

    def _take_answer(self, answer: int, last: int) -> None:
        """Note that all records up to the last one sent are ingested. StoreError: the answer is another number."""
        if answer != last:
            raise StoreError(
                f"the database answers that it has all records up to {answer}, and the last one sent was {last}: "
                "another program ships under this journal's name"
            )
        self._after = self._shipped = answer

    def _read_checkpoint(self, node: str, checkpoint: int) -> None:
        """Go on after the database's checkpoint. Say so if neither the journal nor this shipper explains it.

        A power cut can take records from the journal that are ingested already. radiusd then goes on in a new segment
        above them, and so does the shipper. But someone may also have moved the checkpoint. So segments below it are
        kept.
        """
        self._after = checkpoint
        found = self._journal.check_checkpoint(checkpoint)
        if checkpoint <= self._sent or (self._sent == 0 and found is Checkpoint.KNOWN):
            self._shipped, self._doubted = checkpoint, 0
            return
        self._drop_shipped()
        if checkpoint == self._doubted:
            return
        self._doubted = checkpoint
        said = {
            Checkpoint.ABOVE: "above the journal's last record: shipping waits until radiusd's records are above it",
            Checkpoint.UNKNOWN: "no record of the journal: shipping goes on above it",
            Checkpoint.KNOWN: "above what this shipper has sent: shipping goes on above it",
        }
        log.warning(
            "the database's checkpoint of %s is %d, %s. After a power cut this is normal. Segments that begin below it "
            "are kept as kept-segment-*.log, because this shipper did not ship them",
            node,
            checkpoint,
            said[found],
        )

    def _read_ahead(self, after: int) -> None:
        """Read the next batch. If that fails, the error is reported when the batch's turn comes."""
        self._ahead, self._ahead_records = [], []
        with contextlib.suppress(JournalError):
            self._ahead = self._journal.read(after, self._size.records)
            if len(self._ahead) == self._size.records:
                self._ahead_records = [as_json(entry) for entry in self._ahead]

    def _drop_shipped(self) -> None:
        self._dropped_at = time.monotonic()
        if self._shipped and self._store is not None:
            self._journal.drop_through(self._shipped, keep_through=self._doubted, put_away=self._put_away)
            if self._kept is not None:
                self._kept.prune()

    def _put_away(self, segment: SegmentFile, last_seq: int) -> bool:
        """Keep a shipped segment if packets in it may have been left out. Return whether it is kept."""
        if self._kept is None or self._store is None:
            return False
        ranges = self._store.left_out(self._journal.node())
        left_out = any(first <= last_seq and last >= segment.first_seq for first, last in ranges)
        return left_out and self._kept.keep(segment)

    def _close_store(self) -> None:
        store, self._store = self._store, None
        self._clients.forget()
        self._ahead, self._ahead_records = [], []
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


def _timed_out(entries: Sequence[Entry], timeout: StoreTimeout) -> str:
    if len(entries) > 1:
        return f"a batch of {counted(len(entries), 'packet')}: {timeout}. It is tried again, then with half as many"
    return (
        f"packet {entries[0].seq} alone: {timeout}. It is tried again and not set aside: "
        "find out what slows the database down"
    )


def as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON for `radmeter.ingest`: a record, or a packet to set aside or ignore, with the reason."""
    try:
        return parse(entry.pairs, entry.received_at_us, entry.seq).as_json()
    except IgnoredPacket as reason:
        return {"seq": entry.seq, "received_us": entry.received_at_us, "ignored": str(reason)}
    except RejectedPacket as reason:
        return as_rejected(entry, str(reason))


def as_rejected(entry: Entry, reason: str) -> dict[str, Any]:
    """Return an entry as JSON for `radmeter.ingest`, to be set aside with the reason."""
    pairs = _storable(entry.pairs)
    return {
        "seq": entry.seq,
        "received_us": entry.received_at_us,
        "client_ip": _client_ip(pairs),
        "reason": reason,
        "pairs": pairs,
    }


def _with_attributes(entry: Entry, record: dict[str, Any]) -> dict[str, Any]:
    return record if "ignored" in record else {"pairs": _storable(entry.pairs), **record}


def _client_ip(pairs: Any) -> str | None:
    """Return the client's address of an entry that may not be a packet; None if it names none."""
    try:
        return str(ipaddress.ip_address(client_ip(dict(reversed(pairs))) or ""))
    except (TypeError, ValueError):
        return None


def _storable(text: str) -> object:
    """Return a journal entry's text as a JSON value that PostgreSQL takes: the list of pairs, or the text itself.

    What it refuses, such as null or a NUL, could never be set aside, and nothing after it would be shipped. The unique
    id that only `radmeter people erase` may add to a packet is left out.
    """
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        return _clean(text)
    if isinstance(pairs, list) and all(
        isinstance(pair, list) and all(isinstance(part, str) for part in pair) for pair in pairs
    ):
        return [[_clean(part) for part in pair] for pair in pairs if pair[:1] != [UNIQUE_ID_OF_ERASED]]
    return _clean(text)


def _clean(text: str) -> str:
    """Return text without NUL and lone surrogates, which are written out."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
