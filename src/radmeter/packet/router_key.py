"""How a packet names the router it came from: MAC addresses and station ids in their normal forms. Pure."""

import re
from functools import lru_cache
from typing import NamedTuple

# A MAC at the head of a text, in the forms that routers write. What follows it must not be a letter or digit, or the
# text is a longer hexadecimal word and no MAC. A seventh octet in the same form makes it an EUI-64, no MAC either.
_PAIR = "[0-9A-Fa-f]{2}"
_QUAD = "[0-9A-Fa-f]{4}"
_MAC = re.compile(
    rf"""(?:
        (?:{_PAIR}-){{5}}{_PAIR} (?! -{_PAIR}-{_PAIR} (?![0-9A-Za-z]) )   # AA-BB-CC-DD-EE-FF, RFC 3580 section 3.20
      | (?:{_PAIR}:){{5}}{_PAIR} (?! :{_PAIR}:{_PAIR} (?![0-9A-Za-z]) )   # aa:bb:cc:dd:ee:ff
      | (?:{_PAIR}[ ]){{5}}{_PAIR} (?! [ ]{_PAIR}[ ]{_PAIR} (?![0-9A-Za-z]) )   # AA BB CC DD EE FF
      | {_QUAD}\.{_QUAD}\.{_QUAD} (?! \.{_QUAD}(?![0-9A-Za-z]) )            # aabb.ccdd.eeff, Cisco
      | {_QUAD}-{_QUAD}-{_QUAD} (?! -{_QUAD}(?![0-9A-Za-z]) )             # AABB-CCDD-EEFF, Huawei, H3C
      | {_QUAD}:{_QUAD}:{_QUAD} (?! :{_QUAD}(?![0-9A-Za-z]) )             # aabb:ccdd:eeff
      | [0-9A-Fa-f]{{12}}                                                 # AABBCCDDEEFF
    ) (?![0-9A-Za-z])""",
    re.VERBOSE,
)
_NOT_HEX = re.compile("[^0-9A-Fa-f]")
# Placeholders of routers that do not know their own address.
_NOBODY = {"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}


class RouterKey(NamedTuple):
    """What of a packet names its router, in the order in which it is tried."""

    router_mac: str | None  # MAC at the head of Called-Station-Id
    nas_mac: str | None  # NAS-Identifier, where it is a MAC
    nas_identifier: str | None
    router_ip: str | None  # NAS-IPv6-Address, else NAS-IP-Address, else the packet's source
    text: str  # equal for equal keys


def leading_mac(text: str) -> str | None:
    """Return the MAC address at the head of a station id as ``aa:bb:cc:dd:ee:ff``, or None.

    Quotes and blanks around it and an SSID behind it do not matter: ``AA-BB-CC-DD-EE-FF:SSID`` (RFC 3580 section 3.20).
    """
    match = _MAC.match(text.lstrip(" \t\"'"))
    if match is None:
        return None
    digits = _NOT_HEX.sub("", match.group()).lower()
    mac = ":".join(digits[i : i + 2] for i in range(0, 12, 2))
    return None if mac in _NOBODY else mac


def normal_mac(text: str) -> str | None:
    """Return a text that is a MAC address and nothing else as ``aa:bb:cc:dd:ee:ff``, or None."""
    bare = text.strip(" \t\"'")
    match = _MAC.fullmatch(bare)
    return leading_mac(bare) if match else None


@lru_cache(maxsize=65536)
def router_key(called_station_id: str | None, nas_identifier: str | None, ip: str | None) -> RouterKey:
    """Return the key of a packet's router. Cached: a site has few routers and many packets."""
    parts = (
        leading_mac(called_station_id) if called_station_id else None,
        normal_mac(nas_identifier) if nas_identifier else None,
        nas_identifier or None,
        ip or None,
    )
    return RouterKey(*parts, text="\t".join(part or "" for part in parts))
