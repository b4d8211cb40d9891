"""Which routers and sites are heard: fresh, late, silent, discovered, idle. Those in trouble come first.

Silence is what the jobs found (radmeter.router_watch). Lateness is not kept anywhere: a router that is heard is looked
at by the jobs only when it could be silent. So the few routers that have missed an interim are found by one look
through the open sessions, which `late_routers` makes for all pages together.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from radmeter.alerts.silence import LATE_INTERIMS
from radmeter.alerts.store import MOST_LATE_SECONDS
from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.api.reads import finding
from radmeter.routers.lookup import known_as
from radmeter.units import duration

STATES = ("silent", "late", "discovered", "fresh", "idle")
LATE = f"""
SELECT session.router_id
FROM (SELECT router_id, max(arrived_at) AS arrived_at FROM public.radacct
      WHERE acctstoptime IS NULL AND router_id IS NOT NULL GROUP BY router_id) AS session
JOIN radmeter.router_watch AS watch ON watch.router_id = session.router_id AND watch.phase = 'ok'
JOIN public.routers AS router ON router.id = session.router_id
    AND router.status = 'active' AND router.merged_into IS NULL
WHERE session.arrived_at
      < now() - coalesce(watch.interim, router.interim_interval) * interval '{LATE_INTERIMS} seconds'"""  # noqa: S608  # a constant

_CLASSES = """
SELECT router.id, router.site, router.name, router.mac, router.nas_identifier, router.ip_address, router.status,
       router.timezone, router.tenant_id, router.interim_interval, router.created_at, watch.since, watch.heard_at,
       class.class,
       -- Among silent routers the latest comes first: the others are known.
       CASE WHEN class.class = 0 THEN -(extract(epoch FROM watch.since) * 1000000)::bigint ELSE 0 END AS rank
FROM {source}
CROSS JOIN LATERAL (SELECT CASE WHEN router.status = 'discovered' THEN 2
                                WHEN watch.phase IN ('pending', 'firing') THEN 0
                                WHEN watch.phase = 'clearing' OR router.id = ANY (%(late)s::bigint[]) THEN 1
                                WHEN watch.phase = 'ok' THEN 3 ELSE 4 END AS class) AS class
WHERE router.status IN ('active', 'discovered') AND router.merged_into IS NULL"""
_ALL = "public.routers AS router LEFT JOIN radmeter.router_watch AS watch ON watch.router_id = router.id"
_WATCH = """
LEFT JOIN LATERAL (SELECT * FROM radmeter.router_watch WHERE router_watch.router_id = router.id OFFSET 0) AS watch
    ON true"""
# The routers that may be in trouble, by indexes: few, however many there are. OFFSET 0: row by row.
_FEW = """(SELECT router_id FROM radmeter.router_watch WHERE phase IN ('pending', 'firing', 'clearing')
    UNION SELECT unnest(%(late)s::bigint[])
    UNION SELECT id FROM public.routers WHERE coalesce(merged_status, status) = 'discovered') AS few (id)
CROSS JOIN LATERAL (SELECT * FROM public.routers WHERE routers.id = few.id OFFSET 0) AS router"""
_TROUBLE = _FEW + _WATCH
# All routers of the sites of those.
_OF_TROUBLE = f"""(SELECT DISTINCT router.site FROM {_FEW} WHERE router.site IS NOT NULL) AS few (site)
CROSS JOIN LATERAL (SELECT * FROM public.routers WHERE routers.site = few.site OFFSET 0) AS router{_WATCH}"""  # noqa: S608  # constants

# What is shown of a page's routers is read for those alone.
_SHOWN = """
SELECT page.id AS router_id, page.site, page.mac::text AS mac, page.nas_identifier,
       host(page.ip_address) AS ip_address, page.since,
       page.class, page.rank, page.interim_interval, page.created_at,
       page.name, page.status,
       (SELECT tenant.name FROM radmeter.tenants AS tenant WHERE tenant.id = page.tenant_id) AS tenant,
       zone.name AS timezone,
       -- A lone Stop leaves no open session, and nothing to watch.
       coalesce(greatest(page.heard_at, session.arrived_at),
                (SELECT counted.last_updated FROM public.router_daily_usage AS counted
                 WHERE counted.router_id = page.id ORDER BY counted.usage_date DESC LIMIT 1)) AS heard_at,
       session.open_sessions, coalesce(usage.bytes_in, 0) AS bytes_in, coalesce(usage.bytes_out, 0) AS bytes_out
