"""Reads an inventory of routers from CSV, line by line. A bad line is reported and does not stop the others. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from radmeter import csv_lines
from radmeter.csv_lines import BadLine
from radmeter.errors import RadmeterError
from radmeter.packet.router_key import normal_mac

COLUMNS = (
    "name",
    "mac",
    "nas_identifier",
    "ip_address",
    "timezone",
    "clients",
    "plausible_mbit_per_second",
    "site",
)
# How requests reach a router. The secret is not among them: a list of secrets would lie about.
REQUEST_COLUMNS = ("vendor", "coa_address", "coa_port")
ANY = "any"
DEFAULT = "default"
MOST_CLIENTS = 64
LONGEST_NAME = 200
LONGEST_REASON = 400
# No file has more routers: the names and MACs of the lines before are kept, to find a router that comes twice.
MOST_ROUTERS = 1_000_000
LONGEST_ATTRIBUTE_BYTES = 253  # the longest value of a RADIUS attribute, RFC 2865 section 5


class BadInventory(RadmeterError):
    """A file is not an inventory of routers."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A router as an operator describes it. None: not given."""

    number: int = 1
    name: str | None = None
    mac: str | None = None
    nas_identifier: str | None = None
    ip_address: str | None = None
    timezone: str | None = None
    clients: str | None = None  # addresses and networks with commas between them, or `any`
    plausible_mbit_per_second: str | None = None  # a whole number, or `default`
    site: str | None = None
    vendor: str | None = None
    coa_address: str | None = None
    coa_port: str | None = None

    @classmethod
    def checked(
        cls, given: Mapping[str, str | None], timezones: Mapping[str, str], number: int = 1
    ) -> "Line":
        """Return a line with each value in its normal form, and empty values as None.

        Parameters
        ----------
        given
            Values by column, as they were typed.
        timezones
            The names of the allowed time zones, by the same names in lower case.
        number
            The line's number.

        Raises
        ------
        BadLine
            A value cannot be used.
        """
        values = {column: (text or "").strip() or None for column, text in given.items()}
        for column, text in values.items():
            if text is None:
                continue
            if not text.isprintable():
                raise BadLine(f"{column} {text!r} has characters that cannot be printed")
            values[column] = _CHECKS[column](text, timezones)
        return cls(number=number, **values)

    def as_json(self) -> dict[str, Any]:
        """Return the line as the SQL functions take it."""
        # If a NAS-Identifier is a MAC, packets find the router by it: see radmeter.match_router.
        nas_mac = normal_mac(self.nas_identifier) if self.nas_identifier else None
        return {
            "line": self.number,
            "nas_mac": nas_mac,
            **{name: getattr(self, name) for name in COLUMNS},
            "clients": None if self.clients is None else self.client_networks,
            # For radmeter.import_routers: NULL changes nothing, -1 is the default.
            "plausible_mbit_per_second": None
            if self.plausible_mbit_per_second is None
            else -1
            if self.plausible_mbit_per_second == DEFAULT
            else int(self.plausible_mbit_per_second),
        }

    @property
    def requests(self) -> dict[str, str | int]:
        """What the line says of how requests reach the router, as radmeter.set_router_coa takes it."""
        given = {"vendor": self.vendor, "address": self.coa_address}
        port: dict[str, str | int] = {} if self.coa_port is None else {"port": int(self.coa_port)}
        return {name: value for name, value in given.items() if value is not None} | port

    @property
    def client_networks(self) -> list[str]:
        """The networks of `clients`. Empty: any client, or it is not given."""
        return [] if self.clients in (None, ANY) else str(self.clients).split(",")


def _name(text: str, timezones: Mapping[str, str]) -> str:
    if len(text) > LONGEST_NAME:
        raise BadLine(f"the name has {len(text)} characters, more than {LONGEST_NAME}")
    if text.startswith("#"):
        raise BadLine(f"the name {text!r} begins with #, as ids do")
    return text


def _site(text: str, timezones: Mapping[str, str]) -> str:
    if len(text) > LONGEST_NAME:
        raise BadLine(f"the site has {len(text)} characters, more than {LONGEST_NAME}")
    return text


def _mac(text: str, timezones: Mapping[str, str]) -> str:
    mac = normal_mac(text)
    if mac is None:
        raise BadLine(f"{text!r} is not a MAC address, such as AA-BB-CC-DD-EE-FF")
    return mac


def _nas_identifier(text: str, timezones: Mapping[str, str]) -> str:
    if len(text.encode()) > LONGEST_ATTRIBUTE_BYTES:
        raise BadLine(f"the nas_identifier is longer than {LONGEST_ATTRIBUTE_BYTES} bytes")
    return text


def _ip_address(text: str, timezones: Mapping[str, str]) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise BadLine(f"{text!r} is not an IPv4 or IPv6 address") from None
    if getattr(address, "scope_id", None):
        raise BadLine(f"{text!r} has a scope: a router's address cannot have one")
    return str(address)


