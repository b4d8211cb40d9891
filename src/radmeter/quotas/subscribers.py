"""Adds, changes and finds subscribers, through SQL functions."""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row
from radmeter.quotas.calls import call
from radmeter.quotas.passwords import Stored

# Users whose state is asked for at once.
PAGE = 1000
HOW_TO_FIND = "`radmeter users list` lists them"
STATE = """
SELECT subscriber.username, state.plan,
       ARRAY(SELECT plan.name
             FROM public.subscriber_plans AS further JOIN public.plans AS plan ON plan.id = further.plan_id
             WHERE further.username = subscriber.username ORDER BY plan.name) AS also,
       state.status, state.reason, state.percent, state.quota_type, state.timezone, state.period_start,
       state.period_end, state.period_ends_at, state.quota_bytes, state.used_bytes, state.remaining_bytes,
       state.used_in AS used_bytes_in, state.used_out AS used_bytes_out,
       state.quota_in AS quota_bytes_in, state.quota_out AS quota_bytes_out,
       state.remaining_in AS remaining_bytes_in, state.remaining_out AS remaining_bytes_out, state.quota_seconds,
       state.used_seconds, state.remaining_seconds, state.top_up_bytes, state.carried_bytes, state.speed_down,
       state.speed_up, state.max_sessions, state.session_timeout, state.idle_timeout, subscriber.first_used_at,
       state.expires_at, subscriber.suspended_at,
       (SELECT tenant.name FROM radmeter.tenants AS tenant WHERE tenant.id = subscriber.tenant_id) AS tenant,
       state.unbooked_before::numeric + state.unbooked AS unbooked
FROM radmeter.quota_state(%(names)s, now()) AS state JOIN public.subscribers AS subscriber USING (username)
ORDER BY subscriber.username"""
# Without pseudonyms (radmeter.is_pseudonym): an erased person has a plan only so that the usage stays in its periods.
NAMES = """
SELECT username FROM public.subscribers
WHERE username > %(after)s AND NOT (starts_with(username, 'erased-') AND length(username) = 39)
  AND (%(plan)s::bigint IS NULL OR plan_id = %(plan)s
       OR username IN (SELECT username FROM public.subscriber_plans WHERE plan_id = %(plan)s))
  AND (%(status)s::text IS NULL OR %(status)s = 'active' OR username IN (
           -- Others are active: an account has the status that was found last (quotas/over.py).
           SELECT username FROM radmeter.quota_account WHERE status <> 'active' AND username > %(after)s
           UNION ALL
           SELECT username FROM radmeter.quota_account WHERE due_at <= now() AND username > %(after)s
           UNION ALL
           SELECT username FROM radmeter.quota_change WHERE username > %(after)s))
ORDER BY username"""
TOP_UPS = """
SELECT top_up.id, top_up.bytes, top_up.used_bytes, top_up.price, top_up.added_at, top_up.expires_at, top_up.added_by,
       top_up.note,
       top_up.expires_at <= now() AS expired,
       top_up.expires_at <= coalesce(account.settled_at, '-infinity') AS settled
FROM public.top_ups AS top_up LEFT JOIN radmeter.quota_account AS account USING (username)
WHERE username = %(name)s ORDER BY top_up.expires_at NULLS LAST, NOT top_up.renewal, top_up.id"""
SESSIONS = """
SELECT radacctid AS id, router_name AS router, acctsessionid AS session_id, acctstarttime AS started_at,
       acctupdatetime AS updated_at, bytes_in, bytes_out, callingstationid AS calling_station,
       host(framedipaddress) AS framed_ip
FROM radmeter.sessions WHERE username = %(name)s AND acctstoptime IS NULL ORDER BY radacctid"""
KNOWN = """
SELECT EXISTS (SELECT FROM radmeter.user_usage WHERE username = %(name)s) AS used"""
MAY_READ_SESSIONS = "SELECT has_table_privilege('radmeter.sessions', 'SELECT') AS may"


