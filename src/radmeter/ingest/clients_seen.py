"""Marks records whose router was not seen lately from their RADIUS client, so that the database notes the network."""

import time
from collections.abc import Callable, Iterable
from typing import Any

FORGOTTEN_SECONDS = 3600.0
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

    def forget(self) -> None:
        """Forget all: what was marked may not have been stored."""
        self._began = self._clock()
        self._seen.clear()

    def mark(self, records: Iterable[dict[str, Any]]) -> None:
        """Set `new_client` in the first record of each router and client. Other records stay as they are."""
        if self._clock() - self._began > FORGOTTEN_SECONDS or len(self._seen) > MOST_PAIRS:
            self.forget()
        for record in records:
            client, key = record.get("client_ip"), record.get("router_key")
            if client is not None and key is not None and (key, client) not in self._seen:
                self._seen.add((key, client))
                record["new_client"] = True
