"""Sends a batch of a segment to the database. Packets that it refuses are set aside with the reason."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from radmeter.errors import RecordRefused, StoreError
from radmeter.ingest.clients_seen import ClientsSeen
from radmeter.ingest.halving import send_halving
from radmeter.ingest.position import Position
from radmeter.ingest.records import as_rejected, send_simpler, with_attributes
from radmeter.ingest.store import Progress, Store
from radmeter.plugin.journal.reader import Entry, digest_after

log = logging.getLogger(__name__)

# After the database has refused packets of a router that is bound to other clients, records have their attributes, too,
# for so long. It then sets such packets aside without an error, which PostgreSQL would log for each batch of a flood.
ATTRIBUTES_SECONDS = 60.0

Item = tuple[Entry, dict[str, Any]]


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
        records: Sequence[dict[str, Any]],
        meanwhile: Callable[[int], None] = lambda last: None,
    ) -> None:
        """Send a batch in one transaction, or in several if the database refuses some of it. Move the position on.

        Parameters
        ----------
        records
            The entries as JSON, from `radmeter.ingest.records.as_json`.
        meanwhile
            Called with the last number of each part that is sent, while the database ingests it.
        """

        def ingest(items: Sequence[Item], meanwhile: Callable[[], None] | None) -> None:
            last, after = items[-1][0].seq, position.progress
            digest = None
            if after.digest is not None:
                digest = digest_after(after.digest, [entry for entry, _ in items])
            answer = store.ingest(position.id, after, [record for _, record in items], digest, meanwhile)
            if answer != last:
                raise StoreError(
                    f"the database answers that it has the records of segment {position.id} up to {answer}, and the "
                    f"last one sent was {last}: its functions are not those of radmeter. See `radmeter doctor`"
                )
            position.progress = Progress(last, digest)
            arrivals = [entry.received_at_us for entry, _ in items]
            position.known.shipped(last, digest, min(arrivals), max(arrivals))

        def send(items: Sequence[Item]) -> None:
            ingest(items, lambda: meanwhile(items[-1][0].seq))

        def set_aside(item: Item, reason: str) -> None:
            entry, record = item
            try:
                sent = send_simpler(entry, record, reason, lambda each: ingest([(entry, each)], None))
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

        self._clients.mark(records)
        if time.monotonic() < self._attributes_until:
            records = [with_attributes(*item) for item in zip(entries, records, strict=True)]
        send_halving(list(zip(entries, records, strict=True)), send, set_aside, marked)
