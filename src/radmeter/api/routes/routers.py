"""Routers: the inventory, their days, and discovered ones that are claimed."""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from radmeter.api.listing import Listing, rows
from radmeter.api.problems import Problem
from radmeter.api.reads import routers as read
from radmeter.api.reads.routers import RouterDay, RouterItem
from radmeter.api.route import EVERYBODY, NOC, Call, ListQuery, Reply, Route, Text

CLAIM = """
SELECT radmeter.claim_router(
    %(id)s, %(name)s, %(mac)s::macaddr, %(nas_identifier)s, %(ip_address)s::inet, %(timezone)s)"""

Mac = Annotated[
    str, Meta(pattern="^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$", description="Such as 02:00:5e:10:00:01.")
]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern="^[^\\x00-\\x1f\\x7f]*$")]


class RoutersQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which routers."""

    status: Literal["active", "discovered", "retired", "merged"] | None = None
    tenant: Annotated[Name | None, Meta(description="The name of the tenant whose they are today.")] = None
    name: Annotated[Name | None, Meta(description="A part of the name, in any case.")] = None
    mac: Mac | None = None


class DaysQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which days, both ends included."""

    from_: Annotated[date | None, Meta(description="The first day.")] = field(default=None, name="from")
    to: Annotated[date | None, Meta(description="The last day.")] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Most items of a page.")] = 1000


class Claim(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a discovered router is. What is not given stays as it was discovered."""

    name: Name | None = None
    mac: Mac | None = None
    nas_identifier: (
        Annotated[str, Meta(min_length=1, max_length=253, pattern="^[^\\x00-\\x1f\\x7f]*$")] | None
    ) = None
    ip_address: Annotated[str, Meta(max_length=45, pattern="^[0-9A-Fa-f.:]+$")] | None = None
    timezone: Text | None = None


async def listed(call: Call) -> Listing[RouterItem]:
    """Answer with routers."""
    query = call.query
    return read.routers(status=query.status, tenant=query.tenant, name=query.name, mac=query.mac)


async def one(call: Call) -> Reply:
    """Answer with a router."""
    return Reply(content=await read.router(call.connection, call.id()))


async def days(call: Call) -> Listing[RouterDay]:
    """Answer with the days of a router."""
    return await read.days(call.connection, call.id(), call.query.from_, call.query.to)


async def claim(call: Call) -> Reply:
    """Make a discovered router an active one."""
    given: Claim = call.body
    call.match(await read.router(call.connection, call.id()))
    values = {
        "id": call.id(),
        "name": given.name,
        "mac": given.mac,
        "nas_identifier": given.nas_identifier,
        "ip_address": given.ip_address,
        "timezone": given.timezone,
    }
    if all(value is None for name, value in values.items() if name != "id"):
        raise Problem(422, "refused", "give at least one value, such as name")
    await rows(call.connection, CLAIM, values)
    return Reply(content=await read.router(call.connection, call.id()))


ROUTES = (
    Route(
        method="GET",
        path="/routers",
        handler=listed,
        roles=EVERYBODY,
        query=RoutersQuery,
        reply=RouterItem,
        is_list=True,
        summary="Routers, by id",
        description="A tenant's key sees the routers that are or were the tenant's.",
    ),
    Route(
        method="GET",
        path="/routers/{id}",
        handler=one,
        roles=EVERYBODY,
        reply=RouterItem,
        summary="A router",
    ),
    Route(
        method="GET",
        path="/routers/{id}/days",
        handler=days,
        roles=EVERYBODY,
        query=DaysQuery,
        reply=RouterDay,
        is_list=True,
        summary="What a router carried, by days of its time zone, the oldest first",
        description="A tenant's key sees the days on which the router was the tenant's.",
    ),
    Route(
        method="POST",
        path="/routers/{id}/claim",
        handler=claim,
        roles=NOC,
        body=Claim,
        reply=RouterItem,
        writes=True,
        # Its values come from packets, and may have changed since somebody looked at them.
        if_match="needed",
        summary="Make a discovered router an active one",
        description="From then on packets of new routers that show its ip_address count for it, unless another active "
        "router has that address, too. `radmeter routers set '#ID' --ip ''` takes the address off.",
    ),
)
