"""Which sessions and corrections make up what a user has used in a quota period."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row
from radmeter.usage import counters

COUNTER = """
SELECT bytes_in, bytes_out, last_updated FROM radmeter.user_usage
WHERE username = %(name)s AND period_start = %(period)s"""
PARTS = """
SELECT part.part, part.radacctid AS session, session.router_id, session.router_name AS router,
       session.acctstarttime AS started_at, session.acctstoptime AS stopped_at, part.bytes_in, part.bytes_out,
       session.bytes_in::numeric + session.bytes_out AS bytes_of_session, session.acctterminatecause AS terminate_cause,
       session.callingstationid AS calling_station_id, session.acctsessionid AS session_id,
       session.acctuniqueid AS unique_id
FROM radmeter.user_parts(%(name)s, %(period)s) AS part
LEFT JOIN radmeter.sessions AS session ON session.radacctid = part.radacctid
ORDER BY session.acctstarttime NULLS LAST, part.radacctid, part.part"""
ANOMALIES = """
SELECT detected_at AS at, kind, radacctid AS session, direction, octets_before, octets_after, octets_otherwise,
       NULL AS who
FROM public.accounting_anomaly WHERE radacctid = ANY (%(sessions)s) ORDER BY id"""
REPAIRS = """
SELECT log.at, log.action AS kind, NULL::bigint AS session, side.direction, (item -> 'before' ->> place)::numeric
       AS octets_before, (item -> 'after' ->> place)::numeric AS octets_after, NULL::bigint AS octets_otherwise,
       coalesce(nullif(log.operator, ''), log.who) AS who
FROM public.audit_log AS log
CROSS JOIN LATERAL jsonb_array_elements(log.detail -> 'users') AS item
CROSS JOIN (VALUES ('input', 0), ('output', 1)) AS side (direction, place)
WHERE log.action = 'verify repair' AND item ->> 'username' = %(name)s
  AND (item ->> 'period_start')::date = %(period)s
ORDER BY log.id, place"""
KEPT_FROM = """
SELECT moment AS kept_from,
       radmeter.period_complete(plan.quota_type, plan.anchor_day, subscriber.quota_start, plan.timezone, %(period)s,
                                moment) AS complete
