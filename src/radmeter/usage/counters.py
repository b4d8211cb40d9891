"""Reads the usage of users and routers."""

from datetime import date, timedelta

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row
from radmeter.routers.lookup import Router

HOW_TO_FIND_USERS = "`radmeter usage users` lists users"
NOTHING: Row = {"bytes_in": 0, "bytes_out": 0, "bytes_total": 0, "last_updated": None}
KNOWN = """
SELECT EXISTS (SELECT FROM radmeter.user_plans WHERE username = %(name)s)
    OR EXISTS (SELECT FROM radmeter.user_usage WHERE username = %(name)s) AS known,
    has_table_privilege('radmeter.sessions', 'SELECT') AS may_read_sessions,
    radmeter.user_period_start(%(name)s, now()) AS period"""
HAS_SESSION = "SELECT EXISTS (SELECT FROM radmeter.sessions WHERE username = %(name)s) AS known"
# A month later there is exactly one beginning of a monthly period: months have 28 to 31 days.
PLAN = """
SELECT plan.name AS plan, coalesce(plan.quota_type, 'monthly') AS quota_type, plan.quota_bytes,
       coalesce(plan.timezone, radmeter.setting_value('timezone')) AS timezone,
       CASE coalesce(plan.quota_type, 'monthly')
           WHEN 'daily' THEN %(period)s::date + 1
           WHEN 'weekly' THEN %(period)s::date + 7
           WHEN 'monthly' THEN radmeter.period_start(
               'monthly', plan.anchor_day, subscriber.quota_start, %(period)s::date + 31)
       END AS period_end
FROM (VALUES (%(name)s)) AS asked (username)
LEFT JOIN public.subscribers AS subscriber USING (username)
LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id"""
STATE = """
SELECT quota_bytes, status, quota_seconds, remaining_seconds
FROM radmeter.quota_state(ARRAY[%(name)s::text], now())"""
TOP = """
SELECT usage.username, plan.plan, plan.quota_bytes, usage.periods, usage.bytes_in, usage.bytes_out, usage.bytes_total,
       usage.last_updated
FROM (SELECT username, count(*) AS periods, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
             sum(bytes_total) AS bytes_total, max(last_updated) AS last_updated
      FROM radmeter.user_usage WHERE period_start >= %(first)s AND period_start < %(first)s::date + interval '1 month'
      GROUP BY username ORDER BY bytes_total DESC, username LIMIT %(most)s) AS usage
LEFT JOIN radmeter.user_plans AS plan USING (username)
ORDER BY usage.bytes_total DESC, usage.username"""
MONTHS = """
SELECT date_trunc('month', min(period_start))::date AS first, date_trunc('month', max(period_start))::date AS last
FROM radmeter.user_usage"""
TODAY = "SELECT (now() AT TIME ZONE radmeter.setting_value('timezone'))::date AS today"
USER = """
SELECT username, period_start, bytes_in, bytes_out, bytes_total, last_updated FROM radmeter.user_usage
WHERE username = %(name)s"""
ROUTER = """
SELECT router_id, usage_date, bytes_in, bytes_out, bytes_total, last_updated FROM radmeter.router_usage
WHERE router_id = %(router)s AND usage_date >= %(first)s"""


def current_period(connection: Connection, username: str) -> date:
    """Return the first day of a user's current quota period.

    Raises
    ------
    NotKnown
        No subscriber, counter or session has this name. A mistyped name must not look like a user without usage.
    """
    (row,) = views.rows(connection, KNOWN, {"name": username})
    known = row["known"]
    # An accountant's role has no right on sessions. A user with nothing but a session has no usage either.
    if not known and row["may_read_sessions"]:
        known = views.rows(connection, HAS_SESSION, {"name": username})[0]["known"]
    if not known:
        asked = "subscriber, counter or session" if row["may_read_sessions"] else "subscriber or counter"
        raise NotKnown(
            f"there is no user {username!r}: no {asked} has exactly this name. {HOW_TO_FIND_USERS}"
        )
    period = row["period"]
    assert isinstance(period, date)
    return period


def user_usage(connection: Connection, username: str, periods: int) -> list[Row]:
    """Return a user's current quota period (zero if nothing is counted) and the latest others with usage.

    At most `periods` rows, the current period first.
    """
    current = current_period(connection, username)
    values = {"name": username, "current": current, "others": periods - 1}
    counted = views.rows(connection, f"{USER} AND period_start = %(current)s", values)
    others = f"{USER} AND period_start <> %(current)s ORDER BY period_start DESC LIMIT %(others)s"
    return (counted or [{"username": username, "period_start": current, **NOTHING}]) + views.rows(
        connection, others, values
    )


def plan(connection: Connection, username: str, period: date) -> Row:
    """Return a user's plan, its quota and time zone, and the first day after a period (None: it does not end)."""
    (row,) = views.rows(connection, PLAN, {"name": username, "period": period})
    return row


def with_plan(connection: Connection, rows: list[Row]) -> list[Row]:
    """Return the rows of `user_usage` with the plan's columns. They are those of today, so only the first has them."""
    current, *others = rows
    found = plan(connection, current["username"], current["period_start"])
    # With what rolled over, further plans and top-ups. A user without a plan has no state.
    state = views.rows(connection, STATE, {"name": current["username"]}) or [
        dict.fromkeys(("quota_bytes", "status", "quota_seconds", "remaining_seconds"))
    ]
    found.update(state[0])
    quota = found["quota_bytes"]
    left = None if quota is None else int(quota - current["bytes_total"])
    nothing = dict.fromkeys((*found, "bytes_left"))
    return [{**current, **found, "bytes_left": left}, *({**row, **nothing} for row in others)]


def top_users(connection: Connection, month: date | None, most: int) -> tuple[date, list[Row]]:
    """Return a month, and the users with the most usage in the quota periods that began in it.

    None: this month, in the installation's time zone.

    Raises
    ------
    NotKnown
        The month is before the first quota period with usage, or after the last one and not this month.
    """
    (row,) = views.rows(connection, TODAY)
    this_month = row["today"].replace(day=1)
    asked = this_month if month is None else month.replace(day=1)
    found = views.rows(connection, TOP, {"first": asked, "most": most})
    if not found and asked != this_month:
        (months,) = views.rows(connection, MONTHS)
        first, last = months["first"], months["last"]
        if first is None:
            raise NotKnown(f"no quota period with usage began in {asked:%Y-%m}: none is counted yet")
        if not first <= asked <= last:
            raise NotKnown(
                f"no quota period with usage began in {asked:%Y-%m}: the first began in {first:%Y-%m}, the last in "
                f"{last:%Y-%m}"
            )
    return asked, found


def router_usage(connection: Connection, router: Router, days: int) -> list[Row]:
    """Return a router's latest days, today in its time zone first. Days without usage have zero bytes."""
    first = router.today - timedelta(days=days - 1)
    rows = views.rows(connection, ROUTER, {"router": router.id, "first": first})
    counted = {row["usage_date"]: row for row in rows}
    # If the router's clock is a little ahead at midnight, there is already a row for tomorrow.
    shown = {first + timedelta(days=day) for day in range(days)} | counted.keys()
    return [
        counted.get(day, {"router_id": router.id, "usage_date": day, **NOTHING})
        for day in sorted(shown, reverse=True)
    ]
