"""The pages as a part of the server: which address shows what, and what forms do."""

import asyncio
import gzip
import mimetypes
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from radmeter.api.access import Access
from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.encoding import takes_gzip
from radmeter.api.hub import Hub
from radmeter.api.noc import host
from radmeter.api.noc.examining import Examiner
from radmeter.api.noc.logins import Logins, Visit
from radmeter.api.noc.page import (
    HEADERS,
    THEMES,
    Frame,
    home,
    own_path,
    packed,
    page_of,
    problem_page,
    rendered,
)
from radmeter.api.noc.templating import STATIC, static_path, zone
from radmeter.api.noc.views import Views
from radmeter.api.pools import Pools
from radmeter.api.problems import MEDIA_TYPE, Problem, bad_request, not_found, unavailable
from radmeter.api.reads import alerts, requesting
from radmeter.api.route import OPERATORS
from radmeter.api.shares import Shares
from radmeter.api.transactions import transaction
from radmeter.config import Settings
from radmeter.metrics.figures import Figures

TENANT = frozenset({"tenant"})
LARGEST_FORM = 16 << 10
FORM_SECONDS = 10.0
YEAR_HOURS = 24 * 365
STATIC_HEADERS = {"cache-control": "public, max-age=31536000, immutable"}
PARTS = {
    "trouble": "routers",
    "sites": "sites",
    "alerts": "alerts",
    "quotas": "quotas",
    "pipeline": "pipeline",
    "doctor": "doctor",
}
# A bigint has so many digits at most.
NUMBER_DIGITS = 19
# Statements that are made at once; those of a tenant that wait for it, and how long.
STATEMENTS_AT_ONCE, STATEMENTS_WAITING, STATEMENT_SECONDS = 2, 20, 60.0


class _Number(Convertor[int]):
    """A number in an address, in one spelling: no zero before it, no line end behind it, and no more than fits."""

    regex = f"[1-9][0-9]{{0,{NUMBER_DIGITS - 1}}}(?!\\n)"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())

# Returns the page that is shown then, if the form names none, and the word for what was done (`page.SAID`).
Done = Callable[[Request, ApiConnection, Mapping[str, str]], Awaitable[tuple[str, str]]]


