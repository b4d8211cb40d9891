"""Says whose a router is from a day on, through SQL functions."""

import datetime
from typing import NamedTuple

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.quotas.calls import call

HISTORY = """
SELECT each.from_day, lead(each.from_day) OVER (ORDER BY each.from_day) AS until_day, each.tenant_id,
       tenant.name AS tenant, each.assigned_at
FROM radmeter.router_tenant AS each LEFT JOIN radmeter.tenants AS tenant ON tenant.id = each.tenant_id
WHERE each.router_id = %(id)s ORDER BY each.from_day"""


class Assignment(NamedTuple):
    """What an assignment did.

    Attributes
    ----------
    since, until_day
        The first day, and the first day of the next assignment; None: there is none.
    closed_months
        How many closed months of the former or the new tenant it reaches into.
    """

    changed: bool
    since: datetime.date
    until_day: datetime.date | None
    closed_months: int


def assign(
    connection: Connection, router_id: int, tenant: str | None, day: datetime.date | None
) -> Assignment:
    """Assign a router to a tenant, named by its name or number, from a day on in the router's time zone.

    Parameters
    ----------
    tenant
        None: nobody's.
    day
        None: today.

    Raises
    ------
    StoreError
        The tenant is unknown or retired, or the router was merged.
    """
    (row,) = call(
        connection,
        """SELECT changed, since, until_day, closed_months
           FROM radmeter.assign_router(%(router)s, %(tenant)s, %(day)s)""",
        {"router": router_id, "tenant": tenant, "day": day},
    )
    return Assignment(*row)


def history(connection: Connection, router_id: int) -> list[Row]:
    """Return whose a router was, is and will be, in the order of the days."""
    return views.rows(connection, HISTORY, {"id": router_id})


def apply(connection: Connection) -> int:
    """Set routers.tenant_id to the tenant of today. Return how many routers change hands. The jobs call it."""
    ((changed,),) = call(connection, "SELECT radmeter.apply_assignments()", {}, role="radmeter_owner")
    return int(changed)
