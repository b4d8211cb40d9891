"""Who calls: the key of a request, and the address that it comes from."""

import asyncio
import ipaddress
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from radmeter.api.callers import Caller
from radmeter.api.pools import WAIT_SECONDS, Pools
from radmeter.api.problems import Problem
from radmeter.api.rates import Decision, Rates
from radmeter.api.shares import Shares
from radmeter.api.transactions import plain, row_of_keys
from radmeter.config import Networks
from radmeter.keys.text import Key, parsed

log = logging.getLogger(__name__)

# So long a key that was found is not looked up again: a key that was revoked holds for so long at most.
FOUND_SECONDS = 0.9
MOST_KEYS = 10_000
# So many wrong keys an address may try: then none that is new is looked up.
FAILURES, FAILURE_SECONDS = 20, 60.0
# So many keys that are not known are looked up at once for an address. The others wait for these.
LOOKED_UP_AT_ONCE = 4
FIND = """
SELECT name, role, tenant_id, tenant, secret_sha256, rate_count, rate_seconds, expires_at
FROM radmeter.find_key(%s)"""
NOTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    secret_sha256: bytes
    until: float


class Access:
    """Finds the callers of requests."""

    def __init__(self, pools: Pools, proxies: Networks, now: Callable[[], float] = time.monotonic) -> None:
        self._pools = pools
        self._proxies = proxies
        self._now = now
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._noted: dict[str, float] = {}
        self._finding: dict[tuple[str, bool], asyncio.Task[_Known | None]] = {}
        self._trying = Shares(LOOKED_UP_AT_ONCE, WAIT_SECONDS, "too many keys of this address are looked up")
        self._noting: set[asyncio.Task[None]] = set()
        self.rates = Rates(now)

    async def caller(self, headers: Mapping[str, str], address: str) -> Caller:
        """Return who calls, by the header Authorization.

        Raises
        ------
        Problem
            401: there is no key, or it does not hold. 429: the address has tried too many.
        """
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if not text:
            raise _unauthorized("give a key: Authorization: Bearer rm_..", "")
        if scheme.lower() != "bearer":
            raise _unauthorized("the key goes into the header Authorization: Bearer rm_..", "")
        return await self.caller_of(text.strip(), address)

    async def caller_of(self, text: str, address: str) -> Caller:
        """Return who has a key. Raises Problem as `caller` does."""
        key = parsed(text)
        known = self._known.get(key.id) if key is not None else None
        if key is not None and known is not None and secrets.compare_digest(known.secret_sha256, key.sha256):
            # An address that tries keys slows only those that were not in use a moment ago.
            found = known if known.until > self._now() else await self._found_again(key)
        else:
            found = await self._tried(key, address)
        if found is None:
            raise _no_key(
                "this key is unknown, was revoked, or has expired: `radmeter keys list` shows those that hold"
            )
        if found.caller.expires_at is not None and found.caller.expires_at <= datetime.now(UTC):
            self._take_failure(address)
            raise _no_key("this key has expired")
        return found.caller

    async def _found_again(self, key: Key) -> _Known | None:
        found = await self._find(key.id)
        if found is None:
            self._known.pop(key.id, None)
        else:
            self._note(key.id)
        return found

    async def _tried(self, key: Key | None, address: str) -> _Known | None:
        """Return what is known of a key that was not in use a moment ago, or nothing if it is wrong."""
        async with self._trying.one(self.network(address)):
            # Before it is looked up: however many come at once, no more than these are tried.
            self._take_failure(address)
            if key is None:
                return None
            found = self._known.get(key.id)
            if found is None or found.until <= self._now():
                try:
                    found = await self._find(key.id)
                except Problem:
                    self._give_back(address)
                    raise
            if found is None or not secrets.compare_digest(found.secret_sha256, key.sha256):
                return None
            self._give_back(address)
            self._note(key.id)
            return found

    async def holder(self, key_id: str) -> Caller:
        """Return who has the key with an id, for logins of pages, which have proved the key before.

        Raises
        ------
        Problem
            401: it was revoked, or has expired.
        """
        found = self._known.get(key_id)
        if found is None or found.until <= self._now():
            found = await self._find(key_id, in_use=True)
            if found is not None:
                self._note(key_id)
        if found is None or (
            found.caller.expires_at is not None and found.caller.expires_at <= datetime.now(UTC)
        ):
            self._known.pop(key_id, None)
            raise _no_key("this key was revoked or has expired")
        return found.caller

    def rate(self, caller: Caller) -> Decision:
        """Take a request of the caller's rate."""
        return self.rates.take(caller.key_id, caller.rate_count, caller.rate_seconds)

    def refuse_beyond_rate(self, caller: Caller, decision: Decision) -> None:
        """Raise Problem if the caller's rate does not have this request."""
        if not decision.allowed:
            raise Problem(
                429,
                "rate-limited",
                f"this key may make {caller.rate_count} requests in {caller.rate_seconds} seconds",
                {"retry-after": str(max(1, decision.seconds))},
            )

    def address(self, scope: Mapping[str, Any]) -> str:
        """Return the address that a request comes from. Only proxies that are trusted may name another one."""
        client = scope.get("client") or ("", 0)
        address = str(client[0])
        if not self.is_proxy(address):
            return address
        given = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        for each in reversed([part.strip() for part in b",".join(given).decode("latin-1").split(",")]):
            try:
                address = str(ipaddress.ip_address(each))
            except ValueError:
                break
            if not self.is_proxy(address):
                break
        return address

    @staticmethod
    def network(address: str) -> str:
        """Return whose address it is. One customer has a whole /64 of IPv6 (RFC 6177)."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return address
        if isinstance(found, ipaddress.IPv6Address):
            found = found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64)
        return str(found)

    def is_proxy(self, address: str) -> bool:
        """Return whether an address is that of a proxy that is trusted."""
        if not self._proxies:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)

    async def _find(self, key_id: str, *, in_use: bool = False) -> _Known | None:
        """Look a key up. Requests that come meanwhile wait for the same answer.

        However many keys are tried, those in use do not wait for them: also not for who tries one of the same id.
        """
        which = key_id, in_use or key_id in self._known
        finding = self._finding.get(which)
        if finding is None:
            finding = self._finding[which] = asyncio.create_task(self._look_up(*which))
            finding.add_done_callback(lambda _: self._finding.pop(which))
        return await asyncio.shield(finding)

    async def _look_up(self, key_id: str, in_use: bool) -> _Known | None:
        # Counted from here: a key that is revoked while the database answers holds no longer than others.
        until = self._now() + FOUND_SECONDS
        row = await row_of_keys(self._pools, FIND, (key_id,), in_use=in_use)
        if row is None:
            return None
        name, role, tenant_id, tenant, sha256, count, seconds, expires_at = row
        caller = Caller(
            key_id=key_id,
            name=name,
            role=role,
            tenant_id=tenant_id,
            tenant=tenant,
            rate_count=count,
            rate_seconds=seconds,
            expires_at=expires_at,
        )
        found = self._known[key_id] = _Known(caller, bytes(sha256), until)
        self._known.move_to_end(key_id)
        if len(self._known) > MOST_KEYS:
            self._known.popitem(last=False)
        return found

    def _note(self, key_id: str) -> None:
        """Note that a key is in use. No request waits for that."""
        if self._noted.get(key_id, float("-inf")) > self._now() - NOTE_SECONDS or self._pools.is_away("keys"):
            return
        if len(self._noted) > MOST_KEYS:
            self._noted.clear()
        self._noted[key_id] = self._now()
        noting = asyncio.create_task(self._note_now(key_id))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def _note_now(self, key_id: str) -> None:
        try:
            async with plain(self._pools, "keys") as connection:
                await connection.execute("SELECT radmeter.note_keys_used(%s::text[])", ([key_id],))
        except (psycopg.Error, Problem) as error:
            log.warning("the use of key %s was not noted: %s", key_id, error)

    def _take_failure(self, address: str) -> None:
        """Count a key that may be wrong. Refuse an address that tried too many."""
        decision = self.rates.take(f"failures {self.network(address)}", FAILURES, FAILURE_SECONDS)
        if not decision.allowed:
            raise Problem(
                429,
                "too-many-failures",
                "too many wrong keys came from this address",
                {"retry-after": str(max(1, decision.seconds))},
            )

    def _give_back(self, address: str) -> None:
        self.rates.give_back(f"failures {self.network(address)}", FAILURES)


def _no_key(detail: str) -> Problem:
    return _unauthorized(detail, ', error="invalid_token"')


def _unauthorized(detail: str, error: str) -> Problem:
    return Problem(401, "unauthorized", detail, {"www-authenticate": f'Bearer realm="radmeter"{error}'})
