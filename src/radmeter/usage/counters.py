"""The read side: usage of users and routers, sessions, and the state of ingest."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, func, or_, select, tuple_

from radmeter.database import views
from radmeter.database.views import NotKnown, Row
from radmeter.routers.lookup import Router

NOTHING: Row = {"bytes_in": 0, "bytes_out": 0, "bytes_total": 0, "last_updated": None}

_session = views.sessions.c
_SESSION = (
    _session.radacctid.label("id"),
    _session.username,
    _session.router_id,
    _session.router_name.label("router"),
    _session.router_mac,
    _session.acctstarttime.label("started_at"),
    _session.acctupdatetime.label("updated_at"),
    _session.acctstoptime.label("stopped_at"),
    _session.acctsessiontime.label("session_seconds"),
    _session.bytes_in,
    _session.bytes_out,
    _session.callingstationid.label("calling_station_id"),
    _session.framedipaddress.label("framed_ip"),
    _session.acctterminatecause.label("terminate_cause"),
    _session.closed_by,
    _session.acctsessionid.label("session_id"),
    _session.acctuniqueid.label("unique_id"),
)


def current_period(connection: Connection, username: str) -> date:
    """Return the first day of a user's quota period now.

    Raises
    ------
    NotKnown
        No subscriber, counter or session has this name: a slip of the pen must not read as no usage.
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
    """Return a user's current quota period, zero if nothing is counted, and the latest others with usage."""
    current = current_period(connection, username)
    query = select(views.user_usage).where(views.user_usage.c.username == username)
    period_start = views.user_usage.c.period_start
    counted = views.rows(connection, query.where(period_start == current))
    others = query.where(period_start != current).order_by(period_start.desc()).limit(periods - 1)
    return (counted or [{"username": username, "period_start": current, **NOTHING}]) + views.rows(
        connection, others
    )


def router_usage(connection: Connection, router: Router, days: int) -> list[Row]:
    """Return a router's latest days, today in its time zone first; days without usage are zero."""
    first = router.today - timedelta(days=days - 1)
    columns = views.router_usage.c
    query = select(views.router_usage).where(columns.router_id == router.id, columns.usage_date >= first)
    counted = {row["usage_date"]: row for row in views.rows(connection, query)}
    # A day after today is there when the router's clock is a little ahead at midnight.
    shown = {first + timedelta(days=day) for day in range(days)} | counted.keys()
    return [
        counted.get(day, {"router_id": router.id, "usage_date": day, **NOTHING})
        for day in sorted(shown, reverse=True)
    ]


def sessions_query(
    *,
    open_only: bool = False,
    username: str | None = None,
    router_id: int | None = None,
    before: tuple[datetime | None, int] | None = None,
) -> sqlalchemy.Select[Any]:
    """Return the query for sessions, newest first, from before a key (start, id) on.

    Of one user or router it goes by start, else by id: each is the order of an index in every partition, so a page
    costs the same however long the history is.
    """
    query = select(*_SESSION)
    if open_only:
        query = query.where(_session.acctstoptime.is_(None))
    if username is None and router_id is None:
        query = query.order_by(_session.radacctid.desc())
        return query if before is None else query.where(_session.radacctid < before[1])
    if username is not None:
        query = query.where(_session.username == username)
    if router_id is not None:
        query = query.where(_session.router_id == router_id)
    if before is not None:
        start, radacctid = before
        if start is None:  # written by another than radmeter; first in descending order
            key = or_(_session.acctstarttime.is_not(None), _session.radacctid < radacctid)
        else:
            key = tuple_(_session.acctstarttime, _session.radacctid) < tuple_(start, radacctid)
        query = query.where(key)
    return query.order_by(_session.acctstarttime.desc(), _session.radacctid.desc())


def sessions(
    connection: Connection,
    *,
    open_only: bool = False,
    username: str | None = None,
    router_id: int | None = None,
    before: int | None = None,
    limit: int = 50,
) -> tuple[Sequence[Row], bool]:
    """Return a page of sessions, newest first, and whether there are more.

    Raises
    ------
    NotKnown
        The session `before` which the page is to begin is not there.
    """
    key = None
    if before is not None:
        found = connection.execute(
            select(_session.acctstarttime, _session.radacctid).where(_session.radacctid == before)
        ).one_or_none()
        if found is None:
            raise NotKnown(f"there is no session with the id {before}")
        key = (found[0], found[1])
    query = sessions_query(open_only=open_only, username=username, router_id=router_id, before=key)
    return views.page(connection, query, limit)


def nodes(connection: Connection) -> list[Row]:
    """Return how far each node's journal is ingested, and when this was read."""
    return views.rows(
        connection,
        select(views.nodes, func.clock_timestamp().label("read_at")).order_by(views.nodes.c.node),
    )


def totals(connection: Connection) -> Row:
    """Return how many sessions are open, packets rejected and routers discovered."""
    (row,) = views.rows(connection, select(*views.totals.c))
    return row
