"""A look: what all of its parts share."""

from dataclasses import dataclass
from datetime import datetime

from radmeter.alerts.rules import SILENT, SITE, Rule, Rules
from radmeter.alerts.silence import Watch
from radmeter.database.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look.

    Attributes
    ----------
    connection
        In the transaction of the look.
    at
        Its time.
    judged_at
        As of when routers are silent: a shipper may have packets that came before `at` still to send.
    held
        Nothing fires as silent: the jobs have just begun again, and the shippers may have to catch up.
    """

    connection: Connection
    rules: Rules
    at: datetime
    judged_at: datetime
    held: bool

    def router_rule(self, watch: Watch) -> Rule | None:
        """Return the rule by which a router is silent; None: it is not watched."""
        if watch.status == "retired":
            return None
        return self.rules.first(SILENT, watch.name, watch.site, discovered=watch.status == "discovered")

    def site_rule(self, site: str) -> Rule | None:
        """Return the rule by which a site is down; None: it is not watched."""
        return self.rules.first(SITE, None, site)
