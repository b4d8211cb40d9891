"""Who looks at a page: by a key that was given once, or by the name that the operator's proxy found.

Cookies are signed.

A page is asked for by a browser, which sends its cookies along with whatever another page makes it send. So each form
has a token that only our pages know (CSRF), and a form from elsewhere is refused.
"""

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from radmeter.api.access import Access
from radmeter.api.callers import Caller
from radmeter.api.noc.cookies import cookie
from radmeter.api.noc.ended import EndedLogins
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem
from radmeter.api.signing import Signer
from radmeter.config import Settings

# A wall is not logged in each week.
LOGIN_SECONDS = 30 * 86_400
VISIT, LOGIN = "radmeter-visit", "radmeter-login"
SIGNATURE_BYTES = 32
LONGEST_NAME = 100
# Pages ask for their parts again and again: of them a key may have so many times its rate.
PAGES_PER_REQUEST = 4
# What an address may ask for without a login.
STRANGERS_RATE, STRANGERS_SECONDS = 300, 60
# The key_id of who was found by a proxy. No key has a blank in its id.
BY_PROXY = "proxy "


class _Login(NamedTuple):
    """What the cookie of a login says: the key, until when it holds, and its own number."""

    key_id: str
    until: int
    number: str


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A browser: its number, which forms are bound to, and who looks."""

    number: str
    is_new: bool
    caller: Caller | None

    @property
    def by_proxy(self) -> bool:
        """Whether the proxy says who looks. Then nobody logs out here."""
        return self.caller is not None and self.caller.key_id.startswith(BY_PROXY)


class Logins:
    """Finds out who looks, and keeps it in cookies."""

    def __init__(
        self,
        settings: Settings,
        pools: Pools,
        access: Access,
        key: bytes,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._access = access
        self._ended = EndedLogins(pools)
        self._now = now
        self._logins = Signer(key, "login")
        self._forms = Signer(key, "form")

    async def visit(self, request: Request) -> Visit:
        """Return the browser that asks, and who looks."""
        given = cookie(request, self._name(request, VISIT))
        is_new = not (len(given) == 32 and given.isascii() and given.isalnum())
        number = secrets.token_hex(16) if is_new else given
        caller = self._named_by_proxy(request)
        if caller is None:
            caller = await self._logged_in(request)
        return Visit(number=number, is_new=is_new, caller=caller)

    async def again(self, caller: Caller) -> Caller:
        """Return the caller as it is now. Raises Problem with 401 if the key or the login does not hold any more."""
        if caller.key_id.startswith(BY_PROXY):
            return caller
        if caller.login is not None and await self._ended.has(caller.login):
            raise Problem(401, "unauthorized", "this login was ended")
        return replace(await self._access.holder(caller.key_id), login=caller.login)

    def take(self, request: Request, caller: Caller | None) -> None:
        """Take a page of the rate of who looks. Raises Problem: 429, there were too many."""
        if caller is None:
            whose = f"page of {self._access.network(self._access.address(request.scope))}"
            decision = self._access.rates.take(whose, STRANGERS_RATE, STRANGERS_SECONDS)
        else:
            decision = self._access.rates.take(
                f"page {caller.key_id}", PAGES_PER_REQUEST * caller.rate_count, caller.rate_seconds
            )
        if not decision.allowed:
            raise Problem(
                429,
                "rate-limited",
                "too many pages were asked for" + (" with this login" if caller else " from this address"),
                {"retry-after": str(max(1, decision.seconds))},
            )

    async def log_in(self, request: Request, text: str) -> Caller:
        """Return who has a key. Raises Problem if it does not hold, or if the address has tried too many."""
        return await self._access.caller_of(text, self._access.address(request.scope))

    def remember(self, request: Request, response: Response, caller: Caller) -> None:
        """Set the cookie of a login. It has the id of the key, which is no secret, and our signature."""
        until = int(self._now() + LOGIN_SECONDS)
        if caller.expires_at is not None:
            until = min(until, int(caller.expires_at.timestamp()))
        payload = f"{caller.key_id} {until} {secrets.token_hex(16)}".encode()
        value = base64.urlsafe_b64encode(self._logins.sign(payload) + payload).decode()
        self._set(request, response, LOGIN, value, until - int(self._now()))

    async def end(self, request: Request) -> None:
        """End the login, whoever has a copy of its cookie. Raises Problem if the database does not take that."""
        found = self._cookie(request)
        if found is not None:
            await self._ended.add(found.number, datetime.fromtimestamp(found.until, UTC))

    def forget(self, request: Request, response: Response) -> None:
        """Remove the cookie of a login."""
        self._set(request, response, LOGIN, "", 0)

    def keep_visit(self, request: Request, response: Response, visit: Visit) -> None:
        """Set the cookie that forms are bound to."""
        if visit.is_new:
            self._set(request, response, VISIT, visit.number, LOGIN_SECONDS)

    def token(self, visit: Visit) -> str:
        """Return the token of the forms of a page. Another login makes it invalid.

        It is written under a random mask, since pages are compressed. Somebody who can make a browser load them and
        sees their sizes could else guess a text that is in all of them (BREACH).
        """
        mask = secrets.token_bytes(SIGNATURE_BYTES)
        return (mask + _masked(self._forms.sign(visit.number.encode(), _who(visit).encode()), mask)).hex()

    def check_form(self, request: Request, visit: Visit, form: Mapping[str, str]) -> None:
        """Check that a form comes from a page of ours.

        Raises
        ------
        Problem
            It does not, or the page is older than the login.
        """
        site = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin")
        foreign = site not in ("same-origin", "none")
        # A page sends its origin as the browser knows it: behind a proxy, that of the proxy.
        if origin is not None and not foreign and "sec-fetch-site" not in request.headers:
            foreign = origin.partition("://")[2] != request.headers.get("host", "")
        try:
            given = bytes.fromhex(form.get("csrf", ""))
        except ValueError:
            given = b""
        given = _masked(given[SIGNATURE_BYTES:], given[:SIGNATURE_BYTES])
        if (
            foreign
            or visit.is_new
            or not self._forms.holds(given, visit.number.encode(), _who(visit).encode())
        ):
            raise Problem(
                403, "form", "this form is not of this login, or of another site: load the page again"
            )

    def set_choice(self, request: Request, response: Response, name: str, value: str) -> None:
        """Keep a choice of the browser's user, such as the time zone."""
        self._set(request, response, f"radmeter-{name}", value, 10 * 365 * 86_400)

    def choice(self, request: Request, name: str) -> str:
        """Return a choice; empty: none was made."""
        return cookie(request, self._name(request, f"radmeter-{name}"))

    def _set(self, request: Request, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            self._name(request, name),
            value,
            max_age=seconds,
            path="/",
            secure=self._is_secure(request),
            httponly=True,
            samesite="lax",
        )

    def _name(self, request: Request, name: str) -> str:
        # A browser takes such a name only with Secure and from this host, not from another one of the same domain.
        return f"__Host-{name}" if self._is_secure(request) else name

    def _is_secure(self, request: Request) -> bool:
        if self._settings.http_tls_cert is not None:
            return True
        return (
            self._from_proxy(request)
            and request.headers.get("x-forwarded-proto", "").strip().lower() == "https"
        )

    def _from_proxy(self, request: Request) -> bool:
        return request.client is not None and self._access.is_proxy(request.client.host)

    def _named_by_proxy(self, request: Request) -> Caller | None:
        """Return who the proxy says it is. Only proxies that are trusted are believed."""
        role = self._settings.http_proxy_role
        if role is None or not self._from_proxy(request):
            return None
        given = request.headers.getlist("x-forwarded-user")
        if len(given) != 1:
            return None
        name = given[0].strip()
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            return None
        return Caller(key_id=f"{BY_PROXY}{name}", name=name, role=role, kind="user")

    async def _logged_in(self, request: Request) -> Caller | None:
        found = self._cookie(request)
        if found is None or await self._ended.has(found.number):
            return None
        try:
            return replace(await self._access.holder(found.key_id), login=found.number)
        except Problem as problem:
            if problem.status == 401:
                return None
            raise

    def _cookie(self, request: Request) -> _Login | None:
        """Return what the cookie says, if we have signed it and its time is not over."""
        text = cookie(request, self._name(request, LOGIN))
        if not text or len(text) > 512:
            return None
        try:
            given = base64.b64decode(text, altchars=b"-_", validate=True)
            signature, payload = given[:SIGNATURE_BYTES], given[SIGNATURE_BYTES:]
            if not self._logins.holds(signature, payload):
                return None
            key_id, until, number = payload.decode().split(" ")
        except (binascii.Error, ValueError):
            return None
        return _Login(key_id, int(until), number) if int(until) > self._now() else None


def _masked(text: bytes, mask: bytes) -> bytes:
    """Return octets under a mask, or without it; none if the two are not of the same length."""
    if len(text) != len(mask):
        return b""
    return bytes(one ^ other for one, other in zip(text, mask, strict=True))


def _who(visit: Visit) -> str:
    return "" if visit.caller is None else visit.caller.key_id
