"""What became of a segment that no shipper carries, and how people are told."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from radmeter.plugin.journal.reader import Loss
from radmeter.units import counted, span


class Result(NamedTuple):
    """What became of one file: packets counted now, packets that the database had, and what cannot be read.

    `refused`: why nothing more of it is shipped. `counted` includes packets that were set aside.
    """

    path: Path
    counted: int
    had: int
    lost: tuple[Loss, ...] = ()
    refused: str | None = None
    segment: str | None = None

    @property
    def lost_packets(self) -> int | None:
        """How many packets are lost; None if nobody knows."""
        if any(loss.last_seq is None for loss in self.lost):
            return None
        return sum((loss.last_seq or 0) - loss.first_seq + 1 for loss in self.lost)


def summary(result: Result) -> str:
    """Return what became of a file, in one line."""
    name = f"{result.path.parent.name}/{result.path.name}"
    said = f"{counted(result.counted, 'packet')} shipped"
    if result.refused:
        before = "nothing is shipped" if not result.counted else f"{said}, then no more"
        return f"{name}: {before}: {result.refused}"
    said += f", {result.had:,} counted before"
    if result.lost:
        many = result.lost_packets
        said += f", {'an unknown number' if many is None else f'{many:,}'} lost"
    return f"{name}: {said}"


def described(loss: Loss) -> str:
    """Return in one line what is lost: numbers, and the arrivals of the packets around them."""
    times = [
        f"{word} {datetime.fromtimestamp(us / 1e6, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"
        for word, us in (("after", loss.after_us), ("before", loss.before_us))
        if us is not None
    ]
    numbers = span("number", loss.first_seq, loss.last_seq)
    return numbers + (f", received {' and '.join(times)}" if times else "") + f": {loss.what}"
