"""Says what follows from a router's answer to a request, or from its silence. Pure: no clock, no database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from radmeter.quotas.coa import COA, DISCONNECT, Act, Answer, cause_text

# A router that answers, but never as it should, is asked this often.
MOST_REFUSALS = 10
# An ACK that has no effect is believed this often.
MOST_ACKS = 3
# Packets that were under way when the router answered do not show that its ACK had no effect.
UNDER_WAY_SECONDS = 10
# If the session's packets do not show their interval.
USUAL_INTERIM_SECONDS = 300
SILENT_INTERIMS = 3
LONGEST_PAUSE_SECONDS = 600
FIRST_PAUSE_SECONDS = 15


@dataclass(frozen=True)
class Asked:
    """A request that was sent, with what is known of its session.

    Attributes
    ----------
    attempts
        How often it was sent, also in vain.
    naks, acks
        How often the router refused and acknowledged it before.
    silent_seconds
        Since the session's latest packet.
    answered_seconds
        Since the router's latest ACK.
    next_has_id
        The next set of attributes has the Acct-Session-Id. Without it, the router may take another session for ours.
    takes_disconnect
        A Disconnect-Request may follow.
    """

    act: Act
    attempts: int
    identity_set: int
    identity_sets: int
    silent_seconds: float
    interim_seconds: int | None = None
    answered_seconds: float | None = None
    naks: int = 0
    acks: int = 0
    next_has_id: bool = True
    takes_disconnect: bool = True

    @property
    def interval(self) -> int:
        """How often the session's packets come, in seconds."""
        return self.interim_seconds or USUAL_INTERIM_SECONDS


@dataclass(frozen=True)
class Step:
    """What becomes of a request.

    Attributes
    ----------
    state
        As in radmeter.disconnect_queue.
    seconds
        When it is looked at again: so long from now.
    close_after
        Close our session if it has been silent for so many seconds.
    refused_coa
        The router takes no CoA-Request: remember it.
    """

    state: Literal["waiting", "acknowledged", "done", "failed"]
    act: Act
    identity_set: int
    error: str | None = None
    seconds: float = 0
    close_after: float | None = None
    refused_coa: bool = False


def after_answer(asked: Asked, answer: Answer) -> Step:
    """Return what follows from an answer (RFC 5176 section 3.5)."""
    if answer.acknowledged:
        if asked.act == COA:
            return Step("done", asked.act, asked.identity_set)
        # The Stop is the proof. Until it comes the session is watched.
        return Step(
            "acknowledged", asked.act, asked.identity_set, seconds=min(asked.interval + UNDER_WAY_SECONDS, 60)
        )
    told = f"the router refused: {cause_text(answer.error_cause)}"
    handler = _HANDLERS.get(answer.error_cause, _unknown_session if answer.error_cause is None else _later)
    step = handler(asked, told)
    refusals = asked.naks + 1
    if step.state == "waiting" and refusals >= MOST_REFUSALS:
        return Step("failed", step.act, step.identity_set, f"{told} ({refusals} times)")
    return step


def after_silence(asked: Asked, told: str) -> Step:
    """Return what follows if nobody answered. `told` says who. The router is tried seldom from then on."""
    return Step("waiting", asked.act, asked.identity_set, told)


def after_acknowledged(asked: Asked) -> Step:
    """Return what follows if a router acknowledged a Disconnect-Request, and the session is still open here."""
    since = asked.answered_seconds or 0
    if asked.silent_seconds < since - UNDER_WAY_SECONDS:
        if asked.acks >= MOST_ACKS:
            return Step(
                "failed",
                asked.act,
                asked.identity_set,
                f"the router acknowledged {asked.acks} times, but the session goes on: "
                "does the request reach the router itself, and not a proxy or controller?",
            )
        number = min(asked.identity_set + 1, asked.identity_sets - 1)
        return Step("waiting", asked.act, number, "the router acknowledged, but the session goes on")
    silence = SILENT_INTERIMS * asked.interval
    if asked.silent_seconds > silence:
        return Step(
            "done", asked.act, asked.identity_set, "no Stop came: closed as stale", close_after=silence
        )
    return Step(
        "acknowledged",
        asked.act,
        asked.identity_set,
        seconds=min(asked.interval, silence - asked.silent_seconds + 1),
    )


def _unknown_session(asked: Asked, told: str) -> Step:
    """503: the session is gone, or the router knows it by other attributes."""
    if asked.silent_seconds > asked.interval:
        return Step(
            "done",
            asked.act,
            asked.identity_set,
            f"{told}: closed, its packets have ended",
            close_after=asked.interval,
        )
    if asked.identity_set + 1 < asked.identity_sets and (asked.next_has_id or asked.naks > 0):
        return Step("waiting", asked.act, asked.identity_set + 1, told)
    # The next interim, or its absence, tells.
    return Step("waiting", asked.act, asked.identity_set, told, seconds=min(asked.interval + 1, 600))


def _other_identity(asked: Asked, told: str) -> Step:
    """401 of a Disconnect-Request, 402, 403, 508: name the session by other attributes, once."""
    if asked.identity_set + 1 < asked.identity_sets:
        return Step("waiting", asked.act, asked.identity_set + 1, told)
    return Step("failed", asked.act, asked.identity_set, told)


def _unsupported_attribute(asked: Asked, told: str) -> Step:
    """401: the router cannot change what the CoA-Request has, so the user must log in again to get it."""
    return _instead(asked, told, refused=False) if asked.act == COA else _other_identity(asked, told)


def _not_able(asked: Asked, told: str) -> Step:
    """405, 406, 501: the router does not do that at all."""
    return _instead(asked, told, refused=True)


def _instead(asked: Asked, told: str, *, refused: bool) -> Step:
    if asked.act == COA and asked.takes_disconnect:
        return Step("waiting", DISCONNECT, 0, f"{told}: Disconnect-Request instead", refused_coa=refused)
    return Step("failed", asked.act, asked.identity_set, told, refused_coa=refused and asked.act == COA)


def _wrong_request(asked: Asked, told: str) -> Step:
    """404, 407: the same request will never be taken."""
    return Step("failed", asked.act, asked.identity_set, told)


def _later(asked: Asked, told: str) -> Step:
    """502, 504, 505, 506, and causes of later RFCs: try again, with pauses that grow."""
    pause = min(FIRST_PAUSE_SECONDS * 2 ** min(asked.naks, MOST_REFUSALS), LONGEST_PAUSE_SECONDS)
    return Step("waiting", asked.act, asked.identity_set, told, seconds=pause)


def _initiated(asked: Asked, told: str) -> Step:
    """507: the router asks the RADIUS server again, which answers with the limits of now."""
    if asked.act == COA:
        # The session goes on, as it should: nothing shows that it worked.
        return Step("done", asked.act, asked.identity_set, told)
    # What comes of it is seen as after an ACK.
    return Step("acknowledged", asked.act, asked.identity_set, told, seconds=min(asked.interval, 60))


_HANDLERS: Mapping[int | None, Callable[[Asked, str], Step]] = {
    401: _unsupported_attribute,
    402: _other_identity,
    403: _other_identity,
    404: _wrong_request,
    405: _not_able,
    406: _not_able,
    407: _wrong_request,
    501: _not_able,
    503: _unknown_session,
    507: _initiated,
    508: _other_identity,
}