class Outcome(NamedTuple):
    """The result of one line of a list of users: added, changed, unchanged, or refused for a reason."""

    line: int
    outcome: str
    reason: str | None


def add(
    connection: Connection, username: str, plan: str, also: Sequence[str], password: Stored | None
) -> None:
    """Give a user a plan. Raises StoreError if the user has one, or there is no such plan."""
    attribute, value = password or (None, None)
    call(
        connection,
        "SELECT radmeter.add_subscriber(%(name)s, %(plan)s, %(also)s, %(attribute)s, %(password)s)",
        {"name": username, "plan": plan, "also": list(also), "attribute": attribute, "password": value},
    )


def assign(
    connection: Connection,
    username: str,
    plan: str | None,
    also: Sequence[str],
    without: Sequence[str],
    *,
    renew: bool,
) -> bool:
    """Change a user's plans, and return whether anything changed."""
    ((changed,),) = call(
        connection,
        "SELECT radmeter.assign_plan(%(name)s, %(plan)s, %(also)s, %(without)s, %(renew)s)",
        {"name": username, "plan": plan, "also": list(also), "without": list(without), "renew": renew},
    )
    return bool(changed)


def set_anchor(connection: Connection, username: str, day: int | None) -> bool:
    """Have a user's periods begin on a day of the month or week; None: today's. Return whether anything changed.

    Raises
    ------
    StoreError
        The periods of the plan begin on the same day for all users.
    """
    ((changed,),) = call(
        connection, "SELECT radmeter.set_anchor(%(name)s, %(day)s)", {"name": username, "day": day}
    )
    return bool(changed)


def top_up(
    connection: Connection,
    username: str,
    octets: int,
    *,
    last_day: date | None,
    valid_seconds: int | None,
    note: str | None,
) -> tuple[int, datetime | None]:
    """Give a user octets beyond the quota. Return the top-up's id, and when it expires."""
    ((top_up_id, expires_at),) = call(
        connection,
        "SELECT id, expires_at FROM radmeter.top_up(%(name)s, %(bytes)s, %(day)s, %(valid)s, %(note)s)",
        {"name": username, "bytes": octets, "day": last_day, "valid": valid_seconds, "note": note},
    )
    return top_up_id, expires_at


def set_price(connection: Connection, top_up_id: int, price: str) -> None:
    """Say what a user pays for a top-up that was just added, without tax."""
    call(connection, "SELECT radmeter.price_top_up(%(id)s, %(price)s)", {"id": top_up_id, "price": price})


def set_tenant(connection: Connection, username: str, tenant: str | None) -> bool:
    """Say whose user somebody is, by name or number; None: the operator's own. Return whether anything changed."""
    ((changed,),) = call(
        connection,
        "SELECT radmeter.set_subscriber_tenant(%(name)s, %(tenant)s)",
        {"name": username, "tenant": tenant},
    )
    return bool(changed)


def undo_top_up(connection: Connection, top_up_id: int, username: str | None) -> tuple[str, int]:
    """Take back what is unused of a top-up, of a user if one is given. Return whose it was, and how many octets."""
    ((owner, octets),) = call(
        connection,
        "SELECT username, taken_back FROM radmeter.undo_top_up(%(id)s, %(name)s)",
        {"id": top_up_id, "name": username},
    )
    return owner, octets


class Removed(NamedTuple):
    """What a user who was removed leaves: top-ups that were not used up, open sessions, a password in radcheck."""

    unused_top_ups: int
    open_sessions: int
    radcheck_fault: str | None
    """Why nothing was removed from radcheck; None: the password there is removed."""


def remove(connection: Connection, username: str) -> Removed:
    """Take all plans, top-ups and the password from a user. What the user used stays."""
    (row,) = call(
        connection,
        "SELECT unused_top_ups, open_sessions, radcheck_fault FROM radmeter.remove_subscriber(%(name)s)",
        {"name": username},
    )
    return Removed(*row)


