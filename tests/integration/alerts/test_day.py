"""A day of a simulated network, with outages, floods and clock faults: the alerts say what happened, nothing else."""

import os
import random
from datetime import timedelta

import pytest
from support.network import Network

from radmeter.alerts.rules import DEFAULTS

LONG = bool(os.environ.get("RADMETER_LONG"))
# 10,000 routers for a day with --long (20 minutes); else 200 for two hours.
ROUTERS, HOURS, INTERVAL, EVERY = (10_000, 24, 900, 15.0) if LONG else (200, 2, 300, 15.0)
OF_A_SITE = 10
# Two arrivals, a minute of tolerance, and the looks.
BACK = 2 * INTERVAL + 60 + 2 * EVERY


@pytest.mark.timeout(7200 if LONG else 1800)
def test_the_alerts_of_a_day_say_what_happened(database: str) -> None:
    chance = random.Random(17)
    network = Network(database, DEFAULTS, every=EVERY)
    names: dict[str, list[str]] = {}
    for number in range(ROUTERS):
        site = f"hotel {number // OF_A_SITE}"
        device = network.add(f"ap-{number}", site, interval=INTERVAL, phase=chance.random() * INTERVAL)
        names.setdefault(site, []).append(f"ap-{number}")
        # Routers without a battery believe that it is 1970, or next week.
        if number % 37 == 0:
            device.stamp_error = chance.choice([-1_700_000_000, 7 * 86_400, -3600])
    network.run(2 * INTERVAL)
    assert network.told() == []

    sites = list(names)
    chance.shuffle(sites)
    troubled = iter(sites)
    expected: list[tuple[str, str, float, float]] = []
    while network.seconds < (HOURS - 1) * 3600:
        down = [next(troubled) for _ in range(max(1, ROUTERS // 3000))]
        single = [chance.choice(names[next(troubled)]) for _ in range(max(1, ROUTERS // 1500))]
        blips = [names[next(troubled)] for _ in range(2)]
        lost = [name for site in down for name in names[site]]
        network.silence(*lost, *single)
        # Shorter than three interims, whatever the phase.
        for routers in blips:
            network.silence(*routers)
        network.run(1.5 * INTERVAL)
        for routers in blips:
            for name in routers:
                network.devices[name].heard = True
        network.flood(500)
        network.run(2.7 * INTERVAL)
        for subject, routers in [
            *((f"site {site}", names[site]) for site in down),
            *((name, [name]) for name in single),
        ]:
            heard = max(network.devices[name].last_sent for name in routers)
            expected.append(("firing", subject, heard + 3 * INTERVAL, heard + 3 * INTERVAL + 2 * EVERY))
        back = network.seconds
        network.restore(*lost, *single)
        expected += [
            ("resolved", subject, back, back + BACK)
            for subject in (*(f"site {site}" for site in down), *single)
        ]
        # The clock of the RADIUS server is wrong for a while.
        network.clock_error = timedelta(seconds=chance.choice([-INTERVAL // 2, INTERVAL // 2]))
        network.run(INTERVAL)
        network.clock_error = timedelta(0)
        network.run(2 * INTERVAL)

    found = network.told()
    assert sorted((each.what, each.subject) for each in found) == sorted(each[:2] for each in expected)
    for what, subject, earliest, latest in expected:
        (at,) = [each.at for each in found if (each.what, each.subject) == (what, subject)]
        assert earliest <= at <= latest, (what, subject)
    assert network.open() == []
    strangers = network.connection.execute(
        "SELECT count(*) FROM public.routers WHERE status = 'discovered'"
    ).fetchone()
    assert strangers is not None
    assert strangers[0] >= 450
    took = sorted(network.ticks)
    print(f"{len(took)} looks: median {took[len(took) // 2]:.3f} s, 99 % {took[len(took) * 99 // 100]:.3f} s")
    network.close()
