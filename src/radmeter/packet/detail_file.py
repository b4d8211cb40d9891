"""Reads packets from FreeRADIUS `detail` files, as rlm_detail of FreeRADIUS 3 writes them. Pure.

A stanza is a header line (``%t``, the server's local time), one tab-indented line ``Name = value`` for each attribute,
and an empty line::

    Fri Nov 20 11:43:03 2026
            Packet-Src-IP-Address = 192.0.2.1
            User-Name = "caf\\303\\251"
            Acct-Status-Type = Start
            Timestamp = 1795171383

Text is between double quotes, with backslash escapes (octal for unprintable octets). Numbers, addresses and names of
enumerations have no quotes. Dates are text in the server's local time. ``Timestamp`` is the arrival, in seconds since
1970.
"""

import datetime
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from radmeter.errors import RejectedPacket
from radmeter.packet import attributes as a
from radmeter.packet.detail_dates import (
    HEADER_LENGTH,
    ends_with_header,
    event_timestamp,
    header_seconds,
    in_zone,
)

# A RADIUS packet has at most 4096 octets (RFC 2866 section 3). An escaped octet takes at most four characters.
LONGEST_LINE = 64 << 10
MOST_LINES = 4096
# The most that is kept of a stanza. A whole one is shorter, as a record of the journal is.
LONGEST_STANZA = 512 << 10
# rlm_detail cuts a line off at 1022 characters, also its closing quote. On a shorter line a missing quote is damage.
CUT_LINE = 1000

