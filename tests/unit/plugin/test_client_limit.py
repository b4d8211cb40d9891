"""A client's share of the server, as packets at given times."""

import pytest

from radmeter.plugin.client_limit import ALONE_SECONDS, BURST_SECONDS, MOST_CLIENTS, ClientLimits

RATE = 10
BURST = int(RATE * BURST_SECONDS)


def admitted(shares: ClientLimits, client: str, times: list[float]) -> int:
    return sum(shares.admits(client, time) for time in times)


def test_a_client_that_is_alone_gets_all_it_asks_for() -> None:
    assert admitted(ClientLimits(RATE), "a", [0.0] * 1000) == 1000


def test_beside_others_a_flood_gets_its_share_and_they_get_theirs() -> None:
    shares = ClientLimits(RATE)
    assert shares.admits("b", 0.0)
    flood, others = 0, 0
    for tick in range(1000):  # ten seconds, a hundred packets of the flood to one of each other client
        now = tick / 100
        flood += admitted(shares, "a", [now] * 100)
        if tick % 20 == 0:
            others += shares.admits("b", now) + shares.admits("c", now)
    assert others == 100
    assert BURST + 10 * RATE - 1 <= flood <= BURST + 10 * RATE + 1


def test_a_burst_after_silence_is_within_the_share() -> None:
    shares = ClientLimits(RATE)
    shares.admits("b", 0.0)
    assert admitted(shares, "a", [1.0] * (BURST + 5)) == BURST
    shares.admits("b", 2.0)
    assert admitted(shares, "a", [2.0] * 50) == RATE


def test_alone_again_after_a_while() -> None:
    shares = ClientLimits(RATE)
    shares.admits("b", 0.0)
    assert admitted(shares, "a", [0.0] * 100) == BURST
    assert admitted(shares, "a", [ALONE_SECONDS + 1] * 100) == 100


def test_the_end_of_a_flood_is_told_once_with_what_it_cost() -> None:
    shares = ClientLimits(RATE)
    shares.admits("b", 0.0)
    admitted(shares, "a", [0.0] * (BURST + 7))
    assert shares.exceeding("a") == 7
    assert shares.within_again("a") == 0
    assert shares.admits("a", 5.0)
    assert shares.within_again("a") == 7
    assert shares.within_again("a") == 0


@pytest.mark.parametrize("clients", [MOST_CLIENTS + 10])
def test_it_remembers_no_more_clients_than_it_should(clients: int) -> None:
    shares = ClientLimits(RATE)
    assert all(shares.admits(str(client), 0.0) for client in range(clients))
    assert len(shares._shares) <= MOST_CLIENTS


def test_a_client_is_well_within_its_share_again_when_half_of_it_is_left() -> None:
    shares = ClientLimits(RATE)
    shares.admits("b", 0.0)
    admitted(shares, "a", [0.0] * (BURST + 3))
    half = BURST / 2 / RATE
    assert shares.admits("a", half)  # which leaves one packet less than half
    assert shares.within_again("a") == 0
    assert shares.admits("a", half + 2 / RATE)
    assert shares.within_again("a") == 3
