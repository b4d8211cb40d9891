"""Ships the records of a segment that have one id, however damaged the file is."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from radmeter.errors import JournalError, ProgressMoved, StoreTimeout
from radmeter.ingest.findings import Findings
from radmeter.ingest.known import Known
from radmeter.ingest.orphan_identity import Identity
from radmeter.ingest.position import Position
from radmeter.ingest.registration import registered
from radmeter.ingest.rows import KnownLists, Rows
from radmeter.ingest.sending import Sender
from radmeter.ingest.store import Store
from radmeter.plugin.journal.orphan import read_end, read_orphan
from radmeter.plugin.journal.reader import BATCH_TEXT, Entry, Loss, Segment, digest_after
from radmeter.plugin.journal.segment_format import SegmentHeader

BATCH = 1000
# Another shipper may ship the same segment at the same time. Each time it is faster, this one asks how far it is.
TRIES = 100

# Called with the number of packets that were read since the last call.
Listener = Callable[[int], None]


class Forked(JournalError):
    """The database has counted other records under the segment's identity."""


class Part(NamedTuple):
    """The records of a segment that have one id, with the numbers above `after` and up to `until` (None: to its end).

    `is_shared`: another machine may have shipped other records under the same id, after these.
    `end`: the last number that the segment had, if the segment that follows it is here and says so.
    """

    header: SegmentHeader
    after: int
    until: int | None = None
    is_shared: bool = False
    end: int | None = None

    def is_behind(self, seq: int) -> bool:
        """Tell whether a number is higher than all of this part's."""
        return self.until is not None and seq > self.until


def parts_of(identity: Identity) -> list[Part]:
    """Return the parts of a segment: two if another machine went on with a copy of it, and its shipper saw that."""
    header, known = identity.header, identity.known
    begins_after = header.first_seq - 1
    if known is None or known.shipped_as is None:
        return [Part(header, begins_after, end=identity.end)]
    fork = header._replace(id=known.shipped_as, previous=known.id, first_seq=known.shipped_after + 1)
    return [
        Part(header, begins_after, known.shipped_after, is_shared=True),
        Part(fork, known.shipped_after, end=identity.end),
    ]


def ship_part(
    store: Store, path: Path, node: str, part: Part, on_shipped: Listener, on_had: Listener
) -> tuple[int, list[Loss]]:
    """Ship a part of a file, however often another shipper is faster.

    Parameters
    ----------
    node
        The name of the journal that the segment is of.
    on_shipped
        Called with the number of packets each time that some were counted or set aside.
    on_had
        Called with the number of packets each time that some were read that the database had already.

    Returns
    -------
    tuple
        How many packets of the part the database had before the last attempt, and what is lost.

    Raises
    ------
    Forked
        The database has counted other records under this identity.
    JournalError
        The file cannot be read.
    StoreError
        The database cannot be reached, or does not take the packets.
    """
    size = BATCH
    for tried in range(TRIES):
        try:
            attempt = _Attempt(store, path, node, part, size, on_shipped, on_had)
            attempt.run()
            return attempt.had, attempt.lost
        except ProgressMoved:
            if tried == TRIES - 1:
                raise
        except StoreTimeout:
            if size == 1:
                raise
            size = max(1, size // 2)
    raise AssertionError("not reached")


class _Attempt:
    """One walk through a file: what the database has is compared, and what it lacks is shipped."""

    def __init__(
        self,
        store: Store,
        path: Path,
        node: str,
        part: Part,
        size: int,
        on_shipped: Listener,
        on_had: Listener,
    ) -> None:
        header = part.header
        segment = Segment(header.first_seq, path, header)
        self._row = row = registered(store, node, [segment])[header.id]
        self._position = Position(
            segment,
            Known(header.id, path.name, header.format, node, header.first_seq, header.previous, row.last_seq),
            row.progress,
        )
        self._store = store
        self._path = path
        self._node = node
        self._part = part
        self._size = size
        self._on_shipped = on_shipped
        self._on_had = on_had
        self._sender = Sender()
        self._lists = KnownLists()
        self._batch: list[Entry] = []
        self._text = 0  # characters of the batch
        # The last record that the database has, and the digest up to it.
        self._last, self._digest = part.after, 0
        self._compared = False
        self.had = 0
        self.lost: list[Loss] = []

    def run(self) -> None:
        """Walk through the file. `had` and `lost` are complete only if nothing is raised."""
        for each in read_orphan(self._path):
            if isinstance(each, Loss):
                is_before = each.last_seq is not None and each.last_seq <= self._part.after
                if not is_before and not self._part.is_behind(each.first_seq):
                    self.lost.append(each)
            elif each.seq <= self._part.after:
                continue
            elif self._part.is_behind(each.seq):
                break
            elif each.seq <= self._row.last_seq:
                self._pass(each)
            else:
                self._compare()
                self._add(each)
        self._compare()
        self._send()
        self._note()
        self._on_had(self.had % BATCH)

    def _pass(self, entry: Entry) -> None:
        """Pass a record that the database has."""
        self.had += 1
        self._last, self._digest = entry.seq, digest_after(self._digest, [entry])
        if self.had % BATCH == 0:
            self._on_had(BATCH)

    def _compare(self) -> None:
        """Compare what was counted of the segment with what the file has of that, once all of that was passed."""
        if self._compared:
            return
        self._compared = True
        is_unknown = self._part.is_shared and self._row.last_seq > self._last
        counted_digest = None if is_unknown else self._row.digest
        if self._digest == counted_digest:
            return  # what is lost was lost when the rest was counted
        if counted_digest is not None and not self.lost and self._is_whole():
            raise Forked(
                "the database has counted other records under its identity, "
                f"{self._row.id}: another machine went on with a copy of this segment, or this file was damaged when "
                "it was shipped. It cannot be said which of its packets are counted"
            )
        # What the database has was counted before the file was damaged.
        self.lost = [
            loss._replace(first_seq=max(loss.first_seq, self._row.last_seq + 1))
            for loss in self.lost
            if loss.last_seq is None or loss.last_seq > self._row.last_seq
        ]

    def _is_whole(self) -> bool:
        """Tell whether no power cut took records up to the last one that the database has."""
        if self._last == self._row.last_seq:
            return True
        return self._part.after < self._last and read_end(self._path) is not None

    def _add(self, entry: Entry) -> None:
        self._batch.append(entry)
        self._text += len(entry.text)
        if len(self._batch) >= self._size or self._text >= BATCH_TEXT:
            self._send()

    def _send(self) -> None:
        if self._batch:
            self._sender.send(self._store, self._position, self._batch, Rows(self._batch, self._lists))
            self._on_shipped(len(self._batch))
        self._batch, self._text = [], 0

    def _note(self) -> None:
        """Note in the database what is lost, and that the rest is counted."""
        findings = Findings(self._store, self._node, told=[])  # the caller says it, so nothing is logged
        for loss in self.lost:
            findings.damaged(self._position, loss, kept=f"The file is {self._path.absolute()}")
        seq = self._position.progress.seq
        is_whole = seq > self._row.last_seq or self._last >= self._row.last_seq or bool(self.lost)
        if is_whole and not self._part.is_shared:
            # A file that ends before what is counted of it is not all of the segment.
            self._store.finish(self._row.id, seq if self._is_end(seq) else None)

    def _is_end(self, seq: int) -> bool:
        """Tell whether the segment is known to have ended at a number. The file may be a copy that was made before."""
        end = self._part.end or read_end(self._path)
        return end is not None and max(seq, *(loss.last_seq or 0 for loss in self.lost), 0) >= end
