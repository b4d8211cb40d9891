"""Plans."""

from typing import Annotated

from msgspec import Meta

from radmeter.api.listing import Listing
from radmeter.api.reads import plans as read
from radmeter.api.reads.plans import PlanItem
from radmeter.api.route import EVERYBODY, Call, ListQuery, Reply, Route


class PlansQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which plans."""

    retired: Annotated[bool, Meta(description="Those that are out of use, too.")] = False


async def listed(call: Call) -> Listing[PlanItem]:
    """Answer with plans."""
    return read.plans(retired=call.query.retired)


async def one(call: Call) -> Reply:
    """Answer with a plan."""
    return Reply(content=await read.plan(call.connection, call.id()))


ROUTES = (
    Route(
        method="GET",
        path="/plans",
        handler=listed,
        roles=EVERYBODY,
        query=PlansQuery,
        reply=PlanItem,
        is_list=True,
        summary="Plans, by id",
        description="A tenant's key sees the plans of the tenant's users.",
    ),
    Route(method="GET", path="/plans/{id}", handler=one, roles=EVERYBODY, reply=PlanItem, summary="A plan"),
)
