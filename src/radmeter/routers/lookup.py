"""Reads routers, and finds the router that an operator names."""

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row
from radmeter.packet.router_key import normal_mac

ROUTERS = """
SELECT id, name, mac, nas_identifier, ip_address, status, timezone, created_at, today, discovery_key, updated_at,
       merged_into, merged_at, interim_interval, stale_after_seconds, clients, plausible_mbit_per_second,
       tenant_id, tenant, site
FROM radmeter.router_list WHERE true"""
DISCOVERED = "discovered"
STATUS = " AND status = %(status)s"
REQUESTS = """
SELECT vendor, host(address) AS coa_address, port AS coa_port, has_secret AS coa_secret,
       host(source_address) AS coa_source, message_authenticator, swapped, takes_coa, silent_since AS coa_silent_since,
       last_answer_at AS coa_last_answer_at, last_error AS coa_last_error
FROM radmeter.router_requests WHERE router_id = %(id)s"""
NETWORKS = "SELECT network FROM radmeter.router_networks WHERE router_id = %(id)s ORDER BY last_seen DESC"
ACTIVITY = """
SELECT router_id, open_sessions, last_packet_at, clock_skew_seconds FROM radmeter.router_activity
WHERE router_id = %(id)s"""
CLOCK = ("sessions", "stamped_sessions", "unbelievable_sessions", "median_seconds", "spread_seconds")
DAYS = """
SELECT count(*) AS days, coalesce(sum(bytes_total), 0) AS bytes_total FROM radmeter.router_usage
WHERE router_id = %(id)s"""
CLOSED = """
SELECT count(*) AS closed FROM (SELECT FROM radmeter.sessions
                                WHERE router_id = %(id)s AND acctstoptime IS NOT NULL LIMIT %(most)s) AS first_ones"""

# The address of a registered router, if no other registered router has it: as radmeter.match_router finds by it.
SOLE_ADDRESS = """
SELECT host(router.ip_address) AS address FROM public.routers AS router
WHERE router.id = %(id)s AND router.status = 'active' AND NOT EXISTS (
    SELECT FROM public.routers AS other
    WHERE other.ip_address = router.ip_address AND coalesce(other.merged_status, other.status) = 'active'
      AND coalesce(other.merged_into, other.id) <> router.id)"""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def known_as(name: str, status: str, nas_identifier: str | None) -> str:
    """Return the name that people know a router by: of a discovered one the NAS-Identifier that it sends, if any.

    The view radmeter.alert_list writes the same.
    """
    return f"{nas_identifier or name} (discovered)" if status == DISCOVERED else name


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
    tenant_id: int | None  # whose it is today: a tenant can have a realm for user names
    tenant: str | None  # the name of that tenant
    site: str | None  # where it stands: routers of a site fail together

    @property
    def shown(self) -> str:
        """The name that people know it by. A discovered router is named by its MAC, but may send a name."""
        return known_as(self.name, self.status, self.nas_identifier)

    @property
    def by_mac(self) -> str:
        """The MAC of a discovered router, by which it is claimed, with the name that it sends; else the name."""
        if self.status != DISCOVERED or self.mac is None:
            return self.shown
        return f"{self.mac} ({f'{self.nas_identifier}, ' if self.nas_identifier else ''}discovered)"

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
        # What somebody looks for among the discovered ones may never have been discovered.
        address = (
            ". Its packets may count for a registered router of its address" if status == DISCOVERED else ""
        )
        raise NotKnown(
            f"there is no {status + ' ' if status else ''}router {text!r}: "
            f"`radmeter routers list{' --status ' + status if status else ''}` lists them{address}"
        )
    if len(found) > 1:
        listed = ", ".join(map(str, found[:10])) + (", .." if len(found) > 10 else "")
        raise NotKnown(
            f"{text!r} is more than one router: {listed}. Name it by its id, such as '#{found[0].id}'"
        )
    return found[0]


def _matching(connection: Connection, text: str, status: str | None) -> list[Router]:
    number = text.removeprefix("#")
    is_id = number.isascii() and number.isdigit() and len(number) < 19  # fits a bigint
    conditions = ["id = %(id)s"] if is_id else []
    values: Row = {"text": text, "id": int(number) if is_id else None, "mac": normal_mac(text)}
    if text.startswith("#"):
        return _select(connection, conditions, values, status)
    conditions.append("name = %(text)s")
    if values["mac"] is not None:
        conditions.append("mac = %(mac)s::macaddr")
    return _select(connection, conditions, values, status) or _select(
        connection, ["nas_identifier = %(text)s"], values, status
    )


