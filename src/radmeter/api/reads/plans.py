"""Plans."""

from datetime import datetime

from msgspec import Struct

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Listing, Order, reader, rows
from radmeter.api.problems import not_found
from radmeter.api.route import Bytes

PLANS = """
SELECT plan.id, plan.name, plan.quota_type, plan.anchor_day, plan.timezone, plan.quota_bytes,
       plan.quota_bytes_in, plan.quota_bytes_out, plan.quota_seconds, plan.speed_up, plan.speed_down, plan.max_sessions,
       plan.session_timeout, plan.idle_timeout, plan.valid_seconds, plan.rollover_bytes, plan.price, plan.role,
       plan.retired_at
FROM public.plans AS plan WHERE true"""


class PlanItem(Struct, kw_only=True):
    """A plan. Speeds are in bit/s. price is of a period, as text, in the currency of whoever is billed for the user."""

    id: int
    name: str
    quota_type: str
    anchor_day: int
    timezone: str | None
    quota_bytes: Bytes | None
    quota_bytes_in: Bytes | None
    quota_bytes_out: Bytes | None
    quota_seconds: int | None
    speed_up: int | None
    speed_down: int | None
    max_sessions: int | None
    session_timeout: int | None
    idle_timeout: int | None
    valid_seconds: int | None
    rollover_bytes: Bytes | None
    price: str
    role: str | None
    retired_at: datetime | None


def plans(*, retired: bool = False) -> Listing[PlanItem]:
    """Return the list of plans, by id; with `retired`, those that are out of use, too."""
    query = PLANS if retired else f"{PLANS} AND plan.retired_at IS NULL"
    return Listing(query=query, values={}, order=(Order("plan.id", "bigint"),), item=PlanItem)


async def plan(connection: ApiConnection, plan_id: int) -> PlanItem:
    """Return a plan. Raises Problem if there is none, or if no user of the tenant has it."""
    found = await rows(connection, f"{PLANS} AND plan.id = %(id)s", {"id": plan_id})
    if not found:
        raise not_found(f"there is no plan {plan_id}")
    return reader(PlanItem)(found[0])
