"""Counts detail files exactly once: each file is a source of its own, and each stanza has a number in it."""

import dataclasses
import datetime
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

import psycopg

from radmeter.database.advisory_locks import given_back, replay_lock, taken
from radmeter.database.connection import connect, explained_errors
from radmeter.errors import RadmeterError, RecordRefused, RejectedPacket, StoreError, StoreUnavailable
from radmeter.ingest.halving import send_halving
from radmeter.ingest.records import as_json, as_rejected, send_simpler
from radmeter.ingest.store import records_json
from radmeter.packet.detail_file import LONGEST_LINE, Place, Stanza, packet, stanzas
from radmeter.plugin.journal.reader import Entry

T = TypeVar("T")
# A packet of a detail file: its stanza, its entry as in a journal, and its record.
Packet = tuple[Stanza, Entry, dict[str, Any]]
log = logging.getLogger(__name__)

ROLE = "radmeter_ingest"
CHUNK_BYTES = 1 << 20
# A batch ends early at so many bytes: the longest stanzas must not fill the memory.
BATCH_BYTES = 8 << 20
# The first and the last believable time of a packet: FreeRADIUS is from 1999, and a clock may be 5 minutes fast.
# sql/functions/ingest/is_believed_arrival.sql has the same window. The database dates other packets by its own clock.
EARLIEST_SECONDS = int(datetime.datetime(1999, 1, 1, tzinfo=datetime.UTC).timestamp())
MOST_AHEAD_SECONDS = 300
RETRY_SECONDS = (0.2, 1.0, 3.0)
UNFINISHED = ": nothing of it is shipped; replay the file again when it is whole"


@dataclasses.dataclass
class Outcome:
    """The result for a file: packets shipped, how many of them were set aside, stanzas replayed before, bad stanzas."""

    shipped: int = 0
    set_aside: int = 0
    before: int = 0
    bad: int = 0


