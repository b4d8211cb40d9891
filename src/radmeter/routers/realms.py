"""Realms of tenants: user names without a realm get one at a tenant's routers."""

import datetime
from typing import Any

import psycopg

from radmeter.database import views
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.views import Row

# Users with a plan who used a router of the tenant lately, and have no plan under the new name.
WITHOUT_PLAN = """
SELECT subscriber.username FROM public.subscribers AS subscriber
WHERE subscriber.username !~ '[@\\\\]'
  AND NOT EXISTS (SELECT FROM public.subscribers AS new WHERE new.username = subscriber.username || '@' || %(realm)s)
  AND EXISTS (SELECT FROM public.radacct AS session
              WHERE session.username = subscriber.username
                AND (session.acctstoptime IS NULL OR session.acctstoptime > now() - interval '35 days')
                AND session.router_id IN (SELECT id FROM public.routers WHERE tenant_id = %(tenant)s))
ORDER BY subscriber.username LIMIT 1000"""


def qualify_usernames(
    connection: psycopg.Connection[Any], tenant: int, realm: str | None, day: datetime.date | None
) -> datetime.date:
    """Give users of a tenant's routers a realm from a day on, and return the day. `realm` None: no longer.

    Raises
    ------
    StoreError
        No router has the tenant, the realm cannot be used, or the day is too soon.
    """
    with explained_errors("radmeter_noc"):
        row = connection.execute(
            "SELECT radmeter.qualify_usernames(%s, %s, %s)", (tenant, realm, day)
        ).fetchone()
    assert row is not None
    found = row[0]
    assert isinstance(found, datetime.date)
    return found


def realms(connection: Connection) -> list[Row]:
    """Return the realms of the tenants, from when on each holds, and how many routers the tenant has."""
    return views.rows(
        connection,
        """SELECT each.tenant_id, each.realm, each.qualify_from AS from_day,
                  (SELECT tenant.name FROM radmeter.tenants AS tenant WHERE tenant.id = each.tenant_id) AS tenant,
                  (SELECT count(*) FROM radmeter.router_list AS router
                   WHERE router.tenant_id = each.tenant_id AND router.merged_into IS NULL) AS routers
           FROM radmeter.tenant_realm AS each ORDER BY each.tenant_id, each.qualify_from""",
    )


def users_without_plan(connection: psycopg.Connection[Any], tenant: int, realm: str) -> list[str]:
    """Return users of the tenant's routers who have a plan, but none under their new name, at most 1,000."""
    with explained_errors("radmeter_reader"):
        rows = connection.execute(WITHOUT_PLAN, {"tenant": tenant, "realm": realm}).fetchall()
    return [str(name) for (name,) in rows]
