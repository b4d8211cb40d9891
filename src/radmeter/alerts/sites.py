"""Whether a whole site is silent, so that one alert stands for those of its routers. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from radmeter.alerts.silence import Watch

# Interims jitter, by much less than this share of them.
JITTER = 0.1
# How long after the last router could be silent its look may be.
LOOK_SECONDS = 5.0

Verdict = Literal["down", "undecided", "up"]


@dataclass(frozen=True)
class Decision:
    """What a look at the routers of a site says.

    ``down``: all that were active are silent. ``undecided``: all are late, and at `until` it is known. ``up``: one was
    heard.
    """

    verdict: Verdict
    until: datetime | None = None


def decide(routers: Sequence[tuple[Watch, float]], judged_at: datetime) -> Decision:
    """Say whether a site is down.

    Parameters
    ----------
    routers
        All routers of the site as they were just looked at, each with the interims after which it is silent.
    judged_at
        As of when.

    A router whose last session has just ended was heard, and counts as such for as long as one that sends interims.
    """
    latest: datetime | None = None
    silent = 0
    for watch, interims in routers:
        span = timedelta(seconds=(watch.interim or 0) * interims)
        if watch.phase == "idle":
            if (
                watch.quiet_from is not None
                and watch.interim is not None
                and watch.quiet_from + span > judged_at
            ):
                return Decision("up")
            continue
        if watch.phase == "clearing":
            return Decision("up")
        if watch.phase == "firing":
            silent += 1
            continue
        assert watch.interim is not None
        assert watch.quiet_from is not None
        late_from = watch.quiet_from + timedelta(seconds=watch.interim * max(0.0, interims - 1 - JITTER))
        if judged_at < late_from:
            return Decision("up")
        at = watch.quiet_from + span
        latest = at if latest is None else max(latest, at)
    if latest is not None:
        return Decision("undecided", latest + timedelta(seconds=LOOK_SECONDS)) if silent else Decision("up")
    return Decision("down" if silent else "up")


def is_back(phases: Sequence[str]) -> bool:
    """Tell whether a site that was down is back: one of its routers is well, or nothing is expected of any.

    Phase ``new``: it is well, but not yet for as long as a silent router would have to be.
    """
    return not any(phase in ("firing", "clearing") for phase in phases) or "ok" in phases
