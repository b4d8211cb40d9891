"""The state machine of a condition, beside a naive model that looks at the whole history each time."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from radmeter.alerts.evaluating import State, Tolerance, ripe_at, step

BEGIN = datetime(2026, 3, 10, tzinfo=UTC)
LOOKS = st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60)
SECONDS = st.sampled_from([0, 1, 10, 30, 60])


def announced_by_history(
    looks: list[tuple[datetime, bool]], tolerance: Tolerance
) -> list[tuple[datetime, str]]:
    """Return what is announced, as the documentation says it: a state that lasts for the tolerance is announced."""
    told: list[tuple[datetime, str]] = []
    firing = False
    for index, (at, holds) in enumerate(looks):
        if holds == firing:
            continue
        # The looks just before that say the same as this one, without any that says the contrary.
        first = index
        while first > 0 and looks[first - 1][1] == holds:
            first -= 1
        lasted = (at - looks[first][0]).total_seconds()
        if lasted >= (tolerance.fire_seconds if holds else tolerance.resolve_seconds):
            firing = holds
            told.append((at, "fired" if holds else "resolved"))
    return told


@given(looks=LOOKS, fire=SECONDS, resolve=SECONDS)
@example(looks=[(1, True), (10, False), (10, True), (10, True), (30, True)], fire=30, resolve=0)
def test_it_announces_what_the_history_says(looks: list[tuple[int, bool]], fire: int, resolve: int) -> None:
    tolerance = Tolerance(fire, resolve)
    at = BEGIN
    history: list[tuple[datetime, bool]] = []
    state, told = State("ok", BEGIN), []
    for seconds, holds in looks:
        at += timedelta(seconds=seconds)
        history.append((at, holds))
        state, event = step(state, holds, at, tolerance)
        if event is not None:
            told.append((at, event))
    assert told == announced_by_history(history, tolerance)


@given(looks=LOOKS, fire=SECONDS, resolve=SECONDS)
def test_what_is_announced_alternates_and_ends_as_the_state_is(
    looks: list[tuple[int, bool]], fire: int, resolve: int
) -> None:
    at, state, told = BEGIN, State("ok", BEGIN), []
    for seconds, holds in looks:
        at += timedelta(seconds=seconds)
        state, event = step(state, holds, at, Tolerance(fire, resolve))
        if event is not None:
            told.append(event)
    assert told == ["fired", "resolved"] * (len(told) // 2) + ["fired"] * (len(told) % 2)
    assert (len(told) % 2 == 1) == (state.phase in ("firing", "clearing"))


@given(looks=LOOKS, fire=SECONDS, resolve=SECONDS, last=st.booleans())
def test_a_condition_that_stays_is_announced_once_the_tolerance_is_over(
    looks: list[tuple[int, bool]], fire: int, resolve: int, last: bool
) -> None:
    tolerance = Tolerance(fire, resolve)
    at, state = BEGIN, State("ok", BEGIN)
    for seconds, holds in [*looks, (1, last)]:
        at += timedelta(seconds=seconds)
        state, _ = step(state, holds, at, tolerance)
    ripe = ripe_at(state, tolerance)
    if ripe is not None:
        state, event = step(state, last, max(ripe, at), tolerance)
        assert event is not None
    assert state.phase == ("firing" if last else "ok")


def test_it_counts_from_when_the_condition_began_if_that_is_known() -> None:
    began = BEGIN - timedelta(seconds=100)
    assert step(State("ok", BEGIN), True, BEGIN, Tolerance(90), began_at=began) == (
        State("firing", began),
        "fired",
    )
    assert step(State("ok", BEGIN), True, BEGIN, Tolerance(110), began_at=began) == (
        State("pending", began),
        None,
    )
