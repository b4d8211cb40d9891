"""Makes requests as routers send them, and knows a genuine reply: RFC 2865, 2866 and 5997. Standard library only."""

import hashlib
import hmac
import secrets
import socket
import struct
from collections.abc import Mapping
from typing import NamedTuple

ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE, STATUS_SERVER = 4, 5, 12
SHORTEST = 20
"""Octets of a packet without attributes."""

# The attributes that radmeter sends: RFC 2865, 2866 and 2869. Those of routers are in packet/.
CODES = {
    "User-Name": 1,
    "NAS-IP-Address": 4,
    "Framed-IP-Address": 8,
    "Called-Station-Id": 30,
    "Calling-Station-Id": 31,
    "NAS-Identifier": 32,
    "Acct-Status-Type": 40,
    "Acct-Delay-Time": 41,
    "Acct-Input-Octets": 42,
    "Acct-Output-Octets": 43,
    "Acct-Session-Id": 44,
    "Acct-Authentic": 45,
    "Acct-Session-Time": 46,
    "Acct-Terminate-Cause": 49,
    "Acct-Input-Gigawords": 52,
    "Acct-Output-Gigawords": 53,
    "Event-Timestamp": 55,
    "NAS-Port-Type": 61,
    "NAS-Port-Id": 87,
}
ADDRESSES = {"NAS-IP-Address", "Framed-IP-Address"}
# Numbers that have names.
NUMBERS = {
    "Acct-Status-Type": {
        "Start": 1,
        "Stop": 2,
        "Interim-Update": 3,
        "Accounting-On": 7,
        "Accounting-Off": 8,
    },
    "Acct-Authentic": {"RADIUS": 1},
    "Acct-Terminate-Cause": {"User-Request": 1, "Lost-Carrier": 2},
    "NAS-Port-Type": {"Wireless-802.11": 19},
}
MESSAGE_AUTHENTICATOR = 80


class Request(NamedTuple):
    """A request: the octets to send, and its authenticator, with which a reply is checked."""

    datagram: bytes
    authenticator: bytes


def accounting(identifier: int, attributes: Mapping[str, str | int], secret: bytes) -> Request:
    """Return an Accounting-Request. Values are numbers, texts, addresses as text, or names of numbers.

    Raises
    ------
    KeyError
        An attribute, or the name of a number, is not among those above.
    """
    body = b"".join(_attribute(name, value) for name, value in attributes.items())
    head = struct.pack("!BBH", ACCOUNTING_REQUEST, identifier, SHORTEST + len(body))
    # RFC 2866 section 3: the Request Authenticator is a sum over the packet.
    authenticator = _md5(head + bytes(16) + body + secret)
    return Request(head + authenticator + body, authenticator)


def status_server(identifier: int, secret: bytes) -> Request:
    """Return a Status-Server. Its authenticator is random, and its Message-Authenticator signs it (RFC 5997)."""
    authenticator = secrets.token_bytes(16)
    head = struct.pack("!BBH", STATUS_SERVER, identifier, SHORTEST + 18)
    unsigned = head + authenticator + bytes((MESSAGE_AUTHENTICATOR, 18)) + bytes(16)
    # RFC 3579 section 3.2: HMAC-MD5 over the packet, with zeros in its own place.
    signature = hmac.digest(secret, unsigned, "md5")
    return Request(unsigned[:-16] + signature, authenticator)


def is_genuine(reply: bytes, request_authenticator: bytes, secret: bytes) -> bool:
    """Tell whether octets are an Accounting-Response to a request, from a server that knows the secret."""
    if len(reply) < SHORTEST:
        return False
    # RFC 2866 section 3, Response Authenticator.
    expected = _md5(reply[:4] + request_authenticator + reply[20:] + secret)
    return reply[0] == ACCOUNTING_RESPONSE and hmac.compare_digest(expected, reply[4:20])


def _attribute(name: str, value: str | int) -> bytes:
    if isinstance(value, str) and name in NUMBERS:
        value = NUMBERS[name][value]
    if isinstance(value, int):
        octets = struct.pack("!I", value)
    else:
        octets = socket.inet_aton(value) if name in ADDRESSES else value.encode()
    return bytes((CODES[name], 2 + len(octets))) + octets


def _md5(octets: bytes) -> bytes:
    return hashlib.md5(octets).digest()  # noqa: S324 # the RFC's choice
