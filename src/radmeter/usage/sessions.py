"""Reads sessions, open and closed."""

from collections.abc import Sequence
from datetime import datetime
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import Connection, or_, select, tuple_

from radmeter.database import views
from radmeter.database.views import NotKnown, Row

if TYPE_CHECKING:
    from radmeter.partitions.archived_sessions import ArchivedFile, ArchivedSessions

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
    before: tuple[Any, int] | None = None,
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
    archived: "ArchivedSessions | None" = None,
) -> tuple[Sequence[Row], bool]:
    """Return a page of sessions, newest first, and whether there are more. With `archived`, those are among them.

    Raises
    ------
    NotKnown
        There is no session with the id `before`.
    """
    key: tuple[datetime | None, int] | None = None
    after: tuple[Any, int] | None = None
    if before is not None:
        found = connection.execute(
            select(_session.acctstarttime, _session.acctstarttime.is_(None)).where(
                _session.radacctid == before
            )
        ).one_or_none()
        if found is not None:
            key = (found[0], before)
            # The server compares with the start itself: Python may have no value for it.
            after = (None if found[1] else _start_of(before), before)
        elif archived is not None:
            after = key = archived.start_of(before)
        if key is None:
            raise NotKnown(f"there is no session with the id {before}")
    query = sessions_query(open_only=open_only, username=username, router_id=router_id, before=after)
    if archived is None:
        return views.page(connection, query, limit)
    by_id = username is None and router_id is None
    routers = _Routers(connection)
    old = archived.page(
        username=username,
        router_ids=None if router_id is None else routers.merged_into(router_id),
        before=key,
        by_id=by_id,
        limit=limit + 1,
    )
    merged = list(
        merge(
            views.rows(connection, query.limit(limit + 1)),
            map(routers.named, old),
            key=_id if by_id else _start_and_id,
            reverse=True,
        )
    )
    return merged[:limit], len(merged) > limit


def archived_files(connection: Connection) -> "list[ArchivedFile]":
    """Return the files whose sessions are not in radacct now, oldest first."""
    from radmeter.partitions.archived_sessions import ArchivedFile

    view = views.archives.c
    query = select(view.name, view.file, view.file_sha256).where(
        view.state.in_(("detached", "archived", "loaded"))
    )
    return [
        ArchivedFile(row["name"], Path(row["file"]), row["file_sha256"])
        for row in views.rows(connection, query.order_by(view.from_at, view.id))
    ]


def _start_of(radacctid: int) -> Any:
    return select(_session.acctstarttime).where(_session.radacctid == radacctid).scalar_subquery()


def _id(row: Row) -> Any:
    return row["id"]


def _start_and_id(row: Row) -> Any:
    # PostgreSQL puts NULL first in descending order.
    start = row["started_at"]
    return start is None, start, row["id"]


class _Routers:
    """The names of routers now. A file has the ids of the time when it was written; routers were merged since."""

    def __init__(self, connection: Connection) -> None:
        view = views.router_list.c
        query = select(view.id, view.name, view.mac, view.merged_into)
        self._routers = {row["id"]: row for row in views.rows(connection, query)}

    def merged_into(self, router_id: int) -> list[int]:
        """Return a router's id, and those of the routers that were merged into it."""
        return [router_id, *(each for each in self._routers if self._now(each) == router_id != each)]

    def named(self, row: Row) -> Row:
        """Return a row of a file with its router."""
        router_id = None if row["router_id"] is None else self._now(row["router_id"])
        router = self._routers.get(router_id, {})
        return {**row, "router_id": router_id, "router": router.get("name"), "router_mac": router.get("mac")}

    def _now(self, router_id: int) -> int:
        merged = self._routers.get(router_id, {}).get("merged_into")
        return router_id if merged is None else self._now(merged)
