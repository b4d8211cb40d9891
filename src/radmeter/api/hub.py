"""The figures that move: read twice a second while somebody listens, and kept for those who come later.

One task reads for all listeners. Each listener has a queue with an end. A listener that does not take what comes gets
`resync` instead of what it missed. So a thousand listeners cost little memory, and nobody waits for a slow one.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
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

# What is cheap is read this often: whether a router fell silent, and which alerts are open. The figures are sent each
# second. What looks through all sessions or all routers is read so often at least, and less often if it takes longer
# than a tenth of the time, each by its own pace: with very many routers throughput moves every few seconds, and silence
# is still seen at once.
TICK_SECONDS, FIGURES_SECONDS, LARGEST_SHARE = 0.5, 1.0, 0.1
SESSIONS_SECONDS, OCTETS_SECONDS, STATES_SECONDS, LATE_SECONDS = 1.0, 1.0, 5.0, 5.0
SLOWEST_SECONDS = 15.0
# Once routers fall silent, their counts are read anew, but take no more than this share.
LARGEST_SHARE_OF_CHANGES = 0.3
# The task goes on for so long when nobody listens: a page that is loaded again finds its history.
LINGER_SECONDS = 60.0
FAULT_SECONDS = 3.0
# Events that can be sent again, figures for charts, and events that may wait for one listener.
KEPT_EVENTS, KEPT_FIGURES, WAITING_EVENTS = 256, 900, 64
# Routers whose last counters are kept, and routers in one event.
KNOWN_ROUTERS, MOST_ROUTERS = 200_000, 500
# Interims report minutes, so a mean of seconds would only show when they come.
OCTETS_MEAN_SECONDS, PACKETS_MEAN_SECONDS = 60.0, 10.0

_NOW = f"""
SELECT clock_timestamp() AS read_at, extract(epoch FROM clock_timestamp())::float8 AS at,
       (SELECT sum(records)::bigint FROM radmeter.nodes) AS records,
       (SELECT extract(epoch FROM clock_timestamp() - max(last_received_at))::float8 FROM radmeter.nodes) AS
       newest_seconds,
       (SELECT count(*) FROM radmeter.journal_incidents WHERE open) AS gaps, alert.alerts, alert.newest,
       watch.silent, watch.moved
FROM ({alerts.COUNT}) AS alert CROSS JOIN ({states.SILENT}) AS watch"""  # noqa: S608  # constants
_SESSIONS = """
SELECT (SELECT count(*) FROM public.radacct WHERE acctstoptime IS NULL) AS open_sessions,
       (SELECT count(*) FROM public.rejected_packet) AS rejected_packets"""
# The sums of two days, by day, since a counter of a day begins at zero; and the routers that were counted since the
# reading before. OFFSET 0: each router by the index, however many days there are.
_OCTETS = """
SELECT usage.usage_date::text AS day, sum(usage.bytes_in)::numeric AS bytes_in,
       sum(usage.bytes_out)::numeric AS bytes_out,
       (array_agg(json_build_array(router.id, router.site, usage.bytes_in, usage.bytes_out,
           extract(epoch FROM usage.last_updated)::float8) ORDER BY usage.last_updated DESC)
           FILTER (WHERE usage.last_updated > %(since)s::timestamptz - interval '5 seconds'))[:%(most)s] AS changed
FROM public.routers AS router CROSS JOIN LATERAL (
    SELECT usage_date, bytes_in, bytes_out, last_updated FROM public.router_daily_usage
    WHERE router_id = router.id AND usage_date >= (now() AT TIME ZONE 'UTC')::date - 1 OFFSET 0) AS usage
GROUP BY usage.usage_date"""
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
        """The figures of the last minutes in which somebody listened, the oldest first."""
        return list(self._history)

    @property
    def late(self) -> list[int] | None:
        """The routers that are late; None: nobody listens, so nothing is known."""
        return self._readings.late if self._is_running else None

    @property
    def counts(self) -> Row | None:
        """How many routers are in each state; None: nobody listens, so nothing is known."""
        return self._readings.counts if self._is_running else None

    @property
    def version(self) -> int:
        """Another number when a router or an alert has another state than before."""
        return self._version

    @property
    def _is_running(self) -> bool:
        return self._task is not None and not self._task.done() and self._read_at > time.monotonic() - 5

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
            self._read_at = time.monotonic()
            for name, data in events:
                if name == "figures":
                    self._history.append(data)
                elif name == "alerts" or data.get("changed"):
                    self._version += 1
                self.publish(name, data)
            took = time.monotonic() - began
            await asyncio.sleep(max(self._tick - took, took, 0.05))


class _Paced:
    """Says when something is to be read again, by how long that takes."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._due = self._ended = float("-inf")
        self._took = 0.0

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    @property
    def may_be_read(self) -> bool:
        """Whether it may be read before it is due, since something has happened."""
        return time.monotonic() >= self._ended + self._took / LARGEST_SHARE_OF_CHANGES

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        began = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._took = self._ended - began
        self._due = began + max(self._least, min(self._took / LARGEST_SHARE, SLOWEST_SECONDS))


