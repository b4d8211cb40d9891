"""What each page is made with: who looks, the time zone and colours that were chosen, tokens; and how it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import available_timezones

from starlette.requests import Request
from starlette.responses import Response

from radmeter.api.callers import Caller
from radmeter.api.encoding import GZIP_FROM_BYTES, compressed, takes_gzip
from radmeter.api.noc.logins import Logins, Visit
from radmeter.api.noc.templating import environment, zone
from radmeter.api.problems import Problem
from radmeter.api.route import OPERATORS

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "vary": "Cookie, Accept-Encoding",
}
THEMES = ("dark", "light")
LONGEST_BACK = 2000


@dataclass(frozen=True)
class Link:
    """A page of the head, and its key behind g."""

    path: str
    name: str
    key: str


NOC_LINKS = (
    Link("/", "NOC", "n"),
    Link("/routers", "Routers", "r"),
    Link("/sites", "Sites", "i"),
    Link("/sessions", "Sessions", "s"),
    Link("/quotas", "Quotas", "q"),
    Link("/pipeline", "Pipeline", "p"),
    Link("/alerts", "Alerts", "a"),
    Link("/doctor", "Doctor", "d"),
)
SITE_LINKS = (Link("/site", "Overview", "o"),)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What base.html needs: what is around the contents of a page."""

    here: str
    back: str
    zone: str
    theme: str
    csrf: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    who: str = ""
    role: str = ""
    links: tuple[Link, ...] = ()
    home: str = "/"
    live: bool = False
    searches: bool = False
    can_log_out: bool = False
    may_write: bool = False
    query: str = ""
    said: str = ""
    said_kind: str = ""

    @property
    def place(self) -> str:
        """The path of the page, also for a part of it that is loaded again."""
        return self.back.partition("?")[0]

    @property
    def zones(self) -> list[str]:
        """The names of time zones that may be chosen."""
        return zone_names()


# What a form did, by the word that the address has after it. Never a text of the address itself.
SAID = {
    "acknowledged": ("The alert is acknowledged.", "good"),
    "muted": ("The alert is muted.", "good"),
    "unmuted": ("The mute has ended.", "good"),
    "claimed": ("The router is claimed.", "good"),
    "disconnect": ("The request to disconnect is in the queue: the router is asked now.", "good"),
    "disconnect-no-router": (
        "The request to disconnect is in the queue, and waits: the router of the session is not known.",
        "warn",
    ),
    "disconnect-no-secret": (
        "The request to disconnect is in the queue, and waits: the router has no secret for requests. "
        "`radmeter routers set '#NUMBER' --coa-secret-file FILE --vendor VENDOR` gives it one.",
        "warn",
    ),
    "disconnect-silent": (
        "The request to disconnect is in the queue. The router has not answered the latest requests: it is asked "
        "again later. `radmeter routers test-coa '#NUMBER'` tries it.",
        "warn",
    ),
}


@lru_cache(maxsize=1)
def zone_names() -> list[str]:
    """Return the names of places and UTC, without the names of old."""
    places = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
    return ["UTC", *sorted(name for name in available_timezones() if name.startswith(places))]


def home(caller: Caller | None) -> str:
    """Return the first page of a role."""
    return "/site" if caller is not None and caller.role == "tenant" else "/"


def page_of(request: Request, logins: Logins, visit: Visit, default_zone: str) -> Frame:
    """Return what the page of a request is made with."""
    caller = visit.caller
    chosen = logins.choice(request, "zone")
    theme = logins.choice(request, "theme")
    staff = caller is not None and caller.role in OPERATORS
    said, said_kind = SAID.get(request.query_params.get("said", ""), ("", ""))
    return Frame(
        here=request.url.path,
        back=_here(request),
        zone=chosen if zone(chosen) is not None else default_zone,
        theme=theme if theme in THEMES else "",
        csrf=logins.token(visit),
        who=caller.name if caller is not None else "",
        role=caller.role if caller is not None else "",
        links=NOC_LINKS if staff else SITE_LINKS if caller is not None and caller.role == "tenant" else (),
        home=home(caller),
        live=staff,
        searches=staff,
        can_log_out=caller is not None and not visit.by_proxy,
        may_write=caller is not None and caller.role == "noc",
        query=request.query_params.get("q", "")[:253] if request.url.path == "/search" else "",
        said=said,
        said_kind=said_kind,
    )


def rendered(name: str, page: Frame, values: Mapping[str, Any], status: int = 200) -> Response:
    """Return a page."""
    text = environment().get_template(name).render(page=page, **values)
    return Response(text, status, dict(HEADERS), "text/html")


def packed(request: Request, answer: Response) -> Response:
    """Compress an answer for a browser that takes it. Secrets in a page are masked (`Logins.token`)."""
    if len(answer.body) >= GZIP_FROM_BYTES and takes_gzip(request.headers.get("accept-encoding", "")):
        answer.body = compressed(bytes(answer.body))
        answer.headers["content-encoding"] = "gzip"
        answer.headers["content-length"] = str(len(answer.body))
    return answer


def problem_page(page: Frame, problem: Problem) -> Response:
    """Return the page of a problem."""
    titles = {
        400: "This is not understood",
        403: "This is not for this key",
        404: "There is nothing here",
        422: "That is refused",
        429: "Too many requests",
        503: "Not now",
        504: "This takes too long",
    }
    answer = rendered(
        "fault.html",
        page,
        {"title": titles.get(problem.status, "The server has a fault"), "detail": problem.detail},
        problem.status,
    )
    if "retry-after" in problem.headers:
        answer.headers["retry-after"] = problem.headers["retry-after"]
    return answer


def own_path(text: str) -> str:
    """Return an address of ours, to which a browser may be sent; else the first page."""
    if not text.startswith("/") or text.startswith(("//", "/\\")) or len(text) > LONGEST_BACK:
        return "/"
    return text if text.isascii() and text.isprintable() else "/"


def _here(request: Request) -> str:
    """Return the address of the page that a fragment or a page belongs to."""
    shown = request.headers.get("hx-current-url", "")
    if shown:
        rest = shown.split("//", 1)[-1]
        return own_path("/" + rest.partition("/")[2])
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "said"]
    return own_path(request.url.path + (f"?{urlencode(given)}" if given else ""))
