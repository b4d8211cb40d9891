"""The stream's address: for programs with a key, and for pages with a login."""

import logging
from html import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from radmeter.api.access import Access
from radmeter.api.noc.app import Pages
from radmeter.api.noc.page import HEADERS
from radmeter.api.problems import MEDIA_TYPE, Problem
from radmeter.api.stream import Stream

log = logging.getLogger(__name__)

STREAM = "/api/v1/stream"
LONGEST_ID = 64


class Listened:
    """Finds out who listens, and answers with the stream."""

    def __init__(self, stream: Stream, access: Access, pages: Pages) -> None:
        self._stream = stream
        self._access = access
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            if request.method != "GET":
                raise Problem(405, "method-not-allowed", "this address takes GET", {"allow": "GET"})
            caller = None
            if "authorization" not in request.headers:
                caller = await self._pages.caller(request)
            if caller is None:
                caller = await self._access.caller(dict(request.headers), self._access.address(scope))
                self._access.refuse_beyond_rate(caller, self._access.rate(caller))
            scope.setdefault("state", {})["key"] = caller.name
            last_id = request.headers.get("last-event-id", "")[:LONGEST_ID]
            await self._stream(scope, receive, send, caller, last_id)
        except Problem as problem:
            headers = {"cache-control": "no-store", **problem.headers}
            await Response(problem.body(), problem.status, headers, MEDIA_TYPE)(scope, receive, send)


async def fault(request: Request, error: Exception) -> Response:
    """Return a page for when even the login cannot be checked: the database is away."""
    text = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Not now - radmeter</title>"
        f"<main><h1>Not now</h1><p>{escape(str(getattr(error, 'detail', '')))}</p>"
        "<p><a href=''>Try again</a></p></main></html>"
    )
    return Response(text, 503, {**HEADERS, "retry-after": "3"}, "text/html")
