"""Rejected packets of a person: find them, and make copies that do not name the person."""

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import RejectedPacket
from radmeter.packet import attributes as a
from radmeter.packet.record import identity

# Packets that are read, or replaced, at a time.
BATCH = 500

# What a packet needs to be counted. All other attributes of a person's packet are removed, since vendors put names,
# addresses and device ids into attributes of their own.
NUMBERS = {
    a.ACCT_DELAY_TIME,
    a.ACCT_INPUT_OCTETS,
    a.ACCT_OUTPUT_OCTETS,
    a.ACCT_INPUT_GIGAWORDS,
    a.ACCT_OUTPUT_GIGAWORDS,
    a.ACCT_SESSION_TIME,
    a.ACCT_INTERIM_INTERVAL,
    a.EVENT_TIMESTAMP_SECONDS,
}
ADDRESSES = {a.NAS_IP_ADDRESS, a.NAS_IPV6_ADDRESS, a.SOURCE_IPV4, a.SOURCE_IPV6}
# They name a router, or are words of the dictionary. Only a value that is the name is removed: art is no Start.
WORDS = {
    a.NAS_IDENTIFIER,
    a.CALLED_STATION_ID,
    a.NAS_PORT_TYPE,
    a.SERVICE_TYPE,
    a.FRAMED_PROTOCOL,
    a.ACCT_AUTHENTIC,
    a.ACCT_TERMINATE_CAUSE,
}
COUNTED = {*NUMBERS, *ADDRESSES, a.EVENT_TIMESTAMP, a.ACCT_STATUS_TYPE}
# In a packet of somebody else these stay as they are too: its unique id is made from them.
IDENTITY = {a.ACCT_SESSION_ID, a.NAS_PORT, a.NAS_PORT_ID, a.CLASS}
# Event-Timestamp as FreeRADIUS writes it, whatever the time zone.
_TIME = re.compile(r"[A-Z][a-z]{2} [ \d]\d \d{4} \d\d:\d\d:\d\d \S+", re.ASCII)
ERASED = "erased"
# A shorter value would be found in reasons where it means something else.
SHORTEST_QUOTED = 3


class Rejected(NamedTuple):
    """A rejected packet: `pairs` is JSON text."""

    id: int
    reason: str
    pairs: str


def rejected_packets(connection: Connection) -> Iterator[list[Rejected]]:
    """Yield all rejected packets in batches, in the order of their ids."""
    last = 0
    while True:
        with explained_errors("radmeter_reader"):
            rows = connection.execute(
                "SELECT id, reason, pairs::text FROM public.rejected_packet WHERE id > %s ORDER BY id LIMIT %s",
                (last, BATCH),
            ).fetchall()
        if not rows:
            return
        yield [Rejected._make(row) for row in rows]
        last = rows[-1][0]


def names(packet: Rejected, username: str) -> bool:
    """Return whether a packet names the user."""
    return without_name(packet, username, "") is not None


def without_name(packet: Rejected, username: str, pseudonym: str) -> Rejected | None:
    """Return a copy of a packet without the user's name; None if the packet does not have the name.

    In a packet of the user, the pseudonym replaces the name, and all attributes are removed that the packet does not
    need to be counted. Its session stays the same one. In a packet of somebody else, values that are the name are
    replaced. Numbers, times and addresses stay in both, even if they look like the name.
    """
    pairs = _attributes(packet.pairs)
    if pairs is None:
        # The journal's entry was not a list of attributes. Nobody can count it.
        if not _contains(packet.pairs, username):
            return None
        return packet._replace(pairs="[]", reason=_replaced(packet.reason, username, pseudonym or ERASED))
    restored = [(a.TEXT_AS_OCTETS.get(name, name), _text(name, value)) for name, value in pairs]
    if username not in (value for name, value in restored if name == a.USER_NAME):
        named = [
            text == username
            and name not in WORDS | IDENTITY
            and not (name in COUNTED and _is_sound(name, text))
            for name, text in restored
        ]
        if not any(named):
            return None
        kept = [
            (name, pseudonym) if is_name else pair
            for pair, (name, _), is_name in zip(pairs, restored, named, strict=True)
        ]
        return packet._replace(pairs=json.dumps(kept), reason=_quoted(packet.reason, {username}, pseudonym))
    kept = [
        (name, value if _is_sound(name, value) else _replaced(value, username, ERASED))
        for name, value in restored
        if name in COUNTED or (name in WORDS and value != username)
    ]
    removed = {value for name, value in restored if (name, value) not in kept}
    about = [
        (a.USER_NAME, pseudonym),
        (a.ACCT_SESSION_ID, ERASED),
        (a.UNIQUE_ID_OF_ERASED, _unique_id(pairs)),
    ]
    had_session = any(name == a.ACCT_SESSION_ID for name, _ in restored)
    kept += [pair for pair in about if had_session or pair[0] == a.USER_NAME]
    return packet._replace(pairs=json.dumps(kept), reason=_quoted(packet.reason, removed, ERASED))


def _is_sound(name: str, value: str) -> bool:
    """Return whether a value is what its attribute should be. Then it is no name, even if it looks like one."""
    if name in NUMBERS:
        return value.isascii() and value.isdigit()
    if name in ADDRESSES:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            return False
        return True
    if name == a.EVENT_TIMESTAMP:
        return (value.isascii() and value.isdigit()) or _TIME.fullmatch(value) is not None
    return True


def _replaced(text: str, name: str, replacement: str) -> str:
    """Return text with a replacement where the name is a word, as the SQL function radmeter.without_name does."""
    return re.sub(rf"(?<![\w@.-]){re.escape(name)}(?![\w@.-])", lambda _: replacement, text)


def _attributes(pairs: str) -> list[tuple[str, str]] | None:
    """Return the attributes; None if it is not a list of them, or nothing that can be parsed."""
    try:
        content = json.loads(pairs, parse_int=str, parse_float=str)
        found = [(name, value) for name, value in content]
    except (ValueError, TypeError, RecursionError):
        return None
    return found if all(isinstance(text, str) for pair in found for text in pair) else None


def _contains(pairs: str, username: str) -> bool:
    """Tell whether JSON has a name. It is not parsed, since it may be nested too deeply, or cut off."""
    text = pairs
    # Once for a list of attributes, twice for one that was stored as a text.
    for _ in range(2):
        text = _ESCAPE.sub(_unescaped, text)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if re.search(rf"(?<!\w){re.escape(username)}(?!\w)", text):
            return True
    return False


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def _unescaped(escape: re.Match[str]) -> str:
    code, letter = escape.groups()
    return chr(int(code, 16)) if code else _CONTROLS.get(letter, letter)


def _text(name: str, value: str) -> str:
    """Return a value as the record has it: text that came as octets is restored, NULs at its end are left out."""
    if name in a.TEXT_AS_OCTETS:
        try:
            value = bytes.fromhex(value.removeprefix("0x")).decode("utf-8", "backslashreplace")
        except ValueError:
            return value
    return value.rstrip("\0")


def _unique_id(pairs: list[tuple[str, str]]) -> str:
    try:
        return identity(dict(reversed(pairs)))
    except (RejectedPacket, ValueError):
        return ""


def _quoted(reason: str, removed: set[str], replacement: str) -> str:
    """Return a reason without the values that were removed from the packet. A reason may quote one."""
    for value in sorted(removed, key=len, reverse=True):
        if len(value) >= SHORTEST_QUOTED:
            reason = reason.replace(value, replacement)
    return reason
