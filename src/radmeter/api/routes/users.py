"""Users: what they have used."""

from typing import Annotated

from msgspec import Meta, Struct

from radmeter.api.reads.users import UserUsage, user_usage
from radmeter.api.route import EVERYBODY, Call, Reply, Route


class UsageQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a user's usage."""

    periods: Annotated[
        int, Meta(ge=1, le=120, description="How many quota periods at most, the latest first.")
    ] = 12


async def usage(call: Call) -> Reply:
    """Answer with a user's usage."""
    return Reply(
        content=await user_usage(
            call.connection, call.path["name"], call.query.periods, role=call.caller.role
        )
    )


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
)
