"""Users who have come to a limit, a tier or a warning, as of now."""

from collections.abc import Collection, Iterator

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row

# From the most to the least severe.
STATUSES = ("suspended", "expired", "over", "throttled", "warned")
BATCH = 1000
# An account has the status that was found last. Without usage it changes only at due_at, or by a change that is noted.
_NAMES = """
SELECT username FROM radmeter.quota_account WHERE status <> 'active' AND username > %(after)s
UNION
SELECT username FROM radmeter.quota_account WHERE due_at <= now() AND username > %(after)s
UNION
SELECT username FROM radmeter.quota_change WHERE username > %(after)s
UNION
(SELECT username FROM public.subscribers
 WHERE username > %(after)s AND EXISTS (SELECT FROM radmeter.quota_change WHERE everybody)
 ORDER BY username LIMIT %(most)s)
ORDER BY username LIMIT %(most)s"""
_STATES = """
SELECT username, plan, status, reason, percent::integer AS percent, quota_bytes, used_bytes, remaining_bytes,
       used_in AS used_bytes_in, used_out AS used_bytes_out, quota_in AS quota_bytes_in, quota_out AS quota_bytes_out,
       quota_seconds, used_seconds, remaining_seconds, speed_down, speed_up, period_start, period_end, expires_at,
       timezone, radmeter.open_sessions(username) AS open_sessions
FROM radmeter.quota_state(%(names)s, now())
-- Not the pseudonyms of erased people (radmeter.is_pseudonym).
WHERE status = ANY (%(statuses)s) AND NOT (starts_with(username, 'erased-') AND length(username) = 39)
ORDER BY username"""


def over(connection: Connection, statuses: Collection[str] = STATUSES) -> Iterator[Row]:
    """Yield the users whose status is one of those given, in the order of their names, read a thousand at a time."""
    after = ""
    while True:
        names = [row["username"] for row in views.rows(connection, _NAMES, {"after": after, "most": BATCH})]
        if not names:
            return
        yield from views.rows(connection, _STATES, {"names": names, "statuses": list(statuses)})
        after = names[-1]
