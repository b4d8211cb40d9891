"""What shippers found about their journals: gaps, damaged segments, restored databases."""

from datetime import datetime

from msgspec import Struct

from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Listing, Order, reader, rows
from radmeter.api.problems import not_found

INCIDENTS = """
SELECT incident.id, incident.kind, incident.node, incident.segment, incident.first_seq, incident.last_seq,
       incident.records, incident.from_at, incident.to_at, incident.found_at, incident.settled_at,
       incident.acknowledged_at, incident.acknowledged_by, incident.reason, incident.open
FROM radmeter.journal_incidents AS incident WHERE true"""


class IncidentItem(Struct, kw_only=True):
    """An incident. open: it has not ended by itself, and nobody has acknowledged it."""

    id: int
    kind: str
    node: str | None
    segment: str | None
    first_seq: int | None
    last_seq: int | None
    records: int | None
    from_at: datetime | None
    to_at: datetime | None
    found_at: datetime
    settled_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    reason: str | None
    open: bool


def incidents(*, open_only: bool | None = None) -> Listing[IncidentItem]:
    """Return the list of incidents, the newest first."""
    query = INCIDENTS
    if open_only is not None:
        query += f" AND {'' if open_only else 'NOT '}incident.open"
    return Listing(
        query=query, values={}, order=(Order("incident.id", "bigint"),), descending=True, item=IncidentItem
    )


async def incident(connection: ApiConnection, incident_id: int) -> IncidentItem:
    """Return an incident. Raises Problem if there is none."""
    found = await rows(connection, f"{INCIDENTS} AND incident.id = %(id)s", {"id": incident_id})
    if not found:
        raise not_found(f"there is no incident {incident_id}")
    return reader(IncidentItem)(found[0])
