"""Simulated outages: routers send, fall silent and come back, and people are told once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.network import BEGIN, Network, Told

from radmeter.alerts.rules import DEFAULTS, SILENT, SITE, Rule, Rules

RULES = Rules(
    rules=(
        Rule(name="router-silent", kind=SILENT, resolve_seconds=30),
        Rule(name="site-down", kind=SITE, severity="critical"),
    )
)
BACK = [("firing", "site Hotel"), ("resolved", "site Hotel")]


@pytest.fixture
def network(database: str) -> Iterator[Network]:
    made = Network(database, RULES, every=5)
    yield made
    made.close()


def test_a_router_that_is_silent_for_three_interims_is_announced_within_two_seconds(network: Network) -> None:
    network.every = 1
    network.add("lobby", interval=60)
    network.add("cellar", interval=60, phase=30)
    network.run(300)
    assert network.told() == []
    network.silence("lobby")
    network.run(60)
    last_heard = 300
    network.run(180)
    (firing,) = network.told()
    assert (firing.what, firing.subject) == ("firing", "lobby")
    assert last_heard + 180 <= firing.at <= last_heard + 182
    network.restore("lobby")
    network.run(300)
    resolved = network.told()[1:]
    assert [(each.what, each.subject) for each in resolved] == [("resolved", "lobby")]
    # The second packet, an interim later, and 30 s of tolerance.
    # The jobs look each second.
    assert 540 + 30 <= resolved[0].at <= 540 + 60 + 35
    assert network.open() == []


def test_a_site_of_which_all_routers_are_silent_is_one_alert(network: Network) -> None:
    network.every = 2
    for number in range(6):
        network.add(f"ap-{number}", "Hotel", interval=60, phase=number * 9)
    network.add("elsewhere", "Camp", interval=60)
    network.run(400)
    network.silence(*(f"ap-{number}" for number in range(6)))
    network.run(300)
    (firing,) = network.told()
    assert (firing.what, firing.subject) == ("firing", "site Hotel")
    # ap-4 was the last one, 36 s after a minute.
    assert 396 + 180 <= firing.at <= 396 + 182
    assert network.open() == ["site Hotel"]
    folded = network.connection.execute(
        "SELECT folded, detail FROM radmeter.alert_list WHERE site = 'Hotel' AND folded > 0"
    )
    assert folded.fetchall() == [(6, {"routers": 6, "router_names": [f"ap-{number}" for number in range(5)]})]
    # The message has the names, too.
    (sent,) = network.connection.execute(
        "SELECT data -> 'detail' ->> 'router_names' FROM radmeter.webhook_delivery"
    )
    assert sent == ('["ap-0", "ap-1", "ap-2", "ap-3", "ap-4"]',)


def test_routers_of_a_site_that_do_not_come_back_with_it_are_announced_alone(network: Network) -> None:
    for number in range(4):
        network.add(f"ap-{number}", "Hotel", interval=60, phase=number * 10)
    network.run(300)
    network.silence(*(f"ap-{number}" for number in range(4)))
    network.run(300)
    network.restore("ap-0", "ap-1")
    network.run(120)
    network.restore("ap-2")
    network.run(600)
    told = [(each.what, each.subject) for each in network.told()]
    assert told == [("firing", "site Hotel"), ("resolved", "site Hotel"), ("firing", "ap-3")]
    assert network.open() == ["router ap-3"]


def test_one_router_of_a_site_is_announced_alone_and_at_once(network: Network) -> None:
    for number in range(4):
        network.add(f"ap-{number}", "Hotel", interval=60, phase=number * 15)
    network.run(300)
    network.silence("ap-2")
    network.run(400)
    (firing,) = network.told()
    assert (firing.what, firing.subject) == ("firing", "ap-2")
    assert 270 + 180 <= firing.at <= 275 + 180


def test_a_router_whose_sessions_end_by_a_stop_is_idle_and_not_silent(network: Network) -> None:
    network.add("lobby", interval=60)
    network.run(200)
    network.stop("lobby")
    network.run(1200)
    assert network.told() == []
    (watched,) = network.connection.execute("SELECT phase FROM radmeter.router_watch").fetchall()
    assert watched == ("idle",)


def test_a_router_whose_sessions_were_closed_as_stale_stays_silent(network: Network) -> None:
    network.add("lobby", interval=300)
    network.run(400)
    network.silence("lobby")
    # The jobs close the sessions before anybody looks.
    network.evaluator.tick()
    network.now = network.now.replace(minute=45)
    network.reap()
    network.tick()
    assert [(each.what, each.subject) for each in network.told()] == [("firing", "lobby")]
    network.run(1000)
    assert network.open() == ["router lobby"]
    network.restore("lobby")
    network.run(700)
    assert [each.what for each in network.told()] == ["firing", "resolved"]


def test_a_router_that_sends_every_fourth_interim_only_stays_one_alert(network: Network) -> None:
    device = network.add("lobby", interval=60)
    network.run(300)
    for _ in range(5):
        device.heard = False
        network.run(235)
        device.heard = True
        network.run(5)
    assert [each.what for each in network.told()] == ["firing"]
    network.run(300)
    assert [each.what for each in network.told()] == ["firing", "resolved"]


def test_what_flaps_faster_than_the_tolerance_is_not_announced_but_its_end_is(database: str) -> None:
    rules = Rules(rules=(replace(RULES.rules[0], fire_seconds=120, resolve_seconds=60),))
    network = Network(database, rules, every=5)
    device = network.add("lobby", interval=60)
    network.run(240)
    for _ in range(3):
        device.heard = False
        network.run(60 * 4 - 5)
        device.heard = True
        network.run(125)
    assert network.told() == []
    device.heard = False
    network.run(600)
    assert [each.what for each in network.told()] == ["firing"]
    network.close()


def test_discovered_and_retired_routers_are_not_watched(network: Network) -> None:
    network.add("found", interval=60, status="discovered")
    network.add("old", interval=60)
    network.run(200)
    network.silence("found", "old")
    network.run(300)
    assert [each.subject for each in network.told()] == ["old"]
    network.connection.execute("UPDATE public.routers SET status = 'retired' WHERE name = 'old'")
    network.run(20)
    assert network.told()[1:] == [Told(network.told()[1].at, "resolved", "old")]


def test_a_router_that_is_silent_again_is_another_alert(network: Network) -> None:
    network.add("lobby", interval=60)
    network.run(200)
    for _ in range(2):
        network.silence("lobby")
        network.run(250)
        network.restore("lobby")
        network.run(300)
    assert [each.what for each in network.told()] == ["firing", "resolved"] * 2
    assert network.connection.execute("SELECT count(*) FROM radmeter.alerts").fetchall() == [(2,)]


def test_without_a_known_interval_nothing_is_silent(network: Network) -> None:
    network.add("lobby", interval=60, announced=False)
    network.run(20)
    network.silence("lobby")
    network.run(2000)
    assert network.told() == []


def test_the_default_rules_name_each_kind_once() -> None:
    kinds = [each.kind for each in DEFAULTS.rules]
    assert len(set(kinds)) == len(kinds)


@pytest.fixture
def back(network: Network) -> Network:
    """A site that is back a second ago. Its router ap-1 is not, and has its interims again."""
    network.every = 1
    for number in range(3):
        network.add(f"ap-{number}", "Hotel", interval=10, phase=number * 3)
    network.run(60)
    network.silence("ap-0", "ap-1", "ap-2")
    network.run(60)
    assert network.open() == ["site Hotel"]
    network.restore("ap-0", "ap-2")
    deadline = network.seconds + 200
    while network.open() != ["router ap-1"] and network.seconds < deadline:
        network.run(1)
    assert [(each.what, each.subject) for each in network.told()] == BACK
    return network


def test_a_router_that_is_back_after_its_site_and_loses_a_packet_is_not_announced(back: Network) -> None:
    back.restore("ap-1")
    back.run(15)
    # It is well, but not for long enough.
    assert back.open() == ["router ap-1"]
    back.devices["ap-1"].heard = False
    back.run(10)
    back.devices["ap-1"].heard = True
    back.run(100)
    assert [(each.what, each.subject) for each in back.told()] == BACK
    assert back.open() == []


def test_a_router_that_was_heard_just_before_its_interims_were_over_is_not_announced(back: Network) -> None:
    resolved = back.told()[-1].at
    back.run(resolved + 29 - back.seconds)
    back.restore("ap-1")
    back.run(3)
    (heard,) = back.connection.execute(
        "SELECT arrivals FROM radmeter.router_watch ORDER BY router_id OFFSET 1 LIMIT 1"
    )
    assert heard == (1,), "the second packet is to come later"
    back.run(100)
    assert [(each.what, each.subject) for each in back.told()] == BACK
    assert back.open() == []


def test_a_router_that_is_not_back_with_its_site_is_announced_after_its_interims(back: Network) -> None:
    resolved = back.told()[-1].at
    back.run(40)
    (firing,) = back.told()[2:]
    assert (firing.what, firing.subject) == ("firing", "ap-1")
    assert resolved + 30 <= firing.at <= resolved + 32


def test_a_router_that_is_silent_again_before_it_is_well_is_announced_after_three_interims(
    back: Network,
) -> None:
    back.restore("ap-1")
    back.run(15)
    back.silence("ap-1")
    last_heard = back.devices["ap-1"].last_sent
    back.run(100)
    (firing,) = back.told()[2:]
    assert (firing.what, firing.subject) == ("firing", "ap-1")
    assert last_heard + 30 <= firing.at <= last_heard + 33
    # It is an alert of this silence, and not of the one that was its site's.
    (alert,) = back.connection.execute(
        "SELECT began_at, fired_at FROM radmeter.alerts WHERE resolved_at IS NULL"
    )
    began, fired = ((at - BEGIN).total_seconds() for at in alert)
    assert began == last_heard
    assert last_heard + 30 <= fired <= firing.at
