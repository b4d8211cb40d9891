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
from radmeter.api.connection import ApiConnection
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem
from radmeter.api.rates import Decision, Rates
from radmeter.api.transactions import plain
from radmeter.config import Networks
from radmeter.keys.text import parsed

log = logging.getLogger(__name__)

# So long a key that was found is not looked up again: a key that was revoked holds for so long at most.
FOUND_SECONDS = 0.9
MOST_KEYS = 10_000
# So many wrong keys an address may try: then none that is new is looked up.
FAILURES, FAILURE_SECONDS = 20, 60.0
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
        self._finding: dict[str, asyncio.Task[_Known | None]] = {}
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
        if key is not None:
            found = self._known.get(key.id)
            recent = found is not None and secrets.compare_digest(found.secret_sha256, key.sha256)
            if found is not None and recent and found.until > self._now():
                return self._in_time(found.caller, address)
            # An address that tries keys slows only those that were not in use a moment ago.
            if not recent:
                self._slow(address)
            found = await self._find(key.id)
            if found is not None and secrets.compare_digest(found.secret_sha256, key.sha256):
                await self._note(key.id)
                return self._in_time(found.caller, address)
            self._known.pop(key.id, None)
        else:
            self._slow(address)
        raise self._failed(address, "this key is none, or it was revoked or has expired")

    async def holder(self, key_id: str) -> Caller:
        """Return who has the key with an id, for logins of pages, which have proved the key before.

        Raises
        ------
        Problem
            401: it was revoked, or has expired.
        """
        found = self._known.get(key_id)
        if found is None or found.until <= self._now():
            found = await self._find(key_id)
            if found is not None:
                await self._note(key_id)
        if found is None or (
            found.caller.expires_at is not None and found.caller.expires_at <= datetime.now(UTC)
        ):
            self._known.pop(key_id, None)
            raise _unauthorized("this key was revoked or has expired", ', error="invalid_token"')
        return found.caller

    def rate(self, caller: Caller) -> Decision:
        """Take a request of the caller's rate."""
        return self.rates.take(caller.key_id, caller.rate_count, caller.rate_seconds)

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

    def is_proxy(self, address: str) -> bool:
        """Return whether an address is that of a proxy that is trusted."""
        if not self._proxies:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)

    def _in_time(self, caller: Caller, address: str) -> Caller:
        if caller.expires_at is not None and caller.expires_at <= datetime.now(UTC):
            raise self._failed(address, "this key has expired")
        return caller

    async def _find(self, key_id: str) -> _Known | None:
        """Look a key up. Requests that come meanwhile wait for the same answer."""
        finding = self._finding.get(key_id)
        if finding is None:
            finding = self._finding[key_id] = asyncio.create_task(self._look_up(key_id))
            finding.add_done_callback(lambda _: self._finding.pop(key_id))
        return await asyncio.shield(finding)

    async def _look_up(self, key_id: str) -> _Known | None:
        # Counted from here: a key that is revoked while the database answers holds no longer than others.
        until = self._now() + FOUND_SECONDS
        row = await self._row_of(key_id)
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

    async def _row_of(self, key_id: str) -> tuple[Any, ...] | None:
        """Ask where keys are written, since a standby may not know yet that one was revoked; else the standby."""
        if not (self._pools.has_standby and self._pools.is_away(writes=True)):
            try:
                async with plain(self._pools, writes=True) as connection:
                    return await _row(connection, key_id)
            except Problem as problem:
                if problem.status != 503 or not self._pools.has_standby:
                    raise
        async with plain(self._pools, writes=False) as connection:
            return await _row(connection, key_id)

    async def _note(self, key_id: str) -> None:
        """Note that a key is in use. That must not fail a request."""
        if self._noted.get(key_id, float("-inf")) > self._now() - NOTE_SECONDS:
            return
        if len(self._noted) > MOST_KEYS:
            self._noted.clear()
        self._noted[key_id] = self._now()
        try:
            async with plain(self._pools, writes=True) as connection:
                await connection.execute("SELECT radmeter.note_keys_used(%s::text[])", ([key_id],))
        except (psycopg.Error, Problem) as error:
            log.warning("the use of key %s was not noted: %s", key_id, error)

    def _slow(self, address: str) -> None:
        """Refuse an address that tried too many keys."""
        decision = self.rates.take(_failures_of(address), FAILURES, FAILURE_SECONDS, tokens=0)
        if not decision.allowed:
            raise Problem(
                429,
                "too-many-failures",
                "too many wrong keys came from this address",
                {"retry-after": str(max(1, decision.seconds))},
            )

    def _failed(self, address: str, detail: str) -> Problem:
        self.rates.take(_failures_of(address), FAILURES, FAILURE_SECONDS)
        return _unauthorized(detail, ', error="invalid_token"')


async def _row(connection: ApiConnection, key_id: str) -> tuple[Any, ...] | None:
    cursor = await connection.execute(FIND, (key_id,))
    return await cursor.fetchone()


def _failures_of(address: str) -> str:
    """Return the name of the bucket of an address. One customer has a whole /64 of IPv6 (RFC 6177)."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return f"failures {address}"
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64)
    return f"failures {found}"


def _unauthorized(detail: str, error: str) -> Problem:
    return Problem(401, "unauthorized", detail, {"www-authenticate": f'Bearer realm="radmeter"{error}'})
