"""HTTP on a connection, with limits: how many octets may come, how long each wait may last, and how many connections an
address may have.

uvicorn has none of them. Without them a client could send one octet a second, or a header or a trailer without an end
(slowloris), or open all connections that there are.

**Octets.** What belongs to no body counts, from the end of one request to the end of the next: empty lines, the head,
lines of chunks, the trailer. LARGEST_HEAD of them end the connection.

**Time.** No octet moves a deadline: an octet is cheap. The first request begins, and each head ends, in HEAD_SECONDS.
After an answer the next head begins in KEEP_ALIVE_SECONDS, whatever is missing of the request before. While an answer
is made, its own limits hold. What is on its way is taken with LEAST_TAKEN in TAKE_SECONDS.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_remote_addr
from uvloop.loop import SSLProtocol  # type: ignore[attr-defined] # its types lack it

LARGEST_HEAD = 32 << 10
MOST_HEADERS = 100
# What the parser is given at once: the count is as exact as this.
PIECE = 4 << 10
# Requests behind the one that is answered, and the octets of their bodies. A proxy sends none before it has the answer.
MOST_WAITING, MOST_OCTETS_WAITING = 20, 64 << 10
HEAD_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 30
# As long as for a part of a file (api/outgoing.py), and as much.
LEAST_TAKEN, TAKE_SECONDS = 64 << 10, 60.0
MOST_CLOSING_SECONDS = 86_400.0
# A scope's extension. Its `now` is a function that ends the connection of a client that takes nothing.
ABORT = "radmeter.abort"
MALFORMED = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
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


class Part(Enum):
    """What of a request has come last."""

    BETWEEN = auto()
    HEAD = auto()
    # Body, lines of chunks, trailer.
    REST = auto()


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits.

    Parameters
    ----------
    addresses
        Counts the connection. None: it is counted already.
    """

    def __init__(self, *arguments: Any, addresses: Addresses | None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._addresses = addresses
        self._address: str | None = None
        # What the octets go over: below TLS, if there is TLS. Only it knows how much the client has taken.
        self.wire: asyncio.Transport | None = None

    _part = Part.BETWEEN
    _octets = 0
    _is_deaf = False
    # The request that is being answered. uvicorn's self.cycle is the last one that has come: it may wait behind it.
    _answered: RequestResponseCycle | None = None
    _deadline: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the base class
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.wire = self.wire or transport
        self._expect(HEAD_SECONDS)
        if self._addresses is not None and self.client is not None:
            self._address = self.client[0]
            if not self._addresses.took(self._address):
                self._refuse(TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._expect(None)
        self.expect_taking(False)
        if self._addresses is not None and self._address is not None:
            self._addresses.left(self._address)
            self._address = None
        self._hang_up()
        super().connection_lost(exc)

    # What comes.

    def data_received(self, data: bytes) -> None:
        """Take octets, in pieces: the parser knows which of them are a body, but copies what has no end in each."""
        for begin in range(0, len(data), PIECE):
            if self._is_deaf or self.is_closing:
                return
            piece = data[begin : begin + PIECE]
            self._octets += len(piece)
            super().data_received(piece)
            if self._octets > LARGEST_HEAD:
                self._refuse(TOO_LARGE)

    def eof_received(self) -> None:
        """Close: the client sends nothing more."""
        super().eof_received()
        self.expect_taking(True)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"now": self._abort}}
        self._part = Part.HEAD
        self._expect(HEAD_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A field of a trailer is none: no proxy has looked at it (RFC 9110, section 6.5.1)."""
        if self._part is not Part.HEAD:
            return
        super().on_header(name, value)
        if len(self.headers) > MOST_HEADERS:
            raise ValueError("too many headers")

    def on_headers_complete(self) -> None:
        """End the head. A proxy and we could take another Host, if there are two (RFC 9112, section 3.2)."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise ValueError("not one Host")
        super().on_headers_complete()
        self._part = Part.REST
        self._expect(None)
        if len(self.pipeline) > MOST_WAITING:
            raise ValueError("too many requests wait")

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body. Who reads it limits it; of requests that wait, nobody reads it yet."""
        self._octets -= len(body)
        super().on_body(body)
        if sum(len(cycle.body) for cycle, _ in self.pipeline) > MOST_OCTETS_WAITING:
            raise ValueError("too much waits")

    def on_message_complete(self) -> None:
        """End the request."""
        super().on_message_complete()
        self._part, self._octets = Part.BETWEEN, 0

    def _unsupported_upgrade_warning(self) -> None:
        """Answer in HTTP/1.1, and close: the parser takes what comes now for another protocol."""
        self._is_deaf = True
        self.cycle.keep_alive = False

    # What is answered.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """End an answer. The next request begins in time, whatever else comes."""
        super().on_response_complete()
        # Each octet would end uvicorn's own timer.
        self._unset_keepalive_if_required()
        self._expect(KEEP_ALIVE_SECONDS)
        if self.is_closing:
            self.expect_taking(True)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        self._refuse(MALFORMED)

    def pause_writing(self) -> None:
        """Wait until the client has taken what is on its way."""
        super().pause_writing()
        if self.wire is self.transport:
            self.expect_taking(True)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self.wire is self.transport:
            self.expect_taking(self.is_closing)

    def expect_taking(self, more: bool) -> None:
        """Watch that the client takes what is on its way; no more: it has taken it, or is gone."""
        if self._taking is not None:
            self._taking.cancel()
        self._taking = None
        if more and self.wire is not None:
            left = self.wire.get_write_buffer_size()
            self._taking = self.loop.call_later(TAKE_SECONDS, self._check_taken, left)

    def _check_taken(self, before: int) -> None:
        if self.wire is not None and self.wire.get_write_buffer_size() > before - LEAST_TAKEN:
            self._abort()
        else:
            self.expect_taking(True)

    # What ends a connection.

    @property
    def is_closing(self) -> bool:
        """Nothing more is read. What is on its way is still sent."""
        # Before the end of a TLS handshake there is no transport.
        return self.transport is not None and self.transport.is_closing()

    @property
    def _is_answering(self) -> bool:
        return self._answered is not None and not self._answered.response_complete

    def _expect(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        # The end of an answer begins the wait anew.
        if self._is_answering or self.is_closing:
            return
        if self._part is Part.HEAD or self._answered is None:
            self._refuse(TOO_SLOW)
        else:
            # A client could take an answer for that of a request that it sends now.
            self._close()

    def _refuse(self, answer: bytes) -> None:
        """End the connection. An answer is sent only where one is due: within another it would be a part of that."""
        if self.is_closing:
            return
        is_due = not self._is_answering
        if self._part is Part.REST:
            is_due = self._answered is self.cycle and not self.cycle.response_started
        if is_due:
            self.transport.write(answer)
        self._close()

    def _close(self) -> None:
        self._hang_up()
        self.transport.close()
        self.expect_taking(True)

    def _abort(self) -> None:
        """End the connection at once. To close it is to wait until the client has taken what is on its way."""
        self._hang_up()
        if self.wire is not None:
            self.wire.abort()

    def _hang_up(self) -> None:
        """Tell who is answering that the client is gone. uvicorn tells it the last request."""
        if self._is_answering and self._answered is not None:
            self._answered.disconnected = True
            self._answered.message_event.set()


class CountedTls(SSLProtocol):  # type: ignore[misc] # uvloop has no types for it
    """TLS. The connection is counted from its begin, before the handshake, which has to come in time.

    What is above is begun by the end of the handshake: who never ends it could have any number of connections.
    """

    def __init__(self, above: BoundedProtocol, context: ssl.SSLContext, addresses: Addresses) -> None:
        super().__init__(
            above.loop,
            above,
            context,
            None,
            server_side=True,
            ssl_handshake_timeout=HEAD_SECONDS,
            # The connection ends before, if the client takes too little.
            ssl_shutdown_timeout=MOST_CLOSING_SECONDS,
        )
        self._above = above
        self._addresses = addresses
        self._address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin the handshake."""
        self._above.wire = transport
        peer = get_remote_addr(transport)
        if peer is not None:
            self._address = peer[0]
            if not self._addresses.took(self._address):
                transport.abort()
                return
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._above.expect_taking(False)
        if self._address is not None:
            self._addresses.left(self._address)
            self._address = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait until the client has taken what is on its way."""
        super().pause_writing()
        self._above.expect_taking(True)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._above.expect_taking(self._above.is_closing)
