"""Which router a packet names: MAC addresses and station ids in their normal forms. Pure."""

import re
from functools import lru_cache
from typing import NamedTuple

# A MAC at the head of a text, in the forms that routers write: 12 digits, or groups of 2, 4 or 6 digits with one
# separator. That is any character of ASCII except letters and digits. If a letter or digit follows the MAC, the text is
# a longer hexadecimal word and not a MAC. If two more octets follow in the same form, it is an EUI-64 and not a MAC.
_PAIR = "[0-9A-Fa-f]{2}"
_QUAD = "[0-9A-Fa-f]{4}"
_HALF = "[0-9A-Fa-f]{6}"
_SEPARATOR = r"[ -/:-@\[-`{-~]"
_MAC = re.compile(
    rf"""(?:
        {_PAIR} (?P<pair>{_SEPARATOR}) {_PAIR} (?: (?P=pair) {_PAIR} ){{4}}   # AA-BB-CC-DD-EE-FF, RFC 3580 section 3.20
            (?! (?P=pair) {_PAIR} (?P=pair) {_PAIR} (?![0-9A-Za-z]) )
      | {_QUAD} (?P<quad>{_SEPARATOR}) {_QUAD} (?P=quad) {_QUAD}              # aabb.ccdd.eeff (Cisco), AABB-CCDD-EEFF
            (?! (?P=quad) {_QUAD} (?![0-9A-Za-z]) )
      | {_HALF} {_SEPARATOR} {_HALF}                                          # AABBCC-DDEEFF, HP
      | [0-9A-Fa-f]{{12}}                                                     # AABBCCDDEEFF
    ) (?![0-9A-Za-z])""",
    re.VERBOSE,
)
_NOT_HEX = re.compile("[^0-9A-Fa-f]")
# Placeholders that routers write when they do not know their own address.
_PLACEHOLDERS = {"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}


class RouterKey(NamedTuple):
    """The values of a packet that name its router, in the order in which they are tried."""

    router_mac: str | None  # MAC at the head of Called-Station-Id
    nas_mac: str | None  # NAS-Identifier, where it is a MAC
    nas_identifier: str | None
    router_ip: str | None  # NAS-IPv6-Address, else NAS-IP-Address, else the packet's source
    text: str  # the same for equal keys


def leading_mac(text: str) -> str | None:
    """Return the MAC address at the head of a station id as ``aa:bb:cc:dd:ee:ff``, or None.

    Quotes and blanks around the MAC, and an SSID after it, are ignored: ``AA-BB-CC-DD-EE-FF:SSID`` (RFC 3580
    section 3.20).
    """
    match = _MAC.match(text.lstrip(" \t\"'"))
    if match is None:
        return None
    digits = _NOT_HEX.sub("", match.group()).lower()
    mac = ":".join(digits[i : i + 2] for i in range(0, 12, 2))
    return None if mac in _PLACEHOLDERS else mac


def normal_mac(text: str) -> str | None:
    """Return a MAC address as ``aa:bb:cc:dd:ee:ff``; None if the text is not a MAC address and nothing else."""
    bare = text.strip(" \t\"'")
    match = _MAC.fullmatch(bare)
    return leading_mac(bare) if match else None


@lru_cache(maxsize=65536)
def router_key(called_station_id: str | None, nas_identifier: str | None, ip: str | None) -> RouterKey:
    """Return the key of a packet's router. Cached, because a site has few routers and many packets."""
    parts = (
        leading_mac(called_station_id) if called_station_id else None,
        normal_mac(nas_identifier) if nas_identifier else None,
        nas_identifier or None,
        ip or None,
    )
    return RouterKey(*parts, text="\t".join(part or "" for part in parts))
