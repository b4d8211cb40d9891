"""`radmeter.ingest.clients_seen`: the first record of a router and client within the hour is marked."""

import pytest

from radmeter.ingest import clients_seen
from radmeter.ingest.clients_seen import CHANGED_SECONDS, FORGOTTEN_SECONDS, ClientsSeen


def marked(seen: ClientsSeen, *pairs: tuple[str | None, str | None]) -> list[bool]:
    places = seen.marked([client or "" for _, client in pairs], [key or "" for key, _ in pairs])
    return [place in places for place in range(len(pairs))]


def test_each_router_is_marked_once_for_each_client() -> None:
    seen = ClientsSeen()
    a, b = ("r1", "192.0.2.1"), ("r1", "192.0.2.2")
    assert marked(seen, a, a, b, ("r2", "192.0.2.1")) == [True, False, True, True]
    assert marked(seen, a, b) == [False, False]


def test_a_packet_without_a_client_or_that_is_set_aside_is_not_marked() -> None:
    assert marked(ClientsSeen(), ("r1", None), (None, "192.0.2.1")) == [False, False]


def test_all_is_marked_again_after_an_hour_and_after_a_failure() -> None:
    now = 0.0
    seen = ClientsSeen(lambda: now)
    a = ("r1", "192.0.2.1")
    assert marked(seen, a) == [True]
    now = FORGOTTEN_SECONDS
    assert marked(seen, a) == [False]
    now += 1.0
    assert marked(seen, a) == [True]
    seen.forget()
    assert marked(seen, a) == [True]


def test_a_router_that_is_back_at_a_former_client_is_marked() -> None:
    """Else the client between would stay the one to which requests go, for an hour."""
    now = 0.0
    seen = ClientsSeen(lambda: now)
    a, b = ("r1", "192.0.2.1"), ("r1", "192.0.2.2")
    assert marked(seen, a, b) == [True, True]
    assert marked(seen, a, b, a) == [False, False, False]
    now = CHANGED_SECONDS + 1
    assert marked(seen, b, a, a) == [False, True, False]
    assert marked(seen, b) == [False]
    now = 2 * CHANGED_SECONDS + 2
    assert marked(seen, a, b) == [False, True]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_seen, "MOST_PAIRS", 10)
    seen = ClientsSeen()
    for n in range(100):
        assert marked(seen, (f"r{n}", "192.0.2.1")) == [True]
        assert len(seen._seen) <= 11
