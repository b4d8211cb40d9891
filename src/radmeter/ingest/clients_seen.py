"""Marks records whose router was not seen lately from their RADIUS client, so that the database notes the network."""

import time
from collections.abc import Callable, Sequence

FORGOTTEN_SECONDS = 3600.0
# A router whose packets come by two clients in turn is marked this often, so that the latest client is known.
CHANGED_SECONDS = 60.0
# Pairs that are remembered: 20 MB. A flood of made-up routers must not fill the memory.
MOST_PAIRS = 100_000


class ClientsSeen:
    """Remembers which routers were named by which RADIUS clients within the hour.

    To look in the database for each packet would take a tenth of the time of a batch.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._seen: set[tuple[str, str]] = set()
        # The client and the time of the latest mark of each router.
        self._latest: dict[str, tuple[str, float]] = {}

    def forget(self) -> None:
        """Forget all: what was marked may not have been stored."""
        self._began = self._clock()
        self._seen.clear()
        self._latest.clear()

    def marked(self, clients: Sequence[str], keys: Sequence[str]) -> list[int]:
        """Return the places of the records that are the first of their router and client, or of a former client again.

        Parameters
        ----------
        clients, keys
            The RADIUS client and the key of the router of each record. One of them is empty: it is not marked.
        """
        now = self._clock()
        if now - self._began > FORGOTTEN_SECONDS or len(self._seen) > MOST_PAIRS:
            self.forget()
        if all(
            not key or not client or ((key, client) in self._seen and self._latest[key][0] == client)
            for key, client in set(zip(keys, clients, strict=True))
        ):
            return []
        found = []
        for place, (key, client) in enumerate(zip(keys, clients, strict=True)):
            if not client or not key:
                continue
            latest, at = self._latest.get(key, (client, now))
            if (key, client) not in self._seen or (latest != client and now - at > CHANGED_SECONDS):
                self._seen.add((key, client))
                self._latest[key] = (client, now)
                found.append(place)
        return found
