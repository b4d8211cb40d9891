"""The ages of kept segments: never more than the true ones, whatever the clocks say."""

import json
from typing import Any

import pytest

from radmeter.ingest.kept_ages import KeptAges

HOUR = 3600.0


class Machine:
    """A kernel's clock, and the ages as the ledger has them."""

    def __init__(self) -> None:
        self.uptime, self.boot = 100.0, "first"
        self.saved: dict[str, Any] = {}

    def start(self) -> KeptAges:
        """Start a shipper."""
        ages = KeptAges(lambda: self.uptime, self.boot)
        ages.load(self.saved)
        return ages

    def save(self, ages: KeptAges) -> None:
        self.saved = json.loads(json.dumps(ages.content()))


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_segment_is_new_when_it_is_first_seen_and_gets_older(machine: Machine) -> None:
    ages = machine.start()
    assert ages.of("shipped", {"a": 1}) == {"a": 0}
    machine.uptime += HOUR
    assert ages.of("shipped", {"a": 1, "b": 2}) == {"a": HOUR, "b": 0}


def test_a_segment_gets_older_while_no_shipper_runs(machine: Machine) -> None:
    ages = machine.start()
    ages.of("shipped", {"a": 1})
    machine.uptime += HOUR
    machine.save(ages)
    machine.uptime += HOUR
    assert machine.start().of("shipped", {"a": 1}) == {"a": 2 * HOUR}


@pytest.mark.parametrize("boot", ["second", ""])
@pytest.mark.parametrize("uptime", [1.0, 1e9])
def test_the_time_in_which_the_machine_was_off_does_not_count(
    machine: Machine, boot: str, uptime: float
) -> None:
    ages = machine.start()
    ages.of("shipped", {"a": 1})
    machine.uptime += HOUR
    machine.save(ages)
    machine.uptime, machine.boot = uptime, boot
    ages = machine.start()
    assert ages.of("shipped", {"a": 1})["a"] == pytest.approx(HOUR)
    machine.uptime += HOUR
    assert ages.of("shipped", {"a": 1})["a"] == pytest.approx(2 * HOUR)


def test_a_boot_that_nobody_can_name_is_never_the_same(machine: Machine) -> None:
    machine.boot = ""
    ages = machine.start()
    ages.of("shipped", {"a": 1})
    machine.save(ages)
    machine.uptime += HOUR
    assert machine.start().of("shipped", {"a": 1}) == {"a": 0}


def test_a_clock_that_went_back_makes_nothing_younger(machine: Machine) -> None:
    ages = machine.start()
    ages.of("shipped", {"a": 1})
    machine.uptime += HOUR
    machine.save(ages)
    machine.uptime -= HOUR / 2  # another time namespace
    assert machine.start().of("shipped", {"a": 1}) == {"a": HOUR}


def test_a_segment_that_was_shipped_again_is_new(machine: Machine) -> None:
    ages = machine.start()
    ages.of("shipped", {"a": 1})
    machine.uptime += HOUR
    assert ages.of("shipped", {"a": 2}) == {"a": 0}


def test_a_segment_that_is_gone_is_forgotten_and_other_folders_are_not(machine: Machine) -> None:
    ages = machine.start()
    ages.of("shipped", {"a": 1})
    ages.of("left-out", {"b": 1})
    machine.uptime += HOUR
    assert ages.of("shipped", {}) == {}
    assert ages.of("shipped", {"a": 1}) == {"a": 0}
    assert ages.of("left-out", {"b": 1}) == {"b": HOUR}


@pytest.mark.parametrize(
    "saved",
    [
        {"boot": "first", "at": "x", "ages": {}},
        {"boot": "first", "at": 1, "ages": {"shipped/a": [1, float("inf")]}},
        {"boot": "first", "at": 1, "ages": {"shipped/a": [1, float("nan")]}},
        {"boot": "first", "at": 1, "ages": {"shipped/a": [1.5, 1]}},
        {"boot": "first", "at": 1, "ages": {"shipped/a": [1]}},
        {"boot": "first", "at": 1, "ages": {"shipped/a": 1}},
    ],
)
def test_what_is_damaged_is_refused(machine: Machine, saved: dict[str, Any]) -> None:
    machine.saved = saved
    with pytest.raises((TypeError, ValueError)):
        machine.start()
