"""Sessions: open and closed ones, those of archived months, and their end on request."""

from typing import Annotated

from msgspec import Meta, Struct, field

from radmeter.api.listing import Listing, rows
from radmeter.api.problems import bad_request
from radmeter.api.reads import sessions as read
from radmeter.api.reads.routers import router_named
from radmeter.api.reads.sessions import ArchiveItem, SessionItem
from radmeter.api.route import NOC, OPERATORS, Call, Deferred, ListQuery, PageQuery, Reply, Route, Text

DISCONNECT = (
    "SELECT radmeter.request_disconnect(%(username)s::text, %(session)s::bigint, %(reason)s) AS requests"
)

RouterName = Annotated[
    str, Meta(min_length=1, max_length=200, pattern="^[^\\x00]*$", description="Its id or its name.")
]


class SessionsQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which sessions."""

    open: Annotated[bool | None, Meta(description="true: open ones; false: those that have stopped.")] = None
    username: Text | None = None
    router: RouterName | None = None
    device: Annotated[Text | None, Meta(description="Calling-Station-Id. Not for tenants' keys.")] = None


class ArchivedQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """Which sessions of archived months."""

    username: Text | None = None
    router: RouterName | None = None


class Disconnect(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a session is to end."""

    reason: Annotated[str, Meta(min_length=1, max_length=200, pattern="^[^\\x00-\\x1f\\x7f]*$")] = field(
        default="api"
    )


class Requested(Struct, kw_only=True):
    """How many requests to routers were made. 0: there is one for each session already. /queue shows them."""

    requests: int


async def listed(call: Call) -> Listing[SessionItem]:
    """Answer with sessions."""
    query, of_tenant = call.query, call.caller.role == "tenant"
    if of_tenant and query.device is not None:
        raise bad_request("device: a tenant's key sees no addresses of devices")
    router_id = None if query.router is None else await router_named(call.connection, query.router)
    return read.sessions(
        open_only=query.open,
        username=query.username,
        router_id=router_id,
        device=query.device,
        of_tenant=of_tenant,
    )


async def archived(call: Call) -> Deferred:
    """Answer with sessions of archived months."""
    query = call.query
    router_id = None if query.router is None else await router_named(call.connection, query.router)
    made = await read.archived_sessions(
        call.connection,
        directory=call.settings.archive_directory,
        username=query.username,
        router_id=router_id,
        limit=query.limit,
        after=call.after,
    )
    return Deferred(made=made)


async def months(call: Call) -> Listing[ArchiveItem]:
    """Answer with archived months."""
    return read.archives()


async def disconnect(call: Call) -> Reply:
    """Ask a router to end a session."""
    return await requested(call, username=None, session=call.id())


async def requested(call: Call, *, username: str | None, session: int | None) -> Reply:
    """Ask routers to end sessions."""
    values = {"username": username, "session": session, "reason": call.body.reason}
    (row,) = await rows(call.connection, DISCONNECT, values)
    return Reply(content=Requested(requests=row["requests"]), status=202)


SESSIONS = OPERATORS | {"tenant"}
ROUTES = (
    Route(
        method="GET",
        path="/sessions",
        handler=listed,
        roles=SESSIONS,
        query=SessionsQuery,
        reply=SessionItem,
        is_list=True,
        summary="Sessions, the newest first",
        description="Those of months that were archived are at /sessions/archived.",
    ),
    Route(
        method="GET",
        path="/sessions/archived",
        handler=archived,
        roles=OPERATORS,
        query=ArchivedQuery,
        reply=SessionItem,
        is_list=True,
        summary="Sessions of archived months, read from their files, the newest first",
    ),
    Route(
        method="GET",
        path="/archives",
        handler=months,
        roles=OPERATORS,
        query=ListQuery,
        reply=ArchiveItem,
        is_list=True,
        summary="Months of sessions that are or were in files",
    ),
    Route(
        method="POST",
        path="/sessions/{id}/disconnect",
        handler=disconnect,
        roles=NOC,
        body=Disconnect,
        reply=Requested,
        writes=True,
        status=202,
        summary="Ask the router to end a session",
    ),
)
