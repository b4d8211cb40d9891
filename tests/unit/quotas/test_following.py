"""What follows from an answer, where over real UDP it would take too long to wait for."""

from dataclasses import replace

import pytest

from radmeter.quotas.coa import COA, DISCONNECT, Answer
from radmeter.quotas.following import MOST_REFUSALS, Asked, after_acknowledged, after_answer

ASKED = Asked(DISCONNECT, attempts=1, identity_set=0, identity_sets=2, silent_seconds=0, interim_seconds=300)


def test_pauses_grow_and_end() -> None:
    """What was sent in vain does not count: a router may have been away for hours."""
    asked = replace(ASKED, attempts=50)
    pauses = [
        after_answer(replace(asked, naks=number), Answer(False, 506)).seconds
        for number in range(MOST_REFUSALS - 1)
    ]
    assert pauses == [15, 30, 60, 120, 240, 480, 600, 600, 600]
    step = after_answer(replace(asked, naks=MOST_REFUSALS - 1), Answer(False, 506))
    assert (step.state, step.error) == (
        "failed",
        "the router refused: 506 Resources Unavailable (10 times)",
    )


def test_only_acks_count_as_acks_without_effect() -> None:
    asked = replace(ASKED, attempts=50, naks=5, silent_seconds=0, answered_seconds=60)
    assert after_acknowledged(replace(asked, acks=1)).state == "waiting"
    assert after_acknowledged(replace(asked, acks=3)).state == "failed"


def test_a_session_is_named_without_its_id_only_after_an_interim() -> None:
    """The device may have a session of another user by now."""
    asked = replace(ASKED, next_has_id=False, interim_seconds=60)
    first = after_answer(asked, Answer(False, 503))
    assert (first.state, first.identity_set, first.seconds) == ("waiting", 0, 61)
    assert after_answer(replace(asked, naks=1), Answer(False, 503)).identity_set == 1


@pytest.mark.parametrize(
    ("silent", "answered", "state"),
    [
        # A packet that was under way when the router answered.
        (0, 5, "acknowledged"),
        (0, 11, "waiting"),
        (100, 100, "acknowledged"),
        (899, 700, "acknowledged"),
        (901, 700, "done"),
    ],
)
def test_after_an_ack_packets_or_silence_decide(silent: float, answered: float, state: str) -> None:
    step = after_acknowledged(replace(ASKED, silent_seconds=silent, answered_seconds=answered))
    assert step.state == state
    assert step.close_after == (900 if state == "done" else None)


@pytest.mark.parametrize(
    ("silent", "interim", "closed"), [(299, 300, False), (301, 300, True), (61, 60, True), (301, None, True)]
)
def test_a_session_is_silent_after_an_interim(silent: float, interim: int | None, closed: bool) -> None:
    asked = replace(ASKED, silent_seconds=silent, interim_seconds=interim)
    step = after_answer(asked, Answer(False, 503))
    assert (step.state == "done") is closed
    assert (step.identity_set == 1) is not closed


def test_a_vendor_without_disconnect_requests_fails() -> None:
    asked = replace(ASKED, act=COA, takes_disconnect=False)
    assert after_answer(asked, Answer(False, 405)).state == "failed"


def test_507_of_a_disconnect_request_is_watched_as_an_ack() -> None:
    assert after_answer(ASKED, Answer(False, 507)).state == "acknowledged"


def test_507_of_a_coa_request_is_its_end() -> None:
    """The session is to go on. Watched as after an ACK, it would be asked again, or closed as stale."""
    step = after_answer(replace(ASKED, act=COA), Answer(False, 507))
    assert (step.state, step.act, step.close_after) == ("done", COA, None)
