"""Sessions: those in radacct, and those of archived months."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Listing, Order, reader, rows
from radmeter.api.problems import Problem, not_found
from radmeter.api.route import Bytes
from radmeter.usage.sessions import ARCHIVED

COLUMNS = """
SELECT session.radacctid AS id, session.username, session.router_id, session.router_name AS router,
       session.router_mac::text AS router_mac, session.acctstarttime AS started_at,
       session.acctupdatetime AS updated_at, session.acctstoptime AS stopped_at,
       session.acctsessiontime AS session_seconds, session.bytes_in, session.bytes_out,
       session.acctterminatecause AS terminate_cause, session.acctsessionid AS session_id"""
DEVICE = """, session.callingstationid AS calling_station_id, host(session.framedipaddress) AS framed_ip,
       session.closed_by
FROM radmeter.sessions AS session WHERE true"""
# A tenant does not see whose device it is.
OF_TENANT = """, NULL::text AS calling_station_id, NULL::text AS framed_ip, NULL::text AS closed_by
FROM radmeter.tenant_sessions AS session WHERE true"""
ROUTERS = "SELECT id, name, mac::text AS mac, merged_into FROM radmeter.router_list"


class SessionItem(Struct, kw_only=True):
    """A session. stopped_at is null while it is open. A tenant's key gets no addresses of devices."""

    id: int
    username: str | None
    router_id: int | None
    router: str | None
    router_mac: str | None
    started_at: datetime | None
    updated_at: datetime | None
    stopped_at: datetime | None
    session_seconds: int | None
    bytes_in: Bytes | None
    bytes_out: Bytes | None
    terminate_cause: str | None
    session_id: str
    calling_station_id: str | None
    framed_ip: str | None
    closed_by: str | None


class ArchiveItem(Struct, kw_only=True):
    """A month of sessions that is or was in a file. state: written, detached, archived, loaded or restored."""

    id: int
    name: str
    from_at: datetime | None
    to_at: datetime | None
    state: str
    session_rows: int | None
    file_bytes: Bytes | None
    archived_at: datetime | None
    restored_at: datetime | None


def sessions(
    *,
    open_only: bool | None = None,
    username: str | None = None,
    router_id: int | None = None,
    device: str | None = None,
    of_tenant: bool,
) -> Listing[SessionItem]:
    """Return the list of sessions, newest first.

    Those of one user or router are in the order of their start, others in that of their ids. Every partition has an
    index in each of these orders, so a page costs the same however long the history is.
    """
    query = COLUMNS + (OF_TENANT if of_tenant else DEVICE)
    if open_only is not None:
        query += f" AND session.acctstoptime IS {'' if open_only else 'NOT '}NULL"
    if username is not None:
        query += " AND session.username = %(username)s"
    if router_id is not None:
        query += " AND session.router_id = %(router_id)s"
    if device is not None:
        query += " AND session.callingstationid = %(device)s"
    order = (Order("session.radacctid", "bigint"),)
    if username is not None or router_id is not None:
        order = (Order("session.acctstarttime", "timestamptz"), *order)  # type: ignore[assignment] # longer
    return Listing(
        query=query,
        values={"username": username, "router_id": router_id, "device": device},
        order=order,
        descending=True,
        item=SessionItem,
    )


def archives() -> Listing[ArchiveItem]:
    """Return the list of months that are or were in files."""
    query = """
SELECT each.id, each.name, each.from_at, each.to_at, each.state, each.session_rows, each.file_bytes, each.archived_at,
       each.restored_at
FROM radmeter.archives AS each WHERE true"""
    return Listing(query=query, values={}, order=(Order("each.id", "bigint"),), item=ArchiveItem)


async def archived_sessions(
    connection: ApiConnection,
    *,
    directory: Path | None,
    username: str | None,
    router_id: int | None,
    limit: int,
    after: list[str | None] | None,
) -> Callable[[], tuple[list[SessionItem], list[str | None] | None]]:
    """Return a function that reads a page of the sessions in files, newest first. It needs no connection, but time.

    Raises
    ------
    Problem
        DuckDB is not installed, or a file is not as it was written.
    """
    files = await rows(connection, ARCHIVED)
    known = {row["id"]: row for row in await rows(connection, ROUTERS)}

    def now(each: int | None) -> int | None:
        while each is not None and (merged := known.get(each, {}).get("merged_into")) is not None:
            each = merged
        return each

    by_id = username is None and router_id is None
    before: tuple[datetime | None, int] | None = None
    if after is not None:
        start, number = after
        before = (None if start is None else datetime.fromisoformat(start), int(number or 0))
    router_ids = (
        None if router_id is None else [each for each in {*known, router_id} if now(each) == router_id]
    )

    def read() -> tuple[list[SessionItem], list[str | None] | None]:
        try:
            from radmeter.partitions.archived_sessions import ArchivedFile, ArchiveUnreadable, opened
        except ImportError:
            raise not_found("this server cannot read archived months: it has no duckdb") from None
        asked = [ArchivedFile(row["name"], Path(row["file"]), row["file_sha256"]) for row in files]
        try:
            with opened(asked, directory) as archived:
                found = archived.page(
                    username=username, router_ids=router_ids, before=before, by_id=by_id, limit=limit + 1
                )
        except ArchiveUnreadable:
            raise Problem(
                503, "archive-unreadable", "a file of archived sessions is gone or damaged"
            ) from None
        items = [_named(row, known.get(now(row["router_id"]), {}), now) for row in found[:limit]]
        if len(found) <= limit:
            return items, None
        last = found[limit - 1]
        began = last["started_at"]
        return items, [None if began is None else began.isoformat(), str(last["id"])]

    return read


def _named(
    row: dict[str, Any], router: dict[str, Any], now: Callable[[int | None], int | None]
) -> SessionItem:
    return reader(SessionItem)(
        {
            **row,
            "router_id": now(row["router_id"]),
            "router": router.get("name"),
            "router_mac": router.get("mac"),
        }
    )
