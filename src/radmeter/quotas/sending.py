"""Sends requests to many routers at once over UDP, and waits for their answers.

A request has an Identifier that no other request under way to the same address has (RFC 5176 section 2.3). So a socket
has at most 256 under way to one. If they are all in use, another socket is opened. What is sent again is the same
datagram from the same port. A router has a bounded number under way, and one that is silent delays no other.
"""

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from radmeter.quotas.coa import Answer, Request, read

Address = tuple[str, int]

IDENTIFIERS = 256
RECEIVE_BUFFER_BYTES = 1 << 20
# Seconds to wait for an answer to the first, second and third datagram.
PAUSES = (1.0, 2.0, 3.0)
# Requests under way to one router. Small routers have a small buffer.
PER_ROUTER = 16


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes
    ----------
    answer
        None: there was none.
    unproven
        Something answered, but not with the right secret.
    error
        What the operating system said if it could not send.
    sent
        False: the time was over before it was sent.
    """

    answer: Answer | None = None
    unproven: bool = False
    error: str | None = None
    sent: bool = True


class _Waiting:
    """A request under way."""

    def __init__(self, request: Request, answered: asyncio.Future[Answer]) -> None:
        self.request = request
        self.answered = answered
        self.unproven = False


class _Socket(asyncio.DatagramProtocol):
    """A UDP socket with its requests under way, by address and Identifier."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport | None = None
        self.waiting: defaultdict[Address, dict[int, _Waiting | None]] = defaultdict(dict)
        self._next: defaultdict[Address, int] = defaultdict(int)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        found = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        waiting = self.waiting.get(addr[:2], {}).get(data[1]) if len(data) > 1 else None
        if waiting is None or waiting.answered.done():
            return
        answer = read(waiting.request, data)
        if answer is None:
            waiting.unproven = True
        else:
            waiting.answered.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        """Do nothing: a socket that is not connected gets errors of any destination. The request has its deadline."""

    def identifier(self, address: Address) -> int | None:
        """Take an unused Identifier, the one that has been unused for longest. None: all 256 are in use."""
        used = self.waiting[address]
        if len(used) >= IDENTIFIERS:
            return None
        number = self._next[address]
        while number in used:
            number = (number + 1) % IDENTIFIERS
        self._next[address] = (number + 1) % IDENTIFIERS
        used[number] = None
        return number

    def forget(self, address: Address, identifier: int) -> None:
        """Give an Identifier back."""
        used = self.waiting[address]
        used.pop(identifier, None)
        if not used:
            del self.waiting[address]


class Sender:
    """Sends requests from the running event loop."""

    def __init__(self, pauses: tuple[float, ...] = PAUSES, per_router: int = PER_ROUTER) -> None:
        self._pauses = pauses
        self._per_router = per_router
        self._sockets: defaultdict[str, list[_Socket]] = defaultdict(list)
        self._opening = asyncio.Lock()
        self._places: dict[Address, asyncio.Semaphore] = {}

    async def send(
        self,
        make: Callable[[int], Request],
        address: Address,
        *,
        source: str | None = None,
        until: float | None = None,
    ) -> Outcome:
        """Send a request, again if there is no answer, and return what came of it.

        Parameters
        ----------
        make
            Makes the request with an Identifier.
        source
            The address to send from. None: as the kernel chooses.
        until
            Nothing is sent after this time of `time.monotonic`: another process may have the request then.
        """
        place = self._places.setdefault(address, asyncio.Semaphore(self._per_router))
        async with place:
            try:
                through, identifier = await self._through(address, source)
            except OSError as error:
                return Outcome(error=f"cannot send from {source}: {error.strerror}")
            try:
                waiting = _Waiting(make(identifier), asyncio.get_running_loop().create_future())
                through.waiting[address][identifier] = waiting
                return await self._transmit(through, address, waiting, until)
            finally:
                through.forget(address, identifier)

    async def _transmit(
        self, through: _Socket, address: Address, waiting: _Waiting, until: float | None
    ) -> Outcome:
        assert through.transport is not None
        sent = False
        for pause in self._pauses:
            if until is not None and time.monotonic() >= until:
                break
            sent = True
            through.transport.sendto(waiting.request.datagram, address)
            with suppress(TimeoutError):
                answer = await asyncio.wait_for(asyncio.shield(waiting.answered), pause)
                return Outcome(answer, waiting.unproven)
        return Outcome(None, waiting.unproven, sent=sent)

    async def _through(self, address: Address, source: str | None) -> tuple[_Socket, int]:
        any_address = "::" if ":" in address[0] else "0.0.0.0"  # noqa: S104  # an outgoing socket
        local = source or any_address
        for each in self._sockets[local]:
            if (identifier := each.identifier(address)) is not None:
                return each, identifier
        async with self._opening:
            for each in self._sockets[local]:
                if (identifier := each.identifier(address)) is not None:
                    return each, identifier
            _, opened = await asyncio.get_running_loop().create_datagram_endpoint(
                _Socket, local_addr=(local, 0)
            )
            self._sockets[local].append(opened)
        identifier = opened.identifier(address)
        assert identifier is not None
        return opened, identifier

    def close(self) -> None:
        """Close the sockets."""
        for sockets in self._sockets.values():
            for each in sockets:
                if each.transport is not None:
                    each.transport.close()
        self._sockets.clear()
