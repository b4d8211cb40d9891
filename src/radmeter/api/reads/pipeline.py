"""How far packets have come: journals, lag, rejected packets, gaps, requests to routers."""

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Row, rows
from radmeter.usage import ingest_state

# How long the latest batch of each journal had waited. A journal from which nothing came lately has no lag. The metric
# radmeter_ship_lag_seconds is the same: a test compares both.
LAG = """
SELECT max(extract(epoch FROM updated_at - last_received_at))::float8 AS lag_seconds
FROM radmeter.nodes
WHERE updated_at > now() - interval '10 minutes' AND node <> 'retry' AND NOT starts_with(node, 'detail:')"""
REJECTED = """
SELECT reason, count(*) AS packets, max(received_at) AS last_at FROM public.rejected_packet
GROUP BY reason ORDER BY packets DESC, reason LIMIT 50"""
INCIDENTS = """
SELECT id, kind, node, detail, found_at FROM radmeter.journal_incidents
WHERE open ORDER BY found_at DESC, id DESC LIMIT 50"""


async def pipeline(connection: ApiConnection) -> Row:
    """Return the figures of the pipeline."""
    (rejected,) = await rows(connection, "SELECT count(*) AS packets FROM public.rejected_packet")
    (requests,) = await rows(connection, ingest_state.REQUESTS)
    (lag,) = await rows(connection, LAG)
    nodes = await rows(connection, ingest_state.NODES)
    return {
        "rejected_packets": rejected["packets"],
        "requests": requests,
        "lag_seconds": lag["lag_seconds"],
        # Of what was read again there is no journal.
        "nodes": [row for row in nodes if row["node"] != "retry" and not row["node"].startswith("detail:")],
        "incidents": await rows(connection, ingest_state.INCIDENTS),
    }


async def details(connection: ApiConnection) -> Row:
    """Return what was rejected, by reason, and the incidents that are open."""
    return {"rejected": await rows(connection, REJECTED), "incidents": await rows(connection, INCIDENTS)}
