"""Makes Disconnect- and CoA-Requests and reads their answers (RFC 5176). Pure: no clock, no socket, no database."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pyrad.dictionary import Dictionary
from pyrad.packet import (
    CoAACK,
    CoANAK,
    CoAPacket,
    CoARequest,
    DisconnectACK,
    DisconnectNAK,
    DisconnectRequest,
    PacketError,
)

from radmeter.errors import RadmeterError
from radmeter.packet.storable import octets_of
from radmeter.quotas.limits import Attribute

Act = Literal["disconnect", "coa"]

DISCONNECT: Act = "disconnect"
COA: Act = "coa"

_CODES = {DISCONNECT: DisconnectRequest, COA: CoARequest}
_ANSWERS = {DISCONNECT: (DisconnectACK, DisconnectNAK), COA: (CoAACK, CoANAK)}
_SERVER_ATTRIBUTES = ("NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier")
_MESSAGE_AUTHENTICATOR = 80
LONGEST_VALUE = 253
# FreeRADIUS's name of a vendor's attribute that is not in its dictionaries. Those of limits are integers.
_BY_NUMBER = re.compile(r"Attr-26\.(\d+)\.(\d+)")

# RFC 5176 section 3.5.
ERROR_CAUSES = {
    201: "Residual Session Context Removed",
    202: "Invalid EAP Packet",
    401: "Unsupported Attribute",
    402: "Missing Attribute",
    403: "NAS Identification Mismatch",
    404: "Invalid Request",
    405: "Unsupported Service",
    406: "Unsupported Extension",
    407: "Invalid Attribute Value",
    501: "Administratively Prohibited",
    502: "Request Not Routable (Proxy)",
    503: "Session Context Not Found",
    504: "Session Context Not Removable",
    505: "Other Proxy Processing Error",
    506: "Resources Unavailable",
    507: "Request Initiated",
    508: "Multiple Session Selection Unsupported",
}


class CannotBeSent(RadmeterError):
    """A request cannot be made from what is known of the session. The message says why."""


@dataclass(frozen=True)
class Profile:
    """How the routers of a vendor take requests: a row of radmeter.vendor_profiles()."""

    vendor: str
    port: int
    identity: tuple[tuple[str, ...], ...]
    takes_coa: bool = True
    takes_disconnect: bool = True
    coa_replaces: bool = False
    coa_standard: tuple[str, ...] = ()
    message_authenticator: bool = True
    event_timestamp: bool = True
    extra: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A request as it is sent. `datagram` is sent again as it is (RFC 5176 section 2.3).

    `signed_answers`: an answer without a Message-Authenticator is none.
    """

    act: Act
    identifier: int
    datagram: bytes
    secret: bytes = field(repr=False)
    signed_answers: bool = False

    @property
    def authenticator(self) -> bytes:
        """The Request Authenticator, which the answer depends on."""
        return self.datagram[4:20]


@dataclass(frozen=True)
class Answer:
    """An answer that proves to come from the router: an ACK or a NAK, and its Error-Cause if it has one."""

    acknowledged: bool
    error_cause: int | None = None


@cache
def dictionary() -> Dictionary:
    """Return the attributes of requests, of all vendors."""
    return Dictionary(str(files("radmeter.quotas") / "dictionary"))


