"""Who is told, and when not: mutes, acknowledgements, rules that change, a process that is killed on the way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import radmeter, refused, run
from support.network import EVENTS, Network, add_endpoint
from support.processes import eager_jobs, eventually
from support.servers import Connection

from radmeter.alerts import opening, quota_alerts, store
from radmeter.alerts.rules import DEFAULTS, QUOTA, SILENT, SITE, SPIKE, Rule, Rules
from radmeter.alerts.ticking import Evaluator
from radmeter.errors import StoreError

RULES = Rules(
    rules=(
        Rule(name="router-silent", kind=SILENT, resolve_seconds=30),
        Rule(name="site-down", kind=SITE, severity="critical"),
    )
)


@pytest.fixture
def network(database: str) -> Iterator[Network]:
    made = Network(database, RULES, every=10)
    yield made
    made.close()


def told(network: Network) -> list[tuple[str, str]]:
    return [(each.what, each.subject) for each in network.told()]


def mute_until(network: Network, minutes: float, **what: object) -> None:
    """Mute by the clock of the test."""
    names = ", ".join(what)
    network.connection.execute(
        f"""INSERT INTO radmeter.alert_mutes ({names}, until_at, created_at)
            VALUES ({", ".join(["%s"] * len(what))}, %s, %s)""",
        (*what.values(), network.now + timedelta(minutes=minutes), network.now),
    )


def test_of_what_is_muted_nobody_is_told_until_the_time_is_over(network: Network) -> None:
    network.add("lobby", "Hotel", interval=60)
    network.add("gate", "Camp", interval=60)
    network.run(200)
    mute_until(network, 20, site="Hotel")
    network.silence("lobby", "gate")
    network.run(600)
    assert told(network) == [("firing", "site Camp")]
    assert network.open() == ["site Camp", "site Hotel"]
    network.run(800)
    assert told(network) == [("firing", "site Camp"), ("firing", "site Hotel")]


def test_what_was_acknowledged_while_it_was_muted_is_not_announced_when_the_mute_ends(
    network: Network, database: str
) -> None:
    network.add("lobby", "Hotel", interval=60)
    network.add("gate", "Camp", interval=60)
    network.run(200)
    mute_until(network, 20, site="Hotel")
    mute_until(network, 20, site="Camp")
    network.silence("lobby", "gate")
    network.run(600)
    rows = radmeter(database, "alerts", "list", "--format", "json").json()
    (hotel,) = [row["id"] for row in rows if row["subject"] == "site Hotel"]
    run(database, "alerts", "ack", str(hotel))
    network.run(800)
    assert told(network) == [("firing", "site Camp")]


def test_what_began_and_ended_while_it_was_muted_is_never_announced(network: Network) -> None:
    network.add("lobby", interval=60)
    network.run(200)
    mute_until(network, 60, rule="router-silent")
    network.silence("lobby")
    network.run(400)
    network.restore("lobby")
    network.run(4000)
    assert told(network) == []


def test_the_end_of_what_was_announced_is_announced_though_it_is_muted_since(network: Network) -> None:
    device = network.add("lobby", interval=60)
    network.run(200)
    network.silence("lobby")
    network.run(300)
    mute_until(network, 60, router_id=device.id)
    network.restore("lobby")
    network.run(300)
    assert told(network) == [("firing", "lobby"), ("resolved", "lobby")]


def test_an_operator_acknowledges_and_mutes(network: Network, database: str) -> None:
    network.add("lobby", interval=60)
    network.add("cellar", interval=60)
    network.run(200)
    network.silence("lobby", "cellar")
    network.run(300)
    rows = radmeter(database, "alerts", "list", "--format", "json").json()
    assert {row["subject"] for row in rows} == {"router lobby", "router cellar"}
    latest = rows[0]["id"]
    assert f"alert {latest} is acknowledged" in run(
        database, "alerts", "ack", str(latest), "--note", "ticket 8"
    )
    rows = radmeter(database, "alerts", "list", "--format", "json").json()
    # What nobody knows of comes first.
    assert [row["ack_note"] for row in rows] == [None, "ticket 8"]
    shown = radmeter(database, "alerts", "show", str(latest), "--format", "json").json()
    assert shown["detail"]["interim_seconds"] == 60
    assert "there is no alert #99" in refused(database, "alerts", "ack", "99")
    assert "mute 1: nobody is told until" in run(
        database, "alerts", "mute", "--router", "lobby", "--until", "4h", "--note", "cabling"
    )
    (muted,) = radmeter(database, "alerts", "mutes", "--format", "json").json()
    assert (muted["router"], muted["note"]) == ("lobby", "cabling")
    run(database, "alerts", "unmute", "1")
    assert radmeter(database, "alerts", "mutes", "--format", "json").json() == []
    assert "no mute #1 in force" in refused(database, "alerts", "unmute", "1")
    assert "to come" in refused(
        database, "alerts", "mute", "--rule", "router-silent", "--until", "2020-01-01"
    )
    actions = network.connection.execute("SELECT action FROM public.audit_log ORDER BY id").fetchall()
    assert actions == [("alerts ack",), ("alerts mute",), ("alerts unmute",)]


def test_a_look_that_is_killed_leaves_nothing_or_everything(network: Network) -> None:
    """Wherever the process is killed: what it did is undone, and the next look does it, once."""
    network.add("lobby", interval=60)
    network.run(200)
    network.silence("lobby")
    network.run(120)
    network.flush()
    counts = []
    for place in range(40):
        network.now += timedelta(seconds=60)
        with psycopg.connect(network.database, autocommit=True) as killer:
            cut = Cut(network.connection, place)
            try:
                cut.tick(network.evaluator)
            except (psycopg.Error, StoreError):
                cut.undo()
        counts.append(len(network.told()))
        del killer
        if cut.done:
            break
    else:
        pytest.fail("a look has more statements than that")
    # Nobody was told before the look that was not cut, and by that one.
    assert counts[-1] == 1
    assert set(counts[:-1]) <= {0}
    assert len(counts) > 8
    network.run(100)
    assert told(network) == [("firing", "lobby")]


class Cut:
    """A connection on which the statement with some number fails, as if the process had been killed there."""

    def __init__(self, connection: Connection, place: int) -> None:
        self._connection = connection
        self._place = place
        self.done = False

    def tick(self, evaluator: Evaluator) -> None:
        number = 0
        execute = self._connection.execute

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal number
            if number == self._place:
                raise StoreError("killed")
            number += 1
            return execute(*args, **kwargs)

        self._connection.execute = counted  # type: ignore[method-assign] # until the end of the look
        try:
            evaluator.tick()
            self.done = True
        finally:
            del self._connection.execute

    def undo(self) -> None:
        self._connection.rollback()


def test_a_rule_that_is_gone_resolves_its_alerts(network: Network) -> None:
    network.add("lobby", interval=60)
    network.run(200)
    network.silence("lobby")
    network.run(300)
    network.evaluator.use(Rules(rules=RULES.rules[1:]))
    network.run(20)
    assert told(network) == [("firing", "lobby"), ("resolved", "lobby")]
    network.evaluator.use(Rules(rules=(replace(RULES.rules[0], name="other"),)))
    network.run(30)
    assert told(network)[2:] == [("firing", "lobby")]


def test_a_quota_that_is_nearly_used_is_listed_until_the_counter_says_otherwise(network: Network) -> None:
    network.evaluator.use(Rules(rules=(Rule(name="quota", kind=QUOTA),)))
    network.run(20)
    network.connection.execute(
        """INSERT INTO radmeter.quota_account (username, period_start, percent, status)
           VALUES ('alice', '2026-03-01', 95, 'warned')"""
    )
    notice = """INSERT INTO radmeter.quota_notice (username, kind, percent, period_start, detail, at)
                VALUES ('alice', %s, %s, '2026-03-01', '{}', %s)"""
    for kind, percent in (("warned", 80), ("warned", 95)):
        network.connection.execute(notice, (kind, percent, network.now))
    network.run(20)
    assert told(network) == [("firing", "alice")]
    network.connection.execute(notice, ("over", 100, network.now))
    network.connection.execute("UPDATE radmeter.quota_account SET percent = 100, status = 'over'")
    network.run(120)
    assert told(network) == [("firing", "alice"), ("firing", "alice"), ("resolved", "alice")]
    network.connection.execute("UPDATE radmeter.quota_account SET percent = 0, period_start = '2026-04-01'")
    network.run(40)
    assert network.open() == []


def test_an_hour_with_many_times_the_usual_octets_is_a_spike(database: str) -> None:
    rule = Rule(name="spike", kind=SPIKE, factor=5, floor_bytes=1_000_000)
    network = Network(database, Rules(rules=(rule,)), every=300)
    device = network.add("lobby", interval=300)
    network.evaluator.tick()

    def day(octets: int) -> None:
        for _ in range(24 * 12):
            device.octets += octets // 12
            network.run(300)

    # The first hour was not seen from its beginning. Three days say what is usual.
    for _ in range(4):
        day(1_000_000)
    assert told(network) == []
    # Below the floor or the factor nothing is said.
    device.octets += 3_500_000
    network.run(3600)
    assert told(network) == []
    device.octets += 20_000_000
    network.run(1500)
    assert told(network) == [("firing", "lobby")]
    network.run(3 * 3600)
    assert told(network) == [("firing", "lobby"), ("resolved", "lobby")]
    network.close()


def test_thousands_of_routers_fall_silent_in_sets(network: Network) -> None:
    network.connection.execute(
        """INSERT INTO public.routers (name, site, interim_interval)
           SELECT 'ap-' || n, 'site ' || n % 300, 300 FROM generate_series(1, 6000) AS n"""
    )
    network.connection.execute(
        """INSERT INTO public.radacct (acctsessionid, acctuniqueid, nasipaddress, acctstarttime, acctupdatetime,
                                       router_id, arrived_at)
           SELECT 's' || id, 'u' || id, '192.0.2.1', %(at)s, %(at)s, id, %(at)s FROM public.routers""",
        {"at": network.now},
    )
    network.tick()
    network.now += timedelta(seconds=890)
    network.tick()
    assert told(network) == []
    network.now += timedelta(seconds=12)
    network.tick()
    assert len(network.told()) == 300
    assert {each.what for each in network.told()} == {"firing"}
    counts = network.connection.execute(
        "SELECT count(*) FILTER (WHERE folded_into IS NOT NULL), count(*) FROM radmeter.alerts"
    ).fetchall()
    assert counts == [(6000, 6300)]
    network.connection.execute("UPDATE public.radacct SET arrived_at = %s", (network.now,))
    network.run(40)
    network.connection.execute("UPDATE public.radacct SET arrived_at = %s", (network.now,))
    network.run(150)
    assert len(network.told()) == 600
    assert network.open() == []


def test_the_jobs_watch_by_the_rules_of_a_file(database: str, connection: Connection, tmp_path: Path) -> None:
    """The real program, the clock of the database, an interval of a second, and two processes that want to."""
    add_endpoint(connection, EVENTS)
    connection.execute(
        "INSERT INTO public.routers (name, interim_interval, site) VALUES ('lobby', 2, 'Hotel')"
    )
    connection.execute(
        """INSERT INTO public.radacct (acctsessionid, acctuniqueid, nasipaddress, acctstarttime, acctupdatetime,
                                       router_id, arrived_at)
           SELECT 's', 'u', '192.0.2.1', now(), now(), id, now() FROM public.routers"""
    )
    # No pause: the jobs looked a moment ago.
    connection.execute(
        "UPDATE radmeter.alert_state SET ticked_at = now(), resumed_at = now() - interval '1 hour'"
    )
    file = tmp_path / "alerts.toml"
    file.write_text(
        '[[rule]]\nname = "quiet"\nkind = "router_silent"\ninterims = 3\nresolve_after_seconds = 0\n'
    )

    def types() -> list[str]:
        rows = connection.execute("SELECT type FROM radmeter.webhook_delivery ORDER BY id").fetchall()
        return [row[0] for row in rows]

    with (
        eager_jobs(tmp_path / "one.log", database, RADMETER_ALERTS_FILE=str(file)),
        eager_jobs(tmp_path / "two.log", database, RADMETER_ALERTS_FILE=str(file)),
    ):
        eventually(types, ["alert.firing"])
        ((alert,),) = connection.execute(
            "SELECT fired_at - (detail ->> 'heard_at')::timestamptz FROM radmeter.alerts"
        ).fetchall()
        assert timedelta(seconds=6) <= alert
        eventually(lambda: heard(connection, types), ["alert.firing", "alert.resolved"])
        file.write_text("[[rule]]\nname = 7\n")
        eventually(lambda: "line 2: name" in str(store.state(connection)["rules_error"]), True)
    rules = radmeter(database, "alerts", "rules", "--format", "json").json()
    assert [rule["name"] for rule in rules] == ["quiet"]
    found = radmeter(database, "doctor", "--only", "alerts")
    assert "the rules before stay in force" in " ".join((found.output + found.errors).split())


def heard(connection: Connection, types: object) -> list[str]:
    """Let a packet arrive, and return what was announced."""
    connection.execute("UPDATE public.radacct SET arrived_at = now()")
    assert callable(types)
    found = types()
    assert isinstance(found, list)
    return found


def test_built_in_rules_are_listed(database: str) -> None:
    rows = radmeter(None, "alerts", "check", "--format", "json").json()
    assert [row["name"] for row in rows] == [rule.name for rule in DEFAULTS.rules]
    assert [row["sites"] for row in rows] == [list(rule.sites) for rule in DEFAULTS.rules]


def test_rules_of_jobs_of_another_version_are_listed(database: str, connection: Connection) -> None:
    connection.execute(
        """UPDATE radmeter.alert_state
           SET rules = '[{"name": "new", "kind": "new_kind"}, {"name": "old", "kind": "quota"}]'"""
    )
    for output_format in ("table", "csv"):
        assert radmeter(database, "alerts", "rules", "--format", output_format).exit_code == 0
    rows = radmeter(database, "alerts", "rules", "--format", "json").json()
    assert [(row["name"], row["sites"]) for row in rows] == [("old", None), ("new", None)]


def test_a_mute_of_a_site_is_about_everything_that_is_wrong_with_its_routers(database: str) -> None:
    rule = Rule(name="spike", kind=SPIKE, factor=5, floor_bytes=1_000_000)
    network = Network(database, Rules(rules=(rule,)), every=30)
    network.add("lobby", "Hotel")
    network.add("gate", "Camp")
    for name in ("lobby", "gate"):
        network.stop(name)
    network.run(150)
    network.connection.execute(
        "UPDATE radmeter.router_hour SET usual[9] = 1000000, days[9] = 3, usual[10] = 1000000, days[10] = 3"
    )
    mute_until(network, 300, site="Hotel")
    network.connection.execute(
        """INSERT INTO public.router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
           SELECT id, '2026-03-10', 9000000, 0 FROM public.routers"""
    )
    network.run(300)
    assert told(network) == [("firing", "gate")]
    assert [row["subject"] for row in store.alerts(network.connection, site="Hotel")] == ["router lobby"]
    network.close()


@pytest.mark.parametrize("kind", [each.kind for each in DEFAULTS.rules])
def test_each_kind_of_alert_is_muted_by_what_it_is_about(network: Network, kind: str) -> None:
    """Of each kind, an alert as the looks open it: a rule, and a site, a router or a user where it has one."""
    of_router: dict[str, object] = {"router_id": 1, "site": "Hotel"}
    kinds: dict[str, dict[str, object]] = {
        "router_silent": of_router,
        "traffic_spike": of_router,
        "site_down": {"site": "Hotel"},
        "quota": {"username": "alice"},
    }
    about = kinds.get(kind, {})
    names = ["rule", *about]
    for number, name in enumerate(names):
        values = {**about, "rule": f"{kind}-{number}"}
        network.connection.execute(
            f"""INSERT INTO radmeter.alerts (kind, severity, began_at, fired_at, {", ".join(values)})
                VALUES (%s, 'info', %s, %s, {", ".join(["%s"] * len(values))})""",
            (kind, network.now, network.now, *values.values()),
        )
        mute = {name: values[name]} if name == "rule" else {"rule": values["rule"], name: values[name]}
        mute_until(network, 60, **mute)
    # Another site, router and user.
    for other in ({"site": "Camp"}, {"router_id": 2}, {"username": "bob"}):
        mute_until(network, 60, **other)
    network.connection.execute(
        "INSERT INTO radmeter.alerts (rule, kind, severity, began_at, fired_at, username, router_id, site)"
        " VALUES ('x', %s, 'info', %s, %s, %s, %s, %s)",
        (kind, network.now, network.now, *(about.get(name) for name in ("username", "router_id", "site"))),
    )
    assert opening.announce(network.connection, network.now) == 1
    listed = network.connection.execute(
        """SELECT rule, radmeter.muted_until(rule, router_id, site, username, %s) IS NULL
           FROM radmeter.alerts ORDER BY id""",
        (network.now,),
    ).fetchall()
    assert listed == [*((f"{kind}-{number}", False) for number in range(len(names))), ("x", True)]


def test_thousands_of_muted_alerts_cost_a_look_nothing(network: Network) -> None:
    network.connection.execute(
        """INSERT INTO radmeter.alerts (rule, kind, severity, router_id, began_at, fired_at)
           SELECT 'router-silent', 'router_silent', 'warning', g, %(at)s, %(at)s
           FROM generate_series(1, 30000) AS g""",
        {"at": network.now},
    )
    for site in ("Camp", None):
        mute_until(network, 60, rule="router-silent", **({"site": site} if site else {}))
    # The mutes are read once. As a call for each alert, 100,000 took 2.9 s; now 0.03 s.
    ((plan,),) = network.connection.execute(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {opening.TO_ANNOUNCE}", {"at": network.now, "most": 2000}
    ).fetchall()
    nodes, reads = [plan[0]["Plan"]], []
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node.get("Relation Name") == "alert_mutes":
            reads.append(node["Actual Loops"])
    assert reads == [1]
    assert opening.announce(network.connection, network.now) == 0


def test_many_notices_of_quotas_that_come_at_once_are_alerts_at_once(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota_alerts, "MOST_NOTICES", 20)
    rules = (Rule(name="most", kind=QUOTA, thresholds=(95,)), Rule(name="all", kind=QUOTA))
    network.evaluator.use(Rules(rules=rules))
    network.run(20)
    # A transaction that takes its number and commits later.
    ((late,),) = network.connection.execute(
        "SELECT nextval(pg_get_serial_sequence('radmeter.quota_notice', 'id'))"
    ).fetchall()
    for percent in (80, 95):
        network.connection.execute(
            """INSERT INTO radmeter.quota_notice (username, kind, percent, period_start, detail, at)
               SELECT 'u' || g, 'warned', %s, '2026-03-01', '{}', %s FROM generate_series(1, 45) AS g""",
            (percent, network.now),
        )
    # Each of 45 is an alert of two rules.
    more = [network.evaluator.tick().more for _ in range(6)]
    assert more == [True] * 4 + [False] * 2
    alerts = "SELECT count(*), count(DISTINCT notice_id), max(id) - min(id) FROM radmeter.alerts"
    assert network.connection.execute(alerts).fetchall() == [(90, 45, 89)]
    network.connection.execute(
        """INSERT INTO radmeter.quota_notice (id, username, kind, percent, period_start, detail, at)
           OVERRIDING SYSTEM VALUE
           VALUES (%s, 'late', 'warned', 95, '2026-03-01', '{}', %s)""",
        (late, network.now),
    )
    network.evaluator.tick()
    assert network.connection.execute(alerts).fetchall()[0][0] == 92
    # After a minute they are read no more, and no number of an alert was used up by a look.
    network.now += timedelta(seconds=61)
    network.evaluator.tick()
    ((read, latest),) = network.connection.execute(
        "SELECT notice_id, (SELECT max(id) FROM radmeter.quota_notice) FROM radmeter.alert_state"
    ).fetchall()
    assert read == latest
