"""Readings that many viewers share for a moment. One reads, and the others wait for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

MOST = 1000


class Cached:
    """Keeps what was read for some seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._reading: dict[Hashable, asyncio.Future[Any]] = {}

    async def get(
        self, name: Hashable, seconds: float, read: Callable[[], Awaitable[Any]], *, meanwhile: float = 0
    ) -> Any:
        """Return what was read under a name less than so many seconds ago, or read it.

        Parameters
        ----------
        meanwhile
            What was read less than so many seconds ago is returned while it is read again.
        """
        kept = self._kept.get(name)
        if kept is not None and kept[0] > self._now() - seconds:
            return kept[1]
        under_way = self._reading.get(name)
        if under_way is None:
            # A task of its own: a viewer who goes away does not take it along.
            under_way = self._reading[name] = asyncio.ensure_future(read())
            under_way.add_done_callback(lambda done: self._done(name, done))
        if kept is not None and kept[0] > self._now() - meanwhile:
            return kept[1]
        return await asyncio.shield(under_way)

    def _done(self, name: Hashable, done: "asyncio.Future[Any]") -> None:
        self._reading.pop(name, None)
        if done.cancelled() or done.exception() is not None:
            return
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[name] = self._now(), done.result()
