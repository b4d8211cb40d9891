"""The export of sessions: those that were online on the days of a span, with the octets of these days.

A session's octets belong to days, as in the routers' counters: the finished ones are in radmeter.session_slice, the
rest belongs to the last day (radmeter.session_parts). So the sum over the sessions of a router is the sum of its days.
Of a router that changes hands within the span, a session is a row for each of its tenants' stretches of days.
"""

from radmeter.billing.exports.columns import Column, octets
from radmeter.billing.exports.counters import ASSIGNED
from radmeter.billing.exports.table import Table

# Stretches of days on which a router is one tenant's, or nobody's. They make up the whole span.
_STRETCHES = f"""
    WITH assigned AS ({ASSIGNED}),
    stretch AS MATERIALIZED (
        SELECT router_id, tenant_id, from_day, to_day FROM assigned
        UNION ALL
        SELECT router.id, NULL, {{first}}, least(coalesce(known.from_day, date 'infinity'), {{end}})
        FROM public.routers AS router
        LEFT JOIN (SELECT router_id, min(from_day) AS from_day FROM radmeter.router_tenant GROUP BY router_id)
            AS known ON known.router_id = router.id
        WHERE coalesce(known.from_day, date 'infinity') > {{first}}
    )"""  # noqa: S608 # constants

# usage_date is NULL only if another writer inserted the row while the triggers were off.
_LAST_DAY = """coalesce(session.usage_date, (coalesce(session.acctupdatetime, session.acctstoptime,
        session.acctstarttime) AT TIME ZONE coalesce(router.timezone,
            (SELECT value FROM radmeter.setting WHERE name = 'timezone')))::date)"""
_IN_STRETCH = "{day} >= coalesce(stretch.from_day, {{first}}) AND {day} < coalesce(stretch.to_day, {{end}})"
_IS_LAST = _IN_STRETCH.format(day=_LAST_DAY)
_IS_SLICE = _IN_STRETCH.format(day="part.usage_date")


def _octets(way: str) -> str:
    """Return the octets of a session on the days of a stretch. They fit into a bigint, as in the counters."""
    total = {"in": "acctinputoctets", "out": "acctoutputoctets"}[way]
    return f"""CASE WHEN slice.parts = 0 AND last_here THEN coalesce(session.{total}, 0)
            ELSE greatest(-9223372036854775808, least(9223372036854775807, coalesce(slice.bytes_{way}, 0)
                 + CASE WHEN last_here THEN coalesce(session.{total}, 0) - coalesce(slice.all_{way}, 0) ELSE 0 END
            ))::bigint END"""


SESSIONS = Table(
    what="sessions",
    rows="sessions that were online on any of these days in their router's time zone, open ones too; a session is a "
    "row for each tenant whose the router was meanwhile",
    columns=(
        Column("id", "integer", "the session (radacctid)"),
        Column("username", "text", "the user"),
        Column("tenant", "text", "whose the router was on these days; empty: nobody's"),
        Column("router", "text", "the name of today"),
        Column("mac", "word", "MAC address of the router"),
        Column("started_at", "time", "UTC"),
        Column("stopped_at", "time", "UTC; empty: open"),
        Column("session_seconds", "integer", "length of the whole session, seconds"),
        octets("bytes_in", "from the user (Acct-Input-Octets) on these days"),
        octets("bytes_out", "to the user (Acct-Output-Octets) on these days"),
        octets("session_bytes_in", "from the user, of the whole session"),
        octets("session_bytes_out", "to the user, of the whole session"),
        Column("calling_station_id", "text", "the user's device"),
        Column("framed_ip", "word", "the user's address"),
        Column("terminate_cause", "text", "why it ended, as the router said"),
        Column("closed_by", "text", "stop, reaper, reboot or superseded"),
        Column("session_id", "text", "Acct-Session-Id"),
        Column("unique_id", "text", "Acct-Unique-Session-Id"),
        Column("router_id", "integer", "the router's number"),
    ),
    query=f"""
    {_STRETCHES}
    SELECT session.radacctid AS id, session.username, tenant.name AS tenant, router.name AS router, router.mac,
           session.acctstarttime AS started_at, session.acctstoptime AS stopped_at,
           session.acctsessiontime AS session_seconds, {_octets("in")} AS bytes_in, {_octets("out")} AS bytes_out,
           session.acctinputoctets AS session_bytes_in, session.acctoutputoctets AS session_bytes_out,
           session.callingstationid AS calling_station_id, session.framedipaddress AS framed_ip,
           session.acctterminatecause AS terminate_cause, session.closed_by,
           session.acctsessionid AS session_id, session.acctuniqueid AS unique_id, session.router_id,
           stretch.from_day
    FROM public.radacct AS session
    LEFT JOIN public.routers AS router ON router.id = session.router_id
    LEFT JOIN stretch ON stretch.router_id = session.router_id
    LEFT JOIN radmeter.tenants AS tenant ON tenant.id = stretch.tenant_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS parts, sum(part.bytes_in) AS all_in, sum(part.bytes_out) AS all_out,
               count(*) FILTER (WHERE {_IS_SLICE}) AS here,
               sum(part.bytes_in) FILTER (WHERE {_IS_SLICE}) AS bytes_in,
               sum(part.bytes_out) FILTER (WHERE {_IS_SLICE}) AS bytes_out
        FROM radmeter.session_slice AS part WHERE part.radacctid = session.radacctid) AS slice
    CROSS JOIN LATERAL (SELECT {_IS_LAST} AS last_here) AS last
    -- A session that stopped before the first day, or began after the last one, was online on none of them.
    WHERE (session.acctstoptime >= {{begins_at}} OR session.acctstoptime IS NULL)
      AND (session.acctstarttime < {{ends_at}} OR session.acctstarttime IS NULL)
      AND (last_here OR slice.here > 0) AND {{whose}}""",  # noqa: S608 # constants
    of_tenant="stretch.tenant_id = {tenant}",
    order=("id", "from_day"),
    sums=("bytes_in", "bytes_out"),
)
