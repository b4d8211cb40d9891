"""What programs ask beside the API: /metrics for Prometheus, /readyz for load balancers."""

import asyncio
import ipaddress

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from radmeter.api.access import Access
from radmeter.api.problems import MEDIA_TYPE, Problem
from radmeter.config import Settings
from radmeter.metrics.figures import Source
from radmeter.metrics.health import faults
from radmeter.metrics.prometheus import Exposition

PLAIN = {"cache-control": "no-store"}


class Scraped:
    """Gives the figures. One connection of its own reads them, at most every five seconds.

    Who asks from this machine needs no key. Through a proxy that is trusted, the address is that of the proxy's client.
    """

    def __init__(self, settings: Settings, dsn: str, access: Access) -> None:
        self._access = access
        self._source = Source(
            dsn,
            journal=settings.journal,
            routers=settings.metrics_routers,
            role="radmeter_reader",
            backups=True,
        )
        self._exposition = Exposition(self._source.read)

    async def close(self) -> None:
        """Close the connection."""
        await asyncio.to_thread(self._source.close)

    async def metrics(self, request: Request) -> Response:
        """Answer with the metrics. A database that is away is a metric, too."""
        try:
            await self._allowed(request)
            text, content_type = await asyncio.to_thread(self._exposition, request.headers.get("accept", ""))
        except Problem as problem:
            return Response(problem.body(), problem.status, {**PLAIN, **problem.headers}, MEDIA_TYPE)
        return Response(text, headers={"content-type": content_type, **PLAIN})

    async def ready(self, request: Request) -> Response:
        """Answer 200 if database, journal and lag are well, else 503. Who may see metrics is told what is wrong."""
        found = faults(await asyncio.to_thread(self._source.read))
        told: object = {"ready": not found}
        try:
            await self._allowed(request)
            told = {"ready": not found, "faults": [each._asdict() for each in found]}
        except Problem:
            pass
        return Response(msgspec.json.encode(told), 503 if found else 200, PLAIN, "application/json")

    async def _allowed(self, request: Request) -> None:
        """Raise Problem unless the caller is on this machine, or has a key of the operator's."""
        address = self._access.address(request.scope)
        try:
            if ipaddress.ip_address(address).is_loopback and "authorization" not in request.headers:
                return
        except ValueError:  # a socket without an address
            pass
        caller = await self._access.caller(dict(request.headers), address)
        request.scope.setdefault("state", {})["key"] = caller.name
        if caller.role == "tenant":
            raise Problem(
                403, "forbidden", "keys of tenants see no metrics: the operator has one of the role reader"
            )
        decision = self._access.rate(caller)
        if not decision.allowed:
            raise Problem(
                429,
                "too-many-requests",
                "this key may not ask so often",
                {"retry-after": str(max(1, decision.seconds))},
            )
