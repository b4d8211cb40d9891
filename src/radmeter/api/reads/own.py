"""What a tenant's page shows: its routers, its days, its documents. All of it is read as the tenant's role.

Row-level security leaves the tenant's own rows. No query names a tenant but for the text of its name.
"""

from collections.abc import Sequence
from datetime import date

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.routers.lookup import known_as
from radmeter.usage.forecast import WEEKS

_TENANT = """
SELECT tenant.name, tenant.timezone, tenant.currency, (now() AT TIME ZONE tenant.timezone)::date AS today
FROM radmeter.tenants AS tenant WHERE tenant.id = (SELECT radmeter.current_tenant())"""
_DAYS = """
SELECT usage_date, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out FROM public.router_daily_usage
WHERE usage_date >= %(first)s
GROUP BY usage_date ORDER BY usage_date"""
_ROUTERS = """
SELECT router.id AS router_id, router.site, zone.name AS timezone,
       router.name, router.status, router.nas_identifier,
       usage.bytes_in, usage.bytes_out, usage.today_bytes, usage.last_updated,
       coalesce(session.open_sessions, 0) AS open_sessions
FROM public.routers AS router
-- Once, not for each router: the view reads all sessions of the tenant.
LEFT JOIN (SELECT router_id, count(*) AS open_sessions FROM radmeter.tenant_sessions
           WHERE acctstoptime IS NULL GROUP BY router_id) AS session ON session.router_id = router.id
CROSS JOIN LATERAL (SELECT coalesce(router.timezone, (SELECT radmeter.setting_value('timezone'))) AS name) AS zone
CROSS JOIN LATERAL (
    SELECT coalesce(sum(day.bytes_in), 0) AS bytes_in, coalesce(sum(day.bytes_out), 0) AS bytes_out,
           coalesce(sum(day.bytes_in + day.bytes_out::numeric)
                    FILTER (WHERE day.usage_date = (now() AT TIME ZONE zone.name)::date), 0) AS today_bytes,
           max(day.last_updated) AS last_updated
    FROM public.router_daily_usage AS day WHERE day.router_id = router.id AND day.usage_date >= %(first)s) AS usage
WHERE router.merged_into IS NULL AND router.status <> 'retired' AND router.id > %(after)s
  AND router.tenant_id = (SELECT radmeter.current_tenant())"""
_COUNT = """
SELECT count(*) AS routers, (SELECT count(*) FROM radmeter.tenant_sessions WHERE acctstoptime IS NULL) AS open_sessions
FROM public.routers
WHERE merged_into IS NULL AND status <> 'retired' AND tenant_id = (SELECT radmeter.current_tenant())"""
# Each router has its own day. Those that are the tenant's, or were so on a day since then.
_OF_ROUTERS = """
SELECT coalesce(array_agg(DISTINCT router.timezone ORDER BY router.timezone), '{}') AS zones,
       coalesce(sum(today.octets), 0) AS today_bytes
FROM radmeter.router_list AS router
LEFT JOIN LATERAL (
    SELECT sum(day.bytes_in + day.bytes_out::numeric) AS octets FROM public.router_daily_usage AS day
    WHERE day.router_id = router.id AND day.usage_date = router.today) AS today ON true
WHERE router.merged_into IS NULL AND router.status <> 'retired'
      AND router.tenant_id = (SELECT radmeter.current_tenant())
   OR EXISTS (SELECT FROM public.router_daily_usage AS day
              WHERE day.router_id = router.id AND day.usage_date >= %(first)s)"""
_ROUTER_DAYS = """
SELECT usage_date, bytes_in, bytes_out FROM public.router_daily_usage
WHERE router_id = %(router)s AND usage_date >= %(first)s ORDER BY usage_date"""
# Of the latest 36 months. A void document owes nothing, and its notes take back what it was.
_DOCUMENTS = """
SELECT month, number, amount, currency, is_void, note_numbers, note_amounts
FROM (SELECT to_char(invoice.period_start, 'YYYY-MM') AS month, invoice.id,
             coalesce(invoice.number, '#' || invoice.id) AS number, invoice.amount, invoice.currency,
             coalesce(invoice.status = 'void', false) AS is_void,
             ARRAY(SELECT note.number FROM public.credit_notes AS note
                   WHERE note.invoice_id = invoice.id ORDER BY note.id) AS note_numbers,
             ARRAY(SELECT note.amount FROM public.credit_notes AS note
                   WHERE note.invoice_id = invoice.id ORDER BY note.id) AS note_amounts,
             dense_rank() OVER (ORDER BY date_trunc('month', invoice.period_start::timestamp) DESC) AS place
      FROM public.invoices AS invoice
      WHERE invoice.tenant_id = (SELECT radmeter.current_tenant()) AND invoice.username IS NULL) AS document
WHERE place <= 36 ORDER BY month DESC, id"""


async def tenant(connection: ApiConnection) -> Row | None:
    """Return the tenant, and its day; None: it does not exist any more."""
    found = await rows(connection, _TENANT)
    return found[0] if found else None


async def days(connection: ApiConnection, first: date) -> list[Row]:
    """Return the sums by day of all routers, each on the days on which it was the tenant's."""
    return await rows(connection, _DAYS, {"first": first})


async def routers(
    connection: ApiConnection, first: date, *, after: int, limit: int
) -> tuple[Sequence[Row], bool]:
    """Return routers by number, with what they counted since a day, and whether there are more."""
    values = {"first": first, "after": after, "most": limit + 1}
    found = await rows(connection, f"{_ROUTERS} ORDER BY router.id LIMIT %(most)s", values)
    return [_named(row) for row in found[:limit]], len(found) > limit


async def router(connection: ApiConnection, router_id: int, first: date) -> Row | None:
    """Return one router; None: the tenant has none with the number."""
    values = {"first": first, "after": 0, "id": router_id}
    found = await rows(connection, f"{_ROUTERS} AND router.id = %(id)s", values)
    return _named(found[0]) if found else None


def _named(row: Row) -> Row:
    return {**row, "router_name": known_as(row["name"], row["status"], row["nas_identifier"])}


async def counts(connection: ApiConnection) -> Row:
    """Return how many routers the tenant has today, and how many open sessions."""
    (row,) = await rows(connection, _COUNT)
    return row


async def of_routers(connection: ApiConnection, first: date) -> Row:
    """Return the zones of routers of today and since a day, and what they counted on their own day of now."""
    (row,) = await rows(connection, _OF_ROUTERS, {"first": first})
    return row


async def router_days(connection: ApiConnection, router_id: int, first: date) -> list[Row]:
    """Return a router's days since a day."""
    return await rows(connection, _ROUTER_DAYS, {"router": router_id, "first": first})


async def documents(connection: ApiConnection) -> list[Row]:
    """Return the issued documents with their credit notes: of the latest month first."""
    return await rows(connection, _DOCUMENTS)


HISTORY_DAYS = 7 * WEEKS
