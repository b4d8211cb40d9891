"""What the stream tells: read part by part, each at its own pace, and compared with what was told before."""

from collections.abc import Mapping
from typing import Any

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.api.pacing import Pace
from radmeter.api.reads import alerts, states
from radmeter.api.reads.pipeline import LAG
from radmeter.api.throughput import (
    MOST_ROUTERS,
    OCTETS_MEAN_SECONDS,
    PACKETS_MEAN_SECONDS,
    Growth,
    Mean,
    OfRouters,
)

# What is cheap is read this often: whether a router fell silent, and whether an alert fired. The figures are sent each
# second. What looks through all sessions, routers or alerts is read so often at least, and less often if it takes
# longer than a tenth of the time, each by its own pace: with very many routers throughput moves every few seconds, and
# silence is still seen at once.
TICK_SECONDS, FIGURES_SECONDS = 0.5, 1.0
PART_SECONDS = {"alerts": 0.5, "late": 5.0, "states": 5.0, "sessions": 1.0, "octets": 1.0}

_NOW = f"""
SELECT clock_timestamp() AS read_at, extract(epoch FROM clock_timestamp())::float8 AS at, node.records,
       extract(epoch FROM clock_timestamp() - node.last_received_at)::float8 AS newest_seconds,
       (SELECT count(*) FROM radmeter.journal_incidents WHERE open) AS gaps,
       (SELECT max(id) FROM radmeter.alerts) AS newest_alert, watch.silent, watch.moved
FROM (SELECT sum(records)::bigint AS records, max(last_received_at) AS last_received_at FROM radmeter.nodes) AS node
CROSS JOIN ({states.SILENT}) AS watch"""  # noqa: S608  # a constant
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
_STALE = "SELECT count(*) AS stale_sessions FROM radmeter.stale_sessions()"

Events = list[tuple[str, Mapping[str, Any]]]


class Readings:
    """Reads the parts, and compares them with what was told.

    What is read is not compared before the whole reading has succeeded. So no change is taken for one that was told.

    Attributes
    ----------
    late, counts
        The routers that are late, and how many are in each state. None: nobody looks, so nothing is known.
    """

    def __init__(self) -> None:
        self.late: list[int] | None = None
        self.counts: Row | None = None
        # Half a tick less than the time, so that a reading is not put off to the tick after it.
        early = TICK_SECONDS / 2
        self._pace = {name: Pace(seconds - early) for name, seconds in PART_SECONDS.items()}
        self._figures = Pace(FIGURES_SECONDS - early)
        self._kept: Row = {}
        self._since: Any = None
        self._growth, self._routers = Growth(), OfRouters()
        self._octets, self._packets = Mean(OCTETS_MEAN_SECONDS), Mean(PACKETS_MEAN_SECONDS)
        self._moved: object = None
        self._alerts: tuple[int, int | None] | None = None
        self._told_counts: Row | None = None

    async def read(self, connection: ApiConnection, *, seen: bool) -> Row:
        """Return what is read now.

        Parameters
        ----------
        seen
            Somebody looks. Else only what charts show is read, and seldom.
        """
        (now,) = await rows(connection, _NOW)
        reading: Row = {"now": now, "seen": seen}
        if seen:
            fired = self._alerts is not None and self._alerts[1] != now["newest_alert"]
            if "alerts" not in self._kept or self._is_due("alerts", happened=fired):
                with self._pace["alerts"].reading():
                    (reading["alerts"],) = await rows(connection, alerts.COUNT)
            late = self.late
            if late is None or self._is_due("late"):
                with self._pace["late"].reading():
                    late = reading["late"] = await states.late_routers(connection)
                    reading["stale"] = (*await rows(connection, _STALE), *await rows(connection, LAG))
            if self.counts is None or self._is_due("states", happened=self._has_moved(now)):
                with self._pace["states"].reading():
                    reading["counts"] = await states.counts(connection, late)
        if self._pace["sessions"].is_due(seen=seen):
            with self._pace["sessions"].reading():
                (reading["sessions"],) = await rows(connection, _SESSIONS)
        if self._pace["octets"].is_due(seen=seen):
            with self._pace["octets"].reading():
                values = {"since": self._since, "most": MOST_ROUTERS}
                reading["octets"] = await rows(connection, _OCTETS, values)
        return reading

    def events(self, reading: Row) -> Events:
        """Return what is to be told after a reading, and keep it."""
        now = reading["now"]
        at = now["at"]
        begins = reading["seen"] and self.late is None
        changed = self._keep(reading)
        moved = self._has_moved(now)
        self._moved = _moved(now)
        if "counts" in reading:
            moved = moved or self._told_counts not in (None, self.counts)
            self._told_counts = self.counts
        rang = False
        if "alerts" in reading:
            alerts_now = self._kept["alerts"], now["newest_alert"]
            rang = self._alerts not in (None, alerts_now)
            self._alerts = alerts_now
        events: Events = []
        if begins or moved or rang or self._figures.is_due():
            with self._figures.reading():
                events.append(("figures", self._figures_of(now)))
        if changed or moved:
            events.append(("routers", {"at": at, "changed": moved, **changed}))
        if rang:
            events.append(("alerts", {"at": at, "open": self._kept["alerts"]}))
        return events

    def _is_due(self, part: str, *, happened: bool = False) -> bool:
        pace = self._pace[part]
        return pace.is_due() or (happened and pace.may_be_read)

    def _has_moved(self, now: Row) -> bool:
        return self._moved not in (None, _moved(now))

    def _keep(self, reading: Row) -> Row:
        """Keep what was read, and return what routers have done."""
        now = reading["now"]
        if not reading["seen"]:
            # It is not read, so it would grow old.
            self.late = self.counts = None
            self._kept = {}
        for name in ("alerts", "sessions"):
            self._kept |= reading.get(name, {})
        for row in reading.get("stale", ()):
            self._kept |= row
        self.late = reading.get("late", self.late)
        self.counts = reading.get("counts", self.counts)
        self._packets.add(now["at"], now["records"] or 0)
        if "octets" not in reading:
            return {}
        found = reading["octets"]
        sums = self._growth.add({row["day"]: (int(row["bytes_in"]), int(row["bytes_out"])) for row in found})
        self._octets.add(now["at"], *sums)
        changed = self._routers.add(found) if self._since is not None else {}
        self._since = now["read_at"]
        return changed

    def _figures_of(self, now: Row) -> Row:
        at = now["at"]
        bytes_in, bytes_out = self._octets.at(at) or (None, None)
        (packets,) = self._packets.at(at) or (None,)
        return {
            **{name: now[name] for name in ("at", "newest_seconds", "gaps")},
            **self._kept,
            # Who is silent is known at once, the others with the next counts.
            "routers": {**(self.counts or {}), "silent": now["silent"]},
            "bytes_in_per_second": bytes_in,
            "bytes_out_per_second": bytes_out,
            "packets_per_second": packets,
        }


def _moved(now: Row) -> tuple[Any, Any]:
    """Return what is another value when a router falls silent or is heard again."""
    return now["silent"], now["moved"]