def suspend(connection: Connection, username: str, *, resume: bool) -> bool:
    """Let a user in no more, or with `resume` again; return whether anything changed."""
    ((changed,),) = call(
        connection,
        "SELECT radmeter.suspend_subscriber(%(name)s, %(resume)s)",
        {"name": username, "resume": resume},
    )
    return bool(changed)


def set_password(connection: Connection, username: str, password: Stored) -> None:
    """Give a user another password in radcheck."""
    call(
        connection,
        "SELECT radmeter.set_password(%(name)s, %(attribute)s, %(value)s)",
        {"name": username, "attribute": password.attribute, "value": password.value},
    )


def import_lines(connection: Connection, lines: Sequence[dict[str, Any]], *, dry_run: bool) -> list[Outcome]:
    """Import lines of a list of users in one transaction. With `dry_run`, only return what would be done."""
    rows = call(
        connection,
        "SELECT line, outcome, reason FROM radmeter.import_subscribers(%(lines)s)",
        {"lines": json.dumps(lines, ensure_ascii=False)},
        undo=dry_run,
    )
    return [Outcome(*row) for row in rows]


def check(connection: Connection, username: str) -> None:
    """Check that a user has a plan. Raises NotKnown if not."""
    if not views.rows(
        connection, "SELECT FROM public.subscribers WHERE username = %(name)s", {"name": username}
    ):
        raise NotKnown(
            f"there is no user {username!r} with a plan: {HOW_TO_FIND}, `radmeter users add` gives a plan"
        )


def find(connection: Connection, username: str) -> Row:
    """Return a user's plan, limits, usage and status, the top-ups and the open sessions.

    `sessions` is None if the role may not read sessions.

    Raises
    ------
    NotKnown
        No user with a plan has exactly this name.
    """
    found = views.rows(connection, STATE, {"names": [username]})
    if not found:
        if views.rows(connection, KNOWN, {"name": username})[0]["used"]:
            raise NotKnown(
                f"the user {username!r} has usage and no plan: `radmeter usage user` shows it, `radmeter users add` "
                "gives a plan"
            )
        raise NotKnown(f"there is no user {username!r}, written exactly so: {HOW_TO_FIND}")
    row = found[0]
    row["top_ups"] = _with_unbooked(views.rows(connection, TOP_UPS, {"name": username}), row.pop("unbooked"))
    (may,) = views.rows(connection, MAY_READ_SESSIONS)
    row["sessions"] = views.rows(connection, SESSIONS, {"name": username}) if may["may"] else None
    return row


def _with_unbooked(top_ups: list[Row], unbooked: int) -> list[Row]:
    """Return top-ups with what is used and not booked yet, in the order of radmeter.apply_quotas."""
    for row in top_ups:
        settled = row.pop("settled")
        taken = 0 if settled else min(row["bytes"] - row["used_bytes"], unbooked)
        unbooked -= taken
        row["used_bytes"] += taken
        row["remaining_bytes"] = 0 if row["expired"] else row["bytes"] - row["used_bytes"]
    return top_ups


def list_users(
    connection: Connection, *, plan_id: int | None, status: str | None, after: str, limit: int
) -> Iterator[Row]:
    """Yield users in the order of their names, at most `limit`, with a plan and a status if given. Flat in memory."""
    left = limit
    while left > 0:
        page = views.rows(
            connection,
            f"{NAMES} LIMIT {PAGE if status else min(PAGE, left)}",
            {"after": after, "plan": plan_id, "status": status},
        )
        if not page:
            return
        after = page[-1]["username"]
        for row in views.rows(connection, STATE, {"names": [each["username"] for each in page]}):
            row.pop("unbooked")
            if status in (None, row["status"]) and left > 0:
                left -= 1
                yield row