class Refused(Exception):
    """A page is not even begun."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


class Pages:
    """The pages.

    Parameters
    ----------
    read_dsn
        Where statements are read, each over a connection of its own.
    """

    def __init__(
        self,
        settings: Settings,
        pools: Pools,
        access: Access,
        hub: Hub,
        examiner: Examiner,
        key: bytes,
        read_dsn: str,
        figures: Callable[[], Figures],
    ) -> None:
        self._pools = pools
        self._access = access
        self._hub = hub
        self._read_dsn = read_dsn
        self._statements = asyncio.Semaphore(STATEMENTS_AT_ONCE)
        self._one_each = Shares(1, STATEMENT_SECONDS)
        self._waiting: Counter[str] = Counter()
        self._views = Views(pools, hub, examiner, figures, key)
        self.logins = Logins(settings, pools, access, key)

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        views = self._views
        noc: dict[str, tuple[str, Callable[[Request, Caller], Awaitable[Any]]]] = {
            "/": ("overview.html", lambda request, caller: views.overview(caller)),
            "/routers": ("routers.html", lambda request, caller: views.routers(caller, _query(request))),
            "/routers/{id:number}": (
                "router.html",
                lambda request, caller: views.router(caller, _id(request)),
            ),
            "/routers/{id:number}/now": (
                "parts/router_now.html",
                lambda request, caller: views.router_now(caller, _id(request)),
            ),
            "/sites": ("sites.html", lambda request, caller: views.sites(caller, _query(request))),
            "/sessions": ("sessions.html", lambda request, caller: views.sessions(caller, _query(request))),
            "/user": (
                "user.html",
                lambda request, caller: views.user(caller, _query(request).get("name", "")),
            ),
            "/search": ("search.html", lambda request, caller: views.search(caller, _query(request))),
            "/quotas": ("quotas.html", lambda request, caller: views.quotas(caller, _query(request))),
            "/pipeline": ("pipeline.html", lambda request, caller: views.pipeline(caller)),
            "/alerts": ("alerts.html", lambda request, caller: views.alerts(caller, _query(request))),
            "/doctor": ("doctor.html", self._doctor),
            **{
                f"/noc/parts/{part}": (f"parts/{part}.html", self._part(name)) for part, name in PARTS.items()
            },
        }
        tenant: dict[str, tuple[str, Callable[[Request, Caller], Awaitable[Any]]]] = {
            "/site": ("site.html", self._site),
            "/site/routers/{id:number}": (
                "site_router.html",
                lambda request, caller: host.router(self._pools, caller, _id(request)),
            ),
        }
        return [
            *(Route(path, self._page(name, OPERATORS, read)) for path, (name, read) in noc.items()),
            *(Route(path, self._page(name, TENANT, read)) for path, (name, read) in tenant.items()),
            Route("/site/statements/{month}.{kind}", self._statement),
            Route("/noc/history", self._history),
            Route("/login", self._log_in, methods=["GET", "POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
            Route("/preferences", self._prefer, methods=["POST"]),
            *(Route(path, self._write(do), methods=["POST"]) for path, do in _ACTIONS.items()),
            Route("/static/{version}/{name:path}", _static),
        ]

    async def not_found(self, request: Request) -> Response:
        """Answer a browser that asks for an address without a page."""
        visit, page = await self._begin(request)
        answer = problem_page(page, not_found())
        self.logins.keep_visit(request, answer, visit)
        return answer

    async def caller(self, request: Request) -> Caller | None:
        """Return who looks, for the stream: a page's EventSource sends cookies, and no key."""
        return (await self.logins.visit(request)).caller

    def _page(
        self, name: str, roles: frozenset[str], read: Callable[[Request, Caller], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return packed(request, await page_for(request))

        async def page_for(request: Request) -> Response:
            visit, page = await self._begin(request)
            try:
                if visit.caller is None:
                    return self._to_login(request, visit)
                if visit.caller.role not in roles:
                    if request.url.path == "/" and visit.caller.role == "tenant":
                        return RedirectResponse("/site", 303, HEADERS)
                    raise _not_for(visit.caller)
                values = await read(request, visit.caller)
                if name.startswith("parts/") and "/parts/" in request.url.path:
                    values = {PARTS[request.url.path.rpartition("/")[2]]: values, "full": False}
                answer = rendered(name, page, values)
            except Problem as problem:
                answer = problem_page(page, problem)
            self.logins.keep_visit(request, answer, visit)
            return answer

        return answer

    def _part(self, name: str) -> Callable[[Request, Caller], Awaitable[Any]]:
        return lambda request, caller: self._views.part(caller, name)

    async def _doctor(self, request: Request, caller: Caller) -> Any:
        return {"doctor": await self._views.doctor(full=True), "full": True}

    async def _site(self, request: Request, caller: Caller) -> Any:
        after = _query(request).get("after", "0")
        return await host.overview(
            self._pools, caller, int(after) if after.isascii() and after.isdigit() and len(after) < 19 else 0
        )

    async def _begin(self, request: Request) -> tuple[Visit, Frame]:
        visit = Visit(number="", is_new=True, caller=None)
        try:
            visit = await self.logins.visit(request)
            default = await self._views.zone(visit.caller)
        except Problem as problem:
            # The database is away: a page says so.
            raise HTTPException(problem.status, problem.detail) from problem
        page = page_of(request, self.logins, visit, default)
        if visit.caller is not None:
            request.state.key = visit.caller.name
        try:
            self.logins.take(request, visit.caller)
        except Problem as problem:
            raise Refused(problem_page(page, problem)) from None
        return visit, page

    def _to_login(self, request: Request, visit: Visit) -> Response:
        if "hx-request" in request.headers:
            # The browser loads the whole page again, which leads to the login.
            return Response("", 401, HEADERS)
        back = own_path(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
        return RedirectResponse(f"/login?{urlencode({'back': back})}", 303, HEADERS)

    async def _log_in(self, request: Request) -> Response:
        visit, page = await self._begin(request)
        # Whoever the proxy names, and whoever is logged in, has nothing to do here.
        form = await _form(request) if request.method == "POST" else {}
        back = own_path(form.get("back", "") or request.query_params.get("back", ""))
        if visit.caller is not None and request.method == "GET":
            return RedirectResponse(_first(visit.caller, back), 303, HEADERS)
        fault, status = "", 200
        if request.method == "POST":
            try:
                self.logins.check_form(request, visit, form)
                caller = await self.logins.log_in(request, form.get("key", "").strip())
                if caller.role not in OPERATORS | TENANT:
                    raise _not_for(caller)
                answer: Response = RedirectResponse(_first(caller, back), 303, HEADERS)
                self.logins.remember(request, answer, caller)
                return answer
            except Problem as problem:
                fault, status = problem.detail, problem.status
        answer = rendered("login.html", replace(page, back=back), {"fault": fault}, status)
        self.logins.keep_visit(request, answer, visit)
        return answer

    async def _log_out(self, request: Request) -> Response:
        visit, page = await self._begin(request)
        try:
            self.logins.check_form(request, visit, await _form(request))
        except Problem as problem:
            return problem_page(page, problem)
        answer: Response = RedirectResponse("/login", 303, HEADERS)
        try:
            await self.logins.end(request)
        except Problem as problem:
            answer = problem_page(page, problem)
        self.logins.forget(request, answer)
        return answer

    async def _prefer(self, request: Request) -> Response:
        visit, page = await self._begin(request)
        form = await _form(request)
        try:
            self.logins.check_form(request, visit, form)
        except Problem as problem:
            return problem_page(page, problem)
        answer = RedirectResponse(own_path(form.get("back", "")), 303, HEADERS)
        if zone(form.get("zone", "")) is not None:
            self.logins.set_choice(request, answer, "zone", form["zone"])
        if form.get("theme") in ("", *THEMES):
            self.logins.set_choice(request, answer, "theme", form["theme"])
        return answer

    async def _history(self, request: Request) -> Response:
        visit, _ = await self._begin(request)
        if visit.caller is None or visit.caller.role not in OPERATORS:
            return Response("", 401 if visit.caller is None else 403, HEADERS)
        content = msgspec.json.encode({"items": self._hub.history})
        return packed(request, Response(content, 200, HEADERS, "application/json"))

    async def _statement(self, request: Request) -> Response:
        visit, page = await self._begin(request)
        if visit.caller is None:
            return self._to_login(request, visit)
        month, kind = request.path_params["month"], request.path_params["kind"]
        try:
            if visit.caller.role not in TENANT:
                raise _not_for(visit.caller)
            if kind not in host.MEDIA_TYPES:
                raise not_found()
            content, name, media_type = await self._made(visit.caller, month, kind)
        except Problem as problem:
            return problem_page(page, problem)
        # A statement is a document with styles of its own: it is downloaded, never shown within our origin.
        disposition = f"attachment; filename*=UTF-8''{quote(name)}"
        return Response(content, 200, {**HEADERS, "content-disposition": disposition}, media_type)

    async def _made(self, caller: Caller, month: str, kind: str) -> tuple[bytes, str, str]:
        """Make a statement. Few at once, one of a tenant: each has its own connection, and takes a processor."""
        if self._waiting[caller.share] >= STATEMENTS_WAITING:
            raise unavailable("too many statements are asked for at once: try again", 5)
        self._waiting[caller.share] += 1
        try:
            async with self._one_each.one(caller.share), self._statements:
                return await run_in_threadpool(host.statement, self._read_dsn, caller, month, kind)
        finally:
            self._waiting[caller.share] -= 1
            if not self._waiting[caller.share]:
                del self._waiting[caller.share]

    def _write(self, do: Done) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a form: it does what it says as the role of who looks, and shows the page again."""

        async def answer(request: Request) -> Response:
            visit, page = await self._begin(request)
            try:
                form = await _form(request)
                if visit.caller is None:
                    return self._to_login(request, visit)
                self.logins.check_form(request, visit, form)
                if visit.caller.role != "noc":
                    raise Problem(
                        403,
                        "forbidden",
                        f"this is for keys of the role noc; this key has {visit.caller.role}",
                    )
                async with transaction(self._pools, visit.caller, writes=True) as connection:
                    default, said = await do(request, connection, form)
            except Problem as problem:
                return problem_page(page, problem)
            back = own_path(form.get("back", "")) if form.get("back") else default
            return RedirectResponse(f"{back}{'&' if '?' in back else '?'}said={said}", 303, HEADERS)

        return answer


async def _acknowledge(
    request: Request, connection: ApiConnection, form: Mapping[str, str]
) -> tuple[str, str]:
    await alerts.acknowledge(connection, _id(request), form.get("note") or None)
    return "/alerts", "acknowledged"


async def _mute(request: Request, connection: ApiConnection, form: Mapping[str, str]) -> tuple[str, str]:
    hours = form.get("hours", "")
    if not (hours.isascii() and hours.isdigit() and 0 < int(hours[:6]) <= YEAR_HOURS):
        raise bad_request("a mute takes 1 hour to a year")
    found = await alerts.alert(connection, _id(request))
    if found is None:
        raise not_found("there is no such alert")
    await alerts.mute(connection, found, datetime.now(UTC) + timedelta(hours=int(hours)))
    return "/alerts", "muted"


async def _unmute(request: Request, connection: ApiConnection, form: Mapping[str, str]) -> tuple[str, str]:
    await alerts.unmute(connection, _id(request))
    return "/alerts", "unmuted"


async def _claim(request: Request, connection: ApiConnection, form: Mapping[str, str]) -> tuple[str, str]:
    name = form.get("name", "").strip()
    if not name or len(name) > 253:
        raise bad_request("give the router a name of 1 to 253 characters")
    await connection.execute(
        "SELECT radmeter.claim_router(%s, %s, NULL, NULL, NULL, NULL)", (_id(request), name)
    )
    return f"/routers/{_id(request)}", "claimed"


async def _disconnect(
    request: Request, connection: ApiConnection, form: Mapping[str, str]
) -> tuple[str, str]:
    await connection.execute(
        "SELECT radmeter.request_disconnect(NULL, %s, %s)", (_id(request), "by the page of the NOC")
    )
    why = await requesting.obstacle(connection, _id(request))
    return "/sessions", "disconnect" if why is None else f"disconnect-{why}"


_ACTIONS: Mapping[str, Done] = {
    "/alerts/{id:number}/acknowledge": _acknowledge,
    "/alerts/{id:number}/mute": _mute,
    "/mutes/{id:number}/unmute": _unmute,
    "/routers/{id:number}/claim": _claim,
    "/sessions/{id:number}/disconnect": _disconnect,
}


async def _static(request: Request) -> Response:
    name: str = request.path_params["name"]
    parts = name.split("/")
    try:
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise FileNotFoundError
        content, small = _content(name)
    except OSError:
        # It is nowhere, a directory, or longer than a name can be.
        return Response(not_found().body(), 404, {"cache-control": "no-store"}, MEDIA_TYPE)
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    # Under another version than that of the file it would be kept for a year, too.
    fresh = static_path(name).split("/")[2] == request.path_params["version"]
    headers = dict(STATIC_HEADERS if fresh else {"cache-control": "no-store"}) | {"vary": "Accept-Encoding"}
    if takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(small, 200, {**headers, "content-encoding": "gzip"}, media_type)
    return Response(content, 200, headers, media_type)


@lru_cache(maxsize=64)
def _content(name: str) -> tuple[bytes, bytes]:
    """Return a file, as it is and compressed."""
    content = STATIC.joinpath(*name.split("/")).read_bytes()
    return content, gzip.compress(content, mtime=0)


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises Problem for what is none."""
    if (
        request.headers.get("content-type", "").partition(";")[0].strip()
        != "application/x-www-form-urlencoded"
    ):
        raise Problem(415, "unsupported-media-type", "this takes the forms of our pages")
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > LARGEST_FORM:
                    raise Problem(413, "too-large", "this form is too large", {"connection": "close"})
    except TimeoutError:
        raise Problem(408, "too-slow", "the form did not come in time", {"connection": "close"}) from None
    except ClientDisconnect:
        raise bad_request("the connection was closed") from None
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except (UnicodeDecodeError, ValueError):
        raise bad_request("the form is not in UTF-8") from None
    form = dict(pairs)
    if any("\0" in value for value in form.values()):
        raise bad_request("a field has a NUL character")
    return form


def _query(request: Request) -> dict[str, str]:
    query = dict(request.query_params)
    # PostgreSQL's text has no NUL.
    if any("\0" in value for value in query.values()):
        raise bad_request("a parameter has a NUL character")
    return query


def _id(request: Request) -> int:
    number = int(request.path_params["id"])
    if number >= 2**63:
        raise not_found()
    return number


def _first(caller: Caller, back: str) -> str:
    return back if back != "/" and caller.role in OPERATORS else home(caller)


def _not_for(caller: Caller) -> Problem:
    if caller.role == "billing":
        return Problem(403, "forbidden", "a key of the role billing has no pages: it is for the API")
    if caller.role == "tenant":
        return Problem(
            403, "forbidden", "this page is for the NOC: your key shows the routers of your own, at /site"
        )
    return Problem(403, "forbidden", f"this page is not for keys of the role {caller.role}")
