"""Whether a router is silent. Pure: what was known, what its sessions say now, and a time go in.

Packets of a router are expected while it has open sessions. It is silent when none came for so many of its interims.
A router whose sessions all ended by a Stop is idle, not silent. One whose sessions the jobs closed as stale is silent.

A silent router is heard again with its second packet: one that sends every fourth interim only is not well. Between the
packets it may be late by half an interim. If it is later than that before it counts as well, a packet was lost: the
time for which it has to be well begins again. It is silent again after its interims, as any other router.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from radmeter.alerts.evaluating import OPEN, Event, State, ripe_at, step
from radmeter.alerts.rules import Rule

Phase = Literal["idle", "ok", "pending", "firing", "clearing"]

# A router of which nothing is expected is looked at so often, or as often as it could have become silent.
IDLE_SECONDS = 300.0
# A silent one is looked at so often, to see it come back.
AGAIN_SECONDS = 2.0
# A packet may be late by half an interim: routers spread their interims, and packets are sent again.
LATE_INTERIMS = 1.5
BACK_ARRIVALS = 2
# An arrival that is further ahead of the database's clock is impossible, and is not kept (architecture, "Time").
AHEAD_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is known of a router: a row of radmeter.router_watch, with its name, site and status."""

    router_id: int
    name: str
    site: str | None
    status: str
    phase: Phase
    since: datetime
    due_at: datetime
    expects: str = "nothing"
    interim: int | None = None
    arrived_at: datetime | None = None
    heard_at: datetime | None = None
    arrivals: int = 0
    reaped_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has an alert."""
        return self.phase in OPEN

    @property
    def quiet_from(self) -> datetime | None:
        """From when on its silence is counted; None: it was never heard.

        A session keeps its latest arrival. If the clock of the RADIUS server was ahead, packets that come after it was
        set right are not seen until that time is reached. So nothing is silent before.
        """
        if self.heard_at is None or self.arrived_at is None:
            return self.heard_at
        return max(self.heard_at, min(self.arrived_at, self.heard_at + timedelta(seconds=AHEAD_SECONDS)))

    def silent_at(self, interims: float) -> datetime | None:
        """Return when it is silent if nothing comes; None: nothing is expected of it."""
        quiet_from = self.quiet_from
        if quiet_from is None or self.interim is None or self.expects == "nothing":
            return None
        return quiet_from + timedelta(seconds=self.interim * interims)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the sessions of a router say now.

    Attributes
    ----------
    arrived_at
        Arrival of the latest packet of its open sessions. Without open sessions: of the latest that was closed, if the
        jobs have closed sessions of the router as stale.
    reaped
        It has no open session, and the one that was heard last was closed as stale.
    """

    open_sessions: int = 0
    arrived_at: datetime | None = None
    interim: int | None = None
    reaped: bool = False


def wants_closed(watch: Watch, heard: Heard) -> bool:
    """Tell whether the closed sessions have to be asked how they ended."""
    return (
        heard.open_sessions == 0
        and watch.expects == "sessions"
        and watch.reaped_at is not None
        and (watch.heard_at is None or watch.reaped_at > watch.heard_at)
    )


def judge(
    watch: Watch, heard: Heard, rule: Rule | None, at: datetime, judged_at: datetime, *, held: bool = False
) -> tuple[Watch, Event | None]:
    """Return what is known of a router after a look at it, and what is to be announced.

    Parameters
    ----------
    judged_at
        As of when it is silent: a shipper may have packets that came before now still to send.
    held
        Nothing fires now: the jobs have just begun again, and the shippers may have to catch up.
    """
    watch = _with(watch, heard, at)
    if rule is None or watch.interim is None or watch.expects == "nothing":
        return _nothing_expected(watch, heard, rule, at)
    interims = LATE_INTERIMS if watch.is_open and watch.arrivals else rule.interims
    late_at = watch.silent_at(interims)
    late = _is_past(late_at, judged_at)
    if late and watch.phase == "clearing" and not _is_past(watch.silent_at(rule.interims), judged_at):
        return replace(watch, since=at, due_at=at + timedelta(seconds=AGAIN_SECONDS)), None
    if late and watch.is_open and watch.arrivals:
        # A packet alone did not bring it back: the next ones are counted anew.
        watch = replace(watch, arrivals=0)
    silent = late or (watch.is_open and watch.arrivals < BACK_ARRIVALS)
    if watch.phase == "idle":
        watch = replace(watch, phase="ok", since=at)
    if silent and held and not watch.is_open:
        return replace(watch, due_at=at + timedelta(seconds=AGAIN_SECONDS)), None
    return _step(watch, rule, silent, at, late_at)


def _is_past(moment: datetime | None, at: datetime) -> bool:
    return moment is None or at >= moment


def _with(watch: Watch, heard: Heard, at: datetime) -> Watch:
    """Return a watch with what the sessions say."""
    if heard.arrived_at is not None and (watch.arrived_at is None or heard.arrived_at > watch.arrived_at):
        # The clock of the RADIUS server may be ahead: then it is heard when that is first seen.
        watch = replace(
            watch,
            arrived_at=heard.arrived_at,
            heard_at=min(heard.arrived_at, at),
            arrivals=min(watch.arrivals + 1, 1000),
        )
    if heard.interim is not None and heard.interim != watch.interim:
        watch = replace(watch, interim=heard.interim)
    if heard.open_sessions or heard.reaped:
        # A copy takes 4 us, and most routers are as they were.
        expects = "sessions" if heard.open_sessions else "reaped"
        return watch if watch.expects == expects else replace(watch, expects=expects)
    if watch.expects == "sessions":
        # They ended by a Stop, or by an Accounting-On: the router has spoken.
        return replace(watch, expects="nothing", arrivals=BACK_ARRIVALS, heard_at=at)
    return watch


def _nothing_expected(
    watch: Watch, heard: Heard, rule: Rule | None, at: datetime
) -> tuple[Watch, Event | None]:
    if rule is not None and watch.is_open:
        return _step(watch, rule, False, at, None)
    event: Event | None = "resolved" if watch.is_open else None
    if watch.phase != "idle":
        watch = replace(watch, phase="idle", since=at)
    seconds = IDLE_SECONDS
    if watch.interim is not None and rule is not None:
        seconds = min(seconds, watch.interim * rule.interims)
    elif heard.open_sessions:
        seconds = 30.0  # its interval is not known yet
    return replace(watch, due_at=at + timedelta(seconds=max(1.0, seconds))), event


def _step(
    watch: Watch, rule: Rule, silent: bool, at: datetime, late_at: datetime | None
) -> tuple[Watch, Event | None]:
    assert watch.phase != "idle"
    was = watch.phase
    state, event = step(State(watch.phase, watch.since), silent, at, rule.tolerance, began_at=late_at)
    if state != State(watch.phase, watch.since):
        watch = replace(watch, phase=state.phase, since=state.since)
    if event == "fired":
        watch = replace(watch, arrivals=0)
    if watch.phase == "ok":
        if watch.expects != "sessions":
            watch = replace(watch, phase="idle", expects="nothing")
        due_at = watch.silent_at(rule.interims) or at + timedelta(seconds=IDLE_SECONDS)
        # Not later than an interval from now, whatever clock the arrival is from.
        due_at = max(due_at, at + timedelta(seconds=1 if was == "ok" else 0))
    else:
        due_at = at + timedelta(seconds=AGAIN_SECONDS if watch.is_open else 1.0)
        ripe = ripe_at(state, rule.tolerance)
        if ripe is not None and ripe > at:
            due_at = min(due_at, ripe)
    return replace(watch, due_at=due_at), event
