"""Alerts: what is wrong, and what was."""

from typing import Annotated, Literal

from msgspec import Meta

from radmeter.api.listing import Listing
from radmeter.api.reads import alerts as read
from radmeter.api.reads.alerts import AlertItem
from radmeter.api.route import OPERATORS, Call, ListQuery, Reply, Route

Site = Annotated[str, Meta(min_length=1, max_length=200, pattern="^[^\\x00-\\x1f\\x7f]*$")]


class AlertsQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which alerts."""

    open: Annotated[bool | None, Meta(description="true: those that were not resolved.")] = None
    severity: Literal["info", "warning", "critical"] | None = None
    site: Annotated[Site | None, Meta(description="Of a site and of its routers.")] = None
    folded: Annotated[bool, Meta(description="Also those of routers whose whole site is down.")] = False


async def listed(call: Call) -> Listing[AlertItem]:
    """Answer with alerts."""
    query = call.query
    return read.listing(open_only=query.open, severity=query.severity, site=query.site, folded=query.folded)


async def one(call: Call) -> Reply:
    """Answer with an alert."""
    return Reply(content=await read.item(call.connection, call.id()))


ROUTES = (
    Route(
        method="GET",
        path="/alerts",
        handler=listed,
        roles=OPERATORS,
        query=AlertsQuery,
        reply=AlertItem,
        is_list=True,
        summary="What is wrong and what was, the newest first",
        description="After the event `alerts` of the stream, read `?open=true`.",
    ),
    Route(
        method="GET",
        path="/alerts/{id}",
        handler=one,
        roles=OPERATORS,
        reply=AlertItem,
        summary="An alert",
    ),
)
