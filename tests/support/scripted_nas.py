"""A router that takes Disconnect- and CoA-Requests, and answers them as its script says."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pyrad.packet import CoAPacket

from radmeter.quotas.coa import dictionary

SECRET = b"nas-secret"
ACK = {40: 41, 43: 44}
NAK = {40: 42, 43: 45}


@dataclass
class Received:
    """A datagram that came to the router."""

    datagram: bytes
    sender: tuple[str, int]
    at: float
    packet: CoAPacket
    genuine: bool

    @property
    def act(self) -> str:
        return "disconnect" if self.packet.code == 40 else "coa"

    def get(self, name: str) -> object:
        """Return the value of an attribute. None: the request does not have it."""
        return self.packet.get(name, [None])[0]


Script = Callable[["Nas", Received], None]


@dataclass
class Nas:
    """The router: what it got, and how it answers."""

    address: str
    port: int
    script: Script
    secret: bytes = SECRET
    received: list[Received] = field(default_factory=list)
    _socket: socket.socket | None = None

    def answer(
        self,
        received: Received,
        codes: dict[int, int],
        cause: int | None = None,
        *,
        secret: bytes | None = None,
        signed: bool = True,
    ) -> bytes:
        """Send an answer, and return it."""
        asked = CoAPacket(packet=received.datagram, secret=secret or self.secret, dict=dictionary())
        reply = asked.CreateReply()
        reply.code = codes[asked.code]
        if cause is not None:
            reply.AddAttribute("Error-Cause", cause)
        if signed:
            reply.add_message_authenticator()
        datagram: bytes = reply.ReplyPacket()
        self.send(datagram, received.sender)
        return datagram

    def send(self, datagram: bytes, to: tuple[str, int]) -> None:
        """Send any datagram."""
        assert self._socket is not None
        self._socket.sendto(datagram, to)

    def requests(self) -> list[Received]:
        """Return the different requests: what came again is left out."""
        seen: dict[bytes, Received] = {}
        for each in list(self.received):
            seen.setdefault(each.datagram, each)
        return list(seen.values())


def acknowledges(nas: Nas, received: Received) -> None:
    """Acknowledge each request."""
    nas.answer(received, ACK)


def refuses(cause: int | None) -> Script:
    """Refuse each request with an Error-Cause."""

    def script(nas: Nas, received: Received) -> None:
        nas.answer(received, NAK, cause)

    return script


def is_silent(nas: Nas, received: Received) -> None:
    """Answer nothing."""


@contextmanager
def scripted_nas(
    script: Script = acknowledges, *, secret: bytes = SECRET, address: str = "127.0.0.1"
) -> Iterator[Nas]:
    """Run a router for the block, on a port from the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        opened.bind((address, 0))
        opened.settimeout(0.1)
        nas = Nas(address, opened.getsockname()[1], script, secret, _socket=opened)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    datagram, sender = opened.recvfrom(4096)
                except TimeoutError:
                    continue
                packet = CoAPacket(packet=datagram, secret=secret, dict=dictionary())
                received = Received(datagram, sender, time.time(), packet, packet.VerifyCoARequest())
                nas.received.append(received)
                nas.script(nas, received)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield nas
        finally:
            ended.set()
            thread.join(timeout=10)
