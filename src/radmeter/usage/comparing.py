"""Compares the usage of two months: of routers, tenants or users."""

from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.usage.spans import following

# Each gives name, octets of the first month, octets of the second.
BOTH = """
coalesce(sum({octets}) FILTER (WHERE {day} >= %(before)s AND {day} < %(before_end)s), 0) AS bytes_before,
coalesce(sum({octets}) FILTER (WHERE {day} >= %(after)s AND {day} < %(after_end)s), 0) AS bytes_after"""
WITHIN = (
    """({day} >= %(before)s AND {day} < %(before_end)s OR {day} >= %(after)s AND {day} < %(after_end)s)"""
)


def _query(select: str, source: str, day: str, octets: str, group: str) -> str:
    names = {"day": day, "octets": octets}
    return (
        f"SELECT {select},{BOTH.format(**names)}\n{source}\nWHERE {WITHIN.format(**names)}\nGROUP BY {group}"
    )


OCTETS = "usage.bytes_in::numeric + usage.bytes_out"
ROUTERS = _query(
    "coalesce(router.name, '#' || usage.router_id) AS name, usage.router_id AS id",
    "FROM public.router_daily_usage AS usage LEFT JOIN radmeter.router_list AS router ON router.id = usage.router_id",
    "usage.usage_date",
    OCTETS,
    "router.name, usage.router_id",
)
TENANTS = _query(
    "tenant.name AS name, tenant.id AS id",
    """FROM (SELECT router_id, from_day, tenant_id,
             lead(from_day) OVER (PARTITION BY router_id ORDER BY from_day) AS until_day
      FROM radmeter.router_tenant) AS held
JOIN radmeter.tenants AS tenant ON tenant.id = held.tenant_id
JOIN public.router_daily_usage AS usage ON usage.router_id = held.router_id AND usage.usage_date >= held.from_day
     AND (held.until_day IS NULL OR usage.usage_date < held.until_day)""",
    "usage.usage_date",
    OCTETS,
    "tenant.name, tenant.id",
)
USERS = _query(
    "usage.username AS name, NULL::bigint AS id",
    "FROM public.user_quota_usage AS usage",
    "usage.period_start",
    OCTETS,
    "usage.username",
)
QUERIES = {"routers": ROUTERS, "tenants": TENANTS, "users": USERS}
TODAY = "SELECT (now() AT TIME ZONE radmeter.setting_value('timezone'))::date AS today"
TENTH = Decimal("0.1")


def today(connection: Connection) -> date:
    """Return the date in the installation's time zone."""
    day: date = views.rows(connection, TODAY)[0]["today"]
    return day


def compare(connection: Connection, what: str, before: date, after: date, days: int | None) -> list[Row]:
    """Return the octets of each in both months, the largest change first.

    Parameters
    ----------
    before, after
        The first days of the months.
    days
        Only so many first days of each month; None: the whole months.
    """
    spans: dict[str, date] = {}
    for name, first in (("before", before), ("after", after)):
        end = following(first, "month")
        spans |= {name: first, f"{name}_end": end if days is None else min(end, first + timedelta(days=days))}
    rows = []
    for row in views.rows(connection, QUERIES[what], spans):
        old, new = int(row["bytes_before"]), int(row["bytes_after"])
        rows.append(
            {
                "name": row["name"],
                "id": row["id"],
                "bytes_before": old,
                "bytes_after": new,
                "bytes_change": new - old,
                "change_percent": percent(old, new),
            }
        )
    return sorted(rows, key=lambda row: (-abs(row["bytes_change"]), row["name"], row["id"] or 0))


def percent(before: int, after: int) -> Decimal | None:
    """Return the change in percent with one decimal; None if there was nothing before."""
    if before == 0:
        return None
    return (Decimal(100) * (after - before) / before).quantize(TENTH, ROUND_HALF_EVEN)
