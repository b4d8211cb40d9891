"""An operator's bulk INSERT: its time grows with its rows, and no function runs for each row."""

from pathlib import Path

from support.servers import Connection

ROWS = 4_000
MONTHS = 5
# Each is looked at once, since the counter is new: its period and the one before are computed.
SUBSCRIBERS = 500
PLANS = """
INSERT INTO public.plans (name, quota_type, anchor_day, timezone) VALUES ('weekly', 'weekly', 3, 'Pacific/Auckland');
INSERT INTO public.subscribers (username, plan_id) SELECT 'user' || number, plans.id
FROM public.plans, generate_series(0, 999, 2) AS number;
INSERT INTO public.routers (name, timezone)
SELECT 'site' || number, 'America/Lima' FROM generate_series(1, 50) AS number
"""
BULK = """
INSERT INTO public.radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                            acctstoptime, acctinputoctets, acctoutputoctets, router_id)
SELECT number, number, 'user' || number %% 1000, '192.0.2.1', at - interval '1 hour', at, at, number, 2 * number,
       (SELECT min(id) FROM public.routers) + number %% 50
FROM (SELECT number, timestamptz '2026-01-03 00:30Z' + number %% 145 * interval '1 day' AS at
      FROM generate_series(1, %s) AS number) AS history
"""
# As radmeter.usage_date and radmeter.user_period_start say it.
COUNTERS = """
SELECT 'user', username, radmeter.user_period_start(username, acctupdatetime)::text, sum(acctinputoctets)
FROM public.radacct GROUP BY 2, 3
UNION ALL
SELECT 'router', router_id::text, radmeter.usage_date(router_id, acctupdatetime)::text, sum(acctinputoctets)
FROM public.radacct GROUP BY 2, 3
ORDER BY 1, 2, 3"""
COUNTED = """
SELECT 'user', username, period_start::text, bytes_in FROM public.user_quota_usage
UNION ALL SELECT 'router', router_id::text, usage_date::text, bytes_in FROM public.router_daily_usage
ORDER BY 1, 2, 3"""


def cpu_seconds(connection: Connection) -> float:
    """Return how long the server's process has worked for a connection. A busy machine does not change it."""
    fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def seconds_of_insert(connection: Connection, rows: int) -> float:
    """Insert rows and roll back. Return the processor time, the least of three tries."""
    taken = []
    for _ in range(3):
        with connection.transaction(force_rollback=True):
            began = cpu_seconds(connection)
            connection.execute(BULK.encode(), (rows,))
            taken.append(cpu_seconds(connection) - began)
    return min(taken)


def test_a_bulk_insert_over_several_months(connection: Connection) -> None:
    connection.execute(PLANS)
    for month in range(MONTHS):
        connection.execute(
            "SELECT radmeter.ensure_partition(timestamptz '2026-01-15Z' + %s * interval '1 month')", (month,)
        )
    # The plan of the session's first statement is kept, so the first one is small.
    seconds_of_insert(connection, 3)
    once, twice = seconds_of_insert(connection, ROWS), seconds_of_insert(connection, 2 * ROWS)
    assert twice < 3.5 * once, (once, twice)

    connection.execute("SET track_functions = 'all'")
    with connection.transaction():
        connection.execute(BULK.encode(), (ROWS,))
        called = connection.execute(
            "SELECT funcname, calls FROM pg_stat_xact_user_functions WHERE calls > %s ORDER BY 1",
            (2 * SUBSCRIBERS,),
        ).fetchall()
    assert called == []
    connection.execute("SET track_functions = 'none'")
    assert connection.execute(COUNTED).fetchall() == connection.execute(COUNTERS).fetchall()
