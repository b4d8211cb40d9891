"""Users: what they have used, the end of their sessions, and top-ups."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta, Struct

from radmeter.api.listing import exact, rows
from radmeter.api.reads.users import UserUsage, user_usage
from radmeter.api.route import EVERYBODY, NOC, Bytes, Call, Reply, Route
from radmeter.api.routes.sessions import Disconnect, Requested, requested

TOP_UP = """
SELECT id, expires_at FROM radmeter.top_up(%(name)s, %(bytes)s, %(last_day)s, %(valid_seconds)s, %(note)s)"""


class UsageQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a user's usage."""

    periods: Annotated[
        int, Meta(ge=1, le=120, description="How many quota periods at most, the latest first.")
    ] = 12


class TopUp(Struct, forbid_unknown_fields=True, kw_only=True):
    """Octets beyond the quota, in both directions, from now on."""

    bytes: Annotated[int, Meta(ge=1, le=2**53, description="How many octets.")]
    last_day: Annotated[
        date | None, Meta(description="The last day, in the time zone of the user's plan.")
    ] = None
    valid_seconds: Annotated[int, Meta(ge=1, le=3155760000)] | None = None
    note: Annotated[str, Meta(min_length=1, max_length=1000, pattern="^[^\\x00-\\x1f\\x7f]*$")] | None = None


class ToppedUp(Struct, kw_only=True):
    """The top-up that was made."""

    id: int
    username: str
    bytes: Bytes
    expires_at: datetime | None


async def usage(call: Call) -> Reply:
    """Answer with a user's usage."""
    return Reply(
        content=await user_usage(
            call.connection, call.path["name"], call.query.periods, role=call.caller.role
        )
    )


async def disconnect(call: Call) -> Reply:
    """Ask routers to end a user's sessions."""
    return await requested(call, username=call.path["name"], session=None)


async def top_up(call: Call) -> Reply:
    """Give a user octets beyond the quota."""
    given: TopUp = call.body
    values = {
        "name": call.path["name"],
        "bytes": given.bytes,
        "last_day": given.last_day,
        "valid_seconds": given.valid_seconds,
        "note": given.note,
    }
    (row,) = await rows(call.connection, TOP_UP, values)
    content = ToppedUp(
        id=row["id"], username=call.path["name"], bytes=exact(given.bytes) or 0, expires_at=row["expires_at"]
    )
    return Reply(content=content, status=201)


ROUTES = (
    Route(
        method="GET",
        path="/users/{name}/usage",
        handler=usage,
        roles=EVERYBODY,
        query=UsageQuery,
        reply=UserUsage,
        summary="What a user has used: the current quota period, and the latest ones with usage",
        description="Open sessions are counted up to their last packet. A tenant's key sees the tenant's own users.",
    ),
    Route(
        method="POST",
        path="/users/{name}/disconnect",
        handler=disconnect,
        roles=NOC,
        body=Disconnect,
        reply=Requested,
        writes=True,
        status=202,
        summary="Ask the routers to end a user's open sessions",
    ),
    Route(
        method="POST",
        path="/users/{name}/top-ups",
        handler=top_up,
        roles=NOC,
        body=TopUp,
        reply=ToppedUp,
        writes=True,
        status=201,
        summary="Give a user octets beyond the quota, in both directions",
    ),
)
