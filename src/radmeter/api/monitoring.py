"""/metrics and /readyz: what monitoring asks.

On this machine no key is needed. From elsewhere, also through a proxy, metrics are for keys of the roles reader and
noc.
"""

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from radmeter.api.access import Access
from radmeter.api.problems import MEDIA_TYPE, Problem
from radmeter.config import Settings
from radmeter.metrics import health
from radmeter.metrics.exposition import Exposition
from radmeter.metrics.figures import Figures, Source
from radmeter.metrics.journal_figures import is_for_others

# The login of the server has the rights of this role, and only if it takes it.
ROLE = "radmeter_reader"
ALLOWED = frozenset({"reader", "noc"})
# What a proxy adds to a request.
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
NOT_KEPT = {"cache-control": "no-store"}


class Monitoring:
    """The routes, and the figures that they show, also to others. `dsn` is the database to read from."""

    def __init__(self, settings: Settings, access: Access, dsn: str) -> None:
        self._access = access
        # What waits in a journal that this user may not read is in that host's own metrics, and no fault of the server.
        journal = None if is_for_others(settings.journal) else settings.journal
        self._source = Source(dsn, journal=journal, routers=settings.metrics_routers, role=ROLE, backups=True)
        self._exposition = Exposition(self._source.read)
        self._reading: asyncio.Task[Figures] | None = None

    def figures(self) -> Figures:
        """Return the figures of now, or of a moment ago. To be called in a thread."""
        return self._source.read()

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [Route("/metrics", self._metrics), Route("/readyz", self._ready)]

    async def close(self) -> None:
        """Close the connection."""
        await asyncio.to_thread(self._source.close)

    async def _metrics(self, request: Request) -> Response:
        try:
            await self._check(request)
        except Problem as problem:
            return Response(problem.body(), problem.status, {**problem.headers, **NOT_KEPT}, MEDIA_TYPE)
        await self._figures()
        text, content_type = await asyncio.to_thread(self._exposition, request.headers.get("accept", ""))
        return Response(text, headers={**NOT_KEPT, "content-type": content_type})

    async def _ready(self, request: Request) -> Response:
        """Say whether packets are counted, and in time. What is wrong in words is for this machine."""
        faults = health.faults(await self._figures())
        body: dict[str, Any] = {"ready": not faults, "faults": sorted({fault.about for fault in faults})}
        if is_local(request.headers, self._access.address(request.scope)):
            body["details"] = [fault.text for fault in faults]
        return JSONResponse(body, 503 if faults else 200, NOT_KEPT)

    async def _figures(self) -> Figures:
        """Read the figures. Whoever asks meanwhile waits for the same: no key is needed here, and threads are few."""
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(self._source.read))
            self._reading.add_done_callback(self._was_read)
        return await asyncio.shield(self._reading)

    def _was_read(self, _: object) -> None:
        self._reading = None

    async def _check(self, request: Request) -> None:
        """Check that the caller may read metrics. Raises Problem."""
        address = self._access.address(request.scope)
        if is_local(request.headers, address):
            return
        caller = await self._access.caller(request.headers, address)
        request.state.key = caller.name
        self._access.refuse_beyond_rate(caller, self._access.rate(caller))
        if caller.role not in ALLOWED:
            raise Problem(403, "forbidden", "metrics are for keys of the roles reader and noc")


def is_local(headers: Mapping[str, str], address: str) -> bool:
    """Return whether a program of this machine asks, and not a proxy for somebody else."""
    if any(name in headers for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
