"""Routers that are claimed or moved to another site while something is wrong."""

from collections.abc import Iterator

import pytest
from support.network import Network

from radmeter.alerts import store
from radmeter.alerts.rules import SILENT, SITE, Rule, Rules

TOLERANCE = 60
RULES = Rules(
    rules=(
        Rule(name="router-silent", kind=SILENT, resolve_seconds=TOLERANCE),
        Rule(name="site-down", kind=SITE, severity="critical"),
    )
)


@pytest.fixture
def network(database: str) -> Iterator[Network]:
    made = Network(database, RULES, every=2)
    yield made
    made.close()


def told(network: Network) -> list[tuple[str, str]]:
    return [(each.what, each.subject) for each in network.told()]


def claim(network: Network, name: str, site: str | None) -> None:
    """As `routers claim` and `routers set --site` do, but for the time."""
    network.connection.execute(
        "UPDATE public.routers SET status = 'active', site = %s, updated_at = %s WHERE name = %s",
        (site, network.now, name),
    )


def test_a_claimed_router_is_watched_within_half_a_minute(network: Network) -> None:
    network.add("found", interval=10, status="discovered")
    network.run(60)
    # Nothing is expected of it: it was to be looked at in minutes.
    claim(network, "found", None)
    network.run(34)
    network.silence("found")
    network.run(36)
    assert told(network) == [("firing", "found")]


def test_a_router_that_comes_to_a_site_that_is_down_ends_it_only_if_it_stays_well(network: Network) -> None:
    """Two routers that sent for 25 seconds, and their site is down throughout."""
    network.add("lobby", "Hotel", interval=2)
    network.add("spa", interval=2, status="discovered")
    network.run(60)
    network.silence("lobby", "spa")
    network.run(60)
    assert told(network) == [("firing", "site Hotel")]
    network.restore("lobby", "spa")
    network.run(5)
    claim(network, "spa", "Hotel")
    network.run(35)
    network.silence("lobby", "spa")
    network.run(120)
    # The site was not well for a minute: nothing is told, above all not of one router beside its site.
    assert told(network) == [("firing", "site Hotel")]
    assert network.open() == ["site Hotel"]
    network.restore("lobby", "spa")
    network.run(TOLERANCE + 40)
    assert told(network) == [("firing", "site Hotel"), ("resolved", "site Hotel")]
    assert network.open() == []


def test_a_silent_router_that_was_heard_for_a_moment_says_since_when_it_is_silent_now(
    network: Network,
) -> None:
    device = network.add("lobby", interval=2)
    network.run(60)
    network.silence("lobby")
    network.run(60)
    network.restore("lobby")
    network.run(20)
    network.silence("lobby")
    network.run(20)
    (alert,) = store.alerts(network.connection)
    heard = network.connection.execute(
        "SELECT arrived_at FROM public.radacct ORDER BY arrived_at DESC LIMIT 1"
    ).fetchall()
    assert alert["explanation"].startswith(f"nothing since {heard[0][0]:%Y-%m-%d %H:%M:%S} UTC")
    assert device.last_sent > 120
    assert told(network) == [("firing", "lobby")]


def test_nobody_is_told_of_a_router_that_is_well_again_but_not_for_long_enough(network: Network) -> None:
    """A mute ends while the router is heard again: if that lasts, nothing was wrong for anybody."""
    network.add("lobby", interval=2)
    network.run(60)
    network.connection.execute(
        "INSERT INTO radmeter.alert_mutes (rule, until_at, created_at) VALUES ('router-silent', %s, %s)",
        (network.now.replace(minute=2, second=30), network.now),
    )
    network.silence("lobby")
    network.run(60)
    assert network.open() == ["router lobby"]
    network.restore("lobby")
    network.run(TOLERANCE + 60)
    assert network.open() == []
    assert told(network) == []