FROM page
CROSS JOIN LATERAL (SELECT coalesce(page.timezone, (SELECT radmeter.setting_value('timezone'))) AS name) AS zone
CROSS JOIN LATERAL (SELECT count(*) AS open_sessions, max(arrived_at) AS arrived_at FROM public.radacct
                    WHERE router_id = page.id AND acctstoptime IS NULL) AS session
LEFT JOIN public.router_daily_usage AS usage
    ON usage.router_id = page.id AND usage.usage_date = (now() AT TIME ZONE zone.name)::date
ORDER BY page.class, page.rank, page.id"""

_LIST = f"""
WITH page AS MATERIALIZED (
    SELECT * FROM ({_CLASSES} {{filters}}) AS found {{after}}
    ORDER BY {{order}} LIMIT %(most)s)
{_SHOWN}"""  # noqa: S608  # constants

# A whole MAC or address is found by indexes, also as a name.
_IS = """
AND (router.{column} = %(number)s::{kind} OR router.name = %(text)s OR router.nas_identifier = %(text)s)"""
_CONTAINS = """
AND (router.name ILIKE %(like)s OR router.site ILIKE %(like)s OR router.nas_identifier ILIKE %(like)s{numbers})"""
# To write each MAC and address costs as much as the rest: only for a text that may be a part of one.
_NUMBERS = " OR host(router.ip_address) LIKE %(like)s OR router.mac::text LIKE lower(%(like)s)"
_PART_OF_NUMBER = re.compile(r"[0-9A-Fa-f:.]+", re.ASCII)

# All routers in their order: those in trouble, and then two lists in the order of a key, of which no more is read than
# is shown. "class, rank, id" would sort all of them.
_PARTS = (
    ((0, 1, 2), _TROUBLE, "", "class, rank, id"),
    (
        (3,),
        _ALL,
        "AND router.status = 'active' AND watch.phase = 'ok' AND router.id <> ALL (%(late)s::bigint[])",
        "id",
    ),
    ((4,), _ALL, "AND router.status = 'active' AND (watch.phase IS NULL OR watch.phase = 'idle')", "id"),
)
_BY_CLASS = "WHERE (class, rank, id) > (%(key_0)s::integer, %(key_1)s::bigint, %(key_2)s::bigint)"
_BY_ID = "WHERE id > %(key_2)s::bigint"

# How many routers are silent, and what is another value when one becomes so or is heard again. By the index.
SILENT = """
SELECT count(*) FILTER (WHERE watch.phase <> 'clearing' AND router.status = 'active') AS silent,
       concat(count(*) FILTER (WHERE watch.phase = 'clearing'), ' ', max(watch.since)) AS moved
FROM radmeter.router_watch AS watch JOIN public.routers AS router ON router.id = watch.router_id
WHERE watch.phase IN ('pending', 'firing', 'clearing') AND router.merged_into IS NULL"""

_COUNTS = """
SELECT silent, clearing, heard, idle, discovered
FROM (SELECT count(*) FILTER (WHERE watch.phase IN ('pending', 'firing')) AS silent,
             count(*) FILTER (WHERE watch.phase = 'clearing') AS clearing,
             count(*) FILTER (WHERE watch.phase = 'ok') AS heard,
             count(*) FILTER (WHERE coalesce(watch.phase, 'idle') = 'idle') AS idle
      FROM public.routers AS router LEFT JOIN radmeter.router_watch AS watch ON watch.router_id = router.id
      WHERE router.status = 'active' AND router.merged_into IS NULL) AS active
