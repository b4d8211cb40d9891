"""Requests to routers."""

from typing import Literal

from radmeter.api.listing import Listing
from radmeter.api.reads import queue as read
from radmeter.api.reads.queue import QueueItem
from radmeter.api.route import OPERATORS, Call, ListQuery, Route, Text


class QueueQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which requests."""

    username: Text | None = None
    state: Literal["waiting", "sent", "acknowledged", "done", "failed", "dropped"] | None = None


async def listed(call: Call) -> Listing[QueueItem]:
    """Answer with requests."""
    return read.queue(username=call.query.username, state=call.query.state)


ROUTES = (
    Route(
        method="GET",
        path="/queue",
        handler=listed,
        roles=OPERATORS,
        query=QueueQuery,
        reply=QueueItem,
        is_list=True,
        summary="Requests to routers, the newest first",
    ),
)
