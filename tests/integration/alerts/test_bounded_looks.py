"""A look has a bounded size: what is more is looked at by the next ones, and nothing is left out."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from support.network import BEGIN, Network

from radmeter.alerts import hours, watching
from radmeter.alerts.rules import SILENT, SITE, SPIKE, Rule, Rules
from radmeter.alerts.ticking import Evaluator
from radmeter.database.connection import connect

SILENT_RULE = Rule(name="router-silent", kind=SILENT, resolve_seconds=30)
RULES = Rules(rules=(SILENT_RULE, Rule(name="site-down", kind=SITE, severity="critical")))


@pytest.fixture
def network(database: str) -> Iterator[Network]:
    made = Network(database, RULES, every=10)
    yield made
    made.close()


def firing(network: Network) -> list[str]:
    return sorted(each.subject for each in network.told() if each.what == "firing")


def test_routers_that_are_due_at_once_are_looked_at_one_look_after_the_other(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_DUE", 2)
    names = [f"ap-{number}" for number in range(5)]
    for name in names:
        network.add(name, interval=60)
    network.run(200)
    network.silence(*names)
    network.run(150)
    # All are silent since the same second.
    network.now += timedelta(seconds=30)
    assert [network.evaluator.tick().more for _ in range(3)] == [True, True, False]
    assert firing(network) == names


def test_new_routers_are_watched_some_at_a_time(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_NEW", 2)
    for number in range(5):
        network.add(f"ap-{number}", interval=60)
    assert [network.evaluator.tick().more for _ in range(3)] == [True, True, False]
    network.connection.execute("DELETE FROM radmeter.router_watch")
    # Two are missing from before: a restored table, say.
    network.connection.execute("INSERT INTO radmeter.router_watch VALUES (5, 'idle', %s, %s)", (BEGIN, BEGIN))
    network.run(100)
    rows = network.connection.execute("SELECT router_id FROM radmeter.router_watch ORDER BY 1").fetchall()
    assert rows == [(number,) for number in range(1, 6)]


def test_by_new_rules_all_routers_are_reviewed_in_parts(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_REVIEWED", 2)
    names = [f"ap-{number}" for number in range(5)]
    for name in names:
        network.add(name, interval=600)
    network.run(700)
    network.silence(*names)
    network.run(700)
    # By the rules of before they are looked at again in twenty minutes.
    network.evaluator.use(Rules(rules=(Rule(name="router-silent", kind=SILENT, interims=1),)))
    assert [network.evaluator.tick().more for _ in range(4)] == [True, True, False, False]
    assert firing(network) == names


def test_a_site_that_waits_for_its_last_router_is_not_read_again_by_each_of_the_others(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"ap-{number}" for number in range(5)]
    for number, name in enumerate(names):
        network.add(name, "Hotel", interval=300, phase=number * 50)
    network.run(700)
    read: list[float] = []
    of_sites = watching.of_sites

    def counted(connection: object, sites: object) -> object:
        if sites:
            read.append(network.seconds)
        return of_sites(connection, sites)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(watching, "of_sites", counted)
    network.silence(*names)
    network.run(1200)
    assert [each.subject for each in network.told()] == ["site Hotel"]
    # When the first one is silent, and when the last one is.
    assert len(read) == 2
    last = max(network.devices[name].last_sent for name in names)
    assert 0 <= network.told()[0].at - last - 900 <= 10


def test_octets_of_an_hour_are_looked_at_in_parts(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "MOST_ROUTERS", 2)
    rule = Rule(name="spike", kind=SPIKE, factor=5, floor_bytes=1_000_000)
    network = Network(database, Rules(rules=(rule,)), every=30)
    for number in range(5):
        network.add(f"ap-{number}")
        network.stop(f"ap-{number}")
    network.run(150)
    network.connection.execute(
        "UPDATE radmeter.router_hour SET usual[9] = 1000000, days[9] = 3, usual[10] = 1000000, days[10] = 3"
    )

    def count(octets: int) -> None:
        network.connection.execute(
            """INSERT INTO public.router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
               SELECT id, '2026-03-10', %s, 0 FROM public.routers WHERE id IN (1, 3, 4)
               ON CONFLICT (router_id, usage_date) DO UPDATE SET bytes_in = router_daily_usage.bytes_in + %s""",
            (octets, octets),
        )

    count(4_000_000)
    network.run(300)
    assert firing(network) == []
    count(2_000_000)
    network.run(300)
    assert firing(network) == ["ap-0", "ap-2", "ap-3"]
    # Through the next hour the hour before is judged as well; after it, all is well.
    network.run(2 * 3600)
    assert network.open() == []
    assert len(network.told()) == 6
    network.close()


@pytest.mark.parametrize(("pause", "days"), [(0, 1), (600, None)])
def test_an_hour_that_begins_in_a_pause_says_nothing_of_what_is_usual(
    database: str, pause: int, days: int | None
) -> None:
    rule = Rule(name="spike", kind=SPIKE)
    network = Network(database, Rules(rules=(rule,)), every=30)
    network.add("lobby")
    network.stop("lobby")
    network.run(3600 - 60 - pause)
    network.now += timedelta(seconds=2 * pause)
    network.run(3 * 3600 - network.seconds)
    # 8 o'clock was not seen from its beginning; 9 o'clock was, but for a pause.
    rows = network.connection.execute(
        "SELECT days[9], days[10], days[11] FROM radmeter.router_hour"
    ).fetchall()
    assert rows == [(None, days, 1)]
    network.close()


def test_a_look_that_takes_long_is_no_pause_and_a_pause_is_one(database: str) -> None:
    """By the clock of the database. A pause begins anew each time, and nothing fires for a minute after one."""
    with connect(database) as connection, connect(database) as other:
        evaluator = Evaluator(connection, Rules(rules=()), pause_seconds=1.0)

        def resumed() -> object:
            evaluator.tick()
            return connection.execute("SELECT resumed_at FROM radmeter.alert_state").fetchone()

        begun = resumed()
        with ThreadPoolExecutor(1) as threads:
            with other.transaction():
                other.execute("SELECT FROM radmeter.alert_state FOR UPDATE")
                slow = threads.submit(evaluator.tick)
                other.execute("SELECT pg_sleep(1.5)")
            slow.result(60)
        assert resumed() == begun
        connection.execute("UPDATE radmeter.alert_state SET ticked_at = ticked_at - interval '2 seconds'")
        assert resumed() != begun
