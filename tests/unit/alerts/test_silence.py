"""Whether a router is silent: arrivals in, announcements out."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from radmeter.alerts.rules import SILENT, Rule
from radmeter.alerts.silence import Heard, Watch, judge
from radmeter.alerts.sites import decide

BEGIN = datetime(2026, 3, 10, tzinfo=UTC)
RULE = Rule(name="r", kind=SILENT, resolve_seconds=30)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def watched() -> Watch:
    return Watch(
        router_id=1, name="lobby", site=None, status="active", phase="idle", since=BEGIN, due_at=BEGIN
    )


def looks(
    arrivals: list[float], until: int, *, every: float = 1.0, rule: Rule = RULE
) -> list[tuple[float, str]]:
    """Look when it is due, at a router with one session and interims of 60 s; return what is announced, and when."""
    watch = watched()
    told: list[tuple[float, str]] = []
    for number in range(int(until / every) + 1):
        now = number * every
        if watch.due_at > at(now):
            continue
        before = [each for each in arrivals if each <= now]
        heard = Heard(
            open_sessions=1 if before else 0, arrived_at=at(max(before)) if before else None, interim=60
        )
        watch, event = judge(watch, heard, rule, at(now), at(now))
        assert watch.due_at > at(now)
        if event is not None:
            told.append((now, event))
    return told


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_it_is_announced_at_the_third_missing_interim_and_never_before(gaps: list[int]) -> None:
    arrivals = [float(sum(gaps[: index + 1])) for index in range(len(gaps))]
    until = int(arrivals[-1]) + 200
    told = looks([0.0, *arrivals], until)
    fired = [now for now, event in told if event == "fired"]
    for now in fired:
        latest = max(each for each in [0.0, *arrivals] if each <= now)
        assert now - latest >= 180
    # The first gap of three interims is announced a second after it at the latest, and so is the last. Of a gap that
    # ends within that second, either the packet or the announcement is first.
    spans = list(zip([0.0, *arrivals], [*arrivals, float("inf")], strict=True))
    first = next(begin for begin, end in spans if end - begin > 181)
    close = [begin for begin, end in spans if 180 <= end - begin <= 181 and begin < first]
    assert any(begin + 180 <= fired[0] <= begin + 181 for begin in (*close, first))
    assert told[-1][1] == "fired"


@settings(deadline=None)
@given(st.lists(st.integers(1, 170), min_size=1, max_size=60))
def test_a_router_that_never_misses_three_interims_is_never_announced(gaps: list[int]) -> None:
    arrivals = [float(sum(gaps[: index + 1])) for index in range(len(gaps))]
    assert looks([0.0, *arrivals], int(arrivals[-1])) == []


def test_one_packet_alone_does_not_bring_it_back() -> None:
    assert looks([0, 400, 800, 1200, 1600], 1700) == [(180, "fired")]
    told = looks([0, 400, 460, 520], 600)
    assert told == [(180, "fired"), (490, "resolved")]


def test_an_arrival_of_the_future_holds_for_five_minutes_at_most() -> None:
    heard = Heard(open_sessions=1, arrived_at=at(10_000), interim=60)
    watch, _ = judge(watched(), heard, RULE, at(0), at(0))
    assert watch.heard_at == at(0)
    watch, event = judge(watch, heard, RULE, at(479), at(479))
    assert event is None
    assert judge(watch, heard, RULE, at(480), at(480))[1] == "fired"


def test_a_clock_that_was_ahead_and_is_set_right_silences_nobody() -> None:
    """A session keeps its latest arrival: until that time is reached, its packets are not seen."""
    watch, told = watched(), []
    for now in range(0, 1200):
        # Ahead by 4 minutes until 100, and an interim each minute.
        sent = now - now % 60
        arrived = max(at(60 + 240), at(sent)) if now >= 60 else at(sent + 240)
        if watch.due_at <= at(now):
            heard = Heard(open_sessions=1, arrived_at=arrived, interim=60)
            watch, event = judge(watch, heard, RULE, at(now), at(now))
            told.append(event)
            assert decide([(watch, 3.0)], at(now)).verdict == "up"
    assert set(told) == {None}


def test_while_a_shipper_is_behind_it_is_judged_as_of_what_that_has_reached() -> None:
    heard = Heard(open_sessions=1, arrived_at=at(0), interim=60)
    watch, _ = judge(watched(), heard, RULE, at(0), at(0))
    watch, event = judge(watch, heard, RULE, at(5000), at(170))
    assert event is None
    assert judge(watch, heard, RULE, at(5001), at(180))[1] == "fired"


def test_after_a_pause_nothing_fires_for_a_while_but_silent_routers_come_back() -> None:
    heard = Heard(open_sessions=1, arrived_at=at(0), interim=60)
    watch, _ = judge(watched(), heard, RULE, at(0), at(0))
    watch, event = judge(watch, heard, RULE, at(500), at(500), held=True)
    assert event is None
    assert judge(watch, heard, RULE, at(560), at(560))[1] == "fired"


def member(phase: str, heard: float) -> tuple[Watch, float]:
    found = Watch(
        router_id=1,
        name="x",
        site="s",
        status="active",
        phase=phase,  # type: ignore[arg-type] # as the test says it
        since=BEGIN,
        due_at=BEGIN,
        expects="nothing" if phase == "idle" else "sessions",
        interim=60,
        heard_at=at(heard),
    )
    return found, 3.0


def test_a_site_is_down_if_all_that_were_active_are_silent() -> None:
    assert decide([member("firing", 0), member("firing", 30)], at(210)).verdict == "down"
    assert decide([member("firing", 0), member("idle", -500)], at(210)).verdict == "down"
    assert decide([member("firing", 0), member("idle", 200)], at(210)).verdict == "up"
    assert decide([member("firing", 0), member("clearing", 209)], at(210)).verdict == "up"
    assert decide([member("idle", 0)], at(210)).verdict == "up"


def test_while_all_are_late_it_is_not_decided() -> None:
    found = decide([member("firing", 0), member("ok", 55)], at(181))
    assert found.verdict == "undecided"
    assert found.until == at(55 + 180 + 5)
    assert decide([member("firing", 0), member("ok", 70)], at(181)).verdict == "up"
