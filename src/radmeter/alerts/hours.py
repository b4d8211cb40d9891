"""Octets of each router in the hour under way, beside what is usual in that hour of the day (UTC).

What is usual is an average in which the latest day counts a quarter. A day counts at most three times what was usual
before, so that a spike does not become usual. Days of which the hour was not seen from its beginning to its end, or in
which a shipper worked through a backlog, do not count.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from radmeter.database.connection import Connection, explained_errors

# Before, an hour of the day is not judged.
LEAST_DAYS = 3
# How often the routers are gone through, and how many of them in one look.
ROUND_SECONDS = 120.0
MOST_ROUTERS = 2_000

LAST = "SELECT id FROM public.routers WHERE id > %(after)s ORDER BY id OFFSET %(most)s - 1 LIMIT 1"
# The octets of a router, of days that are no older than the day before the one of an hour (UTC): what counts in that
# hour belongs to those, in each time zone. Two days more are read. By the index, for each router. OFFSET 0 keeps it so.
_SUMS = """
SELECT coalesce(sum(octets) FILTER (
           WHERE usage_date >= ((%(hour)s - interval '1 hour') AT TIME ZONE 'UTC')::date - 1), 0) AS by_hour_before,
       coalesce(sum(octets) FILTER (WHERE usage_date >= (%(hour)s AT TIME ZONE 'UTC')::date - 1), 0) AS by_hour
FROM (SELECT usage_date, bytes_in::numeric + bytes_out AS octets FROM public.router_daily_usage AS day
      WHERE day.router_id = router.id AND day.usage_date >= (%(hour)s AT TIME ZONE 'UTC')::date - 3 OFFSET 0) AS days"""
_ROUTERS = "router.id > %(after)s AND (%(last)s::bigint IS NULL OR router.id <= %(last)s)"
# A router whose hour is over: what it had becomes usual, if the hour was whole. base is that of the new hour.
TURN = f"""
INSERT INTO radmeter.router_hour AS known (router_id, hour, base, before)
SELECT router.id, %(hour)s, sums.by_hour,
       CASE WHEN %(whole)s AND old.hour = %(hour)s - interval '1 hour'
            THEN greatest(sums.by_hour_before - old.base, 0) END
FROM public.routers AS router LEFT JOIN radmeter.router_hour AS old ON old.router_id = router.id
CROSS JOIN LATERAL ({_SUMS}) AS sums
WHERE {_ROUTERS} AND router.merged_into IS NULL AND old.hour IS DISTINCT FROM %(hour)s
ON CONFLICT (router_id) DO UPDATE SET
    hour = excluded.hour, base = excluded.base, before = excluded.before,
    before_usual = CASE WHEN excluded.before IS NOT NULL AND known.days[%(place)s] >= {LEAST_DAYS}
                        THEN known.usual[%(place)s] END,
    usual[%(place)s] = CASE
        WHEN excluded.before IS NULL THEN known.usual[%(place)s]
        WHEN known.days[%(place)s] IS NULL THEN excluded.before
        ELSE round((3 * known.usual[%(place)s] + CASE
            WHEN known.days[%(place)s] < {LEAST_DAYS} THEN excluded.before
            ELSE least(excluded.before, 3 * greatest(known.usual[%(place)s], 1048576)) END) / 4) END,
    days[%(place)s] = CASE WHEN excluded.before IS NULL THEN known.days[%(place)s]
                           ELSE least(coalesce(known.days[%(place)s], 0) + 1, 1000) END"""
# factor and floor are the smallest of all rules: the rule of each router decides.
SPIKES = f"""
SELECT router.id, router.name, router.site, router.status, now.octets,
       CASE WHEN hour.days[%(place)s] >= {LEAST_DAYS} THEN hour.usual[%(place)s] END, hour.before, hour.before_usual
FROM radmeter.router_hour AS hour JOIN public.routers AS router ON router.id = hour.router_id
CROSS JOIN LATERAL (SELECT greatest(sums.by_hour - hour.base, 0) AS octets FROM ({_SUMS}) AS sums) AS now
WHERE {_ROUTERS} AND router.status <> 'retired' AND router.merged_into IS NULL AND (
    hour.days[%(place)s] >= {LEAST_DAYS}
        AND now.octets >= %(floor)s AND now.octets > hour.usual[%(place)s] * %(factor)s::numeric
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


def last_of(connection: Connection, after: int) -> int | None:
    """Return the last router of the part that follows a router. None: the part goes to the end."""
    with explained_errors("radmeter_owner"):
        row = connection.execute(LAST, {"after": after, "most": MOST_ROUTERS}).fetchone()
    return row[0] if row else None


def turn(connection: Connection, hour: datetime, after: int, last: int | None, *, whole: bool) -> None:
    """Begin an hour for the routers of a part that are in another one. `whole`: the one before was seen whole."""
    values = {"hour": hour, "after": after, "last": last, "whole": whole}
    with explained_errors("radmeter_owner"):
        connection.execute(TURN.encode(), {**values, "place": _place(hour - timedelta(hours=1))})


def spikes(
    connection: Connection, hour: datetime, after: int, last: int | None, *, factor: float, floor_bytes: int
) -> list[Hour]:
    """Return the routers of a part that may have a spike."""
    values = {"hour": hour, "after": after, "last": last, "factor": factor, "floor": floor_bytes}
    with explained_errors("radmeter_owner"):
        rows = connection.execute(SPIKES.encode(), {**values, "place": _place(hour)}).fetchall()
    return [Hour(*row[:4], *(None if each is None else int(each) for each in row[4:])) for row in rows]


def _place(hour: datetime) -> int:
    """Return the place of an hour of the day in an array."""
    return hour.astimezone(UTC).hour + 1
