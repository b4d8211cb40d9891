"""HTTP on a connection, with limits: how large the head of a request may be, how long it may take to come, and how many
connections an address may have.

uvicorn has none of them. Without them a client could send one byte a second, or a header without an end (slowloris), or
open all connections that there are.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD = 32 << 10
MOST_HEADERS = 100
HEAD_SECONDS = 10.0
# A scope's extension. Its `now` is a function that ends the connection of a client that takes nothing.
ABORT = "radmeter.abort"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_MANY = (
    b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\nretry-after: 10\r\ncontent-length: 0\r\n\r\n"
)
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Addresses:
    """Counts the connections of each address.

    Parameters
    ----------
    most
        So many an address may have.
    network
        Returns whose address it is.
    is_unbounded
        Returns whether it may have more: a proxy has those of all its clients.
    """

    def __init__(self, most: int, network: Callable[[str], str], is_unbounded: Callable[[str], bool]) -> None:
        self._most = most
        self._network = network
        self._is_unbounded = is_unbounded
        self._open: Counter[str] = Counter()

    def took(self, address: str) -> bool:
        """Count a connection. Return whether it may be used."""
        self._open[self._network(address)] += 1
        return self._open[self._network(address)] <= self._most or self._is_unbounded(address)

    def left(self, address: str) -> None:
        """Count a connection no more."""
        whose = self._network(address)
        self._open[whose] -= 1
        if not self._open[whose]:
            del self._open[whose]


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits."""

    def __init__(self, *arguments: Any, addresses: Addresses, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._addresses = addresses
        self._address: str | None = None

    _head_bytes = 0
    _in_head = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the base class
        """Begin to wait for a request."""
        super().connection_made(transport)
        if self.client is not None:
            self._address = self.client[0]
            if not self._addresses.took(self._address):
                self._refuse(TOO_MANY)
                return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        if self._address is not None:
            self._addresses.left(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes. A head that is too large ends the connection."""
        if self._in_head:
            self._head_bytes += len(data)
            # The rest of a part may be a body.
            if self._head_bytes > LARGEST_HEAD + 65_536 or (
                self._head_bytes > LARGEST_HEAD and b"\r\n\r\n" not in data
            ):
                self._refuse(TOO_LARGE)
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"now": self._abort}}
        if self._timer is None:
            before = self._head_bytes
            self._expect_head()
            self._head_bytes = before

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        if len(self.headers) > MOST_HEADERS:
            raise ValueError("too many headers")

    def on_headers_complete(self) -> None:
        """End the head."""
        self._in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request. The next one on the connection may take its time to begin (timeout_keep_alive)."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, TOO_SLOW)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self) -> None:
        """End the connection at once. To close it is to wait until the client has taken what is on its way."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        transport: Any = self.transport
        if transport is not None:
            transport.abort()

    def _refuse(self, answer: bytes) -> None:
        self._stop_timer()
        transport: Any = self.transport
        if transport is not None and not transport.is_closing():
            transport.write(answer)
            transport.close()
