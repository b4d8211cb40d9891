"""Exports of the counters: routers' days, and users' quota periods."""

from radmeter.billing.exports.columns import Column, octets
from radmeter.billing.exports.table import Table

# Whose a router is from a day on, until the day of its next row: those that reach into the span.
ASSIGNED = """
    SELECT router_id, tenant_id, greatest(from_day, {first}) AS from_day, least(to_day, {end}) AS to_day
    FROM (SELECT router_id, tenant_id, from_day,
                 lead(from_day, 1, date 'infinity') OVER (PARTITION BY router_id ORDER BY from_day) AS to_day
          FROM radmeter.router_tenant) AS assignment
    WHERE from_day < {end} AND to_day > {first}"""

ROUTER_DAYS = Table(
    what="router-days",
    rows="days on which routers counted, in each router's time zone",
    columns=(
        Column("tenant", "text", "whose the router was on that day; empty: nobody's"),
        Column("router", "text", "the name of today"),
        Column("mac", "word", "MAC address of the router"),
        Column("day", "date", "in the router's time zone"),
        octets("bytes_in", "from users (Acct-Input-Octets)"),
        octets("bytes_out", "to users (Acct-Output-Octets)"),
        Column("router_id", "integer", "the router's number"),
        Column("timezone", "word", "the router's time zone of today"),
    ),
    query=f"""
    WITH assigned AS ({ASSIGNED})
    SELECT tenant.name AS tenant, router.name AS router, router.mac, usage.usage_date AS day,
           usage.bytes_in, usage.bytes_out, usage.router_id,
           coalesce(router.timezone, (SELECT value FROM radmeter.setting WHERE name = 'timezone')) AS timezone
    FROM public.router_daily_usage AS usage
    -- A tenant's login finds the second ones only if they were its.
    JOIN (SELECT id, name, mac, timezone FROM public.routers
          UNION ALL SELECT id, name, mac, timezone FROM radmeter.former_routers()) AS router
        ON router.id = usage.router_id
    LEFT JOIN assigned ON assigned.router_id = usage.router_id
        AND usage.usage_date >= assigned.from_day AND usage.usage_date < assigned.to_day
    LEFT JOIN radmeter.tenants AS tenant ON tenant.id = assigned.tenant_id
    WHERE usage.usage_date >= {{first}} AND usage.usage_date < {{end}} AND {{whose}}""",  # noqa: S608 # constants
    of_tenant="assigned.tenant_id = {tenant}",
    order=("tenant", "router", "router_id", "day"),
    sums=("bytes_in", "bytes_out"),
)

USER_PERIODS = Table(
    what="user-periods",
    rows="quota periods of users that begin in these days",
    columns=(
        Column("username", "text", "the user"),
        Column("period_start", "date", "the first day, in the time zone of the user's plan"),
        Column("period_end", "date", "the first day that is not included; empty: it does not end"),
        octets("bytes_in", "from the user (Acct-Input-Octets)"),
        octets("bytes_out", "to the user (Acct-Output-Octets)"),
        Column("tenant", "text", "whose user it is; empty: nobody's"),
        Column("plan", "text", "the plan of today"),
    ),
    # A period ends as the plan of today says, or before it where the next one began: the user had another plan.
    query="""
    SELECT usage.username, usage.period_start,
           least(radmeter.period_end(plan.quota_type, radmeter.anchor_day(plan.quota_type, plan.anchor_day,
                                                                          subscriber.quota_start),
                                     usage.period_start), next.period_start) AS period_end,
           usage.bytes_in, usage.bytes_out, tenant.name AS tenant, plan.name AS plan
    FROM public.user_quota_usage AS usage
    LEFT JOIN public.subscribers AS subscriber ON subscriber.username = usage.username
    LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    LEFT JOIN radmeter.tenants AS tenant ON tenant.id = subscriber.tenant_id
    LEFT JOIN LATERAL (
        SELECT later.period_start FROM public.user_quota_usage AS later
        WHERE later.username = usage.username AND later.period_start > usage.period_start
        ORDER BY later.period_start LIMIT 1) AS next ON true
    WHERE usage.period_start >= {first} AND usage.period_start < {end} AND {whose}""",
    of_tenant="subscriber.tenant_id = {tenant}",
    order=("username", "period_start"),
    sums=("bytes_in", "bytes_out"),
)
