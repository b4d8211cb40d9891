"""Builds RADIUS accounting packets byte by byte, because a client library refuses to build most bad ones."""

import hashlib
import itertools
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Self

SECRET = b"testing123"
ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE = 4, 5

CODES = {
    "User-Name": 1,
    "NAS-IP-Address": 4,
    "NAS-Port": 5,
    "Service-Type": 6,
    "Framed-Protocol": 7,
    "Framed-IP-Address": 8,
    "Class": 25,
    "Called-Station-Id": 30,
    "Calling-Station-Id": 31,
    "NAS-Identifier": 32,
    "Proxy-State": 33,
    "Acct-Status-Type": 40,
    "Acct-Delay-Time": 41,
    "Acct-Input-Octets": 42,
    "Acct-Output-Octets": 43,
    "Acct-Session-Id": 44,
    "Acct-Authentic": 45,
    "Acct-Session-Time": 46,
    "Acct-Input-Packets": 47,
    "Acct-Output-Packets": 48,
    "Acct-Terminate-Cause": 49,
    "Acct-Multi-Session-Id": 50,
    "Acct-Input-Gigawords": 52,
    "Acct-Output-Gigawords": 53,
    "Event-Timestamp": 55,
    "NAS-Port-Type": 61,
    "Connect-Info": 77,
    "Acct-Interim-Interval": 85,
    "NAS-Port-Id": 87,
    "NAS-IPv6-Address": 95,
    "Framed-Interface-Id": 96,
    "Framed-IPv6-Prefix": 97,
    "Delegated-IPv6-Prefix": 123,
    "Framed-IPv6-Address": 168,
}
STATUS = {"Start": 1, "Stop": 2, "Interim-Update": 3, "Accounting-On": 7, "Tunnel-Start": 9, "Failed": 15}

Value = str | int | bytes
Pairs = Mapping[str, Value] | Sequence[tuple[str, Value]]


def attribute(code: int, value: Value) -> bytes:
    """Encode one attribute: text as UTF-8, a number in four octets, octets as they are (RFC 2866 section 5)."""
    if isinstance(value, str):
        value = value.encode()
    elif isinstance(value, int):
        value = struct.pack("!I", value)
    return bytes([code, len(value) + 2]) + value


def attributes(pairs: Pairs) -> bytes:
    """Encode attributes by name. Acct-Status-Type may also be given by the name of its value."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return b"".join(
        attribute(CODES[name], STATUS.get(value, value) if isinstance(value, str) else value)
        for name, value in items
    )


def request(body: bytes | Pairs, *, identifier: int = 0, secret: bytes = SECRET) -> bytes:
    """Build an Accounting-Request with its authenticator (RFC 2866 section 3)."""
    if not isinstance(body, bytes):
        body = attributes(body)
    head = struct.pack("!BBH", ACCOUNTING_REQUEST, identifier, 20 + len(body))
    return head + hashlib.md5(head + bytes(16) + body + secret).digest() + body


def answers(reply: bytes, packet: bytes, secret: bytes = SECRET) -> bool:
    """Tell whether `reply` is the Accounting-Response to `packet`, with the right authenticator."""
    expected = hashlib.md5(reply[:4] + packet[4:20] + reply[20:] + secret).digest()
    return reply[0] == ACCOUNTING_RESPONSE and reply[1] == packet[1] and reply[4:20] == expected


class Router:
    """A NAS with its own socket that sends to one server."""

    def __init__(self, server: tuple[str, int], *, source: str = "") -> None:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self._server = server
        self._identifiers = itertools.cycle(range(256))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def packet(self, body: bytes | Pairs, *, secret: bytes = SECRET) -> bytes:
        """Build an Accounting-Request with the next identifier."""
        return request(body, identifier=next(self._identifiers), secret=secret)

    def send(self, body: bytes | Pairs, *, secret: bytes = SECRET, seconds: float = 5.0) -> bool:
        """Send an Accounting-Request once; tell whether it was answered."""
        return self.answered(self.packet(body, secret=secret), seconds=seconds)

    def answered(self, packet: bytes, *, seconds: float = 5.0) -> bool:
        """Send a packet once; tell whether it was answered in time."""
        return self.reply(packet, seconds=seconds) is not None

    def reply(self, packet: bytes, *, seconds: float = 5.0) -> bytes | None:
        """Send a packet once; return the attributes of the answer, or None if there was none in time."""
        try:
            self._socket.sendto(packet, self._server)
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                reply = self._socket.recv(4096)
                if answers(reply, packet):
                    return reply[20:]
        except (TimeoutError, ConnectionRefusedError):
            pass
        return None

    def insist(self, packet: bytes, *, seconds: float = 120.0) -> None:
        """Send the same packet repeatedly, as a router does, until it is answered."""
        deadline = time.monotonic() + seconds
        while not self.answered(packet, seconds=0.5):
            assert time.monotonic() < deadline, "no answer"
