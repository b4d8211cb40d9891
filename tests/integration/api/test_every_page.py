"""Every address outside of /api/v1 against every role and a foreign tenant. The addresses are those of the program."""

import http.client
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from starlette.routing import Mount
from starlette.routing import Route as Address
from support.http_server import HttpServer
from support.spellings import NO_NUMBERS

from radmeter.api.app import make_app
from radmeter.config import Settings

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ROLES = ("reader", "noc", "tenant:acme")
# For everybody, on this machine. What /metrics and /readyz tell others is in test_monitoring.py.
OPEN = {"/healthz", "/readyz", "/metrics", "/login", "/static/{version}/{name:path}"}
OF_TENANTS = {"/site", "/site/routers/{id:number}", "/site/statements/{month}.{kind}"}
# With a token of the form.
OF_THE_NOC = {
    "/alerts/{id:number}/acknowledge",
    "/alerts/{id:number}/mute",
    "/mutes/{id:number}/unmute",
    "/routers/{id:number}/claim",
    "/sessions/{id:number}/disconnect",
}
OF_ANY_LOGIN = {"/logout", "/preferences"}
# What is acme's, and what is bolt's.
ACME = {
    "{id:number}": "201",
    "{month}": "2026-01",
    "{kind}": "html",
    "{version}": "x",
    "{name:path}": "nothing",
}
BOLT = {**ACME, "{id:number}": "202"}


def path_of(address: str, things: Mapping[str, str]) -> str:
    for name, value in things.items():
        address = address.replace(name, value)
    return address


class Visitor:
    """Somebody who has logged in to the pages with a key."""

    def __init__(self, server: HttpServer, key: str | None) -> None:
        self._server = server
        self._cookies: dict[str, str] = {}
        if key is not None:
            _, page = self.asked("GET", "/login")
            found = re.search(r'name="csrf" value="(\w+)"', page)
            assert found is not None
            assert self.asked("POST", "/login", {"csrf": found[1], "key": key})[0] == 303

    def asked(self, method: str, path: str, form: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Return the status and the text. Of the stream, which has no end, only its beginning."""
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)
        try:
            body = None if form is None else urlencode(form)
            headers = {"Cookie": cookies, **({} if form is None else FORM)}
            connection.request(method, path, body, {each: headers[each] for each in headers if headers[each]})
            answer = connection.getresponse()
            for each in answer.headers.get_all("set-cookie") or ():
                name, _, value = each.partition(";")[0].partition("=")
                self._cookies[name] = value
            stream = (answer.headers["content-type"] or "").startswith("text/event-stream")
            return answer.status, (answer.readline() if stream else answer.read()).decode(errors="replace")
        finally:
            connection.close()


def addresses(state: Path) -> dict[str, set[str]]:
    """Return the methods of all addresses outside of the API, by their paths."""
    settings = Settings.load({"RADMETER_STATE": str(state)})
    found: dict[str, set[str]] = {}
    for each in make_app(settings, "").routes:
        if not isinstance(each, Mount):
            assert isinstance(each, Address)
            found.setdefault(each.path, set()).update(each.methods or {"GET"})
    return found


def test_every_address_is_for_its_roles(api: HttpServer, keys: Mapping[str, str], tmp_path: Path) -> None:
    found = addresses(tmp_path)
    of_operators = set(found) - OPEN - OF_TENANTS - OF_THE_NOC - OF_ANY_LOGIN
    assert {"/", "/api/v1/stream", "/noc/history", "/search", "/doctor"} <= of_operators
    assert set(found) >= OPEN | OF_TENANTS | OF_THE_NOC | OF_ANY_LOGIN
    visitors = {role: Visitor(api, keys[role]) for role in ROLES} | {"nobody": Visitor(api, None)}
    wrong = {}
    for address, methods in found.items():
        for role, visitor in visitors.items():
            allowed = address in OPEN or (
                role == "tenant:acme"
                if address in OF_TENANTS
                else role in ("reader", "noc") and address in of_operators
            )
            for method in methods & {"GET", "POST"}:
                # A form without its token does nothing, whoever sends it.
                form = {"name": "mine", "hours": "1"} if method == "POST" else None
                status, text = visitor.asked(method, path_of(address, ACME), form)
                if method == "POST":
                    good = status in ((303, 403) if role == "nobody" else (403,))
                elif role == "tenant:acme" and address == "/":
                    good = status == 303
                elif role == "nobody" and not allowed:
                    good = status in (303, 401)
                else:
                    good = status in ((200, 303, 404) if allowed else (403,))
                if not good or ("bolt" in text and role in ("tenant:acme", "nobody")):
                    wrong[method, address, role] = (status, text[:200])
    assert wrong == {}


def test_a_number_of_a_page_has_one_spelling(
    api: HttpServer, keys: Mapping[str, str], tmp_path: Path
) -> None:
    numbered = {path: each for path, each in addresses(tmp_path).items() if "{id:number}" in path}
    assert len(numbered) >= 7
    taken = {}
    for role in ("noc", "tenant:acme"):
        visitor = Visitor(api, keys[role])
        for address, methods in numbered.items():
            for spelling in NO_NUMBERS:
                for method in methods & {"GET", "POST"}:
                    form = {"name": "mine", "hours": "1"} if method == "POST" else None
                    status, _ = visitor.asked(method, path_of(address, {"{id:number}": spelling}), form)
                    # Only a number that the database could not store is one at all.
                    if status != 404 and not (spelling == "9223372036854775808" and status == 403):
                        taken[method, address, role, spelling] = status
    assert taken == {}


def test_a_page_shows_no_other_tenants_things(api: HttpServer, keys: Mapping[str, str]) -> None:
    acme, bolt = (Visitor(api, keys[f"tenant:{name}"]) for name in ("acme", "bolt"))
    for address in OF_TENANTS:
        status, text = acme.asked("GET", path_of(address, ACME))
        # All figures of the other begin so. 777 alone may be in the coordinates of a chart.
        assert (status, "acme" in text, "bolt" in text, "77700" in text) == (200, True, False, False), address
        if "{id:number}" in address:
            foreign = acme.asked("GET", path_of(address, BOLT))
            nowhere = acme.asked("GET", path_of(address, {"{id:number}": "99999"}))
            assert foreign[0] == nowhere[0] == 404
            assert "bolt" not in foreign[1]
            assert bolt.asked("GET", path_of(address, BOLT))[0] == 200


def test_an_address_without_a_page_is_a_page_for_a_browser(api: HttpServer, keys: Mapping[str, str]) -> None:
    visitor = Visitor(api, keys["noc"])
    cookies = "; ".join(f"{name}={value}" for name, value in visitor._cookies.items())
    for headers in ({"Accept": "text/html,*/*;q=0.8"}, {"Accept": "text/html", "Cookie": cookies}):
        for path in ("/alerts/3", "/nothing", "/routers/x"):
            answer = api.request("GET", path, headers=headers)
            assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8"), path
            assert b'href="/"' in answer.body
    # Others get what they can read.
    assert api.request("GET", "/alerts/3").kind == "not-found"
    unknown = api.request("GET", "/api/v1/nothing", keys["noc"], headers={"Accept": "text/html"})
    assert unknown.kind == "not-found"
