"""Around every request: security headers, and a line in the access log."""

import logging
import time
from collections.abc import Callable
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from radmeter.api.problems import MEDIA_TYPE, Problem
from radmeter.api.protocol import ABORT
from radmeter.keys.text import hidden
from radmeter.printable import printable

log = logging.getLogger("radmeter.access")
errors = logging.getLogger(__name__)

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    # For answers that are no pages. A page sets its own.
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
# Only over TLS a browser takes it.
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
MOST_ENCODINGS = 4
NOT_SHOWN = "(a path that is encoded too often to be shown)"
LONGEST_SHOWN = 300


class Around:
    """Adds security headers, writes the access log, and turns an unexpected error into an answer without details."""

    def __init__(self, app: ASGIApp, *, address: Callable[[Scope], str], tls: bool) -> None:
        self._app = app
        self._address = address
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state = scope.setdefault("state", {})
        status, size, started, complete = 0, 0, False, False

        async def sending(message: Message) -> None:
            nonlocal status, size, started, complete
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                given += [each for each in HEADERS.items() if each[0] not in names]
                if self._tls:
                    given.append(STRICT_TRANSPORT)
                message = {**message, "headers": given}
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)
            complete = complete or (message["type"] == "http.response.body" and not message.get("more_body"))

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            # A client that takes nothing any more is no fault. Before the first byte, a TimeoutError is another one.
            if started and isinstance(error, TimeoutError):
                return
            errors.exception("a request failed: %s %s", scope["method"], shown(scope))
            if started:
                raise
            problem = Problem(500, "fault", "the server has a fault: its log says which")
            body = problem.body()
            headers = [
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
            ]
            await sending({"type": "http.response.start", "status": 500, "headers": headers})
            await sending({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        finally:
            if started and not complete:
                # What is on its way would wait for the client, and hold the connection.
                abort = scope.get("extensions", {}).get(ABORT)
                if abort is not None:
                    abort["now"]()
            log.info(
                "%s key=%s %s %s %d %d bytes %.1f ms",
                self._address(scope),
                printable(state.get("key", "-")),
                printable(scope["method"]),
                shown(scope),
                status,
                size,
                (time.perf_counter() - began) * 1000,
            )


def shown(scope: Scope) -> str:
    """Return a request's path for a log, without what is a key or looks like one. Parameters are left out."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    # A key may be written with %5F, and that in turn with %255F. Each round reads the whole path. No client of ours
    # needs many, and what does may have a key in it.
    plain = path
    for _ in range(MOST_ENCODINGS):
        once = unquote(plain)
        if once == plain:
            break
        plain = once
    else:
        return NOT_SHOWN
    text = printable(path if hidden(plain) == plain else hidden(plain))
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + ".."
