"""What many clients share, and of which one client gets a part: the rest of it is for the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from radmeter.api.problems import unavailable


class Shares:
    """Counts what each client holds.

    Parameters
    ----------
    most
        So much a client may hold at once.
    seconds
        So long a client waits for a part that it holds itself.
    refusal
        What it is told then.
    """

    def __init__(
        self, most: int, seconds: float, refusal: str = "too many requests of this key are under way"
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._refusal = refusal
        # The places of a client, and how many of its requests hold one or wait for it.
        self._places: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def one(self, client: str) -> AsyncIterator[None]:
        """Hold a part for the block. Raises Problem if the client holds all it may have for too long."""
        places, number = self._places.get(client, (asyncio.Semaphore(self._most), 0))
        self._places[client] = places, number + 1
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await places.acquire()
            except TimeoutError:
                raise unavailable(self._refusal) from None
            try:
                yield
            finally:
                places.release()
        finally:
            places, number = self._places.pop(client)
            if number > 1:
                self._places[client] = places, number - 1
