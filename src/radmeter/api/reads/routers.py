"""Routers, and their octets by day."""

from datetime import date, datetime

from msgspec import Struct

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Listing, Order, reader, rows
from radmeter.api.problems import bad_request, not_found
from radmeter.api.route import Bytes

# The rights and policies of the caller hold in this view: a tenant sees its own routers.
ROUTERS = """
SELECT router.id, router.name, router.mac, router.nas_identifier, host(router.ip_address) AS ip_address, router.status,
       router.timezone, router.site, router.tenant, router.tenant_id, router.interim_interval,
       router.stale_after_seconds, router.created_at, router.updated_at, router.merged_into
FROM radmeter.router_list AS router WHERE true"""
DAYS = """
SELECT day.router_id, day.usage_date, day.bytes_in, day.bytes_out, day.bytes_in::numeric + day.bytes_out AS bytes_total,
       day.last_updated
FROM public.router_daily_usage AS day WHERE day.router_id = %(id)s"""
NAMED = "SELECT id FROM radmeter.router_list WHERE name = %(name)s AND merged_into IS NULL"


class RouterItem(Struct, kw_only=True):
    """A router. updated_at is when its inventory changed."""

    id: int
    name: str
    mac: str | None
    nas_identifier: str | None
    ip_address: str | None
    status: str
    timezone: str
    site: str | None
    tenant: str | None
    tenant_id: int | None
    interim_interval: int | None
    stale_after_seconds: int
    created_at: datetime
    updated_at: datetime
    merged_into: int | None


class RouterDay(Struct, kw_only=True):
    """What a router carried on a day of its time zone. A day without usage has no item."""

    router_id: int
    usage_date: date
    bytes_in: Bytes
    bytes_out: Bytes
    bytes_total: Bytes
    last_updated: datetime | None


def routers(
    *, status: str | None = None, tenant: str | None = None, name: str | None = None, mac: str | None = None
) -> Listing[RouterItem]:
    """Return the list of routers, by id. `name` is a part of the name, in any case; `mac` the whole MAC."""
    query = ROUTERS
    if status is not None:
        query += " AND router.status = %(status)s"
    if tenant is not None:
        query += " AND router.tenant = %(tenant)s"
    if name is not None:
        query += " AND position(lower(%(name)s) IN lower(router.name)) > 0"
    if mac is not None:
        query += " AND router.mac = %(mac)s::macaddr"
    values = {"status": status, "tenant": tenant, "name": name, "mac": mac}
    return Listing(query=query, values=values, order=(Order("router.id", "bigint"),), item=RouterItem)


async def router(connection: ApiConnection, router_id: int) -> RouterItem:
    """Return a router. Raises Problem if there is none, or if it is another tenant's."""
    found = await rows(connection, f"{ROUTERS} AND router.id = %(id)s", {"id": router_id})
    if not found:
        raise not_found(f"there is no router {router_id}")
    return reader(RouterItem)(found[0])


async def router_named(connection: ApiConnection, text: str) -> int:
    """Return the id of the router with an id or a name. Raises Problem if there is none."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return (await router(connection, int(text))).id
    found = await rows(connection, NAMED, {"name": text})
    if not found:
        raise not_found(f"there is no router {text!r}")
    return int(found[0]["id"])


async def days(
    connection: ApiConnection, router_id: int, first: date | None, last: date | None
) -> Listing[RouterDay]:
    """Return the days of a router from the oldest on, both ends included. Raises Problem if there is no such router."""
    if first is not None and last is not None and first > last:
        raise bad_request("from: it is after the day of `to`")
    await router(connection, router_id)
    query = DAYS
    if first is not None:
        query += " AND day.usage_date >= %(first)s"
    if last is not None:
        query += " AND day.usage_date <= %(last)s"
    values = {"id": router_id, "first": first, "last": last}
    return Listing(query=query, values=values, order=(Order("day.usage_date", "date"),), item=RouterDay)
