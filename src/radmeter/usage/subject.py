"""Whose usage a report is about: a router, a user or a tenant, and its octets by day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.routers.lookup import find_router
from radmeter.routers.tenants import ids
from radmeter.usage.counters import current_period

TENANT = """
SELECT id, name, timezone, (now() AT TIME ZONE timezone)::date AS today,
       (SELECT rate.terms ->> 'unit' FROM radmeter.tenant_rates AS rate
        WHERE rate.tenant_id = tenant.id AND rate.from_day <= (now() AT TIME ZONE tenant.timezone)::date
        ORDER BY rate.from_day DESC LIMIT 1) AS unit
FROM radmeter.tenants AS tenant WHERE id = %(id)s"""
USER_TODAY = """
SELECT coalesce(plan.timezone, radmeter.setting_value('timezone')) AS timezone,
       (now() AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')))::date AS today,
       (SELECT nullif(moment, '-infinity') FROM radmeter.sessions_complete_from() AS moment) AS complete_from
FROM (VALUES (%(name)s)) AS asked (username)
LEFT JOIN public.subscribers AS subscriber USING (username)
LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id"""
ROUTER_DAYS = """
SELECT usage_date, bytes_in::numeric AS bytes_in, bytes_out::numeric AS bytes_out FROM public.router_daily_usage
WHERE router_id = %(id)s AND usage_date BETWEEN %(first)s AND %(last)s"""
USER_DAYS = "SELECT usage_date, bytes_in, bytes_out FROM radmeter.user_days(%(name)s, %(first)s, %(last)s)"
# Whose a router is holds from a day on, until its next row.
TENANT_DAYS = """
SELECT usage.usage_date, sum(usage.bytes_in) AS bytes_in, sum(usage.bytes_out) AS bytes_out
FROM (SELECT router_id, from_day, tenant_id,
             lead(from_day) OVER (PARTITION BY router_id ORDER BY from_day) AS until_day
      FROM radmeter.router_tenant
      WHERE router_id IN (SELECT router_id FROM radmeter.router_tenant WHERE tenant_id = %(id)s)) AS held
JOIN public.router_daily_usage AS usage ON usage.router_id = held.router_id AND usage.usage_date >= held.from_day
     AND (held.until_day IS NULL OR usage.usage_date < held.until_day)
WHERE held.tenant_id = %(id)s AND usage.usage_date BETWEEN %(first)s AND %(last)s
GROUP BY usage.usage_date"""


class Octets(NamedTuple):
    """Octets from users (in) and to them (out)."""

    bytes_in: int
    bytes_out: int

    @property
    def total(self) -> int:
        """Both directions."""
        return self.bytes_in + self.bytes_out


NOTHING = Octets(0, 0)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A router, a user or a tenant."""

    kind: str
    name: str
    shown: str
    today: date
    days_in: str
    """Whose time zone its days are in, for people."""
    query: str
    values: Mapping[str, Any]
    complete_from: datetime | None = None
    """Of a user: sessions that stopped before then are not all kept."""
    unit: str | None = None
    """Of a tenant: the unit of its rate of today, GB or GiB. None: it has none."""

    def days(self, connection: Connection, first: date, last: date) -> dict[date, Octets]:
        """Return the octets of the days that have any, both ends included."""
        found = views.rows(connection, self.query, {**self.values, "first": first, "last": last})
        return {row["usage_date"]: Octets(int(row["bytes_in"]), int(row["bytes_out"])) for row in found}


def find_subject(
    connection: Connection, *, router: str | None = None, user: str | None = None, tenant: str | None = None
) -> Subject:
    """Return what is named.

    Raises
    ------
    NotKnown
        There is no such router, user or tenant.
    """
    if router is not None:
        found = find_router(connection, router)
        return Subject(
            kind="router",
            name=found.name,
            shown=f"router #{found.id} {found.shown}",
            today=found.today,
            days_in=found.timezone,
            query=ROUTER_DAYS,
            values={"id": found.id},
        )
    if user is not None:
        current_period(connection, user)  # a mistyped name is no user without usage
        about = _one(connection, USER_TODAY, user)
        return Subject(
            kind="user",
            name=user,
            shown=f"user {user}",
            today=about["today"],
            days_in="the time zones of the routers",
            query=USER_DAYS,
            values={"name": user},
            complete_from=about["complete_from"],
        )
    assert tenant is not None
    (row,) = views.rows(connection, TENANT, {"id": ids(connection, [tenant])[0]})
    return Subject(
        kind="tenant",
        name=row["name"],
        shown=f"tenant {row['name']}",
        today=row["today"],
        days_in="the time zones of the routers",
        query=TENANT_DAYS,
        values={"id": row["id"]},
        unit=row["unit"],
    )


def _one(connection: Connection, query: str, name: str) -> Row:
    (row,) = views.rows(connection, query, {"name": name})
    return row