FROM radmeter.sessions_complete_from() AS moment
LEFT JOIN public.subscribers AS subscriber ON subscriber.username = %(name)s
LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
WHERE isfinite(moment)"""
IN_MONTH = """
SELECT period_start FROM radmeter.user_usage
WHERE username = %(name)s AND period_start >= %(first)s AND period_start < %(first)s::date + interval '1 month'
ORDER BY period_start"""
# Today's plan says in which period a day is. The plan may have changed since: then the day is in the latest of the last
# hundred counters before it that has a session which began on the day or later. If today's plan begins no period with
# that counter, a session that reached the day will do.
OF_DAY = """
WITH today AS MATERIALIZED (
    SELECT plan.quota_type, plan.anchor_day, subscriber.quota_start,
           %(day)s::date::timestamp AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')) AS midnight
    FROM (VALUES (%(name)s)) AS asked (username)
    LEFT JOIN public.subscribers AS subscriber USING (username)
    LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
), by_plan AS MATERIALIZED (
    SELECT radmeter.period_start(quota_type, anchor_day, quota_start, %(day)s) AS period FROM today
)
SELECT coalesce(
    (SELECT max(period_start) FROM radmeter.user_usage
     WHERE username = %(name)s AND (period_start = %(day)s OR period_start = (SELECT period FROM by_plan))),
    (SELECT usage.period_start
     FROM (SELECT period_start FROM radmeter.user_usage WHERE username = %(name)s AND period_start <= %(day)s
           ORDER BY period_start DESC LIMIT 100) AS usage
     CROSS JOIN today
     CROSS JOIN LATERAL radmeter.user_parts(%(name)s, usage.period_start) AS part
     JOIN radmeter.sessions AS session USING (radacctid)
     WHERE session.acctstarttime >= today.midnight
        OR (coalesce(session.acctstoptime, session.acctupdatetime) >= today.midnight
            AND radmeter.period_start(today.quota_type, today.anchor_day, today.quota_start, usage.period_start)
                <> usage.period_start)
     ORDER BY usage.period_start DESC LIMIT 1),
    (SELECT period FROM by_plan)) AS period"""
# Whether a period ends when today's plan says so: the plan begins one on its first day, no other counter begins before
# its end, and no session of it began after its end. Else the counter is of a plan that the user had before.
OF_TODAYS_PLAN = """
SELECT radmeter.period_start(plan.quota_type, plan.anchor_day, subscriber.quota_start, %(period)s) = %(period)s
       AND NOT EXISTS (SELECT FROM radmeter.user_usage AS usage
                       WHERE usage.username = %(name)s AND usage.period_start > %(period)s
                         AND usage.period_start < %(end)s)
       AND coalesce(%(latest)s::timestamptz < %(end)s::date::timestamp
                    AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')), true) AS same
FROM (VALUES (%(name)s)) AS asked (username)
LEFT JOIN public.subscribers AS subscriber USING (username)
LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id"""

# What the rest is, which no session has.
DROPPED, UNEXPLAINED = "dropped", "unexplained"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A counter, and the parts that it is made of. Their sum is the counter."""

    username: str
    period_start: date
    period_end: date | None
    """The first day after the period; None: it does not end, or nothing says where (see `of_todays_plan`)."""
    of_todays_plan: bool
    """Whether the user's plan of today made this period. If not, its end and time zone are not known."""
    timezone: str
    bytes_in: int
    bytes_out: int
    parts: Sequence[Row]
    corrections: Sequence[Row]
    kept_from: datetime | None
    """Sessions that stopped before were dropped or archived. None: all are there."""

    @property
    def rest(self) -> Row | None:
        """The part that is of no session, or None."""
        return next((row for row in self.parts if row["part"] in (DROPPED, UNEXPLAINED)), None)


def period_of(connection: Connection, username: str, day: date | None, *, is_month: bool = False) -> date:
    """Return the first day of the quota period that is meant: of a day, of a month, or the current one.

    Raises
    ------
    NotKnown
        There is no such user. Or in that month there began no period with usage, or several.
    """
    current = counters.current_period(connection, username)
    if day is None:
        return current
    if not is_month:
        (row,) = views.rows(connection, OF_DAY, {"name": username, "day": day})
        period = row["period"]
        assert isinstance(period, date)
        return period
    found = [
        row["period_start"] for row in views.rows(connection, IN_MONTH, {"name": username, "first": day})
    ]
    if not found and current.replace(day=1) == day.replace(day=1):
        return current
    if not found:
        raise NotKnown(f"{username!r} has no usage in a quota period that began in {day:%Y-%m}")
    if len(found) > 1:
        listed = ", ".join(map(str, found[:10])) + (", .." if len(found) > 10 else "")
        raise NotKnown(
            f"{len(found)} quota periods of {username!r} began in {day:%Y-%m}: {listed}. Name a day"
        )
    first = found[0]
    assert isinstance(first, date)
    return first


def explain(connection: Connection, username: str, period: date) -> Explanation:
    """Return what a counter is made of, as one state of the database has it.

    Raises
    ------
    NotKnown
        The period has no usage and is not the current one.
    """
    values = {"name": username, "period": period}
    counter = views.rows(connection, COUNTER, values)
    total_in, total_out = (int(counter[0][name]) if counter else 0 for name in ("bytes_in", "bytes_out"))
    parts = views.rows(connection, PARTS, values)
    for row in parts:
        row |= {name: int(row[name]) for name in ("bytes_in", "bytes_out")}
    if not counter and not parts and period != counters.current_period(connection, username):
        raise NotKnown(f"{username!r} has no usage in the quota period that began on {period}")
    plan = counters.plan(connection, username, period)
    kept = views.rows(connection, KEPT_FROM, values)
    rest_in = total_in - sum(row["bytes_in"] for row in parts)
    rest_out = total_out - sum(row["bytes_out"] for row in parts)
    if rest_in or rest_out:
        complete = not kept or kept[0]["complete"]
        nothing = dict.fromkeys(COLUMNS)
        parts.append(
            {
                **nothing,
                "part": UNEXPLAINED if complete else DROPPED,
                "bytes_in": rest_in,
                "bytes_out": rest_out,
            }
        )
    starts = [row["started_at"] for row in parts if row["started_at"] is not None]
    values |= {"end": plan["period_end"], "latest": max(starts, default=None)}
    of_todays_plan = views.rows(connection, OF_TODAYS_PLAN, values)[0]["same"]
    sessions = sorted({row["session"] for row in parts if row["session"] is not None})
    corrections = views.rows(connection, ANOMALIES, {"sessions": sessions})
    corrections += views.rows(connection, REPAIRS, values)
    return Explanation(
        username=username,
        period_start=period,
        period_end=plan["period_end"] if of_todays_plan else None,
        of_todays_plan=of_todays_plan,
        timezone=plan["timezone"],
        bytes_in=total_in,
        bytes_out=total_out,
        parts=parts,
        corrections=sorted(corrections, key=lambda row: row["at"]),
        kept_from=kept[0]["kept_from"] if kept else None,
    )


COLUMNS = (
    "part",
    "session",
    "router_id",
    "router",
    "started_at",
    "stopped_at",
    "bytes_in",
    "bytes_out",
    "bytes_of_session",
    "terminate_cause",
    "calling_station_id",
    "session_id",
    "unique_id",
)
# How much earlier than its session's start a packet may be stamped, and how much later than the stop it may come.
BEFORE, AFTER = timedelta(minutes=10), timedelta(days=8)


def session_of(sessions: Sequence[Row], packet: Row) -> int | None:
    """Return the session that a packet of this user is of: the latest that has its id and began before it."""
    found = None
    for row in sessions:
        same = packet["unique_id"] == row["unique_id"] or (
            packet["session_id"] == row["session_id"]
            and packet["calling_station_id"] == row["calling_station_id"]
        )
        start = row["started_at"]
        stop = row["stopped_at"]
        if (
            same
            and (start is None or packet["event_at"] >= start - BEFORE)
            and (stop is None or packet["event_at"] <= stop + AFTER)
        ):
            found = row["session"]
    return found
