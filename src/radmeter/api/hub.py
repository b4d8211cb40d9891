"""The figures that move: read about once a second while somebody listens, and kept for those who come later.

One task reads for all listeners. Each listener has a queue with an end: who does not take what comes gets `resync`
instead of what it missed, so a thousand listeners cost little memory, and nobody waits for a slow one.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem
from radmeter.api.reads import alerts, states
from radmeter.api.reads.pipeline import LAG
from radmeter.api.transactions import transaction

log = logging.getLogger(__name__)

# A reading may take a tenth of the time: with very many routers the readings are further apart.
TICK_SECONDS, LARGEST_SHARE = 1.0, 0.1
SLOWEST_TICK_SECONDS = 10.0
# The task goes on for so long when nobody listens: a page that is loaded again finds its history.
LINGER_SECONDS = 60.0
FAULT_SECONDS = 3.0
# What looks through all open sessions, or all routers.
SLOW_READ_SECONDS = 5.0
# Events that can be sent again, figures for charts, and events that may wait for one listener.
KEPT_EVENTS, KEPT_FIGURES, WAITING_EVENTS = 256, 900, 64
# Routers whose last counters are kept, and routers in one event.
KNOWN_ROUTERS, MOST_ROUTERS = 200_000, 500
# Interims report minutes, so a mean of seconds would only show when they come.
OCTETS_SECONDS, PACKETS_SECONDS = 60.0, 10.0

# The sums of two days, by day: a counter of a day begins at zero.
_TOTALS = """
SELECT clock_timestamp() AS read_at, extract(epoch FROM clock_timestamp())::float8 AS at,
       (SELECT sum(records)::bigint FROM radmeter.nodes) AS records,
       (SELECT extract(epoch FROM clock_timestamp() - max(last_received_at))::float8 FROM radmeter.nodes) AS
       newest_seconds,
       (SELECT count(*) FROM public.radacct WHERE acctstoptime IS NULL) AS open_sessions,
       (SELECT count(*) FROM public.rejected_packet) AS rejected_packets,
       (SELECT count(*) FROM radmeter.journal_incidents WHERE open) AS gaps"""
# OFFSET 0: each router by the index, however many days there are.
_OCTETS = """
SELECT usage.usage_date::text AS day, sum(usage.bytes_in)::numeric AS bytes_in,
       sum(usage.bytes_out)::numeric AS bytes_out
FROM public.routers AS router CROSS JOIN LATERAL (
    SELECT usage_date, bytes_in, bytes_out FROM public.router_daily_usage
    WHERE router_id = router.id AND usage_date >= (now() AT TIME ZONE 'UTC')::date - 1 OFFSET 0) AS usage
GROUP BY usage.usage_date"""
_ROUTERS = """
SELECT router.id AS router_id, router.site, usage.usage_date::text AS day, usage.bytes_in, usage.bytes_out,
       extract(epoch FROM usage.last_updated)::float8 AS at
FROM public.routers AS router CROSS JOIN LATERAL (
    SELECT usage_date, bytes_in, bytes_out, last_updated FROM public.router_daily_usage
    WHERE router_id = router.id AND usage_date >= (now() AT TIME ZONE 'UTC')::date - 1 OFFSET 0) AS usage
