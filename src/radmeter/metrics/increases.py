"""Counters that begin at zero with the process, from sums that the database keeps for each day.

A counter of Prometheus must not go back, and must not count what was before it was watched. Sums go down when counters
are repaired, and a router gets those of another that is merged into it. So what is new is added up here.
"""

from collections.abc import Hashable, Mapping
from typing import NamedTuple


class Counter(NamedTuple):
    """What a reading has of a counter.

    Attributes
    ----------
    parts
        The sums that belong to it, such as those of each day. All counters have as many sums.
    made_of
        What the sums are made of. If that is another than before, they cannot be compared with those of before.
    """

    parts: Mapping[Hashable, tuple[float, ...]]
    made_of: Hashable = None


class Increases:
    """By how much sums have grown, from each reading to the next of which a counter is part.

    A part that a counter did not have in the reading before began at zero: a day began. The sums of a counter that was
    not in the reading before are of before, and only later readings are compared with them.
    """

    def __init__(self) -> None:
        self._before: Mapping[Hashable, Counter] = {}
        self._grown: dict[Hashable, tuple[float, ...]] = {}

    def add(self, reading: Mapping[Hashable, Counter]) -> None:
        """Add a reading: all counters that are watched now."""
        for name, counter in reading.items():
            before = self._before.get(name)
            if before is None or before.made_of != counter.made_of:
                continue
            for part, sums in counter.parts.items():
                zero = (0,) * len(sums)
                grown, old = self._grown.get(name, zero), before.parts.get(part, zero)
                self._grown[name] = tuple(
                    so_far + max(0, now - then) for so_far, now, then in zip(grown, sums, old, strict=True)
                )
        self._before = dict(reading)

    def of(self, name: Hashable, places: int = 2) -> tuple[float, ...]:
        """Return how much the sums of a counter have grown; it has that many."""
        return self._grown.get(name, (0,) * places)
