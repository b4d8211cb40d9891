"""Alerts, open and past."""

from collections.abc import Mapping, Sequence
from typing import Any

from radmeter.alerts.wording import WHAT
from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.units import counted, duration

_LIST = """
SELECT id, rule, kind, severity, state, subject AS about, router_id, site, username, began_at, fired_at,
       resolved_at, folded,
       muted_until, muted_until IS NOT NULL AS muted, acked_at, acked_by, ack_note, detail
FROM radmeter.alert_list WHERE folded_into IS NULL"""
_OPEN = f"{_LIST} AND resolved_at IS NULL"
# The graver come first; among them the latest.
_RANK = "array_position('{critical,warning,info}', severity)"
# The ids of those open follow the time at which they fired.
_OPEN_FIRST = f"""
SELECT * FROM ({_OPEN}) AS alert
ORDER BY acked_at IS NOT NULL, muted, {_RANK}, id DESC LIMIT %(most)s"""  # noqa: S608  # a constant
# Those that nobody has acknowledged or muted. Whether one is muted is not asked for each if there are no mutes.
COUNT = """
SELECT count(*) AS alerts FROM radmeter.alerts
WHERE resolved_at IS NULL AND folded_into IS NULL AND acked_at IS NULL
  AND (NOT EXISTS (SELECT FROM radmeter.alert_mutes WHERE until_at > now())
       OR radmeter.muted_until(rule, router_id, site, username, now()) IS NULL)"""


async def open_alerts(connection: ApiConnection, limit: int) -> list[Row]:
    """Return alerts that are open, those that nobody has acknowledged first."""
    return [_with_words(row) for row in await rows(connection, _OPEN_FIRST, {"most": limit})]


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
    found = [_with_words(row) for row in found[:limit]]
    return found, [str(found[-1][name]) for name in ("rank", "id")] if more else None


async def alert(connection: ApiConnection, alert_id: int) -> Row | None:
    """Return one alert; None: there is none with the number."""
    found = await rows(connection, f"{_LIST} AND id = %(id)s", {"id": alert_id})
    return _with_words(found[0]) if found else None


def _with_words(row: Row) -> Row:
    return {**row, "words": words(row["kind"], row["detail"] or {}, row["folded"])}


def words(kind: str, detail: Mapping[str, Any], folded: int = 0) -> str:
    """Return what an alert says, for people."""
    said = {
        "router_silent": "is silent",
        "site_down": "is down: all of its routers are silent",
        "quota": "is at a quota limit",
    }.get(kind) or WHAT.get(kind, kind.replace("_", " "))
    if isinstance(detail.get("interim_seconds"), int | float):
        said += f" (interims every {duration(detail['interim_seconds'])})"
    if folded:
        said += f" ({counted(folded, 'router')})"
    return said
