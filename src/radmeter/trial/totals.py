"""Bytes of each user and each router: what was sent, what was counted, and the differences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self


class Usage(NamedTuple):
    """Octets from the user (Acct-Input-Octets) and to the user."""

    bytes_in: int = 0
    bytes_out: int = 0


class Comparison(NamedTuple):
    """One user or router: the acknowledged bytes that routers reported, and the bytes that the database counted."""

    name: str
    sent: Usage
    counted: Usage

    @property
    def equal(self) -> bool:
        """Whether the two are equal to the byte."""
        return self.sent == self.counted


@dataclass
class Totals:
    """Usage by user name, and by router MAC as 12 hex digits."""

    users: dict[str, Usage] = field(default_factory=dict)
    routers: dict[str, Usage] = field(default_factory=dict)

    def add(self, user: str | None, router: str, new: Usage) -> None:
        """Add usage to a router, and to a user if there is one."""
        if user is not None:
            self.users[user] = _plus(self.users.get(user, Usage()), new)
        self.routers[router] = _plus(self.routers.get(router, Usage()), new)

    def since(self, before: Self) -> "Totals":
        """Return the increase since earlier totals."""
        return Totals(_minus(self.users, before.users), _minus(self.routers, before.routers))


def compare(sent: Mapping[str, Usage], counted: Mapping[str, Usage]) -> list[Comparison]:
    """Return a comparison for each name in either mapping, in the order of the names."""
    names = sorted(sent.keys() | counted.keys())
    return [Comparison(name, sent.get(name, Usage()), counted.get(name, Usage())) for name in names]


def _plus(one: Usage, other: Usage) -> Usage:
    return Usage(one.bytes_in + other.bytes_in, one.bytes_out + other.bytes_out)


def _minus(after: Mapping[str, Usage], before: Mapping[str, Usage]) -> dict[str, Usage]:
    nothing = Usage()
    return {
        name: Usage(
            usage.bytes_in - before.get(name, nothing).bytes_in,
            usage.bytes_out - before.get(name, nothing).bytes_out,
        )
        for name, usage in after.items()
    }
