"""The limit of one client, with packets at given times."""

import pytest

from radmeter.plugin.client_limit import ALONE_SECONDS, BURST_SECONDS, MOST_CLIENTS, ClientLimits

RATE = 10
BURST = int(RATE * BURST_SECONDS)


def allowed(limits: ClientLimits, client: str, times: list[float]) -> int:
    return sum(limits.allow(client, time) for time in times)


def test_a_client_that_is_alone_has_no_limit() -> None:
    assert allowed(ClientLimits(RATE), "a", [0.0] * 1000) == 1000


def test_a_flood_is_limited_and_other_clients_lose_nothing() -> None:
    limits = ClientLimits(RATE)
    assert limits.allow("b", 0.0)
    flood, others = 0, 0
    for tick in range(1000):  # ten seconds, a hundred packets of the flood to one of each other client
        now = tick / 100
        flood += allowed(limits, "a", [now] * 100)
        if tick % 20 == 0:
            others += limits.allow("b", now) + limits.allow("c", now)
    assert others == 100
    assert BURST + 10 * RATE - 1 <= flood <= BURST + 10 * RATE + 1


def test_a_burst_after_silence_is_allowed() -> None:
    limits = ClientLimits(RATE)
    limits.allow("b", 0.0)
    assert allowed(limits, "a", [1.0] * (BURST + 5)) == BURST
    limits.allow("b", 2.0)
    assert allowed(limits, "a", [2.0] * 50) == RATE


def test_a_client_that_is_alone_again_has_no_limit() -> None:
    limits = ClientLimits(RATE)
    limits.allow("b", 0.0)
    assert allowed(limits, "a", [0.0] * 100) == BURST
    assert allowed(limits, "a", [ALONE_SECONDS + 1] * 100) == 100


def test_the_end_of_a_flood_is_told_once_with_what_it_cost() -> None:
    limits = ClientLimits(RATE)
    limits.allow("b", 0.0)
    allowed(limits, "a", [0.0] * (BURST + 7))
    assert limits.refused("a") == 7
    assert limits.end_flood("a") == 0
    assert limits.allow("a", 5.0)
    assert limits.end_flood("a") == 7
    assert limits.end_flood("a") == 0


@pytest.mark.parametrize("clients", [MOST_CLIENTS + 10])
def test_it_remembers_no_more_clients_than_it_should(clients: int) -> None:
    limits = ClientLimits(RATE)
    assert all(limits.allow(str(client), 0.0) for client in range(clients))
    assert len(limits._buckets) <= MOST_CLIENTS


def test_a_client_is_well_within_its_limit_again_when_half_of_it_is_left() -> None:
    limits = ClientLimits(RATE)
    limits.allow("b", 0.0)
    allowed(limits, "a", [0.0] * (BURST + 3))
    half = BURST / 2 / RATE
    assert limits.allow("a", half)  # which leaves one packet less than half
    assert limits.end_flood("a") == 0
    assert limits.allow("a", half + 2 / RATE)
    assert limits.end_flood("a") == 3
