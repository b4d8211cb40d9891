"""Reads how far each journal is ingested, and the totals over all."""

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.ingest.incidents import SHOWN

NODES = """
SELECT node, last_seq, records, rejected, last_received_at, updated_at, role, ignored,
       clock_timestamp() AS read_at
FROM radmeter.nodes ORDER BY node"""
DISCOVERY_LIMITS = """
SELECT client, router_id, router_name, beyond_from, beyond_until, keys FROM radmeter.discovery_limits
WHERE beyond_until > now() - interval '1 day' ORDER BY beyond_until DESC, client"""
TOTALS = """
SELECT open_sessions, rejected_packets, discovered_routers, rejected_bytes, anomalies, anomaly_bytes, left_out_today,
       ignored_packets, personal_cleared_at
FROM radmeter.totals"""
INCIDENTS = f"""
SELECT kind, count(*) AS incidents FROM radmeter.journal_incidents
WHERE {SHOWN} AND settled_at IS NULL GROUP BY kind ORDER BY kind"""  # noqa: S608  # a constant
# Failed ones only of a day, by an index.
REQUESTS = """
SELECT under_way.requests AS under_way, under_way.oldest_seconds,
       (SELECT count(*) FROM radmeter.disconnect_queue
        WHERE ended_at > now() - interval '1 day' AND state = 'failed') AS failed_today,
       (SELECT count(*) FROM radmeter.router_coa_state WHERE silent_since IS NOT NULL) AS silent_routers
FROM (SELECT count(*) AS requests, extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds
      FROM radmeter.disconnect_queue WHERE ended_at IS NULL) AS under_way"""
JOB_RESULT = "SELECT succeeded_at, failed_at, error FROM radmeter.job_result WHERE job = %(job)s"


def nodes(connection: Connection) -> list[Row]:
    """Return how far each node's journal is ingested, and the time of this reading (`read_at`)."""
    return views.rows(connection, NODES)


def discovery_limits(connection: Connection) -> list[Row]:
    """Return the RADIUS clients that reached the limit of discoveries within a day, the latest first."""
    return views.rows(connection, DISCOVERY_LIMITS)


def totals(connection: Connection) -> Row:
    """Return the numbers of open sessions, rejected packets and discovered routers."""
    (row,) = views.rows(connection, TOTALS)
    return row


def incidents(connection: Connection) -> list[Row]:
    """Return how many incidents of each kind wait for somebody."""
    return views.rows(connection, INCIDENTS)


def requests(connection: Connection) -> Row:
    """Return how many requests to routers are under way or failed within a day, and how many routers are silent."""
    (row,) = views.rows(connection, REQUESTS)
    return row


def job_result(connection: Connection, job: str) -> Row | None:
    """Return when a job succeeded and failed last; None: it is off, or has not run yet."""
    found = views.rows(connection, JOB_RESULT, {"job": job})
    return found[0] if found else None
