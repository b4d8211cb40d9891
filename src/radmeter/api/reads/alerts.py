"""Alerts, open and past, and mutes. What people change is what the command line changes, by the same functions."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from radmeter.alerts import store
from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Listing, Order, Row, reader, rows
from radmeter.api.problems import not_found
from radmeter.routers.lookup import known_as

ITEMS = """
SELECT alert.id, alert.severity, alert.state, alert.subject, alert.kind, alert.rule, alert.router_id, alert.router,
       alert.site, alert.username, alert.began_at, alert.fired_at, alert.resolved_at, alert.announced_at, alert.folded,
       alert.folded_into, alert.muted_until, alert.acked_at, alert.acked_by, alert.ack_note
FROM radmeter.alert_list AS alert WHERE true"""

_LIST = """
SELECT id, rule, kind, severity, state, subject, router_id, site, username, began_at, fired_at,
       resolved_at, folded, muted_until, acked_at, acked_by, ack_note, detail
FROM radmeter.alert_list WHERE folded_into IS NULL"""
_OPEN = f"{_LIST} AND resolved_at IS NULL"
# The graver come first; among them the latest.
_RANK = "array_position('{critical,warning,info}', severity)"
# The ids of those open follow the time at which they fired.
_OPEN_FIRST = f"""
SELECT * FROM ({_OPEN}) AS alert
ORDER BY acked_at IS NOT NULL, muted_until IS NOT NULL, {_RANK}, id DESC LIMIT %(most)s"""  # noqa: S608  # a constant
# Each second: the mutes are read once, and what is shown of an alert is not.
COUNT = """
WITH mute AS MATERIALIZED (
    SELECT rule, router_id, site, username FROM radmeter.alert_mutes WHERE until_at > now() AND created_at <= now()
)
SELECT count(*) AS alerts,
       count(*) FILTER (WHERE alert.severity = 'critical') AS critical_alerts,
       count(*) FILTER (WHERE alert.severity = 'warning') AS warning_alerts,
       count(*) FILTER (WHERE alert.severity = 'info') AS info_alerts FROM radmeter.alerts AS alert
WHERE alert.resolved_at IS NULL AND alert.folded_into IS NULL AND alert.acked_at IS NULL
  AND NOT EXISTS (SELECT FROM mute WHERE radmeter.is_muted(
      mute.rule, mute.router_id, mute.site, mute.username, alert.rule, alert.router_id, alert.site, alert.username))"""


class AlertItem(Struct, kw_only=True):
    """An alert.

    state: firing; clearing: it is well again, but not for long enough; resolved. folded: for how many alerts of routers
    it stands, which have its id as folded_into. announced_at: null if nobody was told.
    """

    id: int
    severity: str
    state: str
    subject: str
    kind: str
    rule: str
    router_id: int | None
    router: str | None
    site: str | None
    username: str | None
    began_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    announced_at: datetime | None
    folded: int
    folded_into: int | None
    muted_until: datetime | None
    acked_at: datetime | None
    acked_by: str | None
    ack_note: str | None


def listing(
    *,
    open_only: bool | None = None,
    severity: str | None = None,
    site: str | None = None,
    folded: bool = False,
) -> Listing[AlertItem]:
    """Return the list of alerts, the newest first."""
    query = ITEMS
    if open_only is not None:
        query += f" AND alert.resolved_at IS {'' if open_only else 'NOT '}NULL"
    if not folded:
        query += " AND alert.folded_into IS NULL"
    if severity is not None:
        query += " AND alert.severity = %(severity)s"
    if site is not None:
        query += " AND alert.site = %(site)s"
    return Listing(
        query=query,
        values={"severity": severity, "site": site},
        order=(Order("alert.id", "bigint"),),
        descending=True,
        item=AlertItem,
    )


async def item(connection: ApiConnection, alert_id: int) -> AlertItem:
    """Return an alert. Raises Problem if there is none."""
    found = await rows(connection, f"{ITEMS} AND alert.id = %(id)s", {"id": alert_id})
    if not found:
        raise not_found(f"there is no alert {alert_id}")
    return reader(AlertItem)(found[0])


async def open_alerts(connection: ApiConnection, limit: int) -> list[Row]:
    """Return alerts that are open, those that nobody has acknowledged first."""
    return await rows(connection, _OPEN_FIRST, {"most": limit})


async def alerts(
    connection: ApiConnection, *, resolved: bool, after: Sequence[str | None] | None = None, limit: int = 50
) -> tuple[list[Row], list[str | None] | None]:
    """Return a page of alerts: those that are open, the graver first, or with `resolved` all, the latest first."""
    query, order = (_LIST, "id DESC") if resolved else (_OPEN, f"{_RANK}, id DESC")
    if after is not None:
        query += (
            " AND id < %(id)s::bigint" if resolved else f" AND ({_RANK}, -id) > (%(rank)s, -%(id)s::bigint)"
        )
    values = {
        "rank": int(after[0] or 0) if after else None,
        "id": after[-1] if after else None,
        "most": limit + 1,
    }
    query = query.replace("SELECT id,", f"SELECT {_RANK} AS rank, id,", 1)
    found = await rows(connection, f"{query} ORDER BY {order} LIMIT %(most)s", values)
    more = len(found) > limit
    found = found[:limit]
    return found, [str(found[-1][name]) for name in ("rank", "id")] if more else None


async def alert(connection: ApiConnection, alert_id: int) -> Row | None:
    """Return one alert; None: there is none with the number."""
    found = await rows(connection, f"{_LIST} AND id = %(id)s", {"id": alert_id})
    return found[0] if found else None


async def mutes(connection: ApiConnection, limit: int) -> list[Row]:
    """Return the mutes in force, the one that ends first before the others."""
    found = await rows(connection, f"{store.MUTES} LIMIT %(most)s", {"all": False, "most": limit})
    for row in found:
        if row["router"] is not None:
            row["router"] = known_as(row["router"], row["status"], row["nas_identifier"])
    return found


async def acknowledge(connection: ApiConnection, alert_id: int, note: str | None) -> None:
    """Note that somebody knows of an alert. Raises psycopg.Error of RM001 if there is none, or it was resolved."""
    await connection.execute(store.ACKNOWLEDGE.encode(), (alert_id, note))


async def mute(connection: ApiConnection, alert: Row, until: datetime) -> None:
    """Tell nobody of an alert, nor of another one of its rule for the same router, site or user, until a time."""
    site = None if alert["router_id"] else alert["site"]
    values = (alert["rule"], alert["router_id"], site, alert["username"], until, None)
    await connection.execute(store.MUTE.encode(), values)


async def unmute(connection: ApiConnection, mute_id: int) -> None:
    """End a mute. Raises psycopg.Error of RM001 if there is none in force."""
    await connection.execute(store.UNMUTE.encode(), (mute_id,))