class _Readings:
    """Compares one reading with those before it."""

    def __init__(self) -> None:
        self.late: list[int] = []
        self._octets: deque[tuple[float, int, int]] = deque()
        self._packets: deque[tuple[float, int]] = deque()
        self._days: dict[str, tuple[int, int]] = {}
        self._sum = (0, 0)
        self._routers: dict[tuple[int, str], tuple[int, int, float]] = {}
        self._since: Any = None
        # Half a tick less than the time, so that a reading is not put off to the tick after it.
        early = TICK_SECONDS / 2
        self._pace = {
            "figures": _Paced(FIGURES_SECONDS - early),
            "sessions": _Paced(SESSIONS_SECONDS - early),
            "octets": _Paced(OCTETS_SECONDS - early),
            "states": _Paced(STATES_SECONDS - early),
            "late": _Paced(LATE_SECONDS - early),
        }
        self._kept: Row = {}
        self._states: Row | None = None
        self._moved: Any = None
        self._alerts: tuple[int, int] | None = None

    @property
    def counts(self) -> Row | None:
        """How many routers are in each state."""
        return self._states

    async def read(self, connection: ApiConnection) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the events of one reading."""
        (now,) = await rows(connection, _NOW)
        at, pace = now["at"], self._pace
        before = self._moved
        self._moved = (now["silent"], now["moved"])
        moved = before is not None and before != self._moved
        alerts_now = (now["alerts"], now["newest"])
        rang = self._alerts is not None and self._alerts != alerts_now
        self._alerts = alerts_now
        changed: Row = {}
        if pace["late"].is_due:
            async with pace["late"].reading():
                self.late = await states.late_routers(connection)
                (stale,) = await rows(connection, _STALE)
                (lag,) = await rows(connection, LAG)
                self._kept |= {**stale, **lag}
        if pace["states"].is_due or (moved and pace["states"].may_be_read):
            async with pace["states"].reading():
                counts = await states.counts(connection, self.late)
            moved = moved or (self._states is not None and self._states != counts)
            self._states = counts
        if pace["sessions"].is_due:
            async with pace["sessions"].reading():
                (sessions,) = await rows(connection, _SESSIONS)
                self._kept |= sessions
        if pace["octets"].is_due:
            async with pace["octets"].reading():
                found = await rows(connection, _OCTETS, {"since": self._since, "most": MOST_ROUTERS})
            self._add(at, found)
            changed = self._changed_routers(found) if self._since is not None else {}
            self._since = now["read_at"]
        events: list[tuple[str, Mapping[str, Any]]] = []
        if moved or rang or pace["figures"].is_due:
            async with pace["figures"].reading():
                # Who is silent is known at once, the others with the next counts.
                states_now = {**(self._states or {}), "silent": now["silent"]}
                figures = {name: now[name] for name in ("at", "newest_seconds", "gaps", "alerts")}
                events.append(
                    ("figures", {**figures, **self._kept, "routers": states_now, **self._rates(now)})
                )
        if changed or moved:
            events.append(("routers", {"at": at, "changed": moved, **changed}))
        if rang:
            events.append(("alerts", {"at": at, "open": now["alerts"]}))
        return events

    def _add(self, at: float, found: Sequence[Row]) -> None:
        """Add up by how much the counters have grown."""
        days = {row["day"]: (int(row["bytes_in"]), int(row["bytes_out"])) for row in found}
        if self._days:
            for day, (bytes_in, bytes_out) in days.items():
                before = self._days.get(day, (0, 0))
                # A correction may take octets away. That is no throughput.
                self._sum = (
                    self._sum[0] + max(0, bytes_in - before[0]),
                    self._sum[1] + max(0, bytes_out - before[1]),
                )
        self._days = days
        self._octets.append((at, *self._sum))
        _forget(self._octets, at - OCTETS_MEAN_SECONDS)

    def _rates(self, now: Row) -> Row:
        at = now["at"]
        self._packets.append((at, now["records"] or 0))
        _forget(self._packets, at - PACKETS_MEAN_SECONDS)
        first, last, packets = self._octets[0], self._octets[-1], self._packets[0]
        # The first seconds are no mean: an interim in them would look like a peak.
        seconds = max(last[0] - first[0], PACKETS_MEAN_SECONDS)
        return {
            "bytes_in_per_second": (last[1] - first[1]) / seconds,
            "bytes_out_per_second": (last[2] - first[2]) / seconds,
            "packets_per_second": max(0, (now["records"] or 0) - packets[1]) / max(at - packets[0], 1.0),
        }

    def _changed_routers(self, found: Sequence[Row]) -> Row:
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


def _forget(readings: deque[Any], before: float) -> None:
    """Drop readings of before a time, but the latest of them: the mean is over the whole window."""
    while len(readings) > 1 and readings[1][0] <= before:
        readings.popleft()
