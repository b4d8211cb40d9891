"""Compares the counters of users with what `radmeter explain` says they are made of."""

from typing import Any

from support.servers import Connection

UNEXPLAINED = """
SELECT usage.username, usage.period_start, usage.bytes_in, usage.bytes_out,
       coalesce(sum(part.bytes_in), 0), coalesce(sum(part.bytes_out), 0)
FROM public.user_quota_usage AS usage
LEFT JOIN LATERAL radmeter.user_parts(usage.username, usage.period_start) AS part ON true
GROUP BY usage.username, usage.period_start
HAVING (usage.bytes_in, usage.bytes_out)
    <> (coalesce(sum(part.bytes_in), 0), coalesce(sum(part.bytes_out), 0))"""


def unexplained(connection: Connection) -> list[Any]:
    """Return the counters that are not the sum of their parts."""
    return connection.execute(UNEXPLAINED.encode()).fetchall()
