"""Finds a RADIUS server that strangers could send to: clients from everywhere, or a secret that everyone knows."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from radmeter.errors import ConfigurationError
from radmeter.freeradius.raddb import Section, expanded, read

# FreeRADIUS's own examples and what people write when they try something out.
KNOWN_SECRETS = frozenset({"", "testing123", "secret", "changeme", "radius", "password"})
# A shorter prefix is open: more than one /8, such as 0.0.0.0/0 written in two halves.
SHORTEST_PREFIX = {4: 8, 6: 16}
UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")

PUBLISH = "RADIUS_PUBLISH"
_FROM_ENVIRONMENT = re.compile(r"\$ENV\{(\w+)\}")


@dataclass(frozen=True)
class Value:
    """A value of the configuration, and its place: a variable, or a line of a file."""

    text: str
    place: str

    @property
    def shown(self) -> str:
        """Return the value with its place."""
        return f"{self.text} ({self.place})"


@dataclass(frozen=True)
class Exposed:
    """A client that strangers can be, on a server that they can reach."""

    said: str
    remedy: str
    path: Path
    line: int


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can send to an address. False if it is not an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_network(address, strict=False).is_loopback
    except ValueError:
        return False


def is_open(network: str) -> bool:
    """Tell whether a network has addresses all over the world. False if it is a host name."""
    if network == "*":
        return True
    try:
        parsed = ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
    return parsed.prefixlen < SHORTEST_PREFIX[parsed.version] and parsed != UNIQUE_LOCAL


def find(root: Section, environment: Mapping[str, str], *, loopback_clients: bool) -> Iterator[Exposed]:
    """Yield the clients with a well-known secret or an open network, if the server can be reached from outside.

    Parameters
    ----------
    environment
        The server's variables. If RADIUS_PUBLISH is among them, the server is behind that address of a container's
        host, and its own address does not matter.
    loopback_clients
        Whether a well-known secret of a client on the loopback counts too.
    """
    address = reachable(root, environment)
    if address is None:
        return
    for client in root.all("client"):
        if (client.value("proto") or "").lower() == "tls":
            continue  # RadSec: certificates say who may send, and RFC 6614 fixes the secret
        network = _network(client, root, environment)
        secret = _value(client, ("secret",), root, environment)
        where = f"client {client.argument or client.name}"
        if is_open(network.text):
            yield Exposed(
                f"{where} takes packets from {network.shown}, and {address.shown} is not loopback",
                f"set {_name(network)} to the routers' network, such as 192.0.2.0/24, or {_name(address)} to 127.0.0.1",
                client.path,
                client.line,
            )
        if secret.text in KNOWN_SECRETS and (loopback_clients or not is_loopback(network.text)):
            shown = f"the well-known {secret.text!r}" if secret.text else "empty"
            yield Exposed(
                f"the secret of {where} ({secret.place}) is {shown}, and {address.shown} is not loopback",
                f"set {_name(secret)} to a secret of your own, or {_name(address)} to 127.0.0.1",
                client.path,
                client.line,
            )


def refuse(raddb: Path, environment: Mapping[str, str]) -> None:
    """Refuse to start a server that strangers could send to.

    Raises
    ------
    ConfigurationError
        The configuration cannot be read. Or a client has a well-known secret or an open network while the server
        listens, or is published, elsewhere than on the loopback. The message names the variable and the remedy.
    """
    try:
        root = read(raddb)
    except OSError as error:
        raise ConfigurationError(f"the configuration of FreeRADIUS cannot be read: {error}") from error
    for each in find(root, environment, loopback_clients=True):
        raise ConfigurationError(f"{each.said}: {each.remedy}")


def reachable(root: Section, environment: Mapping[str, str]) -> Value | None:
    """Return the first address at which other machines can reach the server; None if there is none."""
    published = environment.get(PUBLISH)
    if published:
        return None if is_loopback(published.strip("[]")) else Value(published, PUBLISH)
    for listen in root.all("listen"):
        if listen.value("type") in ("proxy", "control", "detail"):
            continue
        value = _value(listen, ("ipaddr", "ipv4addr", "ipv6addr"), root, environment, default="*")
        if value.text and not is_loopback(value.text):
            return value
    return None


def _network(client: Section, root: Section, environment: Mapping[str, str]) -> Value:
    value = _value(client, ("ipaddr", "ipv4addr", "ipv6addr"), root, environment, default=client.argument)
    netmask = client.value("netmask")  # FreeRADIUS 2's way
    if netmask and "/" not in value.text:
        return Value(f"{value.text}/{netmask}", value.place)
    return value


def _value(
    section: Section,
    names: tuple[str, ...],
    root: Section,
    environment: Mapping[str, str],
    default: str = "",
) -> Value:
    """Return the first item of a section that is there, with the variable or the line that it comes from."""
    for name in names:
        for item in reversed(section.items):
            if item.name == name:
                variable = _FROM_ENVIRONMENT.search(item.value)
                place = variable[1] if variable else f"{item.path} line {item.line}"
                return Value(expanded(item.value, root, environment), place)
    return Value(default, f"{section.path} line {section.line}")


def _name(value: Value) -> str:
    return value.place if value.place.isidentifier() else f"the line {value.place}"
