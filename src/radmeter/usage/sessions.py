"""Reads sessions, open and closed."""

from collections.abc import Sequence
from datetime import datetime
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row

if TYPE_CHECKING:
    from radmeter.partitions.archived_sessions import ArchivedFile, ArchivedSessions

SESSIONS = """
SELECT radacctid AS id, username, router_id, router_name AS router, router_mac, acctstarttime AS started_at,
       acctupdatetime AS updated_at, acctstoptime AS stopped_at, acctsessiontime AS session_seconds,
       bytes_in, bytes_out, callingstationid AS calling_station_id, framedipaddress AS framed_ip,
       acctterminatecause AS terminate_cause, closed_by, acctsessionid AS session_id, acctuniqueid AS unique_id
FROM radmeter.sessions WHERE true"""
BEGAN = """
SELECT acctstarttime AS start, acctstarttime::text AS written
FROM radmeter.sessions WHERE radacctid = %(before)s"""
ARCHIVED = """
SELECT name, file, file_sha256 FROM radmeter.archives WHERE state IN ('detached', 'archived', 'loaded')
ORDER BY from_at, id"""
ROUTERS = "SELECT id, name, mac, merged_into FROM radmeter.router_list"


def sessions_query(
    *,
    open_only: bool = False,
    username: str | None = None,
    router_id: int | None = None,
    before: tuple[datetime | str | None, int] | None = None,
) -> tuple[str, Row]:
    """Return the query for sessions, newest first, and its values; with `before`, those after that (start, id).

    The sessions of one user or router are ordered by start, others by id. Every partition has an index in each of these
    orders, so a page costs the same however long the history is.
    """
    start, radacctid = before or (None, None)
    values: Row = {"name": username, "router": router_id, "start": start, "id": radacctid}
    query = SESSIONS
    if open_only:
        query += " AND acctstoptime IS NULL"
    if username is None and router_id is None:
        query += "" if before is None else " AND radacctid < %(id)s"
        return f"{query} ORDER BY radacctid DESC", values
    if username is not None:
        query += " AND username = %(name)s"
    if router_id is not None:
        query += " AND router_id = %(router)s"
    # Another program may have written NULL, which comes first in descending order.
    if before is not None and start is None:
        query += " AND (acctstarttime IS NOT NULL OR radacctid < %(id)s)"
    elif before is not None:
        query += " AND (acctstarttime, radacctid) < (%(start)s::timestamptz, %(id)s)"
    return f"{query} ORDER BY acctstarttime DESC, radacctid DESC", values


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
    after: tuple[datetime | str | None, int] | None = None
    if before is not None:
        found = views.rows(connection, BEGAN, {"before": before})
        if found:
            key = (found[0]["start"], before)
            # The server compares with the start as it wrote it: Python may have no value for it.
            after = (found[0]["written"], before)
        elif archived is not None:
            after = key = archived.start_of(before)
        if key is None:
            raise NotKnown(f"there is no session with the id {before}")
    query, values = sessions_query(open_only=open_only, username=username, router_id=router_id, before=after)
    if archived is None:
        return views.page(connection, query, values, limit)
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
            views.rows(connection, views.limited(query), {**values, "most": limit + 1}),
            map(routers.named, old),
            key=_id if by_id else _start_and_id,
            reverse=True,
        )
    )
    return merged[:limit], len(merged) > limit


def archived_files(connection: Connection) -> "list[ArchivedFile]":
    """Return the files whose sessions are not in radacct now, oldest first."""
    from radmeter.partitions.archived_sessions import ArchivedFile

    return [
        ArchivedFile(row["name"], Path(row["file"]), row["file_sha256"])
        for row in views.rows(connection, ARCHIVED)
    ]


def _id(row: Row) -> Any:
    return row["id"]


def _start_and_id(row: Row) -> Any:
    # PostgreSQL puts NULL first in descending order.
    start = row["started_at"]
    return start is None, start, row["id"]


class _Routers:
    """The names of routers now. A file has the ids of the time when it was written; routers were merged since."""

    def __init__(self, connection: Connection) -> None:
        self._routers = {row["id"]: row for row in views.rows(connection, ROUTERS)}

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
