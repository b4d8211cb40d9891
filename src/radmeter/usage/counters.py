"""Reads the usage of users and routers."""

from datetime import date, timedelta

from sqlalchemy import Connection, func, or_, select

from radmeter.database import views
from radmeter.database.views import NotKnown, Row
from radmeter.routers.lookup import Router

NOTHING: Row = {"bytes_in": 0, "bytes_out": 0, "bytes_total": 0, "last_updated": None}


def current_period(connection: Connection, username: str) -> date:
    """Return the first day of a user's current quota period.

    Raises
    ------
    NotKnown
        No subscriber, counter or session has this name. A mistyped name must not look like a user without usage.
    """
    known = or_(
        *(
            select(1).where(view.c.username == username).exists()
            for view in (views.user_plans, views.user_usage, views.sessions)
        )
    )
    is_known, period = connection.execute(
        select(known, func.radmeter.user_period_start(username, func.now()))
    ).one()
    if not is_known:
        raise NotKnown(
            f"there is no user {username!r}: no subscriber, counter or session has exactly this name"
        )
    assert isinstance(period, date)
    return period


def user_usage(connection: Connection, username: str, periods: int) -> list[Row]:
    """Return a user's current quota period (zero if nothing is counted) and the latest others with usage.

    At most `periods` rows, the current period first.
    """
    current = current_period(connection, username)
    query = select(views.user_usage).where(views.user_usage.c.username == username)
    period_start = views.user_usage.c.period_start
    counted = views.rows(connection, query.where(period_start == current))
    others = query.where(period_start != current).order_by(period_start.desc()).limit(periods - 1)
    return (counted or [{"username": username, "period_start": current, **NOTHING}]) + views.rows(
        connection, others
    )


def router_usage(connection: Connection, router: Router, days: int) -> list[Row]:
    """Return a router's latest days, today in its time zone first. Days without usage have zero bytes."""
    first = router.today - timedelta(days=days - 1)
    columns = views.router_usage.c
    query = select(views.router_usage).where(columns.router_id == router.id, columns.usage_date >= first)
    counted = {row["usage_date"]: row for row in views.rows(connection, query)}
    # If the router's clock is a little ahead at midnight, there is already a row for tomorrow.
    shown = {first + timedelta(days=day) for day in range(days)} | counted.keys()
    return [
        counted.get(day, {"router_id": router.id, "usage_date": day, **NOTHING})
        for day in sorted(shown, reverse=True)
    ]
