"""Tenants."""

from datetime import datetime

from msgspec import Struct

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Listing, Order, reader, rows
from radmeter.api.problems import not_found

# Not the note: it is the operator's, about the tenant.
TENANTS = """
SELECT tenant.id, tenant.name, tenant.currency, tenant.timezone, tenant.legal_name, tenant.address, tenant.email,
       tenant.tax_id, tenant.tax_rate, tenant.tax_rule, tenant.language, tenant.created_at, tenant.updated_at,
       tenant.retired_at
FROM radmeter.tenants AS tenant WHERE true"""


class TenantItem(Struct, kw_only=True):
    """A tenant. tax_rate is in percent, as text."""

    id: int
    name: str
    currency: str | None
    timezone: str
    legal_name: str | None
    address: str | None
    email: str | None
    tax_id: str | None
    tax_rate: str
    tax_rule: str | None
    language: str
    created_at: datetime
    updated_at: datetime
    retired_at: datetime | None


def tenants(*, retired: bool = False) -> Listing[TenantItem]:
    """Return the list of tenants, by id; with `retired`, those that are out of use, too."""
    query = TENANTS if retired else f"{TENANTS} AND tenant.retired_at IS NULL"
    return Listing(query=query, values={}, order=(Order("tenant.id", "bigint"),), item=TenantItem)


async def tenant(connection: ApiConnection, tenant_id: int) -> TenantItem:
    """Return a tenant. Raises Problem if there is none, or if it is not the caller."""
    found = await rows(connection, f"{TENANTS} AND tenant.id = %(id)s", {"id": tenant_id})
    if not found:
        raise not_found(f"there is no tenant {tenant_id}")
    return reader(TenantItem)(found[0])
