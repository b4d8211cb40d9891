"""/api/v1/stream: server-sent events (WHATWG HTML, section 9.2) of figures, routers and alerts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.types import Receive, Scope, Send

from radmeter.api.callers import Caller
from radmeter.api.hub import Event, Hub
from radmeter.api.problems import Problem
from radmeter.api.route import OPERATORS

HEARTBEAT_SECONDS = 15.0
RETRY_MS = 3000
# Keys of streams are looked up so often, but no more than so many in a second: a key that was revoked ends its streams
# within two seconds, unless very many keys listen.
CHECK_SECONDS, CHECKS_PER_SECOND = 1.0, 20
# A client that takes nothing for so long is gone.
SEND_SECONDS = 20.0
MOST_LISTENERS = 2000
MOST_OF_A_KEY = 1200
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # nginx would keep events back until its buffer is full.
    (b"x-accel-buffering", b"no"),
    (b"cache-control", b"no-store"),
)


class Stream:
    """Sends the events of a hub to those whose keys hold.

    Parameters
    ----------
    again
        Returns the caller as it is now, or raises Problem: its key was revoked or has expired.
    """

    def __init__(self, hub: Hub, again: Callable[[Caller], Awaitable[Caller]]) -> None:
        self._hub = hub
        self._again = again
        self._of_keys: dict[str, int] = {}
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Close all streams: the server ends."""
        self._ending.set()

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, caller: Caller, last_id: str
    ) -> None:
        """Send events until the client, the key or the server ends. Raises Problem before anything is sent."""
        if caller.role not in OPERATORS:
            raise Problem(
                403,
                "forbidden",
                f"the stream is for keys of the roles noc, reader; this key has {caller.role}",
            )
        count = self._of_keys.get(caller.key_id, 0)
        if self._hub.listeners >= MOST_LISTENERS or count >= MOST_OF_A_KEY:
            raise Problem(503, "too-many-streams", "too many streams are open", {"retry-after": "30"})
        self._of_keys[caller.key_id] = count + 1
        gone = asyncio.create_task(_gone(receive))
        ending = asyncio.create_task(self._ending.wait())
        sending = asyncio.create_task(self._send(send, caller, last_id))
        try:
            done, _ = await asyncio.wait({gone, ending, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending not in done:
                sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            error = None if sending.cancelled() else sending.exception()
            if error is not None and not isinstance(error, TimeoutError | OSError):
                raise error
            if ending in done or (sending in done and error is None):
                await _part(send, b"", more=False)
        finally:
            for task in (gone, ending, sending):
                task.cancel()
            await asyncio.gather(gone, ending, sending, return_exceptions=True)
            left = self._of_keys[caller.key_id] - 1
            if left:
                self._of_keys[caller.key_id] = left
            else:
                del self._of_keys[caller.key_id]

    async def _send(self, send: Send, caller: Caller, last_id: str) -> None:
        async with self._hub.listening() as listener:
            # Here, so that nothing is missed between what is sent again and what comes.
            before = self._hub.since(last_id) if last_id else []
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await _part(send, b"retry: %d\n\n" % RETRY_MS)
            if before is None:
                await _part(send, b"event: resync\ndata: {}\n\n")
            elif before:
                await _part(send, b"".join(map(self._text, before)))
            checked = heard = time.monotonic()
            while True:
                now = time.monotonic()
                check = max(CHECK_SECONDS, len(self._of_keys) / CHECKS_PER_SECOND)
                wait = min(heard + HEARTBEAT_SECONDS, checked + check) - now
                if caller.expires_at is not None:
                    wait = min(wait, (caller.expires_at - datetime.now(UTC)).total_seconds())
                events = await listener.take(max(0.05, wait))
                if listener.dropped:
                    listener.dropped = False
                    await _part(send, b"event: resync\ndata: {}\n\n")
                if events:
                    await _part(send, b"".join(map(self._text, events)))
                    heard = time.monotonic()
                elif time.monotonic() - heard >= HEARTBEAT_SECONDS:
                    await _part(send, b": alive\n\n")
                    heard = time.monotonic()
                if time.monotonic() - checked >= check or _expired(caller):
                    checked = time.monotonic()
                    try:
                        caller = await self._again(caller)
                    except Problem as problem:
                        # While the database is away, nobody knows whether it was revoked.
                        if problem.status in (401, 403) or _expired(caller):
                            await _part(
                                send, b'event: end\ndata: {"reason": "the key does not hold any more"}\n\n'
                            )
                            return

    def _text(self, event: Event) -> bytes:
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (
            self._hub.id_of(event).encode(),
            event.name.encode(),
            event.text,
        )


def _expired(caller: Caller) -> bool:
    return caller.expires_at is not None and caller.expires_at <= datetime.now(UTC)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _part(send: Send, part: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await send({"type": "http.response.body", "body": part, "more_body": more})
