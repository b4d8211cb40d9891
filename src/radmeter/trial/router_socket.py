"""A simulated router's UDP socket, with its identifiers and authenticators."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from radmeter.freeradius import radius_requests
from radmeter.trial.traffic import Report

# Retransmissions may use this many of the 256 identifiers, so that there is always one for a new packet.
MOST_RETRY_IDENTIFIERS = 127


@dataclass(eq=False)
class Outstanding:
    """A report that is sent but not acknowledged yet."""

    report: Report
    user: int | None
    first_sent: float
    datagram: bytes = b""
    identifiers: list[int] = field(default_factory=list)
    tries: int = 0
    lose_reply: bool = False
    acknowledged: bool = False


class RouterSocket:
    """Sends one router's reports. Each router has its own socket, and so its own 256 identifiers (RFC 2865 5)."""

    def __init__(self, host: str, port: int, secret: bytes) -> None:
        self._secret = secret
        self._awaited: dict[int, tuple[Outstanding, bytes]] = {}
        self._next_identifier = 0
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the socket's descriptor, for a selector."""
        return self._socket.fileno()

    def encode(self, sending: Outstanding, delay_seconds: int = 0) -> None:
        """Make the packet, with an unused identifier."""
        report = sending.report
        identifier = self._next_identifier
        while identifier in self._awaited:
            identifier = (identifier + 1) % 256
        self._next_identifier = (identifier + 1) % 256
        attributes: dict[str, str | int] = {"Acct-Status-Type": report.status, **report.attributes}
        if report.router.has_clock:
            attributes["Event-Timestamp"] = int(report.event_time)
        attributes["Acct-Delay-Time"] = delay_seconds
        request = radius_requests.accounting(identifier, attributes, self._secret)
        sending.datagram = request.datagram
        sending.identifiers.append(identifier)
        self._awaited[identifier] = sending, request.authenticator

    def encode_again(self, sending: Outstanding, delay_seconds: int) -> None:
        """Make the packet for a retransmission: the same one, or one with a new Acct-Delay-Time.

        A router without a clock sends the delay. A new delay changes the contents, so the packet needs a new identifier
        (RFC 2866 section 5.2).
        """
        if not sending.report.router.has_clock and len(self._awaited) <= MOST_RETRY_IDENTIFIERS:
            self.encode(sending, delay_seconds)

    def send(self, sending: Outstanding) -> bool:
        """Send the packet; return False if the system refused it."""
        try:
            self._socket.send(sending.datagram)
        except OSError:  # a full buffer, or no server: treat the packet as lost
            return False
        return True

    def receive(self) -> Iterator[Outstanding | None]:
        """Yield the report that each waiting reply acknowledges; None for a reply that is not genuine."""
        while True:
            try:
                reply = self._socket.recv(4096)
            except BlockingIOError:
                return
            except OSError:  # ICMP: no server there; the packet is sent again later
                continue
            awaited = self._awaited.get(reply[1]) if len(reply) >= radius_requests.SHORTEST else None
            if awaited is not None:  # None: the second reply to a packet that was sent twice
                sending, authenticator = awaited
                yield sending if radius_requests.is_genuine(reply, authenticator, self._secret) else None

    def forget(self, sending: Outstanding) -> None:
        """Free the identifiers of an acknowledged packet."""
        for identifier in sending.identifiers:
            del self._awaited[identifier]
