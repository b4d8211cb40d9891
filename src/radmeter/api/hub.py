"""The figures that move: read for all who listen, and kept for those who come later.

One task reads for all listeners: twice a second while somebody listens, seldom and less while nobody does. So a
listener that comes sees what was. Each has a queue with an end. One that does not take what comes gets `resync` instead
of what it missed. So a thousand listeners cost little memory, and nobody waits for a slow one.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from radmeter.api.callers import Caller
from radmeter.api.listing import Row
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem
from radmeter.api.readings import TICK_SECONDS, Readings
from radmeter.api.transactions import transaction

log = logging.getLogger(__name__)

# Between two readings while nobody listens.
UNSEEN_SECONDS = 10.0
FAULT_SECONDS = 3.0
# Events that can be sent again, events that may wait for one listener, and how long figures are kept for charts.
KEPT_EVENTS, WAITING_EVENTS, KEPT_SECONDS = 256, 64, 900


@dataclass(frozen=True, slots=True)
class Event:
    """An event: its number, its name, and its data as JSON. Encoded once for all listeners."""

    number: int
    name: str
    text: bytes


class Listener:
    """One who listens."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._there = asyncio.Event()
        self.dropped = False

    def give(self, event: Event) -> None:
        """Put an event into the queue. If it is full, the queue is emptied: the listener has to begin anew."""
        if len(self._events) >= WAITING_EVENTS:
            self._events.clear()
            self.dropped = True
        self._events.append(event)
        self._there.set()

    async def take(self, seconds: float) -> list[Event]:
        """Return what has come; nothing if nothing comes for so long."""
        if not self._events:
            self._there.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._there.wait()
            except TimeoutError:
                return []
        taken = list(self._events)
        self._events.clear()
        return taken


class Hub:
    """Reads for all listeners.

    Parameters
    ----------
    started_at
        Goes into the ids of events: an id of another process, or of one before it, is not known here.
    """

    def __init__(self, pools: Pools, *, started_at: int | None = None, tick: float = TICK_SECONDS) -> None:
        self._pools = pools
        self._tick = tick
        self.epoch = started_at or time.time_ns()
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._history: deque[Mapping[str, Any]] = deque()
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._called = asyncio.Event()
        self._is_faulty = False
        self._readings = Readings()
        self._read_at = float("-inf")
        self._version = 0
        # It reads what every operator sees.
        self._caller = Caller(key_id="hub", name="hub", role="reader")

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def history(self) -> list[Mapping[str, Any]]:
        """The figures of the last minutes, the oldest first."""
        return list(self._history)

    @property
    def late(self) -> list[int] | None:
        """The routers that are late; None: nobody listens, so it is not known."""
        return self._readings.late if self._is_running else None

    @property
    def counts(self) -> Row | None:
        """How many routers are in each state; None: nobody listens, so it is not known."""
        return self._readings.counts if self._is_running else None

    @property
    def version(self) -> int:
        """Another number when a router or an alert has another state than before."""
        return self._version

    @property
    def _is_running(self) -> bool:
        return self._task is not None and not self._task.done() and self._read_at > time.monotonic() - 5

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._run(), name="hub")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        """Listen for the block."""
        listener = Listener()
        self._listeners.add(listener)
        self._called.set()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def since(self, last_id: str) -> list[Event] | None:
        """Return the events after one; None: it is not known any more, or of another process."""
        epoch, _, number = last_id.partition("-")
        if epoch != str(self.epoch) or not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        after = int(number)
        if after > self._number or (self._kept and after < self._kept[0].number - 1):
            return None
        return [each for each in self._kept if each.number > after]

    def id_of(self, event: Event) -> str:
        """Return an event's id."""
        return f"{self.epoch}-{event.number}"

    async def close(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def publish(self, name: str, data: Mapping[str, Any]) -> None:
        """Send an event to all."""
        self._number += 1
        event = Event(self._number, name, msgspec.json.encode(data))
        self._kept.append(event)
        for each in self._listeners:
            each.give(event)

    def keep(self, figures: Mapping[str, Any]) -> None:
        """Keep figures for charts."""
        at = figures["at"]
        if self._history and at < self._history[-1]["at"]:
            # The server's clock was set back: what has a time of later would stand before what comes.
            self._history.clear()
            self.publish("resync", {})
        self._history.append(figures)
        while self._history[0]["at"] < at - KEPT_SECONDS:
            self._history.popleft()

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._read()
            except Problem as problem:
                # The pages say that nothing comes. The next reading may succeed.
                self._failed(problem.detail)
            except Exception:
                self._failed("a fault of radmeter", exc_info=True)
            took = time.monotonic() - began
            if self._is_faulty:
                await asyncio.sleep(FAULT_SECONDS)
            else:
                await self._rest(took)

    async def _read(self) -> None:
        async with transaction(self._pools, self._caller) as connection:
            reading = await self._readings.read(connection, seen=bool(self._listeners))
        self._read_at = time.monotonic()
        if self._is_faulty:
            log.info("the figures of the pages are read again")
            self._is_faulty = False
        for name, data in self._readings.events(reading):
            if name == "figures":
                self.keep(data)
                if not reading["seen"]:
                    # Not all of them, so they are nothing for a listener who came meanwhile.
                    continue
            elif name == "alerts" or data.get("changed"):
                self._version += 1
            self.publish(name, data)

    def _failed(self, reason: str, *, exc_info: bool = False) -> None:
        if not self._is_faulty:
            log.warning(
                "the figures of the pages are not read, and tried again: %s", reason, exc_info=exc_info
            )
        self._is_faulty = True

    async def _rest(self, took: float) -> None:
        """Wait until the next reading. Who begins to listen while nobody did does not wait."""
        if self._listeners:
            await asyncio.sleep(max(self._tick - took, took, 0.05))
            return
        self._called.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(UNSEEN_SECONDS - took, 0.05)):
                await self._called.wait()
