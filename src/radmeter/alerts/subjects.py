"""What an alert of a rule is about, as a text. `radmeter.alert_subject` writes the same."""

from typing import NamedTuple, Self


class Subject(NamedTuple):
    """A site, a router, or all routers if neither is given. Its text is ``site:Hotel A``, ``router:7`` or ``all``."""

    site: str | None = None
    router_id: int | None = None

    def __str__(self) -> str:
        if self.router_id is not None:
            return f"router:{self.router_id}"
        return "all" if self.site is None else f"site:{self.site}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the subject with a text."""
        kind, _, name = text.partition(":")
        return cls(site=name if kind == "site" else None, router_id=int(name) if kind == "router" else None)


ALL = Subject()
