"""Alerts, open and past."""

from collections.abc import Mapping, Sequence
from typing import Any

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.units import counted, duration

_LIST = """
SELECT id, rule, kind, severity, state, subject AS about, router_id, site, username, began_at, fired_at,
       resolved_at, folded,
       muted_until, muted_until IS NOT NULL AS muted, acked_at, acked_by, ack_note, detail
FROM radmeter.alert_list WHERE folded_into IS NULL"""
_OPEN = f"{_LIST} AND resolved_at IS NULL"
# The ids of those open follow the time at which they fired.
_OPEN_FIRST = f"""
SELECT * FROM ({_OPEN}) AS alert
ORDER BY acked_at IS NOT NULL, muted, array_position('{{critical,warning,info}}', severity), id DESC LIMIT %(most)s"""  # noqa: S608  # a constant
COUNT = """
SELECT count(*) AS alerts, coalesce(max(id), 0) AS newest FROM radmeter.alert_list
WHERE resolved_at IS NULL AND folded_into IS NULL AND acked_at IS NULL AND muted_until IS NULL"""


async def open_alerts(connection: ApiConnection, limit: int) -> list[Row]:
    """Return alerts that are open, those that nobody has acknowledged first."""
    return [_with_words(row) for row in await rows(connection, _OPEN_FIRST, {"most": limit})]


async def alerts(
    connection: ApiConnection, *, resolved: bool, after: Sequence[str | None] | None = None, limit: int = 50
) -> tuple[list[Row], list[str | None] | None]:
    """Return a page of alerts, the latest first: those that are open, or with `resolved` all."""
    query = _LIST if resolved else _OPEN
    if after is not None:
        query += " AND id < %(id)s::bigint"
    values = {"id": after[0] if after else None, "most": limit + 1}
    found = await rows(connection, f"{query} ORDER BY id DESC LIMIT %(most)s", values)
    more = len(found) > limit
    found = [_with_words(row) for row in found[:limit]]
    return found, [str(found[-1]["id"])] if more else None


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
        "spike": "uses far more than usual",
        "quota": "is at a quota limit",
    }.get(kind, kind.replace("_", " "))
    if isinstance(detail.get("interim_seconds"), int | float):
        said += f" (interims every {duration(detail['interim_seconds'])})"
    if folded:
        said += f" ({counted(folded, 'router')})"
    return said