def _select(
    connection: Connection, conditions: Sequence[str], values: Row, status: str | None = None
) -> list[Router]:
    """Return the routers that meet at least one of the conditions. Each condition has an index."""
    if not conditions:
        return []
    query = f"{ROUTERS} AND ({' OR '.join(conditions)}){'' if status is None else STATUS} ORDER BY id"
    return [Router(**row) for row in views.rows(connection, query, {**values, "status": status})]


def _followed(connection: Connection, found: Sequence[Router]) -> list[Router]:
    """Replace merged routers by those that have their usage; return each router once."""
    whole = {router.id: router for router in found if router.merged_into is None}
    missing = {router.merged_into for router in found if router.merged_into is not None} - whole.keys()
    if missing:
        named = _select(connection, ["id = ANY (%(ids)s)"], {"ids": list(missing)})
        whole |= {router.id: router for router in named}
    return [whole[router_id] for router_id in sorted(whole)]


def shown_names(connection: Connection, ids: Collection[int | None]) -> dict[int, str]:
    """Return the names that people know routers by (`Router.shown`), by id."""
    found = _select(connection, ["id = ANY (%(ids)s)"], {"ids": [each for each in ids if each is not None]})
    return {router.id: router.shown for router in found}


def names_by_mac(connection: Connection, ids: Collection[int]) -> dict[int, str]:
    """Return the names of routers, of discovered ones with their MAC (`Router.by_mac`), by id."""
    return {
        router.id: router.by_mac for router in _select(connection, ["id = ANY (%(ids)s)"], {"ids": [*ids]})
    }


def merged_routers(connection: Connection, router: Router) -> list[Router]:
    """Return the routers that were merged into this one: its aliases."""
    return _select(connection, ["merged_into = %(id)s"], {"id": router.id})


def list_routers(
    connection: Connection, *, status: str | None, after: int, limit: int
) -> tuple[Sequence[Row], bool]:
    """Return routers by id, those with an id above `after`, and whether there are more."""
    query = f"{ROUTERS} AND id > %(after)s{'' if status is None else STATUS} ORDER BY id"
    return views.page(connection, query, {"after": after, "status": status}, limit)


def networks(connection: Connection, router: Router) -> list[str]:
    """Return the networks from which a router's packets came lately, the latest first."""
    return [str(row["network"]) for row in views.rows(connection, NETWORKS, {"id": router.id})]


def sole_address(connection: Connection, router_id: int) -> str | None:
    """Return the address by which packets find this registered router, also those of routers that are not known yet."""
    found = views.rows(connection, SOLE_ADDRESS, {"id": router_id})
    return found[0]["address"] if found else None


def requests(connection: Connection, router: Router) -> Row:
    """Return how Disconnect- and CoA-Requests reach a router, and how it answered."""
    (row,) = views.rows(connection, REQUESTS, {"id": router.id})
    return row


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
    found = views.rows(connection, ACTIVITY, {"id": router.id})
    return found[0] if found else {"open_sessions": 0, "last_packet_at": None, "clock_skew_seconds": None}


def clock(connection: Connection, router: Router) -> Row:
    """Return how far a router's clock is off, from its open and recent sessions."""
    query = f"SELECT {', '.join(CLOCK)} FROM radmeter.router_clock WHERE router_id = %(id)s"  # noqa: S608  # constants
    found = views.rows(connection, query, {"id": router.id})
    return found[0] if found else dict.fromkeys(CLOCK, None)


def merge_preview(connection: Connection, router: Router, most: int) -> Row:
    """Return a router and what it has, before a merge. Closed sessions are counted up to `most` + 1."""
    (days,) = views.rows(connection, DAYS, {"id": router.id})
    (closed,) = views.rows(connection, CLOSED, {"id": router.id, "most": most + 1})
    return {
        **vars(router),
        "router": f"#{router.id} {router.name}",
        "open_sessions": activity(connection, router)["open_sessions"],
        "closed_sessions": closed["closed"],
        **days,
    }
