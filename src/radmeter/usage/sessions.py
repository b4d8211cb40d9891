"""Reads sessions, open and closed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, or_, select, tuple_

from radmeter.database import views
from radmeter.database.views import NotKnown, Row

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


def sessions_query(
    *,
    open_only: bool = False,
    username: str | None = None,
    router_id: int | None = None,
    before: tuple[datetime | None, int] | None = None,
) -> sqlalchemy.Select[Any]:
    """Return the query for sessions, newest first; with `before`, those that come after that (start, id).

    The sessions of one user or router are ordered by start, others by id. Every partition has an index in each of these
    orders, so a page costs the same however long the history is.
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
        if start is None:  # written by another program; NULL comes first in descending order
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
        There is no session with the id `before`.
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
