"""How a packet's attributes are written as the text of a record: the names first, then the values. Pure.

    User-Name US Acct-Status-Type RS alice US Start        US, RS: the ASCII characters unit and record separator

Each record says all of its names, so none depends on another. `SHORT` makes a name that routers often send one
character long. The text of other packets, such as one with US in a value, is JSON, as is that of older segments:
a list of [name, value]. Standard library only, since radiusd writes it.
"""

import json
from collections.abc import Sequence

Pairs = Sequence[tuple[str, str]]

BETWEEN = "\x1f"
END_OF_NAMES = "\x1e"

# A character for each name. Segments on disk have them, so never change this table: with another one, the records are
# of another format (`NAMES_FIRST` in segment_format.py). No name of an attribute has one character, and no text begins
# with one that begins JSON.
SHORT = {
    name: character
    for character, name in zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&'()*+,-./:;<=>?@^_`|~",
        (
            *(
                "User-Name",
                "NAS-IP-Address",
                "NAS-Port",
                "Service-Type",
                "Framed-Protocol",
                "Framed-IP-Address",
            ),
            *("Class", "Called-Station-Id", "Calling-Station-Id", "NAS-Identifier", "NAS-Port-Type"),
            *(
                "Acct-Status-Type",
                "Acct-Delay-Time",
                "Acct-Input-Octets",
                "Acct-Output-Octets",
                "Acct-Session-Id",
            ),
            *("Acct-Authentic", "Acct-Session-Time", "Acct-Input-Packets", "Acct-Output-Packets"),
            *("Acct-Terminate-Cause", "Acct-Multi-Session-Id", "Acct-Link-Count", "Acct-Input-Gigawords"),
            *(
                "Acct-Output-Gigawords",
                "Event-Timestamp",
                "Connect-Info",
                "Acct-Interim-Interval",
                "NAS-Port-Id",
            ),
            *("NAS-IPv6-Address", "Framed-Interface-Id", "Framed-IPv6-Prefix", "Delegated-IPv6-Prefix"),
            *("Framed-IPv6-Address", "Framed-IP-Netmask", "Framed-MTU", "Filter-Id", "Session-Timeout"),
            *(
                "Idle-Timeout",
                "Proxy-State",
                "Login-IP-Host",
                "Framed-Route",
                "Framed-IPv6-Pool",
                "Framed-Pool",
            ),
            *("Chargeable-User-Identity", "Operator-Name", "Location-Information", "Location-Data"),
            *("Mobility-Domain-Id", "WLAN-Group-Cipher", "WLAN-Pairwise-Cipher", "WLAN-AKM-Suite"),
            *("WLAN-HESSID", "WLAN-Reason-Code", "WLAN-RF-Band", "Realm", "Stripped-User-Name"),
            *("Stripped-User-Domain", "Acct-Unique-Session-Id", "Tmp-Integer-0", "Tmp-IP-Address-0"),
            *("Tmp-String-0", "Tmp-Octets-0", "Tmp-Octets-1", "Tmp-Octets-2", "Tmp-Octets-3", "Tmp-Octets-4"),
            *("Tmp-Octets-5", "Tmp-Octets-6", "Tmp-Octets-7", "Mikrotik-Realm", "Mikrotik-Host-IP"),
            *("Mikrotik-Recv-Limit", "Mikrotik-Xmit-Limit", "Mikrotik-Rate-Limit", "WISPr-Location-ID"),
            *("WISPr-Location-Name", "WISPr-Logoff-URL", "Cisco-AVPair", "Cisco-NAS-Port"),
            *("Airespace-Wlan-Id", "Aruba-Essid-Name", "Aruba-Location-Id", "Ruckus-SSID"),
        ),
        strict=False,
    )
}
_NAMES = {character: name for name, character in SHORT.items()}
# Packets have few lists of names. A flood may have a new one in each packet.
_MOST_HEADS = 1000
_heads: dict[tuple[str, ...], str] = {}

_json = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_ascii_json = json.JSONEncoder(separators=(",", ":")).encode


def to_text(pairs: Pairs) -> str:
    """Return the text of a record for a packet's attributes, in their order."""
    if pairs:
        names, values = zip(*pairs, strict=True)
        head = _heads.get(names) or _head(names)
        text: str = BETWEEN.join(values)
        if head and text.count(BETWEEN) == len(values) - 1:
            return head + text
    return _json(pairs)


def to_ascii(pairs: Pairs) -> str:
    """Return the text of a record whose attributes are not Unicode: they have halves of surrogate pairs."""
    return _ascii_json(pairs)


def to_json(text: str) -> str:
    """Return a record's text as JSON: a list of [name, value]. Another text is returned as it is."""
    names, values = split(text)
    if not names:
        return text
    return json.dumps(list(zip(names, values, strict=True)), ensure_ascii=False, separators=(",", ":"))


def split(text: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the names and the values of a text that has the names first; nothing of another."""
    head, end, rest = text.partition(END_OF_NAMES)
    names, values = names_of(head) if end else (), rest.split(BETWEEN)
    return (names, values) if len(names) == len(values) else ((), [])


def names_of(head: str) -> tuple[str, ...]:
    """Return the names that a text begins with; none if one of them is of a table that is not known here."""
    said = [name if len(name) > 1 else _NAMES.get(name, "") for name in head.split(BETWEEN)]
    return tuple(said) if all(said) else ()


def _head(names: tuple[str, ...]) -> str:
    """Return how a text with these names begins; empty if they can only be written as JSON."""
    head = BETWEEN.join([SHORT.get(name, name) for name in names])
    if names_of(head) != names or END_OF_NAMES in head or head.startswith("["):
        return ""
    if len(_heads) >= _MOST_HEADS:
        _heads.clear()
    return _heads.setdefault(names, head + END_OF_NAMES)
