"""Turns a session's limits into the attributes of its router's vendor. Pure: no clock, no database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Attribute = tuple[str, int | str]

# Begins the unit of an attribute that has a name. What follows stands before the name.
TEXT = "text:"
UINT32_MAX = (1 << 32) - 1


@dataclass(frozen=True)
class Limits:
    """What a session may use. Octets and seconds are counted from the session's start; None is no limit."""

    speed_up: int | None = None  # bit/s, from the user
    speed_down: int | None = None  # bit/s, to the user
    octets_total: int | None = None
    octets_in: int | None = None  # from the user
    octets_out: int | None = None  # to the user
    session_timeout: int | None = None
    idle_timeout: int | None = None
    role: str | None = None  # a name that the router knows

    def swapped(self) -> "Limits":
        """Return the limits for a router that counts input and output the other way round."""
        return replace(
            self,
            speed_up=self.speed_down,
            speed_down=self.speed_up,
            octets_in=self.octets_out,
            octets_out=self.octets_in,
        )


@dataclass(frozen=True)
class VendorAttribute:
    """A row of radmeter.vendor_attributes(): the attribute that a vendor has for a purpose, and its unit."""

    purpose: str
    attribute: str
    gigawords_attribute: str | None
    unit: str


def attributes(
    limits: Limits, vendor: Iterable[VendorAttribute], standard: Sequence[str], *, swapped: bool = False
) -> list[Attribute]:
    """Return the attributes of a CoA-Request: the whole set of limits.

    CoovaChilli takes a limit that is not in the request for no limit, so all are there each time.

    Parameters
    ----------
    standard
        Which of Session-Timeout and Idle-Timeout the router takes in a CoA-Request.
    swapped
        The router counts input and output the other way round.
    """
    if swapped:
        limits = limits.swapped()
    found: list[Attribute] = []
    for each in vendor:
        found += _of_vendor(limits, each)
    for name, seconds in (("Session-Timeout", limits.session_timeout), ("Idle-Timeout", limits.idle_timeout)):
        if name in standard and seconds is not None:
            found.append((name, min(seconds, UINT32_MAX)))
    return found


def _of_vendor(limits: Limits, each: VendorAttribute) -> list[Attribute]:
    if each.purpose == "rate_limit":
        return _rate_limit(limits, each.attribute)
    if each.purpose == "role":
        return [] if limits.role is None else [(each.attribute, each.unit.removeprefix(TEXT) + limits.role)]
    value: int | None = getattr(limits, each.purpose)
    if value is None:
        return []
    if each.unit == "octets" and each.gigawords_attribute is not None:
        return [
            (each.attribute, value & UINT32_MAX),
            (each.gigawords_attribute, min(value >> 32, UINT32_MAX)),
        ]
    per_unit = {"octets": 1, "bit/s": 1, "kbit/s": 1000, "kbyte": 1024}[each.unit]
    # Never 0: that is no limit for a speed. No octets left is a Disconnect-Request, not a limit.
    return [(each.attribute, min(max(value // per_unit, 1), UINT32_MAX))]


def _rate_limit(limits: Limits, attribute: str) -> list[Attribute]:
    if limits.speed_up is None and limits.speed_down is None:
        return []
    # As at login: bit/s without a unit. 0 is a direction without a limit.
    return [(attribute, f"{limits.speed_up or 0}/{limits.speed_down or 0}")]
