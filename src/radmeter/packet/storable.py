"""Text as PostgreSQL can store it: without NUL and lone surrogates. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from radmeter.packet.attributes import TEXT_AS_OCTETS

_WRITTEN_OUT = re.compile(rb"\\x(00|[89a-f][0-9a-f])")
_OCTETS_NAME = {name: octets_name for octets_name, name in TEXT_AS_OCTETS.items()}


def storable(text: str) -> str:
    """Return text in which NUL and lone surrogates are written out, as in ``\\x00``."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def octets_of(text: str) -> bytes:
    """Return the octets of an attribute that was stored as text, in which others than UTF-8 and NUL are written out."""
    octets = _WRITTEN_OUT.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())
    if octets.decode("utf-8", "backslashreplace").replace("\0", "\\x00") == text:
        return octets
    return text.encode()


def storable_pairs(pairs: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return attributes that PostgreSQL can store.

    An attribute that the policy passes as octets if it is not UTF-8 becomes octets here, too. So its packet has the
    same unique id, whichever way it came. Of all others, what cannot be stored is written out.
    """
    seen: set[str] = set()
    found: list[list[Any]] = []
    for pair in pairs:
        parts = [storable(part) if isinstance(part, str) else part for part in pair]
        # Octets go before text. So they stand only for the first attribute of a name, which is the one that counts.
        if len(parts) == 2 and parts[0] in _OCTETS_NAME and parts[0] not in seen and parts[1] != pair[1]:
            parts = [_OCTETS_NAME[parts[0]], "0x" + _octets(pair[1]).hex()]
        if isinstance(pair[0] if pair else None, str):
            seen.add(pair[0])
        found.append(parts)
    return found


def _octets(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
