"""What a user has used, by quota period."""

from datetime import date, datetime

from msgspec import Struct

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import exact, rows, several
from radmeter.api.problems import not_found
from radmeter.api.route import Bytes

# A tenant sees its own users only, so another tenant's is not known.
KNOWN = """
SELECT plan, quota_type, plan_bytes, timezone, period_start,
       radmeter.period_end(quota_type, anchor_day, period_start) AS period_end, is_subscriber
FROM (
    SELECT *, radmeter.period_start(quota_type, anchor_day, quota_start, today) AS period_start
    FROM (
        SELECT *, (now() AT TIME ZONE timezone)::date AS today
        FROM (
            SELECT plan.name AS plan, coalesce(plan.quota_type, 'monthly') AS quota_type,
                   plan.quota_bytes AS plan_bytes, subscriber.quota_start,
                   coalesce(plan.timezone, radmeter.setting_value('timezone')) AS timezone,
                   radmeter.anchor_day(plan.quota_type, plan.anchor_day, subscriber.quota_start) AS anchor_day,
                   subscriber.username IS NOT NULL AS is_subscriber
            FROM (VALUES (%(name)s::text)) AS asked (username)
            LEFT JOIN public.subscribers AS subscriber USING (username)
            LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
            OFFSET 0) AS asked
        OFFSET 0) AS dated
    OFFSET 0) AS period"""
COUNTED = """
SELECT period_start, bytes_in, bytes_out, bytes_in::numeric + bytes_out AS bytes_total, last_updated
FROM public.user_quota_usage WHERE username = %(name)s ORDER BY period_start DESC LIMIT %(most)s"""
STATE = """
SELECT quota_bytes, used_bytes, remaining_bytes, status
FROM radmeter.quota_state(ARRAY[%(name)s::text], now())"""
HAS_SESSION = "SELECT 1 FROM radmeter.sessions WHERE username = %(name)s LIMIT 1"


class Period(Struct, kw_only=True):
    """What a user has used in a quota period."""

    period_start: date
    bytes_in: Bytes
    bytes_out: Bytes
    bytes_total: Bytes
    last_updated: datetime | None


class UserUsage(Struct, kw_only=True):
    """What a user has used: in the current quota period, and in the latest ones that have any usage.

    quota_bytes, bytes_left and status are what the user may still use, with top-ups and what rolled over. They are null
    for users without a plan, and for tenants' keys.
    """

    username: str
    period_start: date
    period_end: date | None
    timezone: str
    bytes_in: Bytes
    bytes_out: Bytes
    bytes_total: Bytes
    last_updated: datetime | None
    plan: str | None
    quota_type: str
    quota_bytes: Bytes | None
    bytes_left: Bytes | None
    status: str | None
    items: list[Period]
    next: None = None


async def user_usage(connection: ApiConnection, name: str, periods: int, *, role: str) -> UserUsage:
    """Return what a user has used. Raises Problem if there is no such user.

    Parameters
    ----------
    periods
        How many periods at most, the latest first.
    role
        The caller's: an accountant may not look for sessions, and a tenant may not ask for the state of a quota.
    """
    values = {"name": name, "most": periods}
    questions = [(KNOWN, values), (COUNTED, values)]
    if role != "tenant":
        # Without a plan it has no rows.
        questions.append((STATE, values))
    (known,), counted, *states = await several(connection, *questions, last=True)
    has_rows = counted or known["is_subscriber"]
    # Who has only sessions without octets is a user, too.
    if not has_rows and (role in ("billing", "tenant") or not await rows(connection, HAS_SESSION, values)):
        raise not_found(f"there is no user {name!r}")
    items = [_period(row) for row in counted]
    current = next((each for each in items if each.period_start == known["period_start"]), None)
    if current is None:
        nothing = {"bytes_in": 0, "bytes_out": 0, "bytes_total": 0, "last_updated": None}
        current = _period({"period_start": known["period_start"], **nothing})
        items = sorted([current, *items], key=lambda each: each.period_start, reverse=True)[:periods]
    state = states[0][0] if states and states[0] else {}
    return UserUsage(
        username=name,
        period_start=current.period_start,
        period_end=known["period_end"],
        timezone=known["timezone"],
        bytes_in=current.bytes_in,
        bytes_out=current.bytes_out,
        bytes_total=current.bytes_total,
        last_updated=current.last_updated,
        plan=known["plan"],
        quota_type=known["quota_type"],
        quota_bytes=exact(state.get("quota_bytes")),
        bytes_left=exact(state.get("remaining_bytes")),
        status=state.get("status"),
        items=items,
    )


def _period(row: dict[str, object]) -> Period:
    octets = {name: exact(row[name]) for name in ("bytes_in", "bytes_out", "bytes_total")}
    return Period(period_start=row["period_start"], last_updated=row["last_updated"], **octets)  # type: ignore[arg-type] # a row is untyped