def _timezone(text: str, timezones: Mapping[str, str]) -> str:
    name = timezones.get(text.lower())
    if name is None:
        raise BadLine(f"there is no time zone {text!r}: give an IANA name, such as UTC or Europe/Berlin")
    return name


def _clients(text: str, timezones: Mapping[str, str]) -> str:
    if text.lower() == ANY:
        return ANY
    networks = dict.fromkeys(_network(each.strip()) for each in text.replace(";", ",").split(","))
    if len(networks) > MOST_CLIENTS:
        raise BadLine(f"it has {len(networks)} clients, more than {MOST_CLIENTS}: give networks")
    return ",".join(networks)


def _plausible_mbit_per_second(text: str, timezones: Mapping[str, str]) -> str:
    if text.lower() == DEFAULT:
        return DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadLine(f"the plausible rate {text!r} is neither a whole number of Mbit/s nor `default`")
    return str(int(text))


def _vendor(text: str, timezones: Mapping[str, str]) -> str:
    return text.lower()


def _port(text: str, timezones: Mapping[str, str]) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        raise BadLine(f"the coa_port {text!r} is not a whole number from 1 to 65535")
    return str(int(text))


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            whole = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise BadLine(
                f"client {text!r} is not an address or network, such as 192.0.2.7 or 198.51.100.0/24"
            ) from None
        raise BadLine(f"client {text!r} is an address within a network: write {whole}") from None
    # The database compares an IPv4-mapped address as the IPv4 address.
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network((mapped, network.prefixlen - 96))
    if getattr(network.network_address, "scope_id", None):
        raise BadLine(f"client {text!r} has a scope: a RADIUS client's address cannot have one")
    return str(network)


_CHECKS = {
    "name": _name,
    "mac": _mac,
    "nas_identifier": _nas_identifier,
    "ip_address": _ip_address,
    "timezone": _timezone,
    "clients": _clients,
    "plausible_mbit_per_second": _plausible_mbit_per_second,
    "site": _site,
    "vendor": _vendor,
    "coa_address": _ip_address,
    "coa_port": _port,
}


def read(lines: Iterable[bytes], timezones: Mapping[str, str]) -> Iterator[Line | tuple[int, str]]:
    """Read an inventory. Yield each router, or for a bad line its number and the reason. Empty lines are skipped.

    Each line is read on its own, so that a forgotten quote spoils only one line.
    A line as `csv_lines.lines_of` gives it.

    Raises
    ------
    BadInventory
        The first line is not the header, or there are more than `MOST_ROUTERS` routers.
    """
    numbered = enumerate(lines, start=1)
    columns = _header(next(numbered, (1, b""))[1])
    seen: dict[tuple[str, str], int] = {}
    for number, raw in numbered:
        if not raw.strip(b" \t\r\n,"):
            continue
        try:
            if len(raw) > csv_lines.LONGEST_LINE:
                raise BadLine(f"it is longer than {csv_lines.LONGEST_LINE} bytes")
            fields = csv_lines.fields(raw)
            if len(fields) != len(columns):
                raise BadLine(f"it has {len(fields)} fields, the header has {len(columns)}")
            line = Line.checked(dict(zip(columns, fields, strict=True)), timezones, number)
            _check_first(line, seen)
        except BadLine as error:
            reason = str(error)
            yield number, reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + ".."
        else:
            if len(seen) > 2 * MOST_ROUTERS:
                raise BadInventory(f"it has more than {MOST_ROUTERS:,} routers: split the file")
            yield line


def _header(raw: bytes) -> list[str]:
    expected = f"the first line must be the header: {','.join(COLUMNS + REQUEST_COLUMNS)}"
    try:
        columns = [name.strip().lower() for name in csv_lines.fields(raw.removeprefix(b"\xef\xbb\xbf"))]
    except BadLine as error:
        raise BadInventory(f"{expected} ({error})") from None
    unknown = [name for name in columns if name not in COLUMNS + REQUEST_COLUMNS]
    if unknown:
        raise BadInventory(f"{expected} (it has {unknown[0]!r})")
    if "name" not in columns or len(set(columns)) < len(columns):
        raise BadInventory(f"{expected} (columns other than name may be left out, and none may come twice)")
    return columns


def _check_first(line: Line, seen: dict[tuple[str, str], int]) -> None:
    """Raise BadLine for a second line of the same router: nobody can know which of the two is meant."""
    if line.name is None:
        raise BadLine("it has no name")
    keys = [("name", line.name)] + ([("MAC", line.mac)] if line.mac else [])
    for what, value in keys:
        if (what, value) in seen:
            raise BadLine(f"the {what} {value!r} is on line {seen[what, value]} already")
    seen.update(dict.fromkeys(keys, line.number))
