"""The hub without a database: what is sent again, and what a slow listener gets."""

import asyncio
from typing import Any, cast

from radmeter.api.hub import KEPT_EVENTS, KEPT_SECONDS, WAITING_EVENTS, Hub, Listener


def hub() -> Hub:
    return Hub(cast("Any", None), started_at=7)


def test_events_after_an_id_are_sent_again() -> None:
    one = hub()
    for number in range(5):
        one.publish("figures", {"number": number})
    again = one.since("7-3")
    assert again is not None
    assert [one.id_of(each) for each in again] == ["7-4", "7-5"]
    assert one.since("7-5") == []


def test_what_is_not_known_any_more_is_none() -> None:
    one = hub()
    for number in range(KEPT_EVENTS + 10):
        one.publish("figures", {"number": number})
    assert one.since("7-10") is not None
    assert one.since("7-9") is None
    assert one.since(f"7-{KEPT_EVENTS + 11}") is None


def test_an_id_of_another_process_or_of_nobody_is_not_known() -> None:
    one = hub()
    one.publish("figures", {})
    for text in ("8-1", "7", "7-", "7--1", "7-1x", "x", "7-" + "9" * 30):
        assert one.since(text) is None, text


def test_a_slow_listener_loses_what_waits_and_is_told() -> None:
    async def listened() -> None:
        one = hub()
        async with one.listening() as listener:
            assert one.listeners == 1
            for number in range(WAITING_EVENTS + 3):
                one.publish("figures", {"number": number})
            assert listener.dropped
            assert len(await listener.take(0)) == 3
        assert one.listeners == 0

    asyncio.run(listened())


def test_figures_are_kept_for_charts_for_some_minutes() -> None:
    one = hub()
    for at in (0, 10, KEPT_SECONDS + 5):
        one.keep({"at": at})
    assert [each["at"] for each in one.history] == [10, KEPT_SECONDS + 5]


def test_a_clock_that_was_set_back_begins_the_history_anew_and_is_told() -> None:
    async def listened() -> None:
        one = hub()
        async with one.listening() as listener:
            one.keep({"at": 7200})
            assert await listener.take(0) == []
            one.keep({"at": 3600})
            assert [each.name for each in await listener.take(0)] == ["resync"]
        assert [each["at"] for each in one.history] == [3600]

    asyncio.run(listened())


def test_nothing_comes_in_time() -> None:
    assert asyncio.run(Listener().take(0.01)) == []
