"""A request that fails again and again is made less and less often, for as long as the session is open."""

import pytest
from support.quotas import MB, apply_due, give_plan, queue, use
from support.servers import Connection

# How often it failed, how long ago in minutes, and whether it is made again now.
PAUSES = [
    (1, 4, False),
    (1, 6, True),
    (2, 9, False),
    (2, 11, True),
    (5, 79, False),
    (5, 81, True),
    (60, 1439, False),
    (60, 1441, True),
]


def failed(connection: Connection, times: int, minutes: int) -> None:
    """Let the only request have failed so often, the last time so long ago."""
    connection.execute(
        """WITH removed AS (DELETE FROM radmeter.disconnect_queue RETURNING *)
           INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, state, ended_at)
           SELECT radacctid, username, act, reason, 'failed', now() - (%s + number * 60) * interval '1 minute'
           FROM removed, generate_series(%s, 0, -1) AS number""",
        (minutes, times - 1),
    )


@pytest.mark.parametrize(("times", "minutes", "again"), PAUSES)
def test_a_user_who_stays_is_disconnected_less_and_less_often(
    database: str, connection: Connection, times: int, minutes: int, again: bool
) -> None:
    give_plan(connection)
    use(database, 11 * MB)
    failed(connection, times, minutes)
    use(database, 12 * MB)
    assert [row[4] for row in queue(connection)] == ["failed"] * times + ["waiting"] * again


@pytest.mark.parametrize(("times", "minutes", "again"), PAUSES)
def test_a_speed_that_is_refused_is_sent_less_and_less_often(
    database: str, connection: Connection, times: int, minutes: int, again: bool
) -> None:
    plan = give_plan(connection)
    use(database, 1 * MB)
    connection.execute("INSERT INTO plan_tiers VALUES (%s, %s, 1000000, 1000000)", (plan, 2 * MB))
    apply_due(connection)
    use(database, 3 * MB)
    assert [row[2:] for row in queue(connection)] == [("coa", "throttled", "waiting")]
    failed(connection, times, minutes)
    connection.execute("UPDATE radmeter.quota_account SET due_at = now()")
    apply_due(connection)
    assert [row[4] for row in queue(connection)] == ["failed"] * times + ["waiting"] * again
