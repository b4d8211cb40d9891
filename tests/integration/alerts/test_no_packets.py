"""No packet at all: one alert, unless no router has to send one."""

from collections.abc import Iterator

import pytest
from support.network import Network, Told

from radmeter.alerts.rules import NO_PACKETS, Rule, Rules


@pytest.fixture
def network(database: str) -> Iterator[Network]:
    rule = Rule(name="no-packets", kind=NO_PACKETS, severity="critical", seconds=300, resolve_seconds=10)
    made = Network(database, Rules(rules=(rule,)), every=5)
    yield made
    made.close()


def test_when_nothing_arrives_any_more_one_alert_says_so(network: Network) -> None:
    for number in range(3):
        network.add(f"ap-{number}", interval=60, phase=number * 20)
    network.run(200)
    network.silence("ap-0", "ap-1", "ap-2")
    last = max(device.last_sent for device in network.devices.values())
    network.run(600)
    (fired,) = network.told()
    assert fired.what == "firing"
    assert 300 < fired.at - last <= 310
    network.restore("ap-1")
    network.run(30)
    assert [each.what for each in network.told()] == ["firing", "resolved"]


def test_between_long_interims_of_few_routers_it_is_quiet_and_well(network: Network) -> None:
    network.add("lobby", interval=900)
    network.run(4000)
    assert network.told() == []
    network.silence("lobby")
    last = network.devices["lobby"].last_sent
    network.run(1400)
    (fired,) = network.told()
    assert 1350 <= fired.at - last <= 1360


def test_without_open_sessions_nothing_is_expected(network: Network) -> None:
    network.add("lobby", interval=60)
    network.run(200)
    network.stop("lobby")
    network.run(2000)
    expected: list[Told] = []
    assert network.told() == expected
