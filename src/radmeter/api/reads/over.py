"""Users at a limit, a tier or a warning."""

from collections.abc import Sequence

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.quotas.over import STATUSES

_STATES = """
SELECT username, plan, status, reason, percent::integer AS percent, quota_bytes, used_bytes, remaining_bytes,
       used_in AS used_bytes_in, used_out AS used_bytes_out, quota_in AS quota_bytes_in, quota_out AS quota_bytes_out,
       quota_seconds, used_seconds, remaining_seconds, period_start, period_end, timezone,
       radmeter.open_sessions(username) AS open_sessions
FROM radmeter.quota_state(%(names)s::text[], now())"""
_NAMES = """
SELECT username FROM radmeter.quota_account WHERE status = %(status)s AND username > %(after)s
ORDER BY username LIMIT %(most)s"""
# Some accounts have another status by now: they are left out, and others are read instead, so often at most.
MOST_READINGS = 5


async def users_over(
    connection: ApiConnection,
    *,
    status: str | None = None,
    after: Sequence[str | None] | None = None,
    limit: int = 50,
) -> tuple[list[Row], list[str | None] | None]:
    """Return users, the most severe status first, and the key to go on after; None: there are no more.

    An account has the status that was found last; what it is now is computed for those that are shown.
    """
    asked = [status] if status is not None else list(STATUSES)
    first, last_name = (after[0] or asked[0], after[1] or "") if after is not None else (asked[0], "")
    found: list[Row] = []
    for each in asked[asked.index(first) if first in asked else 0 :]:
        for _ in range(MOST_READINGS):
            most = limit + 1 - len(found)
            named = await rows(connection, _NAMES, {"status": each, "after": last_name, "most": most})
            names = [row["username"] for row in named]
            if names:
                states = {row["username"]: row for row in await rows(connection, _STATES, {"names": names})}
                found += [{**states[name], "listed": each} for name in names if _is_over(states.get(name))]
                last_name = names[-1]
            if len(found) > limit:
                key = found[limit - 1]
                return found[:limit], [key["listed"], key["username"]]
            if len(names) < most:
                break
        last_name = ""
    return found, None


async def user_state(connection: ApiConnection, username: str) -> Row | None:
    """Return what a subscriber may use and has used; None: no subscriber has the name."""
    found = await rows(connection, _STATES, {"names": [username]})
    return found[0] if found else None


def _is_over(row: Row | None) -> bool:
    # Not the pseudonyms of erased people (radmeter.is_pseudonym).
    return (
        row is not None
        and row["status"] != "active"
        and not (row["username"].startswith("erased-") and len(row["username"]) == 39)
    )