CROSS JOIN (SELECT count(*) AS discovered FROM public.routers
            WHERE coalesce(merged_status, status) = 'discovered' AND merged_into IS NULL) AS others"""

_SITES = f"""
SELECT * FROM (
    SELECT site, routers, silent, late, fresh, idle, silent + late + fresh AS expected,
           CASE WHEN silent > 0 AND late + fresh = 0 THEN 0 WHEN silent > 0 THEN 1 WHEN late > 0 THEN 2
                WHEN fresh > 0 THEN 3 ELSE 4 END AS rank
    FROM (SELECT site, count(*) AS routers, count(*) FILTER (WHERE class = 0) AS silent,
                 count(*) FILTER (WHERE class = 1) AS late, count(*) FILTER (WHERE class = 3) AS fresh,
                 count(*) FILTER (WHERE class IN (2, 4)) AS idle
          FROM ({_CLASSES} AND router.site IS NOT NULL {{filters}}) AS found GROUP BY site) AS counted) AS ranked
{{after}} ORDER BY rank, site LIMIT %(most)s"""  # noqa: S608  # constants

# How long ago the jobs looked at the routers.
TICKED = "SELECT extract(epoch FROM now() - ticked_at)::float8 AS seconds FROM radmeter.alert_state"

# Down, silent, late.
WORST_SITE = 2
_SITE_STATES = ("down", "silent", "late", "fresh", "idle")


async def late_routers(connection: ApiConnection) -> list[int]:
    """Return the routers that are expected, and have missed an interim, but are not silent."""
    return [row["router_id"] for row in await rows(connection, LATE)]


async def routers(
    connection: ApiConnection,
    late: Sequence[int],
    *,
    state: str | None = None,
    in_trouble: bool = False,
    site: str | None = None,
    text: str = "",
    mac: str | None = None,
    router_id: int | None = None,
    after: Sequence[str | None] | None = None,
    limit: int = 50,
) -> tuple[list[Row], list[str | None] | None]:
    """Return a page of routers, those in trouble first, and the key to go on after; None: there are no more.

    Parameters
    ----------
    late
        What `late_routers` found.
    in_trouble
        Only those that are silent or late.
    text, mac
        What the name, site or NAS-Identifier contains, or the MAC or address; the MAC in normal form, if the text is a
        whole one.
    """
    values: dict[str, Any] = {"late": list(late), "most": limit + 1, "like": f"%{_literal(text)}%"}
    if after is not None:
        values |= {f"key_{number}": each for number, each in enumerate(after)}
    filters = ""
    if site is not None:
        filters += " AND router.site = %(site)s"
        values["site"] = site
    if router_id is not None:
        filters += " AND router.id = %(id)s"
        values["id"] = router_id
    if text:
        filters += _found_by(text, mac, values)
    wanted = STATES.index(state) if state is not None else None
    if filters:
        if wanted is not None:
            filters += f" AND class.class = {wanted}"
        parts = [(_ALL, filters, _BY_CLASS if after is not None else "", "class, rank, id")]
    else:
        parts = list(_parts(wanted, int(after[0] or 0) if after is not None else None))
        if in_trouble:
            source, filters, where, order = parts[0]
            parts = [(source, f"{filters} AND class.class < {STATES.index('discovered')}", where, order)]
    found: list[Row] = []
    for source, filters, where, order in parts:
        values["most"] = limit + 1 - len(found)
        query = _LIST.format(source=source, filters=filters, after=where, order=order)
        found += await rows(connection, query, values)
        if len(found) > limit:
            break
    for row in found:
        row["state"] = STATES[row["class"]]
        row["router_name"] = known_as(row["name"], row["status"], row["nas_identifier"])
        # With open sessions it is not idle: the jobs have not looked yet, or how often it sends interims is not known.
        row["words"] = "not watched yet" if row["state"] == "idle" and row["open_sessions"] else row["state"]
    more = len(found) > limit
    found = found[:limit]
    return found, [str(found[-1][name]) for name in ("class", "rank", "router_id")] if more else None


def _found_by(text: str, mac: str | None, values: dict[str, Any]) -> str:
    """Return the condition of routers that a text finds."""
    values["text"] = text
    if mac is not None:
        values["number"] = mac
        return _IS.format(column="mac", kind="macaddr")
    values["number"] = finding.address(text)
    if values["number"] is not None:
        return _IS.format(column="ip_address", kind="inet")
    return _CONTAINS.format(numbers=_NUMBERS if _PART_OF_NUMBER.fullmatch(text) else "")


def _parts(wanted: int | None, after: int | None) -> Iterator[tuple[str, str, str, str]]:
    """Return the parts of the list of all routers, or of those of a class, from the class of a key on."""
    for classes, source, filters, order in _PARTS:
        if (wanted is not None and wanted not in classes) or (after is not None and after > classes[-1]):
            continue
        where = ""
        if after is not None and after in classes:
            where = _BY_CLASS if order != "id" else _BY_ID
        if wanted is not None and len(classes) > 1:
            filters += f" AND class.class = {wanted}"
        yield source, filters, where, order


async def counts(connection: ApiConnection, late: Sequence[int]) -> Row:
    """Return how many routers are in each state."""
    (row,) = await rows(connection, _COUNTS)
    return {
        "silent": row["silent"],
        "late": row["clearing"] + len(late),
        "discovered": row["discovered"],
        "fresh": max(0, row["heard"] - len(late)),
        "idle": row["idle"],
    }


async def sites(
    connection: ApiConnection,
    late: Sequence[int],
    *,
    text: str = "",
    after: Sequence[str | None] | None = None,
    limit: int = 50,
) -> tuple[list[Row], list[str | None] | None]:
    """Return a page of sites, those in trouble first, and the key to go on after; None: there are no more."""
    filters = " AND router.site ILIKE %(like)s" if text else ""
    values: dict[str, Any] = {"late": list(late), "most": limit + 1, "like": f"%{_literal(text)}%"}
    where = ""
    if after is not None:
        where = "WHERE (rank, site) > (%(key_0)s::integer, %(key_1)s::text)"
        values |= {f"key_{number}": each for number, each in enumerate(after)}
    # Those in trouble come first: if there are enough of them, the others need not be counted.
    found: list[Row] = []
    if not text and (after is None or int(after[0] or 0) <= WORST_SITE):
        found = await rows(connection, _SITES.format(source=_OF_TROUBLE, filters="", after=where), values)
    if len(found) <= limit or found[-1]["rank"] > WORST_SITE:
        found = await rows(connection, _SITES.format(source=_ALL, filters=filters, after=where), values)
    for row in found:
        row["state"] = _SITE_STATES[row["rank"]]
        row["words"] = f"{row['silent']} silent" if row["state"] == "silent" else row["state"]
    more = len(found) > limit
    found = found[:limit]
    return found, [str(found[-1][name]) for name in ("rank", "site")] if more else None


async def jobs_fault(connection: ApiConnection) -> str | None:
    """Return in words why the states may be old: the jobs do not look. None: they do."""
    found = await rows(connection, TICKED)
    seconds = found[0]["seconds"] if found else None
    if seconds is None:
        return "the jobs have not looked yet: `radmeter jobs run`"
    if seconds > MOST_LATE_SECONDS:
        return f"the jobs have not looked for {duration(seconds)}: `radmeter jobs run`"
    return None


def _literal(text: str) -> str:
    """Return a text for LIKE, in which its wildcards stand for themselves."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