class Replayer:
    """Replays detail files.

    Parameters
    ----------
    dsn
        The database.
    zone
        The time zone of the servers that wrote the files, None if it is not known.
    batch_records
        Packets in one transaction.
    count_dropped
        Count packets of months whose sessions were dropped, too. Nobody can tell whether they were counted before.
    on_problem
        Called with the line and the reason for each stanza that is no packet, and for each packet that is set aside.
    """

    def __init__(
        self,
        dsn: str,
        *,
        zone: datetime.tzinfo | None = None,
        batch_records: int = 1000,
        count_dropped: bool = False,
        on_problem: Callable[[int, str], None] = lambda line, reason: None,
    ) -> None:
        self._dsn = dsn
        self._zone = zone
        self._batch_records = batch_records
        self._count_dropped = count_dropped
        self._on_problem = on_problem
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def replay(self, stream: BinaryIO, name: str, on_progress: Callable[[], None] = lambda: None) -> Outcome:
        """Replay a file from the place where the last replay of it ended.

        Parameters
        ----------
        stream
            The file. It must be seekable.
        name
            The file's name for messages and for the database.
        on_progress
            Called after each batch.

        Raises
        ------
        StoreUnavailable
            The connection was lost. What was shipped is counted, and the next replay goes on there.
        RadmeterError
            Another replay of the file is running, or its sessions may have been dropped.
        """
        outcome = Outcome()
        first = next(stanzas(_lines(stream), Place()), None)
        if first is None:
            return outcome
        with self._alone(f"detail:{first.identity}"):
            source, place = self._resume(stream, f"detail:{first.identity}")
            outcome.before = place.stanzas
            on_progress()
            complete_from_us = self._complete_from_us()
            cut = stanzas(_lines(stream), place)
            while batch := self._next_batch(cut):
                self._replay_batch(source, name, batch, complete_from_us, outcome)
                on_progress()
        return outcome

    def _next_batch(self, cut: Iterator[Stanza]) -> list[Stanza]:
        """Return the next stanzas: as many as a batch has records, or fewer if they are very long."""
        batch: list[Stanza] = []
        size = 0
        for stanza in itertools.islice(cut, self._batch_records):
            batch.append(stanza)
            size += len(stanza.header) + sum(map(len, stanza.body))
            if size >= BATCH_BYTES:
                break
        return batch

    def _replay_batch(
        self, source: str, name: str, batch: Sequence[Stanza], complete_from_us: int, outcome: Outcome
    ) -> None:
        entries: list[tuple[Stanza, Entry]] = []
        done: Stanza | None = None
        for stanza in batch:
            try:
                entry = self._entry(stanza)
            except RejectedPacket as reason:
                outcome.bad += 1
                unfinished = stanza.end == "file"  # FreeRADIUS may still be writing it
                self._on_problem(stanza.line, str(reason) + (UNFINISHED if unfinished else ""))
                if unfinished:
                    break
            else:
                if entry.received_at_us < complete_from_us and not self._count_dropped:
                    raise RadmeterError(_dropped(stanza, complete_from_us))
                entries.append((stanza, entry))
            done = stanza
        # A file without any packet is no detail file. Nothing is kept of it.
        if done is not None and (entries or outcome.shipped or outcome.before):
            self._ship(source, name, entries, done, outcome)

    def _entry(self, stanza: Stanza) -> Entry:
        found = packet(stanza, self._zone)
        seconds = found.received_us // 1_000_000
        if not EARLIEST_SECONDS <= seconds <= time.time() + MOST_AHEAD_SECONDS:
            raise RejectedPacket(
                f"Timestamp {seconds} cannot be the time of arrival: it is before 1999, or more than 5 minutes ahead"
            )
        return Entry(stanza.number, found.received_us, json.dumps(found.pairs, ensure_ascii=False))

    def _ship(
        self, source: str, name: str, entries: Sequence[tuple[Stanza, Entry]], done: Stanza, outcome: Outcome
    ) -> None:
        """Ship packets up to the stanza `done`. A packet that the database refuses is set aside, the others go in."""
        packets = [(stanza, entry, as_json(entry)) for stanza, entry in entries]

        def send(batch: Sequence[Packet]) -> None:
            self._send(source, name, [record for _, _, record in batch], up_to(batch))
            outcome.shipped += len(batch)
            for stanza, _, record in batch:
                if "reason" in record:
                    tell_set_aside(stanza, record["reason"])

        def set_aside(packet: Packet, reason: str) -> None:
            stanza, entry, record = packet
            try:
                sent = send_simpler(
                    entry, record, reason, lambda each: self._send(source, name, [each], up_to([packet]))
                )
            except RecordRefused as refused:
                raise StoreError(
                    f"the packet on line {stanza.line} can be neither counted nor set aside: {refused}"
                ) from refused
            outcome.shipped += 1
            if "reason" in sent:
                tell_set_aside(stanza, reason)

        def up_to(batch: Sequence[Packet]) -> Stanza:
            return done if not batch or batch[-1][0] is packets[-1][0] else batch[-1][0]

        def tell_set_aside(stanza: Stanza, reason: str) -> None:
            outcome.set_aside += 1
            self._on_problem(stanza.line, f"set aside: {reason}")

        def marked(packet: Packet, reasons: Mapping[int, str]) -> Packet:
            stanza, entry, record = packet
            return stanza, entry, as_rejected(entry, reasons[entry.seq]) if entry.seq in reasons else record

        send_halving(packets, send, set_aside, marked)

    def _send(self, source: str, name: str, records: Sequence[dict[str, Any]], done: Stanza) -> None:
        text = records_json(records)
        self._query(
            "SELECT radmeter.replay(%s, %s::json, %s, %s, %s, %s)",
            (source, text, name, done.number, done.size, done.digest),
        )

    def _resume(self, stream: BinaryIO, source: str) -> tuple[str, Place]:
        """Return a file's source and the place to go on: the end of the longest replayed part at the file's start."""
        known = self._query(
            "SELECT source, stanzas, size, digest FROM radmeter.replayed_files(%s)", (source,)
        )
        stream.seek(0)
        place, found_source, found = Place(), None, Place()
        for known_source, count, size, digest in known:
            while place.size < size and (chunk := stream.read(min(CHUNK_BYTES, size - place.size))):
                place.size += len(chunk)
                place.lines += chunk.count(b"\n")
                place.hash.update(chunk)
            if place.size == size and place.hash.digest() == digest:
                found_source = known_source
                found = Place(count, place.lines, size, place.hash.copy())
        stream.seek(found.size)
        if found_source is None:
            taken = {row[0] for row in known}
            names = itertools.chain([source], (f"{source}:{number}" for number in itertools.count(2)))
            found_source = next(name for name in names if name not in taken)
        return found_source, found

    @contextmanager
    def _alone(self, source: str) -> Iterator[None]:
        """Keep other replays of the same file away: two at the same time could take it for two files."""
        lock = replay_lock(source)
        if not self._retried(lambda connection: taken(connection, lock)):
            raise RadmeterError("another replay of this file is running")
        try:
            yield
        finally:
            if self._connection is not None:
                given_back(self._connection, lock)

    def _complete_from_us(self) -> int:
        rows = self._query(
            "SELECT (extract(epoch FROM moment) * 1000000)::bigint FROM radmeter.sessions_complete_from() AS moment"
            " WHERE isfinite(moment)",
            (),
        )
        return int(rows[0][0]) if rows else 0

    def _query(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self._retried(lambda connection: connection.execute(query.encode(), values).fetchall())

    def _retried(self, work: Callable[[psycopg.Connection[tuple[Any, ...]]], T]) -> T:
        """Do `work`. Try again after a pause if the connection was lost or the database ended the transaction."""
        for pause in (*RETRY_SECONDS, None):
            try:
                if self._connection is None:
                    self._connection = connect(self._dsn, prepare_threshold=0)
                with explained_errors(ROLE):
                    return work(self._connection)
            except StoreUnavailable as error:
                self.close()
                if pause is None:
                    raise StoreUnavailable(
                        f"{error}; the same command goes on where this one ends"
                    ) from error
                log.warning("replaying waits: %s", error)
                time.sleep(pause)
        raise StoreError("unreachable")


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file. A very long line, which no detail file has, comes in pieces."""
    return iter(lambda: stream.readline(LONGEST_LINE), b"")


def _dropped(stanza: Stanza, complete_from_us: int) -> str:
    day = datetime.datetime.fromtimestamp(complete_from_us / 1e6, datetime.UTC).date()
    return (
        f"line {stanza.line}: the packet is from before {day}, and the sessions of that time were dropped. If the "
        "packet was counted before, it would be counted again. --count-dropped counts it anyway"
    )