WHERE usage.last_updated > %(since)s::timestamptz - interval '5 seconds'
ORDER BY usage.last_updated DESC LIMIT %(most)s"""
# As radmeter.stale_sessions judges, but by this moment: after an outage of ours,
# sessions seem stale until it has caught up.
_STALE = """
SELECT count(*) AS stale_sessions FROM public.radacct AS session
LEFT JOIN public.routers AS router ON router.id = session.router_id
CROSS JOIN (SELECT radmeter.setting_value('stale_minutes')::integer AS minutes OFFSET 0) AS least
WHERE session.acctstoptime IS NULL
  AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime) < now() - least.minutes * interval
         '1 minute'
  AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime)
      < now() - radmeter.stale_after(session.interim_interval, router.interim_interval, least.minutes)"""


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
        self._history: deque[Mapping[str, Any]] = deque(maxlen=KEPT_FIGURES)
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._left_at = time.monotonic()
        self._readings = _Readings()
        # It reads what every operator sees.
        self._caller = Caller(key_id="hub", name="hub", role="reader")

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def history(self) -> list[Mapping[str, Any]]:
        """The figures of the last minutes in which somebody listened, the oldest first."""
        return list(self._history)

    @property
    def latest(self) -> Mapping[str, Any]:
        """The latest figures; empty if there are none of the last seconds."""
        if not self._history or self._history[-1]["at"] < time.time() - 3 * SLOWEST_TICK_SECONDS:
            return {}
        return self._history[-1]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        """Listen for the block."""
        listener = Listener()
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="hub")
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            self._left_at = time.monotonic()

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

    async def _run(self) -> None:
        while self._listeners or time.monotonic() - self._left_at < LINGER_SECONDS:
            began = time.monotonic()
            try:
                async with transaction(self._pools, self._caller) as connection:
                    events = await self._readings.read(connection)
            except Problem as problem:
                # The pages say that nothing comes. The next reading may succeed.
                log.warning("the figures of the pages were not read: %s", problem.detail)
                await asyncio.sleep(FAULT_SECONDS)
                continue
            except Exception:
                log.exception("the figures of the pages were not read")
                await asyncio.sleep(FAULT_SECONDS)
                continue
            for name, data in events:
                if name == "figures":
                    self._history.append(data)
                self.publish(name, data)
            took = time.monotonic() - began
            await asyncio.sleep(
                max(self._tick - took, min(took / LARGEST_SHARE, SLOWEST_TICK_SECONDS) - took, 0.05)
            )


class _Readings:
    """Compares one reading with those before it."""

    def __init__(self) -> None:
        self._octets: deque[tuple[float, int, int]] = deque()
        self._packets: deque[tuple[float, int]] = deque()
        self._days: dict[str, tuple[int, int]] = {}
        self._sum = (0, 0)
        self._routers: dict[tuple[int, str], tuple[int, int, float]] = {}
        self._since: Any = None
        self._slow_at = float("-inf")
        self._slow: Row = {}
        self._states: Row | None = None
        self._alerts: tuple[int, int] | None = None

    async def read(self, connection: ApiConnection) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the events of one reading."""
        (now,) = await rows(connection, _TOTALS)
        days = {
            row["day"]: (int(row["bytes_in"]), int(row["bytes_out"]))
            for row in await rows(connection, _OCTETS)
        }
        (found,) = await rows(connection, alerts.COUNT)
        if time.monotonic() - self._slow_at > SLOW_READ_SECONDS:
            late = await states.late_routers(connection)
            (stale,) = await rows(connection, _STALE)
            (lag,) = await rows(connection, LAG)
            self._slow = {"routers": await states.counts(connection, late), **stale, **lag}
            self._slow_at = time.monotonic()
        changed = await self._changed_routers(connection, now["read_at"])
        figures: dict[str, Any] = {
            name: now[name] for name in ("at", "newest_seconds", "open_sessions", "rejected_packets", "gaps")
        }
        figures |= self._slow
        figures["alerts"] = found["alerts"]
        figures |= self._rates(now, days)
        events: list[tuple[str, Mapping[str, Any]]] = [("figures", figures)]
        moved = self._states is not None and self._states != self._slow["routers"]
        self._states = self._slow["routers"]
        if changed or moved:
            events.append(("routers", {"at": now["at"], "changed": moved, **changed}))
        alerts_now = (found["alerts"], found["newest"])
        if self._alerts is not None and self._alerts != alerts_now:
            events.append(("alerts", {"at": now["at"], "open": found["alerts"]}))
        self._alerts = alerts_now
        return events

    def _rates(self, now: Row, days: Mapping[str, tuple[int, int]]) -> Row:
        at = now["at"]
        if self._days:
            for day, (bytes_in, bytes_out) in days.items():
                before = self._days.get(day, (0, 0))
                # A correction may take octets away. That is no throughput.
                self._sum = (
                    self._sum[0] + max(0, bytes_in - before[0]),
                    self._sum[1] + max(0, bytes_out - before[1]),
                )
        self._days = dict(days)
        self._octets.append((at, *self._sum))
        self._packets.append((at, now["records"] or 0))
        _forget(self._octets, at - OCTETS_SECONDS)
        _forget(self._packets, at - PACKETS_SECONDS)
        first, packets = self._octets[0], self._packets[0]
        seconds = max(at - first[0], 1.0)
        return {
            "bytes_in_per_second": (self._sum[0] - first[1]) / seconds,
            "bytes_out_per_second": (self._sum[1] - first[2]) / seconds,
            "packets_per_second": max(0, (now["records"] or 0) - packets[1]) / max(at - packets[0], 1.0),
        }

    async def _changed_routers(self, connection: ApiConnection, read_at: Any) -> Row:
        """Return the routers whose counters grew: their means since they grew before, and the sums of their sites."""
        since, self._since = self._since, read_at
        if since is None:
            return {}
        items: list[Row] = []
        of_sites: dict[str, list[float]] = {}
        for row in await rows(connection, _ROUTERS, {"since": since, "most": MOST_ROUTERS}):
            key = row["router_id"], row["day"]
            before = self._routers.pop(key, None)
            self._routers[key] = row["bytes_in"], row["bytes_out"], row["at"]
            if before is None or before[2] >= row["at"]:
                continue
            grown = row["bytes_in"] - before[0], row["bytes_out"] - before[1]
            seconds = row["at"] - before[2]
            items.append(
                {
                    "router_id": row["router_id"],
                    "site": row["site"],
                    "bytes_in_per_second": max(0, grown[0]) / seconds,
                    "bytes_out_per_second": max(0, grown[1]) / seconds,
                    "seconds": seconds,
                }
            )
            if row["site"] is not None:
                site = of_sites.setdefault(row["site"], [0.0, 0.0])
                site[0] += items[-1]["bytes_in_per_second"]
                site[1] += items[-1]["bytes_out_per_second"]
        while len(self._routers) > KNOWN_ROUTERS:
            del self._routers[next(iter(self._routers))]
        if not items:
            return {}
        named = [
            {"site": site, "bytes_in_per_second": rates[0], "bytes_out_per_second": rates[1]}
            for site, rates in of_sites.items()
        ]
        return {"items": items, "sites": named}


def _forget(readings: deque[Any], before: float) -> None:
    """Drop readings of before a time, but the latest of them: the mean is over the whole window."""
    while len(readings) > 1 and readings[1][0] <= before:
        readings.popleft()
