"""Gaps of journals, and that a person knows of them."""

from typing import Annotated

from msgspec import Meta, Struct

from radmeter.api.listing import Listing, rows
from radmeter.api.reads import incidents as read
from radmeter.api.reads.incidents import IncidentItem
from radmeter.api.route import NOC, OPERATORS, Call, ListQuery, Reply, Route

ACKNOWLEDGE = "SELECT radmeter.acknowledge_incident(%(id)s, %(reason)s)"


class IncidentsQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which incidents."""

    open: Annotated[bool | None, Meta(description="true: those that need a person.")] = None


class Acknowledge(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why nothing more is done about it."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000, pattern="^[^\\x00-\\x1f\\x7f]*$")]


async def listed(call: Call) -> Listing[IncidentItem]:
    """Answer with incidents."""
    return read.incidents(open_only=call.query.open)


async def one(call: Call) -> Reply:
    """Answer with an incident."""
    return Reply(content=await read.incident(call.connection, call.id()))


async def acknowledge(call: Call) -> Reply:
    """Note that a person knows of an incident."""
    call.match(await read.incident(call.connection, call.id()))
    await rows(call.connection, ACKNOWLEDGE, {"id": call.id(), "reason": call.body.reason})
    return Reply(content=await read.incident(call.connection, call.id()))


ROUTES = (
    Route(
        method="GET",
        path="/incidents",
        handler=listed,
        roles=OPERATORS,
        query=IncidentsQuery,
        reply=IncidentItem,
        is_list=True,
        summary="What shippers found about their journals, such as gaps, the newest first",
    ),
    Route(
        method="GET",
        path="/incidents/{id}",
        handler=one,
        roles=OPERATORS,
        reply=IncidentItem,
        summary="An incident",
    ),
    Route(
        method="POST",
        path="/incidents/{id}/acknowledge",
        handler=acknowledge,
        roles=NOC,
        body=Acknowledge,
        reply=IncidentItem,
        writes=True,
        if_match="optional",
        summary="Note that a person knows of an incident, and why nothing more is done about it",
    ),
)
