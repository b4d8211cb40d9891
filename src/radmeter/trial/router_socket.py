"""A simulated router's UDP socket, with its identifiers and authenticators."""

import errno
import hashlib
import hmac
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from pyrad.dictionary import Dictionary
from pyrad.packet import AccountingResponse, AcctPacket

from radmeter.trial.traffic import Report

# Retransmissions may use this many of the 256 identifiers, so that there is always one for a new packet.
MOST_RETRY_IDENTIFIERS = 127
# What the network says if no packet gets to the server: ICMP port, host and network unreachable.
NOBODY_THERE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)


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

    def __init__(self, host: str, port: int, secret: bytes, dictionary: Dictionary) -> None:
        self._secret = secret
        self._dictionary = dictionary
        self._awaited: dict[int, tuple[Outstanding, bytes]] = {}
        self._next_identifier = 0
        self.refused: OSError | None = None
        """The latest error that says that no packet gets to the server."""
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
        packet = AcctPacket(id=identifier, secret=self._secret, dict=self._dictionary)
        packet["Acct-Status-Type"] = report.status
        for name, value in report.attributes.items():
            packet[name] = value
        if report.router.has_clock:
            packet["Event-Timestamp"] = int(report.event_time)
        packet["Acct-Delay-Time"] = delay_seconds
        sending.datagram = packet.RequestPacket()
        sending.identifiers.append(identifier)
        self._awaited[identifier] = sending, packet.authenticator

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
        except OSError as error:  # a full buffer, or no server: treat the packet as lost
            self._note(error)
            return False
        return True

    def receive(self) -> Iterator[Outstanding | None]:
        """Yield the report that each waiting reply acknowledges; None for a reply that is not genuine."""
        while True:
            try:
                reply = self._socket.recv(4096)
            except BlockingIOError:
                return
            except OSError as error:  # ICMP: no server there; the packet is sent again later
                self._note(error)
                continue
            self.refused = None
            awaited = self._awaited.get(reply[1]) if len(reply) >= 20 else None
            if awaited is not None:  # None: the second reply to a packet that was sent twice
                sending, authenticator = awaited
                yield sending if self._is_genuine(reply, authenticator) else None

    def _note(self, error: OSError) -> None:
        if error.errno in NOBODY_THERE:
            self.refused = error

    def forget(self, sending: Outstanding) -> None:
        """Free the identifiers of an acknowledged packet."""
        for identifier in sending.identifiers:
            del self._awaited[identifier]

    def _is_genuine(self, reply: bytes, request_authenticator: bytes) -> bool:
        # RFC 2866 section 3, Response Authenticator. Done here because pyrad would decode the whole packet.
        signed = reply[:4] + request_authenticator + reply[20:] + self._secret
        expected = hashlib.md5(signed).digest()  # noqa: S324 # the RFC's choice
        return reply[0] == AccountingResponse and hmac.compare_digest(expected, reply[4:20])
