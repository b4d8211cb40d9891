"""Reads routers, and finds the router that an operator names."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, func, or_, select
from sqlalchemy.dialects.postgresql import MACADDR

from radmeter.database import views
from radmeter.database.views import NotKnown, Row
from radmeter.packet.router_key import normal_mac

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class Router:
    """A router, as the view router_list shows it. `today` is the date in its time zone."""

    id: int
    name: str
    mac: str | None
    nas_identifier: str | None
    ip_address: Any
    status: str
    timezone: str
    created_at: datetime
    today: date
    discovery_key: str | None
    updated_at: datetime
    merged_into: int | None
    merged_at: datetime | None
    interim_interval: int | None
    stale_after_seconds: int
    clients: Any  # RADIUS clients whose packets may name it; None: any
    plausible_mbit_per_second: int | None  # more than one user can use in a direction; None: the limit

    def __str__(self) -> str:
        """Return text that identifies it also among routers of the same name."""
        where = self.mac or self.nas_identifier or self.ip_address or "no MAC"
        return f"#{self.id} {self.name!r} ({self.status}, {where})"


def find_router(
    connection: Connection, text: str, *, status: str | None = None, follow: bool = True
) -> Router:
    """Return the router that `text` names: ``#ID``, a MAC in any form, a name, an id alone, or a NAS-Identifier.

    For a merged router, the router that has its usage is returned, unless `text` is ``#ID`` or `follow` is false.

    Raises
    ------
    NotKnown
        No router matches, or several do. The message then lists them with their ids.
    """
    found = _matching(connection, text, status)
    if follow and not text.startswith("#"):
        found = _followed(connection, found)
    if not found:
        raise NotKnown(
            f"there is no {status + ' ' if status else ''}router {text!r}: "
            f"`radmeter routers list{' --status ' + status if status else ''}` lists them"
        )
    if len(found) > 1:
        listed = ", ".join(map(str, found[:10])) + (", .." if len(found) > 10 else "")
        raise NotKnown(
            f"{text!r} is more than one router: {listed}. Name it by its id, such as '#{found[0].id}'"
        )
    return found[0]


def _matching(connection: Connection, text: str, status: str | None) -> list[Router]:
    routers = views.router_list.c
    number = text.removeprefix("#")
    is_id = number.isascii() and number.isdigit() and len(number) < 19  # fits a bigint
    conditions = [routers.id == int(number)] if is_id else []
    if text.startswith("#"):
        return _select(connection, conditions, status)
    conditions.append(routers.name == text)
    if (mac := normal_mac(text)) is not None:
        conditions.append(routers.mac == sqlalchemy.cast(mac, MACADDR))
    return _select(connection, conditions, status) or _select(
        connection, [routers.nas_identifier == text], status
    )


def _select(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], status: str | None = None
) -> list[Router]:
    """Return the routers that meet at least one of the conditions. Each condition has an index."""
    if not conditions:
        return []
    query = select(views.router_list).where(or_(*conditions)).order_by(views.router_list.c.id)
    if status is not None:
        query = query.where(views.router_list.c.status == status)
    return [Router(**row) for row in views.rows(connection, query)]


def _followed(connection: Connection, found: Sequence[Router]) -> list[Router]:
    """Replace merged routers by those that have their usage; return each router once."""
    whole = {router.id: router for router in found if router.merged_into is None}
    missing = {router.merged_into for router in found if router.merged_into is not None} - whole.keys()
    if missing:
        whole |= {router.id: router for router in _select(connection, [views.router_list.c.id.in_(missing)])}
    return [whole[router_id] for router_id in sorted(whole)]


def merged_routers(connection: Connection, router: Router) -> list[Router]:
    """Return the routers that were merged into this one: its aliases."""
    return _select(connection, [views.router_list.c.merged_into == router.id])


def list_routers(
    connection: Connection, *, status: str | None, after: int, limit: int
) -> tuple[Sequence[Row], bool]:
    """Return routers by id, those with an id above `after`, and whether there are more."""
    query = select(views.router_list).where(views.router_list.c.id > after).order_by(views.router_list.c.id)
    if status is not None:
        query = query.where(views.router_list.c.status == status)
    return views.page(connection, query, limit)


def networks(connection: Connection, router: Router) -> list[str]:
    """Return the networks from which a router's packets came lately, the latest first."""
    view = views.router_networks.c
    query = select(view.network).where(view.router_id == router.id).order_by(view.last_seen.desc())
    return [str(row["network"]) for row in views.rows(connection, query)]


def networks_outside(networks: Sequence[str], clients: Sequence[str]) -> list[str]:
    """Return those networks in which none of the clients, addresses or networks, can be."""
    allowed = [ipaddress.ip_network(each) for each in clients]
    return [
        each for each in networks if not any(_overlap(ipaddress.ip_network(each), one) for one in allowed)
    ]


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def activity(connection: Connection, router: Router) -> Row:
    """Return how many sessions of a router are open, when its last packet came, and how far its clock is off."""
    view = views.router_activity
    found = views.rows(connection, select(view).where(view.c.router_id == router.id))
    return found[0] if found else {"open_sessions": 0, "last_packet_at": None, "clock_skew_seconds": None}


def clock(connection: Connection, router: Router) -> Row:
    """Return how far a router's clock is off, from its open and recent sessions."""
    view = views.router_clock
    columns = [column for column in view.c if column.name != "router_id"]
    found = views.rows(connection, select(*columns).where(view.c.router_id == router.id))
    return found[0] if found else dict.fromkeys((column.name for column in columns), None)


def merge_preview(connection: Connection, router: Router, most: int) -> Row:
    """Return a router and what it has, before a merge. Closed sessions are counted up to `most` + 1."""
    sessions, usage = views.sessions.c, views.router_usage.c
    closed = select(sessions.radacctid).where(
        sessions.router_id == router.id, sessions.acctstoptime.is_not(None)
    )
    days = select(func.count(), func.coalesce(func.sum(usage.bytes_total), 0)).where(
        usage.router_id == router.id
    )
    ((count, bytes_total),) = connection.execute(days).all()
    return {
        **vars(router),
        "router": f"#{router.id} {router.name}",
        "open_sessions": activity(connection, router)["open_sessions"],
        "closed_sessions": connection.execute(
            select(func.count()).select_from(closed.limit(most + 1).subquery())
        ).scalar_one(),
        "days": count,
        "bytes_total": bytes_total,
    }
