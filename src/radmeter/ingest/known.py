"""What the shipper knows of one segment: a row of its ledger."""

import uuid
from dataclasses import dataclass, fields
from typing import Any, get_args


@dataclass
class Known:
    """What is known of a segment.

    `last_seq`, `digest`: how far it is shipped. `most_seq`: how far it ever was. `lost_seq`: the last number that is
    known to be lost. Arrivals are in microseconds since 1970, UTC. `ended`: all of it was shipped, and nothing is added
    to it; `ended_us`: when that was found. If nothing of it was shipped: when the segment was found to be gone.
    `shipped_as`: the id under which the records above `shipped_after` are shipped, if the segment was forked.
    """

    id: str
    name: str
    format: int
    node: str
    first_seq: int
    previous: str | None
    last_seq: int
    digest: int | None = 0
    most_seq: int = 0
    lost_seq: int = 0
    first_us: int | None = None
    last_us: int | None = None
    ended: bool = False
    ended_us: int | None = None
    damaged: bool = False
    shipped_as: str | None = None
    shipped_after: int = 0

    @property
    def end(self) -> int:
        """The last number that it is known to have had."""
        return max(self.most_seq, self.lost_seq)

    @property
    def records(self) -> int:
        """How many records were ever shipped. Numbers are contiguous in a segment."""
        return max(0, self.most_seq - self.first_seq + 1)

    @property
    def done_us(self) -> int | None:
        """When its shipper was done with it, as far as that is known."""
        return self.ended_us or self.last_us

    def shipped(self, seq: int, digest: int | None, first_us: int, last_us: int) -> None:
        """Note that a batch of the segment was counted: up to which number, and its arrivals."""
        self.last_seq, self.digest, self.most_seq = seq, digest, max(self.most_seq, seq)
        self.first_us = first_us if self.first_us is None else min(self.first_us, first_us)
        self.last_us = last_us if self.last_us is None else max(self.last_us, last_us)


# By a field's name: the types it may have.
_FIELDS = {field.name: get_args(field.type) or (field.type,) for field in fields(Known)}


def known_from_json(row: dict[str, Any]) -> Known:
    """Return a segment from the object that the ledger has of it. Fields of a later release are passed over.

    Raises
    ------
    TypeError, ValueError, KeyError
        The object is damaged.
    """
    if not isinstance(row, dict):
        raise TypeError("a segment is no object")
    known = Known(**{name: value for name, value in row.items() if name in _FIELDS})
    for name, kinds in _FIELDS.items():
        if type(getattr(known, name)) not in kinds:  # not isinstance: a bool is an int, too
            raise TypeError(f"{name} is {getattr(known, name)!r:.40}")
    for each in (known.id, known.previous, known.shipped_as):
        if each is not None:
            uuid.UUID(each)
    return known