_ATTRIBUTE = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._:/-]*) (?:=|:=|\+=) (.*)", re.DOTALL)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_CUT_OFF = re.compile(rb'"((?:[^"\\]|\\[0-7]{3}|\\[^0-7])*)', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:([0-7]{3})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


# The attributes that identify a session (radmeter.packet.record.unique_id). A cut value would make another session.
_IDENTITY = {
    name.encode() for name in (a.USER_NAME, a.ACCT_SESSION_ID, a.NAS_IDENTIFIER, a.NAS_PORT_ID, a.CLASS)
}
# Attributes that radius/policy.d/radmeter adds. `_pairs` makes them again from reliable values.
_OURS = {a.SOURCE_IPV4, a.SOURCE_IPV6, a.EVENT_TIMESTAMP_SECONDS, *a.TEXT_AS_OCTETS}
# Attributes that rlm_detail adds.
_ADDED = re.compile(
    r"Packet-(Src|Dst)-(IP-Address|IPv6-Address|Port)|Packet-Type|Timestamp|Request-Authenticator"
)
_OCTETS_NAME = {name: octets for octets, name in a.TEXT_AS_OCTETS.items()}


@dataclass
class Place:
    """How far a file has been read: stanzas, lines and bytes, and the hash of those bytes."""

    stanzas: int = 0
    lines: int = 0
    size: int = 0
    hash: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def take(self, line: bytes) -> None:
        """Move past a line."""
        self.lines += 1
        self.size += len(line)
        self.hash.update(line)


class Stanza(NamedTuple):
    """A stanza as the file has it.

    `number` and `line` count from 1. `size` and `digest` are those of the file up to the stanza's end.
    """

    number: int
    line: int
    header: bytes
    body: tuple[bytes, ...]
    end: Literal["empty line", "next header", "file"]  # what came after it
    size: int
    digest: bytes

    @property
    def identity(self) -> str:
        """A digest of the stanza. A file is identified by that of its first stanza."""
        return hashlib.blake2b(b"".join((self.header, *self.body)), digest_size=8).hexdigest()


class Packet(NamedTuple):
    """The packet of a stanza: its arrival, and its attributes as rlm_python3 would have passed them."""

    received_us: int
    pairs: list[tuple[str, str]]


def stanzas(lines: Iterable[bytes], place: Place) -> Iterator[Stanza]:
    """Cut a file into stanzas, from `place` on; `place` moves along.

    If the server died while it wrote a stanza, the empty line is missing. The stanza then ends at the next header,
    which may begin in the middle of a line.
    """
    header, first_line = b"", 0
    body: list[bytes] = []
    kept = 0

    def stanza(end: Literal["empty line", "next header", "file"]) -> Stanza:
        place.stanzas += 1
        return Stanza(place.stanzas, first_line, header, tuple(body), end, place.size, place.hash.digest())

    for line in lines:
        text = line.rstrip(b"\r\n")
        # The first condition is quick: a time has a colon there, and few attributes do.
        begun = text[-8:-7] == b":" and ends_with_header(text)
        if begun or (text and not text.startswith((b"\t", b" "))):
            if body:
                yield stanza("next header")
                header, body, kept = b"", [], 0
            if begun or not header:
                first_line = place.lines + 1
            header = (
                line[-HEADER_LENGTH - len(line) + len(text) :] if begun else (header + line)[:LONGEST_LINE]
            )
        elif text.strip():
            if not header and not body:
                first_line = place.lines + 1
            if len(body) < MOST_LINES and kept < LONGEST_STANZA:
                body.append(line)
                kept += len(line)
        place.take(line)
        if not text.strip() and (header or body):
            yield stanza("empty line")
            header, body, kept = b"", [], 0
    if header or body:
        yield stanza("file")


def packet(stanza: Stanza, zone: datetime.tzinfo | None = None) -> Packet:
    """Return the packet of a stanza.

    Parameters
    ----------
    zone
        The time zone of the server that wrote the file. None: derive the offset from the stanza's header, which is in
        local time.

    Raises
    ------
    RejectedPacket
        The stanza is not an accounting packet, or not a complete one.
    """
    if len(stanza.body) >= MOST_LINES:
        raise RejectedPacket(f"more than {MOST_LINES} lines without an empty one")
    if sum(map(len, stanza.body)) >= LONGEST_STANZA:
        raise RejectedPacket(f"more than {LONGEST_STANZA} bytes without an empty line")
    first_line = stanza.line + stanza.header.count(b"\n")
    values = [_attribute(line, first_line + index) for index, line in enumerate(stanza.body)]
    stamps = [value for name, value in values if name == "Timestamp"]
    # Timestamp is written last. The last line of a file that is being written may be incomplete.
    whole = stanza.end == "empty line" or (stamps and stanza.body[-1].endswith(b"\n"))
    if not whole:
        raise RejectedPacket("the stanza breaks off")
    if not any(name == a.ACCT_STATUS_TYPE for name, _ in values):
        raise RejectedPacket(f"no {a.ACCT_STATUS_TYPE}: not an accounting packet")
    header = header_seconds(stanza.header.decode("latin-1"))
    arrival = _arrival(stamps[-1] if stamps else None, header, zone)
    return Packet(arrival * 1_000_000, _pairs(values, arrival, header, zone))


def _attribute(line: bytes, number: int) -> tuple[str, bytes]:
    match = _ATTRIBUTE.fullmatch(line.strip(b" \t\r\n"))
    if match is None or len(line) >= LONGEST_LINE:
        raise RejectedPacket(f"line {number} is not an attribute: {_shown(line)}")
    value = match[2]
    if value.startswith(b'"'):
        quoted = _QUOTED.fullmatch(value)
        if quoted is None and len(line) >= CUT_LINE and match[1] not in _IDENTITY:
            quoted = _CUT_OFF.match(value)
        if quoted is None:
            raise RejectedPacket(f"line {number} has no closing quote: {_shown(line)}")
        value = _ESCAPE.sub(_unescape, quoted[1])
    return match[1].decode("ascii"), value


def _unescape(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = match.groups()
    if octal:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    return _LETTERS.get(letter, letter)


def _arrival(stamp: bytes | None, header: int | None, zone: datetime.tzinfo | None) -> int:
    if stamp is not None:
        if not stamp.isdigit() or len(stamp) > 11:
            raise RejectedPacket(f"Timestamp {_shown(stamp)} is not a number of seconds")
        return int(stamp)
    if header is None or zone is None:
        raise RejectedPacket("no Timestamp: the arrival time is not known")
    return in_zone(header, zone)


def _pairs(
    values: list[tuple[str, bytes]], arrival: int, header: int | None, zone: datetime.tzinfo | None
) -> list[tuple[str, str]]:
    """Return the attributes as rlm_python3 and radmeter's policy would have passed them."""
    first: dict[str, bytes] = {}
    pairs: list[tuple[str, str]] = []
    for name, value in values:
        if name in _OURS or _ADDED.fullmatch(name):
            first.setdefault(name, value)
        elif name not in first and name in _OCTETS_NAME and not _is_text(value):
            first[name] = value
            pairs.append((_OCTETS_NAME[name], "0x" + value.hex()))
        else:
            first.setdefault(name, value)
            pairs.append((name, _text(value)))

    # Client-IP-Address is what rlm_preprocess adds, also to a detail file without log_packet_header.
    source = (
        first.get("Packet-Src-IP-Address")
        or first.get("Packet-Src-IPv6-Address")
        or first.get("Client-IP-Address")
    )
    address = _address(source or first.get(a.SOURCE_IPV4) or first.get(a.SOURCE_IPV6))
    if address is not None:
        pairs.append((a.SOURCE_IPV4 if address.version == 4 else a.SOURCE_IPV6, str(address)))
    if a.EVENT_TIMESTAMP in first:
        offset = None if header is None else header - arrival
        seconds = event_timestamp(
            _text(first[a.EVENT_TIMESTAMP]), _text(first.get(a.EVENT_TIMESTAMP_SECONDS, b"")), offset, zone
        )
        # Drop the text: it would be read as UTC.
        pairs = [pair for pair in pairs if pair[0] != a.EVENT_TIMESTAMP]
        if seconds is not None:
            pairs.append((a.EVENT_TIMESTAMP_SECONDS, str(seconds)))
    return pairs


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in value


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _address(value: bytes | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if value is None else ipaddress.ip_address(value.decode("latin-1"))
    except ValueError:
        return None


def _shown(line: bytes) -> str:
    text = line.strip().decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 60 else text[:60] + "..")
