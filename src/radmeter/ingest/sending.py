"""Sends a batch of a segment to the database. Packets that it refuses are set aside with the reason."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from radmeter.errors import RecordRefused, StoreError
from radmeter.ingest.clients_seen import ClientsSeen
from radmeter.ingest.halving import send_halving
from radmeter.ingest.position import Position
from radmeter.ingest.records import as_json, as_rejected, send_simpler, with_attributes
from radmeter.ingest.rows import Rows
from radmeter.ingest.store import Progress, Store
from radmeter.plugin.journal.reader import Entry, digest_after

log = logging.getLogger(__name__)

# After the database has refused packets of a router that is bound to other clients, records have their attributes, too,
# for so long. It then sets such packets aside without an error, which PostgreSQL would log for each batch of a flood.
ATTRIBUTES_SECONDS = 60.0

Item = tuple[Entry, dict[str, Any]]
# Sends what follows a progress, with the digest at its end. Returns the last number that is counted.
Call = Callable[[Progress, int | None], int]


class Sender:
    """Sends batches over one connection."""

    def __init__(self) -> None:
        self._clients = ClientsSeen()
        self._attributes_until = -math.inf

    def forget(self) -> None:
        """Forget what was sent: the next batch goes over another connection."""
        self._clients.forget()

    def send(
        self,
        store: Store,
        position: Position,
        entries: Sequence[Entry],
        rows: Rows,
        meanwhile: Callable[[int], None] = lambda last: None,
    ) -> None:
        """Send a batch in one transaction, or in several if the database refuses some of it. Move the position on.

        Parameters
        ----------
        rows
            The entries' records. They are copied. What the database refuses of them is sent again as JSON, in parts.
        meanwhile
            Called with the last number of each part that is sent, while the database ingests it.
        """

        def ingest(sent: Sequence[Entry], call: Call) -> None:
            last, after = sent[-1].seq, position.progress
            digest = None if after.digest is None else digest_after(after.digest, sent)
            answer = call(after, digest)
            if answer != last:
                raise StoreError(
                    f"the database answers that it has the records of segment {position.id} up to {answer}, and the "
                    f"last one sent was {last}: its functions are not those of radmeter. See `radmeter doctor`"
                )
            position.progress = Progress(last, digest)
            arrivals = [entry.received_at_us for entry in sent]
            position.known.shipped(last, digest, min(arrivals), max(arrivals))

        def ingest_json(items: Sequence[Item], meanwhile: Callable[[], None] | None) -> None:
            records = [record for _, record in items]
            ingest(
                [entry for entry, _ in items],
                lambda after, digest: store.ingest(position.id, after, records, digest, meanwhile),
            )

        def send(items: Sequence[Item]) -> None:
            ingest_json(items, lambda: meanwhile(items[-1][0].seq))

        def set_aside(item: Item, reason: str) -> None:
            entry, record = item
            try:
                sent = send_simpler(entry, record, reason, lambda each: ingest_json([(entry, each)], None))
            except RecordRefused as refused:
                raise StoreError(
                    f"packet {entry.seq} can be neither counted nor set aside: {refused}"
                ) from refused
            how = "set aside" if "reason" in sent else "counted with less in it"
            log.debug("packet %d is %s: %s", entry.seq, how, reason)

        def marked(item: Item, reasons: Mapping[int, str]) -> Item:
            entry, record = item
            self._attributes_until = time.monotonic() + ATTRIBUTES_SECONDS
            return (entry, as_rejected(entry, reasons[entry.seq]) if entry.seq in reasons else record)

        new_clients = self._clients.marked(rows.clients, rows.keys)
        with_pairs = time.monotonic() < self._attributes_until
        if not with_pairs and store.takes_copies():
            with contextlib.suppress(RecordRefused):  # of which nothing is stored: the parts are sent below
                copied = rows.copied(new_clients)
                ingest(
                    entries,
                    lambda after, digest: store.ingest_copied(
                        position.id, after, copied, digest, lambda: meanwhile(entries[-1].seq)
                    ),
                )
                return
        records = [as_json(entry) for entry in entries]
        for place in new_clients:
            records[place]["new_client"] = True
        if with_pairs:
            records = [with_attributes(*item) for item in zip(entries, records, strict=True)]
        send_halving(list(zip(entries, records, strict=True)), send, set_aside, marked)
