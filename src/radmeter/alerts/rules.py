"""The rules: what is watched, when it is wrong, and who is told. Without a file, `DEFAULTS` hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from radmeter.alerts.evaluating import Tolerance

SILENT = "router_silent"
SITE = "site_down"
SPIKE = "traffic_spike"
QUOTA = "quota"
LAG = "ship_lag"
NO_PACKETS = "no_packets"
KINDS = (SILENT, SITE, SPIKE, QUOTA, LAG, NO_PACKETS)
SEVERITIES = ("info", "warning", "critical")
TLS = ("starttls", "implicit", "none")
# As quotas announce them.
THRESHOLDS = (80, 95, 100)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule.

    Attributes
    ----------
    routers, sites
        Patterns of names, such as ``Hotel *``. Empty: any.
    discovered
        Routers that nobody has claimed are watched, too.
    mail
        Addresses; None: those of the mail table.
    interims
        A router is silent when so many interims of it are missing.
    factor, floor_bytes
        An hour is a spike at so many times what is usual, and at so many octets at least.
    seconds
        How long no packet came in, or how far a shipper is behind.
    """

    name: str
    kind: str
    severity: str = "warning"
    fire_seconds: float = 0
    resolve_seconds: float = 0
    routers: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    discovered: bool = False
    webhooks: bool = True
    mail: tuple[str, ...] | None = None
    interims: float = 3
    factor: float = 5
    floor_bytes: int = 10 * 1000**3
    thresholds: tuple[int, ...] = (95, 100)
    seconds: float = 300

    @property
    def tolerance(self) -> Tolerance:
        """How long it must be wrong, and well again."""
        return Tolerance(self.fire_seconds, self.resolve_seconds)

    def is_about(self, router: str | None, site: str | None, *, discovered: bool = False) -> bool:
        """Tell whether it is about a router, or about a site if `router` is None."""
        if discovered and not self.discovered:
            return False
        return (router is None or _matches(self.routers, router)) and _matches(self.sites, site or "")


@dataclass(frozen=True, kw_only=True)
class Mail:
    """The mail server, and who is told by default. The password is read when it is needed."""

    host: str
    port: int = 587
    tls: str = "starttls"
    ca_file: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    sender: str = ""
    to: tuple[str, ...] = ()
    every_seconds: float = 60


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All rules, in the order in which they are asked: the first one about a router counts, of each kind.

    `restored`: they are those of before, as the database has them. `mail` is not known, so mails wait.
    """

    rules: Sequence[Rule]
    mail: Mail | None = None
    file: Path | None = None
    restored: bool = False

    def first(
        self, kind: str, router: str | None, site: str | None, *, discovered: bool = False
    ) -> Rule | None:
        """Return the rule of a kind for a router or a site; None: there is none."""
        return next(
            (
                each
                for each in self.rules
                if each.kind == kind and each.is_about(router, site, discovered=discovered)
            ),
            None,
        )

    def of(self, kind: str) -> list[Rule]:
        """Return the rules of a kind."""
        return [each for each in self.rules if each.kind == kind]

    def named(self, name: str) -> Rule | None:
        """Return the rule with a name; None: there is none any more."""
        return next((each for each in self.rules if each.name == name), None)

    def recipients(self, rule: Rule) -> list[str]:
        """Return who is told by e-mail."""
        if rule.mail is not None:
            return sorted(set(rule.mail))
        return [] if self.mail is None else sorted(set(self.mail.to))


DEFAULTS = Rules(
    rules=(
        Rule(name="router-silent", kind=SILENT, interims=3, resolve_seconds=60),
        Rule(name="site-down", kind=SITE, severity="critical"),
        Rule(name="traffic-spike", kind=SPIKE, severity="info", fire_seconds=300, resolve_seconds=300),
        # One for each user: they are listed, and nobody is told.
        Rule(name="quota", kind=QUOTA, severity="info", webhooks=False, mail=()),
        Rule(name="no-packets", kind=NO_PACKETS, severity="critical", seconds=300, resolve_seconds=10),
        Rule(name="ship-lag", kind=LAG, seconds=120, fire_seconds=60, resolve_seconds=60),
    )
)


def _matches(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(fnmatchcase(name.casefold(), each.casefold()) for each in patterns)
