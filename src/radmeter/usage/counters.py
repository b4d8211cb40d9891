"""Reads the usage of users and routers."""

from datetime import date, timedelta

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row
from radmeter.routers.lookup import Router

NOTHING: Row = {"bytes_in": 0, "bytes_out": 0, "bytes_total": 0, "last_updated": None}
KNOWN = """
SELECT EXISTS (SELECT FROM radmeter.user_plans WHERE username = %(name)s)
    OR EXISTS (SELECT FROM radmeter.user_usage WHERE username = %(name)s)
    OR EXISTS (SELECT FROM radmeter.sessions WHERE username = %(name)s) AS known,
    radmeter.user_period_start(%(name)s, now()) AS period"""
USER = """
SELECT username, period_start, bytes_in, bytes_out, bytes_total, last_updated FROM radmeter.user_usage
WHERE username = %(name)s"""
ROUTER = """
SELECT router_id, usage_date, bytes_in, bytes_out, bytes_total, last_updated FROM radmeter.router_usage
WHERE router_id = %(router)s AND usage_date >= %(first)s"""


def current_period(connection: Connection, username: str) -> date:
    """Return the first day of a user's current quota period.

    Raises
    ------
    NotKnown
        No subscriber, counter or session has this name. A mistyped name must not look like a user without usage.
    """
    (row,) = views.rows(connection, KNOWN, {"name": username})
    if not row["known"]:
        raise NotKnown(
            f"there is no user {username!r}: no subscriber, counter or session has exactly this name"
        )
    period = row["period"]
    assert isinstance(period, date)
    return period


def user_usage(connection: Connection, username: str, periods: int) -> list[Row]:
    """Return a user's current quota period (zero if nothing is counted) and the latest others with usage.

    At most `periods` rows, the current period first.
    """
    current = current_period(connection, username)
    values = {"name": username, "current": current, "others": periods - 1}
    counted = views.rows(connection, f"{USER} AND period_start = %(current)s", values)
    others = f"{USER} AND period_start <> %(current)s ORDER BY period_start DESC LIMIT %(others)s"
    return (counted or [{"username": username, "period_start": current, **NOTHING}]) + views.rows(
        connection, others, values
    )


def router_usage(connection: Connection, router: Router, days: int) -> list[Row]:
    """Return a router's latest days, today in its time zone first. Days without usage have zero bytes."""
    first = router.today - timedelta(days=days - 1)
    rows = views.rows(connection, ROUTER, {"router": router.id, "first": first})
    counted = {row["usage_date"]: row for row in rows}
    # If the router's clock is a little ahead at midnight, there is already a row for tomorrow.
    shown = {first + timedelta(days=day) for day in range(days)} | counted.keys()
    return [
        counted.get(day, {"router_id": router.id, "usage_date": day, **NOTHING})
        for day in sorted(shown, reverse=True)
    ]
