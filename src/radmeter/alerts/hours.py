"""Octets of each router in the hour under way, beside what is usual in that hour of the day (UTC).

What is usual is an average in which the latest day counts a quarter. A day counts at most three times what was usual
before, so that a spike does not become usual. Days of which the hour was not seen from its beginning to its end, or in
which a shipper worked through a backlog, do not count.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from radmeter.database.connection import Connection, explained_errors

# Before, an hour of the day is not judged.
LEAST_DAYS = 3
MEASURE_SECONDS = 120.0

# The counters of the day before the hour and later: octets that count now belong to those, in each time zone. By the
# index, for each router. OFFSET 0 keeps it so.
_SUMS = """
SELECT router.id, coalesce(used.octets, 0) AS octets FROM public.routers AS router CROSS JOIN LATERAL (
    SELECT sum(octets) AS octets FROM (
        SELECT bytes_in::numeric + bytes_out AS octets FROM public.router_daily_usage AS day
        WHERE day.router_id = router.id AND day.usage_date >= (%(hour)s AT TIME ZONE 'UTC')::date - 1 OFFSET 0) AS days
    ) AS used
WHERE router.merged_into IS NULL"""
MEASURE = f"""
UPDATE radmeter.router_hour AS hour SET octets = greatest(sums.octets - hour.base, 0)
FROM ({_SUMS}) AS sums
WHERE hour.router_id = sums.id AND hour.octets IS DISTINCT FROM greatest(sums.octets - hour.base, 0)"""
# The hour that is over becomes usual, if it was whole. base is that of the new hour.
TURN = f"""
INSERT INTO radmeter.router_hour AS known (router_id, hour, base)
SELECT sums.id, %(hour)s, sums.octets FROM ({_SUMS}) AS sums
ON CONFLICT (router_id) DO UPDATE SET
    hour = excluded.hour, base = excluded.base, octets = 0,
    before = CASE WHEN %(whole)s THEN known.octets END,
    before_usual = CASE WHEN %(whole)s AND known.days[%(place)s] >= {LEAST_DAYS} THEN known.usual[%(place)s] END,
    usual[%(place)s] = CASE
        WHEN NOT %(whole)s THEN known.usual[%(place)s]
        WHEN known.days[%(place)s] IS NULL THEN known.octets
        ELSE round((3 * known.usual[%(place)s] + CASE
            WHEN known.days[%(place)s] < {LEAST_DAYS} THEN known.octets
            ELSE least(known.octets, 3 * greatest(known.usual[%(place)s], 1048576)) END) / 4) END,
    days[%(place)s] = CASE WHEN %(whole)s THEN least(coalesce(known.days[%(place)s], 0) + 1, 1000)
                           ELSE known.days[%(place)s] END"""
# factor and floor are the smallest of all rules: the rule of each router decides.
SPIKES = f"""
SELECT router.id, router.name, router.site, router.status, hour.octets,
       CASE WHEN hour.days[%(place)s] >= {LEAST_DAYS} THEN hour.usual[%(place)s] END, hour.before, hour.before_usual
FROM radmeter.router_hour AS hour JOIN public.routers AS router ON router.id = hour.router_id
WHERE router.status <> 'retired' AND router.merged_into IS NULL AND (
    hour.octets >= %(floor)s AND hour.days[%(place)s] >= {LEAST_DAYS}
        AND hour.octets > hour.usual[%(place)s] * %(factor)s::numeric
    OR hour.before >= %(floor)s AND hour.before > hour.before_usual * %(factor)s::numeric)"""


@dataclass(frozen=True)
class Hour:
    """The octets of a router in this hour and in the one before, each with what is usual; None: it is not known."""

    router_id: int
    name: str
    site: str | None
    status: str
    octets: int
    usual: int | None
    before: int | None
    before_usual: int | None

    def is_spike(self, factor: float, floor_bytes: int) -> bool:
        """Tell whether this hour or the one before has so many times what is usual, and so many octets at least."""
        pairs = ((self.octets, self.usual), (self.before, self.before_usual))
        return any(
            octets is not None and usual is not None and octets >= floor_bytes and octets > usual * factor
            for octets, usual in pairs
        )


def hour_of(at: datetime) -> datetime:
    """Return the beginning of an hour."""
    return at.replace(minute=0, second=0, microsecond=0)


def measure(connection: Connection, hour: datetime) -> None:
    """Note how many octets each router has in the hour that began then."""
    with explained_errors("radmeter_owner"):
        connection.execute(MEASURE.encode(), {"hour": hour})


def turn(connection: Connection, before: datetime | None, hour: datetime, *, whole: bool) -> bool:
    """Begin an hour. `whole`: the one before was seen whole. Return whether it was the one just before."""
    follows = before is not None and before + timedelta(hours=1) == hour
    place = ((before or hour - timedelta(hours=1)).astimezone().utctimetuple().tm_hour) + 1
    with explained_errors("radmeter_owner"):
        connection.execute(TURN.encode(), {"hour": hour, "place": place, "whole": whole and follows})
    return follows


def spikes(connection: Connection, hour: datetime, factor: float, floor_bytes: int) -> list[Hour]:
    """Return the routers that may have a spike."""
    place = hour.astimezone().utctimetuple().tm_hour + 1
    with explained_errors("radmeter_owner"):
        rows = connection.execute(
            SPIKES.encode(), {"place": place, "factor": factor, "floor": floor_bytes}
        ).fetchall()
    return [Hour(*row[:4], *(None if each is None else int(each) for each in row[4:])) for row in rows]
