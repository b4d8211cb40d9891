"""One look at everything, and what is announced, in one transaction. The parts of a look have files of their own."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from radmeter.alerts import (
    new_rules,
    opening,
    place,
    quota_alerts,
    site_alerts,
    watching,
)
from radmeter.alerts.around import SECONDS as AROUND_SECONDS
from radmeter.alerts.around import Around, look_around, now
from radmeter.alerts.installation_alerts import look_at_installation
from radmeter.alerts.look import Look
from radmeter.alerts.place import Place, is_due
from radmeter.alerts.router_alerts import look_at_routers
from radmeter.alerts.rules import SILENT, Rules
from radmeter.alerts.spike_alerts import look_at_hours
from radmeter.database.connection import Connection, explained_errors

# After a pause the shippers may have to catch up. Until they have sent something, nobody knows how far behind they are.
PAUSE_SECONDS = 10.0
GRACE_SECONDS = 60.0
SWEEP_SECONDS = 30.0

# A few hundred rows of tables with a row for each router: by their indexes, which are in memory. With the usual costs
# the whole tables were read, which took five times as long with 30,000 routers. Nor by plans from when the tables were
# empty: within minutes there may be 100,000 alerts.
BY_INDEX = "SET LOCAL random_page_cost = 1; SET LOCAL plan_cache_mode = force_custom_plan"
LOST_ROUTERS = """
SELECT alert.router_id FROM radmeter.alerts AS alert
LEFT JOIN radmeter.router_watch AS watch ON watch.router_id = alert.router_id
WHERE alert.kind = 'router_silent' AND alert.resolved_at IS NULL
  AND coalesce(watch.phase, 'idle') NOT IN ('firing', 'clearing')"""


@dataclass(frozen=True)
class Tick:
    """What a look did. `more`: there is more to look at, so the next look need not wait."""

    looked_at: int
    announced: int
    more: bool


class Evaluator:
    """Looks at everything with some rules.

    Parameters
    ----------
    clock
        The time; None: that of the database.
    grace_seconds
        After a pause, no router is silent for so long.
    pause_seconds
        If so much more than a look takes is between two of them, that was a pause.
    """

    def __init__(
        self,
        connection: Connection,
        rules: Rules,
        *,
        clock: Callable[[], datetime] | None = None,
        grace_seconds: float = GRACE_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._connection = connection
        self.rules = rules
        self._clock = clock
        self._grace = timedelta(seconds=grace_seconds)
        self._pause = timedelta(seconds=pause_seconds)
        self._around: Around | None = None
        self._took = timedelta(0)
        self._digest = new_rules.digest_of(rules)

    def use(self, rules: Rules) -> None:
        """Go on with other rules."""
        self.rules = rules
        self._digest = new_rules.digest_of(rules)

    def tick(self) -> Tick:
        """Look once, in one transaction."""
        began = time.monotonic()
        try:
            return self._tick()
        finally:
            self._took = timedelta(seconds=time.monotonic() - began)

    def _tick(self) -> Tick:
        around, is_new = self._look_around()
        at = around.now
        with explained_errors("radmeter_owner"), self._connection.transaction():
            self._connection.execute(BY_INDEX, prepare=False)
            here = place.read(self._connection)
            # ticked_at is when the look before began. One that takes long is no pause.
            if here.ticked_at is None or not -self._pause <= at - here.ticked_at <= self._pause + self._took:
                here = replace(here, resumed_at=at)
            look = Look(
                connection=self._connection,
                rules=self.rules,
                at=at,
                judged_at=at if around.behind is None else min(around.behind, at),
                held=here.resumed_at is not None and at < here.resumed_at + self._grace,
            )
            if here.rules_digest != self._digest and not self.rules.restored:
                new_rules.put_in_force(look)
                # At first there is nothing to review: all routers are due.
                first = here.rules_digest is None
                here = replace(here, rules_digest=self._digest, review_after=None if first else 0)
            more = watching.add(look.connection, look.at, all_=is_due(here.swept_at, look.at, SWEEP_SECONDS))
            here = _swept(look, here)
            seen = look_at_routers(look, here.review_after)
            if here.review_after is not None:
                here = replace(here, review_after=watching.reviewed(self._connection, here.review_after))
            here = look_at_hours(look, here, whole=around.behind is None)
            here, more_notices = quota_alerts.look_at_notices(look, here)
            if is_new:
                look_at_installation(look, around)
            announced = opening.announce(self._connection, at)
            opening.make_mails(self._connection, self.rules, at)
            place.save(self._connection, replace(here, ticked_at=at))
        more = more or more_notices or seen.more or announced >= opening.MOST_ANNOUNCED
        return Tick(seen.routers, announced, more or here.review_after is not None)

    def _look_around(self) -> tuple[Around, bool]:
        """Return the time with what was known beside it a few seconds ago, and whether that was asked just now."""
        at = now(self._connection) if self._clock is None else self._clock()
        known = self._around
        is_new = known is None or is_due(known.now, at, AROUND_SECONDS)
        if known is None or is_new:
            known = look_around(self._connection)
            if self._clock is not None:
                known = Around(at, None, known.last_packet_at)
            self._around = known
        return replace(known, now=at), is_new


def _swept(look: Look, here: Place) -> Place:
    """From time to time, see to what has changed by other ways than packets."""
    if not is_due(here.swept_at, look.at, SWEEP_SECONDS):
        return here
    quota_alerts.end_alerts(look)
    watching.sweep(look.connection, look.at)
    lost = [row[0] for row in look.connection.execute(LOST_ROUTERS)]
    opening.resolve_routers(look.connection, SILENT, lost, look.at)
    site_alerts.came_back(look, None)
    return replace(here, swept_at=look.at)
