"""The state of one condition, with tolerance both ways. Pure: no clock, no database.

A condition that holds for `fire_seconds` fires. One that has not held for `resolve_seconds` is resolved. Whatever is
shorter changes nothing, and nobody is told of it. So a condition that flaps faster than the tolerance keeps the state
that was announced last, and once it stays in the other state, that is announced.

==========  ===========  ============================================
phase       condition    next
==========  ===========  ============================================
ok          holds        pending; firing at once without a tolerance
pending     holds        firing, once it has held for long enough
pending     not          ok
firing      not          clearing; ok at once without a tolerance
clearing    not          ok, once it has not held for long enough
clearing    holds        firing
==========  ===========  ============================================
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Phase = Literal["ok", "pending", "firing", "clearing"]
Event = Literal["fired", "resolved"]
OPEN = ("firing", "clearing")


@dataclass(frozen=True)
class Tolerance:
    """How long a condition must hold before it fires, and not hold before it is resolved, in seconds."""

    fire_seconds: float = 0
    resolve_seconds: float = 0


@dataclass(frozen=True)
class State:
    """A phase, and since when."""

    phase: Phase
    since: datetime


def step(
    state: State, holds: bool, at: datetime, tolerance: Tolerance, *, began_at: datetime | None = None
) -> tuple[State, Event | None]:
    """Return the next state, and what is to be announced.

    Parameters
    ----------
    began_at
        Since when the condition holds, if that is known better than by looking: a router is silent since a time.
    """
    began = min(at, began_at) if began_at is not None and holds else at
    if state.phase in ("ok", "pending"):
        if not holds:
            return (state if state.phase == "ok" else State("ok", at)), None
        pending = state if state.phase == "pending" else State("pending", began)
        if at - pending.since >= timedelta(seconds=tolerance.fire_seconds):
            return State("firing", pending.since), "fired"
        return pending, None
    if holds:
        return (state if state.phase == "firing" else State("firing", at)), None
    clearing = state if state.phase == "clearing" else State("clearing", at)
    if at - clearing.since >= timedelta(seconds=tolerance.resolve_seconds):
        return State("ok", clearing.since), "resolved"
    return clearing, None


def ripe_at(state: State, tolerance: Tolerance) -> datetime | None:
    """Return when the state changes if the condition stays as it is; None: it does not."""
    if state.phase == "pending":
        return state.since + timedelta(seconds=tolerance.fire_seconds)
    if state.phase == "clearing":
        return state.since + timedelta(seconds=tolerance.resolve_seconds)
    return None
