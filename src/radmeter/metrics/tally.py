"""Counters that begin at zero with the process, from rows and sums that the database keeps for a while.

A counter of Prometheus must not go back. Rows are removed (rejected packets that are retried, what is too old), and
sums of days go down when counters are repaired. So what is new is added up here, and nothing is taken away.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

Key = Hashable


class Tally:
    """A count by key, of rows that each reading gives since the reading before.

    Each reading says how many rows there are that are old enough to be final, and how many are later. The later ones
    come again with the next reading: a transaction may add one that is dated before others that were seen already.
    """

    def __init__(self) -> None:
        self._final: dict[Key, float] = defaultdict(float)
        self._shown: dict[Key, float] = {}

    def add(self, counts: Iterable[tuple[Key, float, float]]) -> None:
        """Add a reading: for each key the final rows since the last reading, and the later ones."""
        later: dict[Key, float] = defaultdict(float)
        for key, final, rest in counts:
            self._final[key] += final
            later[key] += rest
        for key in self._final.keys() | later.keys():
            value = self._final.get(key, 0) + later.get(key, 0)
            self._shown[key] = max(self._shown.get(key, 0), value)

    @property
    def counts(self) -> Mapping[Any, float]:
        """What was counted since the process began, by key."""
        return self._shown


class Increases:
    """How much sums by key have grown since the first reading. A sum that is new began at zero."""

    def __init__(self) -> None:
        self._before: dict[tuple[Key, Key], tuple[float, ...]] | None = None
        self._grown: dict[Key, list[float]] = {}

    def add(self, sums: Iterable[tuple[Key, Key, tuple[float, ...]]]) -> None:
        """Add a reading: (counter, part, sums). The sums of all parts of a counter belong to it."""
        now = {(counter, part): values for counter, part, values in sums}
        for (counter, part), values in now.items():
            grown = self._grown.setdefault(counter, [0] * len(values))
            if self._before is None:
                continue
            before = self._before.get((counter, part), (0,) * len(values))
            for place, value in enumerate(values):
                grown[place] += max(0, value - before[place])
        self._before = now

    def of(self, counter: Key, places: int = 2) -> tuple[float, ...]:
        """Return how much the sums of a counter have grown."""
        return tuple(self._grown.get(counter, [0] * places))