def make(
    act: Act,
    session: Mapping[str, str | None],
    profile: Profile,
    limits: Iterable[Attribute] = (),
    *,
    identity_set: int = 0,
    identifier: int,
    secret: bytes,
    at: int,
    message_authenticator: bool = True,
    signed_answers: bool = False,
) -> Request:
    """Make a request. A Disconnect-Request has no limits: it names the session and nothing else (section 3).

    Parameters
    ----------
    session
        The session's attributes as its router sent them, by name. Those that are None or empty are left out.
    identity_set
        Which of the profile's sets names the session. The last one, if there are fewer.
    at
        Event-Timestamp, seconds since 1970.
    message_authenticator
        False: this router refuses it.
    signed_answers
        Whether the answer must have one.

    Raises
    ------
    CannotBeSent
        Nothing names the session, or a value does not fit into an attribute.
    """
    identity = named(session, profile, identity_set)
    if not any(name not in (*_SERVER_ATTRIBUTES, "Service-Type") for name, _ in identity):
        raise CannotBeSent("nothing is known that names the session to its router")
    packet = CoAPacket(code=_CODES[act], id=identifier, secret=secret, dict=dictionary())
    chosen: list[Attribute] = [*identity, *profile.extra.items()]
    if act == COA:
        chosen += limits
    if profile.event_timestamp:
        chosen.append(("Event-Timestamp", at))
    for name, value in chosen:
        _add(packet, name, value)
    if profile.message_authenticator and message_authenticator:
        packet.add_message_authenticator()
    try:
        datagram: bytes = packet.RequestPacket()
    except (ValueError, PacketError) as error:
        raise CannotBeSent(f"the request cannot be encoded: {error}") from None
    return Request(act, identifier, datagram, secret, signed_answers)


def named(
    session: Mapping[str, str | None], profile: Profile, identity_set: int
) -> Sequence[tuple[str, str]]:
    """Return the attributes that name a session by one of the profile's sets, without those it does not have."""
    names = profile.identity[min(identity_set, len(profile.identity) - 1)]
    return [(name, value) for name in names if (value := session.get(name))]


def identity_sets(session: Mapping[str, str | None], profile: Profile) -> int:
    """Return how many different requests can name this session."""
    return len({tuple(named(session, profile, number)) for number in range(len(profile.identity))})


def _add(packet: CoAPacket, name: str, value: int | str) -> None:
    encoded: Any = value
    if (numbers := _BY_NUMBER.fullmatch(name)) is not None:
        packet.setdefault((int(numbers[1]), int(numbers[2])), []).append(int(value).to_bytes(4, "big"))
        return
    if isinstance(value, str) and dictionary().attributes[name].type == "string":
        encoded = octets_of(value)
        if len(encoded) > LONGEST_VALUE:
            raise CannotBeSent(f"{name} has more than {LONGEST_VALUE} bytes")
    elif isinstance(value, str) and value.isdecimal():
        encoded = int(value)
    try:
        packet.AddAttribute(name, encoded)
    except (ValueError, TypeError, PacketError) as error:
        raise CannotBeSent(f"{name} cannot be sent: {error}") from None


def read(request: Request, datagram: bytes) -> Answer | None:
    """Return the answer in a datagram. None: it is no answer to this request, or it proves not to be the router's.

    The Response Authenticator must be right, and the Message-Authenticator if there is one or has to be one. So a
    forged answer, one made with another secret, and a late one to an earlier request all count as none.
    """
    if len(datagram) < 20 or datagram[1] != request.identifier:
        return None
    length = int.from_bytes(datagram[2:4], "big")
    if not 20 <= length <= len(datagram):
        return None
    datagram = datagram[:length]  # what follows is padding (RFC 2865 section 3)
    code = datagram[0]
    if code not in _ANSWERS[request.act]:
        return None
    # RFC 5176 section 2.3
    digest = hashlib.md5(
        datagram[:4] + request.authenticator + datagram[20:] + request.secret, usedforsecurity=False
    ).digest()
    if not hmac.compare_digest(digest, datagram[4:20]):
        return None
    try:
        packet = CoAPacket(code=code, secret=request.secret, dict=dictionary(), packet=datagram)
        if _MESSAGE_AUTHENTICATOR in packet:
            if not packet.verify_message_authenticator(
                original_authenticator=request.authenticator, original_code=datagram[0]
            ):
                return None
        elif request.signed_answers:
            return None
        causes = packet.get("Error-Cause", [])
    except Exception:  # pyrad raises many kinds for a datagram that is no packet
        return None
    cause = causes[0] if causes and isinstance(causes[0], int) else None
    return Answer(code in (DisconnectACK, CoAACK), cause)


def cause_text(cause: int | None) -> str:
    """Return an Error-Cause for people."""
    if cause is None:
        return "no Error-Cause"
    return f"{cause} {ERROR_CAUSES[cause]}" if cause in ERROR_CAUSES else f"Error-Cause {cause}"
