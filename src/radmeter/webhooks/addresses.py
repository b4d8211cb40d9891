"""Which addresses a message may be sent to: public ones, and networks that a setting allows.

A name is resolved once, and the connection goes to the address that was checked. So a name that has another address a
moment later (DNS rebinding) reaches nothing that is not allowed.
"""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 4291 section 2.4: all global unicast addresses that were given out are here.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# RFC 6052: the last 32 bits are an IPv4 address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# IETF protocol assignments (RFC 6890). Older versions of Python take most of it for global.
_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")
PORTS = {"https": 443, "http": 80}


class Target(NamedTuple):
    """Where a URL leads. `path` is what the request asks for, with its query."""

    scheme: str
    host: str
    port: int
    path: str


class Place(NamedTuple):
    """An address of a host that may be connected to, as the socket module takes it."""

    family: int
    address: Any
    allowed: bool


class Refused(OSError):
    """None of a host's addresses may be connected to."""


def target(url: str) -> Target:
    """Return where a URL leads.

    Raises
    ------
    ValueError
        It is not the URL of an endpoint.
    """
    if not all("!" <= character <= "~" for character in url) or "\\" in url:
        raise ValueError(
            "a URL has no blanks and only characters of ASCII; write the host in Punycode (xn--)"
        )
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("a URL begins with https:// and a host")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("a URL has no user name, no password and no #fragment here")
    port = parts.port or PORTS[parts.scheme]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port, path)


def refusal(to: Target, networks: Sequence[Network]) -> str | None:
    """Return why a URL cannot be sent to; None if it can be, as far as that can be told before.

    The host of https:// is looked up when something is sent. That of http:// now, too: mostly it has to be https://.
    """
    try:
        ip = ipaddress.ip_address(to.host)
    except ValueError:
        return _refusal_of_name(to, networks) if to.scheme == "http" else None
    if any(each.version == ip.version and ip in each for each in networks):
        return None
    if to.scheme == "http":
        return f"http:// is for the networks of webhook_networks, and {ip} is in none of them"
    if not is_public(ip):
        return f"{ip} is no public address, and the setting webhook_networks does not allow it"
    return None


def _refusal_of_name(to: Target, networks: Sequence[Network]) -> str | None:
    if not networks:
        return "the URL has to begin with https://; webhook_networks has no network for http://"
    try:
        places = resolve(to.host, to.port, networks)
    except Refused as error:
        return str(error)
    except (OSError, UnicodeError):
        return f"http:// is for the networks of webhook_networks, and {to.host} has no address now"
    outside = [str(place.address[0]) for place in places if not place.allowed]
    if outside:
        return (
            f"http:// is for the networks of webhook_networks, and {to.host} is {outside[0]}: write https://"
        )
    return None


def resolve(host: str, port: int, networks: Sequence[Network]) -> list[Place]:
    """Return the addresses of a host that may be connected to.

    Raises
    ------
    Refused
        It has addresses, but only private ones that are in none of `networks`.
    socket.gaierror
        It has no address.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    refused = []
    places = []
    for family, _, _, _, address in found:
        ip = ipaddress.ip_address(str(address[0]))
        allowed = any(each.version == ip.version and ip in each for each in networks)
        if allowed or is_public(ip):
            places.append(Place(family, address, allowed))
        else:
            refused.append(str(ip))
    if not places:
        these = " and ".join(dict.fromkeys(refused))
        raise Refused(f"{these} is no public address, and the setting webhook_networks does not allow it")
    return places


def is_public(ip: IpAddress) -> bool:
    """Return whether an address belongs to the internet, and not to this machine or a private network.

    An IPv6 address that contains an IPv4 address leads to that one (mapped, NAT64, 6to4), so both must be public.
    """
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in _PROTOCOLS
    if ip.ipv4_mapped is not None:
        return is_public(ip.ipv4_mapped)
    if ip in _NAT64:
        return is_public(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF))
    if ip.sixtofour is not None and not is_public(ip.sixtofour):
        return False
    if ip.teredo is not None:
        return False
    return ip in _GLOBAL_UNICAST and ip.is_global
