"""Tenants."""

from typing import Annotated

from msgspec import Meta

from radmeter.api.listing import Listing
from radmeter.api.reads import tenants as read
from radmeter.api.reads.tenants import TenantItem
from radmeter.api.route import EVERYBODY, Call, ListQuery, Reply, Route


class TenantsQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which tenants."""

    retired: Annotated[bool, Meta(description="Those that are out of use, too.")] = False


async def listed(call: Call) -> Listing[TenantItem]:
    """Answer with tenants."""
    return read.tenants(retired=call.query.retired)


async def one(call: Call) -> Reply:
    """Answer with a tenant."""
    return Reply(content=await read.tenant(call.connection, call.id()))


ROUTES = (
    Route(
        method="GET",
        path="/tenants",
        handler=listed,
        roles=EVERYBODY,
        query=TenantsQuery,
        reply=TenantItem,
        is_list=True,
        summary="Tenants, by id",
        description="A tenant's key sees the tenant itself.",
    ),
    Route(
        method="GET", path="/tenants/{id}", handler=one, roles=EVERYBODY, reply=TenantItem, summary="A tenant"
    ),
)
