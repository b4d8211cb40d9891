"""Requests to routers."""

from datetime import datetime

from msgspec import Struct

from radmeter.api.listing import Listing, Order

QUEUE = """
SELECT request.id, request.username, session.acctsessionid AS session_id, request.radacctid AS session,
       session.router_id, router.name AS router, request.act, request.reason, request.state, request.attempts,
       request.error_cause, request.error, request.requested_by, request.created_at, request.next_try_at,
       request.sent_at, request.answered_at, request.ended_at
FROM radmeter.disconnect_queue AS request
LEFT JOIN public.radacct AS session ON session.radacctid = request.radacctid
LEFT JOIN public.routers AS router ON router.id = session.router_id
WHERE true"""


class QueueItem(Struct, kw_only=True):
    """A request to a router (RFC 5176). act: disconnect or coa. error_cause is the router's Error-Cause."""

    id: int
    username: str
    session: int
    session_id: str | None
    router_id: int | None
    router: str | None
    act: str
    reason: str
    state: str
    attempts: int
    error_cause: int | None
    error: str | None
    requested_by: str | None
    created_at: datetime
    next_try_at: datetime | None
    sent_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None


def queue(*, username: str | None = None, state: str | None = None) -> Listing[QueueItem]:
    """Return the list of requests, the newest first."""
    query = QUEUE
    if username is not None:
        query += " AND request.username = %(username)s"
    if state is not None:
        query += " AND request.state = %(state)s"
    return Listing(
        query=query,
        values={"username": username, "state": state},
        order=(Order("request.id", "bigint"),),
        descending=True,
        item=QueueItem,
    )
