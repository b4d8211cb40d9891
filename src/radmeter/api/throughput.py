"""Octets and packets a second, from sums that are read now and then."""

from collections import deque
from collections.abc import Mapping, Sequence

from radmeter.api.listing import Row

# Routers whose last counters are kept, and routers in one event.
KNOWN_ROUTERS, MOST_ROUTERS = 200_000, 500
# Interims report minutes, so a mean of seconds would only show when they come.
OCTETS_MEAN_SECONDS, PACKETS_MEAN_SECONDS = 60.0, 10.0
# Between two readings. After a longer pause nobody knows when it was that the sums grew. Longer than the slowest pace.
LONGEST_PAUSE_SECONDS = 45.0


class Mean:
    """By how much sums grow in a second, as a mean over a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._readings: deque[tuple[float, Sequence[int]]] = deque()

    def add(self, at: float, *sums: int) -> None:
        """Add a reading. After a pause, or if the clock was set back, the mean begins anew."""
        if self._readings and not 0 <= at - self._readings[-1][0] <= LONGEST_PAUSE_SECONDS:
            self._readings.clear()
        self._readings.append((at, sums))
        # The latest reading before the time stays: the mean is over all of the time.
        while len(self._readings) > 1 and self._readings[1][0] <= at - self._seconds:
            self._readings.popleft()

    def at(self, now: float) -> list[float] | None:
        """Return the means; None: they are not known, since readings do not cover the time."""
        if not self._readings or not 0 <= now - self._readings[-1][0] <= LONGEST_PAUSE_SECONDS:
            return None
        (first_at, first), (last_at, last) = self._readings[0], self._readings[-1]
        seconds = last_at - first_at
        if seconds < self._seconds:
            # An interim in the first seconds would look like a peak.
            return None
        return [max(0, after - before) / seconds for before, after in zip(first, last, strict=True)]


class Growth:
    """Adds up by how much the counters of days have grown."""

    def __init__(self) -> None:
        self._days: Mapping[str, tuple[int, int]] | None = None
        self._sums = (0, 0)

    def add(self, days: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
        """Return the sums after a reading. The counter of a new day begins at zero."""
        for day, after in days.items() if self._days is not None else ():
            before = (self._days or {}).get(day, (0, 0))
            # A correction may take octets away. That is no throughput.
            self._sums = (
                self._sums[0] + max(0, after[0] - before[0]),
                self._sums[1] + max(0, after[1] - before[1]),
            )
        self._days = days
        return self._sums


class OfRouters:
    """Compares the counters of routers with what they were when they grew before."""

    def __init__(self) -> None:
        self._routers: dict[tuple[int, str], tuple[int, int, float]] = {}

    def add(self, found: Sequence[Row]) -> Row:
        """Return the routers whose counters grew: their means since they grew before, and the sums of their sites."""
        items: list[Row] = []
        of_sites: dict[str, list[float]] = {}
        changed = [(row["day"], *each) for row in found for each in row["changed"] or ()]
        changed.sort(key=lambda each: each[-1], reverse=True)
        for day, router_id, site, bytes_in, bytes_out, at in changed[:MOST_ROUTERS]:
            key = router_id, day
            before = self._routers.pop(key, None)
            self._routers[key] = bytes_in, bytes_out, at
            if before is None or before[2] >= at:
                continue
            seconds = at - before[2]
            rates = max(0, bytes_in - before[0]) / seconds, max(0, bytes_out - before[1]) / seconds
            items.append(
                {
                    "router_id": router_id,
                    "site": site,
                    "bytes_in_per_second": rates[0],
                    "bytes_out_per_second": rates[1],
                    "seconds": seconds,
                }
            )
            if site is not None:
                of_site = of_sites.setdefault(site, [0.0, 0.0])
                of_site[0] += rates[0]
                of_site[1] += rates[1]
        while len(self._routers) > KNOWN_ROUTERS:
            del self._routers[next(iter(self._routers))]
        if not items:
            return {}
        named = [
            {"site": site, "bytes_in_per_second": rates[0], "bytes_out_per_second": rates[1]}
            for site, rates in of_sites.items()
        ]
        return {"items": items, "sites": named}
