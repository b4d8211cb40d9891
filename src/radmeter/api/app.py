"""The application of `radmeter serve`: the API, what tells its health, and, where they are there, metrics and pages."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from radmeter.api import openapi
from radmeter.api.access import Access
from radmeter.api.cursors import Cursors
from radmeter.api.dispatch import Api
from radmeter.api.hub import Hub
from radmeter.api.incoming import PREFIX
from radmeter.api.middleware import Around
from radmeter.api.monitoring import Monitoring
from radmeter.api.noc.app import Pages, Refused
from radmeter.api.noc.examining import Examiner
from radmeter.api.noc.listened import STREAM, Listened, fault
from radmeter.api.pools import Pools
from radmeter.api.problems import MEDIA_TYPE, Problem, not_found
from radmeter.api.routes import all_routes
from radmeter.api.stream import Stream
from radmeter.config import Settings
from radmeter.keys.signing_key import signing_key


def make_app(settings: Settings, dsn: str) -> Starlette:
    """Return the application.

    Parameters
    ----------
    dsn
        The database to write to, and to read from if `settings.read_dsn` names no standby.

    Raises
    ------
    ConfigurationError
        The key that signs cursors cannot be read or made.
    """
    key = signing_key(settings.http_key_file)
    pools = Pools(dsn, settings.read_dsn, settings.http_pool)
    access = Access(pools, settings.http_proxies, time.monotonic)
    monitoring = Monitoring(settings, access, settings.read_dsn or dsn)
    routes = all_routes()
    hub = Hub(pools)
    examiner = Examiner(settings, dsn)
    read_dsn = settings.read_dsn or dsn
    pages = Pages(settings, pools, access, hub, examiner, key, read_dsn, monitoring.figures)
    stream = Stream(hub, pages.logins.again)
    documents = {"openapi.json": msgspec.json.encode(openapi.document(routes))}
    api = Api(settings, pools, access, Cursors(key), routes, documents)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await pools.open()
        hub.start()
        try:
            yield
        finally:
            stream.end()
            await hub.close()
            await examiner.close()
            await asyncio.shield(pools.close())
            await asyncio.shield(monitoring.close())

    listened = Listened(stream, access, pages)
    routes_of_app = [
        Route("/healthz", _alive),
        Route(STREAM, listened),
        Mount(PREFIX, app=api),
        *monitoring.routes(),
        *pages.routes(),
    ]
    app = Starlette(routes=routes_of_app, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.access = access

    async def nowhere(request: Request, error: Exception) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            # What a handler of errors raises is handled by nobody.
            try:
                return await pages.not_found(request)
            except Refused as refused:
                return refused.answer
            except HTTPException as away:
                return await fault(request, away)
        return await _not_found(request, error)

    app.add_exception_handler(404, nowhere)
    for status in (503, 504):
        app.add_exception_handler(status, fault)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Problem, _problem)
    app.add_middleware(Around, address=access.address, tls=settings.http_tls_cert is not None)
    return app


async def _alive(request: Request) -> Response:
    """Say that the process works. It does not ask the database: a restart would not mend that."""
    return PlainTextResponse("alive\n", headers={"cache-control": "no-store"})


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return Response(error.body(), error.status, {"cache-control": "no-store", **error.headers}, MEDIA_TYPE)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.answer


async def _not_found(request: Request, error: Exception) -> Response:
    problem = not_found()
    return Response(problem.body(), 404, {"cache-control": "no-store"}, MEDIA_TYPE)
