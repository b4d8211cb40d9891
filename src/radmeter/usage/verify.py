"""Recomputes the counters from the sessions, in another way than the triggers do, and repairs them."""

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import StoreError

COUNTED_USERS = """
SELECT count(*) FROM public.user_quota_usage AS usage
LEFT JOIN public.subscribers AS subscriber USING (username)
LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
WHERE (%(usernames)s::text[] IS NULL OR username = ANY (%(usernames)s))
  AND (%(to)s::date IS NULL OR period_start <= %(to)s)
  AND (%(from)s::date IS NULL OR period_start >=
       radmeter.period_start(plan.quota_type, plan.anchor_day, subscriber.quota_start, %(from)s))"""
COUNTED_ROUTERS = """
SELECT count(*) FROM public.router_daily_usage
WHERE (%(router_ids)s::bigint[] IS NULL OR router_id = ANY (%(router_ids)s))
  AND (%(to)s::date IS NULL OR usage_date <= %(to)s) AND (%(from)s::date IS NULL OR usage_date >= %(from)s)"""
USER_DIFFERENCES = """
SELECT username, NULL::bigint, username, period_start, counted_in, recomputed_in, counted_out, recomputed_out, complete
FROM radmeter.user_differences(%(from)s, %(to)s, %(usernames)s)"""
ROUTER_DIFFERENCES = """
SELECT NULL, router_id, router.name, usage_date, counted_in, recomputed_in, counted_out, recomputed_out, complete
FROM radmeter.router_differences(%(from)s, %(to)s, %(router_ids)s) AS difference
LEFT JOIN public.routers AS router ON router.id = router_id"""

# For monitoring. The number comes first in the text.
MAY_NOTE = """
SELECT current_setting('transaction_read_only') = 'off'
   AND has_table_privilege('radmeter.job_result', 'INSERT') AND has_table_privilege('radmeter.job_result', 'UPDATE')"""
NOTE = """
INSERT INTO radmeter.job_result AS result (job, command, succeeded_at, failed_at, error)
SELECT 'verify', 'verify', CASE WHEN %(differ)s = 0 THEN clock_timestamp() END,
       CASE WHEN %(differ)s > 0 THEN clock_timestamp() END,
       CASE WHEN %(differ)s > 0 THEN %(differ)s || ' counters differ' END
ON CONFLICT (job) DO UPDATE SET succeeded_at = coalesce(excluded.succeeded_at, result.succeeded_at),
    failed_at = excluded.failed_at, error = excluded.error"""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which counters to check. None: all.

    With usernames only, no router counters are checked. With router ids only, no user counters are checked.
    """

    first_day: datetime.date | None = None
    last_day: datetime.date | None = None
    usernames: Sequence[str] | None = None
    router_ids: Sequence[int] | None = None

    @property
    def users(self) -> bool:
        """Whether user counters are checked."""
        return self.usernames is not None or self.router_ids is None

    @property
    def routers(self) -> bool:
        """Whether router counters are checked."""
        return self.router_ids is not None or self.usernames is None

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the queries."""
        return {
            "from": self.first_day,
            "to": self.last_day,
            "usernames": None if self.usernames is None else list(self.usernames),
            "router_ids": None if self.router_ids is None else list(self.router_ids),
        }


class Difference(NamedTuple):
    """A counter that differs from the sum of its sessions: a user's in a period, or a router's on a day. In bytes."""

    username: str | None
    router_id: int | None
    name: str
    day: datetime.date
    counted_in: int
    recomputed_in: int
    counted_out: int
    recomputed_out: int
    complete: bool  # False: retention dropped some of its sessions, and the difference proves nothing

    @property
    def key(self) -> tuple[str | None, int | None, datetime.date]:
        """The counter's unique key."""
        return self.username, self.router_id, self.day


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Read one state of the database in the whole block. Packets that are counted meanwhile are not seen."""
    with explained_errors("radmeter_reader"), connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def today(connection: Connection) -> datetime.date:
    """Return today's date in the installation's time zone."""
    with explained_errors("radmeter_reader"):
        row = connection.execute(
            "SELECT (now() AT TIME ZONE radmeter.setting_value('timezone'))::date"
        ).fetchone()
    assert row is not None
    day = row[0]
    assert isinstance(day, datetime.date)
    return day


def complete_from(connection: Connection) -> datetime.datetime | None:
    """Return the time from which on all sessions are kept; None if none was ever dropped."""
    with explained_errors("radmeter_reader"):
        row = connection.execute(
            "SELECT moment FROM radmeter.sessions_complete_from() AS moment WHERE isfinite(moment)"
        ).fetchone()
    return row[0] if row else None


def user_differences(connection: Connection, scope: Scope) -> tuple[int, list[Difference]]:
    """Return the number of user counters in the scope, and those that differ."""
    return _compare(connection, COUNTED_USERS, USER_DIFFERENCES, scope) if scope.users else (0, [])


def router_differences(connection: Connection, scope: Scope) -> tuple[int, list[Difference]]:
    """Return the number of router counters in the scope, and those that differ."""
    return _compare(connection, COUNTED_ROUTERS, ROUTER_DIFFERENCES, scope) if scope.routers else (0, [])


def repair(connection: Connection, differences: Sequence[Difference]) -> int:
    """Set the counters that differ to the sum of their sessions; return how many were set.

    This is one audited transaction. It holds the ingest lock, so ingest waits, and recomputes each counter under it.
    Counters that are not complete are not changed.
    """
    users = [each for each in differences if each.username is not None]
    routers = [each for each in differences if each.router_id is not None]
    with explained_errors("radmeter_noc"):
        row = connection.execute(
            "SELECT radmeter.repair_usage(%s::text[], %s::date[], %s::bigint[], %s::date[])",
            (
                [each.username for each in users],
                [each.day for each in users],
                [each.router_id for each in routers],
                [each.day for each in routers],
            ),
        ).fetchone()
    if row is None:
        raise StoreError("radmeter.repair_usage returned nothing")
    return int(row[0])


def still_different(connection: Connection, differences: Sequence[Difference]) -> list[Difference]:
    """Recompute the given differences, and return those that still exist, with their current values."""
    before = {each.key for each in differences}
    scope = Scope(
        usernames=sorted({each.username for each in differences if each.username is not None}),
        router_ids=sorted({each.router_id for each in differences if each.router_id is not None}),
    )
    with snapshot(connection):
        _, users = user_differences(connection, scope)
        _, routers = router_differences(connection, scope)
    return [each for each in (*users, *routers) if each.key in before]


def _compare(
    connection: Connection, counted: str, differences: str, scope: Scope
) -> tuple[int, list[Difference]]:
    row = connection.execute(counted.encode(), scope.values).fetchone()
    found = [Difference._make(each) for each in connection.execute(differences.encode(), scope.values)]
    return (row[0] if row else 0), found


def note(connection: Connection, differ: int) -> bool:
    """Note for monitoring how many counters differ now. Return whether the role may: it needs radmeter_owner."""
    with explained_errors("radmeter_owner"):
        if connection.execute(MAY_NOTE.encode()).fetchone() != (True,):
            return False
        connection.execute(NOTE.encode(), {"differ": differ})
    return True
