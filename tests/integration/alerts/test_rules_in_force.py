"""The rules by which the jobs look: when the file changes, and when it cannot be read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.network import Network

from radmeter.alerts import store
from radmeter.alerts.rules import DEFAULTS, SILENT, Mail, Rule, Rules
from radmeter.alerts.ticking import Evaluator
from radmeter.alerts.worker import RulesInForce

OURS = Rule(name="ours", kind=SILENT, resolve_seconds=30)
MAIL = Mail(host="127.0.0.1", tls="none", sender="radmeter@example.org", to=("noc@example.org",))
BROKEN = "[[rule]]\nname = 7\n"


@pytest.fixture
def network(database: str) -> Iterator[Network]:
    made = Network(database, Rules(rules=(OURS,), mail=MAIL, file=Path("/etc/radmeter/a.toml")), every=10)
    yield made
    made.close()


def told(network: Network) -> list[tuple[str, str]]:
    return [(each.what, each.subject) for each in network.told()]


def mails(network: Network) -> list[tuple[str]]:
    return network.connection.execute(
        "SELECT type FROM radmeter.alert_mail_line WHERE mail_id IS NOT NULL ORDER BY id"
    ).fetchall()


def silence(network: Network, *names: str) -> None:
    for name in names:
        network.add(name, interval=60)
    network.run(200)
    network.silence(*names)
    network.run(300)


def restarted(network: Network, path: Path) -> RulesInForce:
    """Go on as jobs do that are started again."""
    rules = RulesInForce(path)
    rules.restore(network.connection)
    network.evaluator = Evaluator(
        network.connection, rules.rules, clock=lambda: network.now, grace_seconds=0, pause_seconds=20
    )
    return rules


def test_jobs_that_start_with_a_broken_file_go_on_with_the_rules_of_before(
    network: Network, tmp_path: Path
) -> None:
    silence(network, "lobby")
    before = store.rules(network.connection)
    path = tmp_path / "alerts.toml"
    path.write_text(BROKEN)
    rules = restarted(network, path)
    assert rules.error is not None
    assert "line 2" in rules.error
    network.run(60)
    assert told(network) == [("firing", "lobby")]
    assert store.rules(network.connection) == before
    # Whom they tell is known, and the mail server once the file can be read: what is to be told waits.
    network.restore("lobby")
    network.run(200)
    assert told(network) == [("firing", "lobby"), ("resolved", "lobby")]
    assert mails(network) == [("firing",)]
    path.write_text(
        '[mail]\nhost = "127.0.0.1"\nfrom = "a@example.org"\nto = ["noc@example.org"]\n'
        '[[rule]]\nname = "ours"\nkind = "router_silent"\nresolve_after_seconds = 30\n'
    )
    assert rules.read()
    network.evaluator.use(rules.rules)
    network.run(70)
    assert rules.error is None
    assert mails(network) == [("firing",), ("resolved",)]
    assert store.state(network.connection)["rules_file"] == str(path)


def test_jobs_that_never_looked_and_have_a_broken_file_have_the_built_in_rules(
    database: str, tmp_path: Path
) -> None:
    network = Network(database)
    path = tmp_path / "alerts.toml"
    path.write_text(BROKEN)
    assert restarted(network, path).rules == DEFAULTS
    network.close()


def test_rules_that_another_version_wrote_are_taken_as_far_as_they_are_known(
    network: Network, tmp_path: Path
) -> None:
    network.run(10)
    network.connection.execute(
        """UPDATE radmeter.alert_state SET rules =
           '[{"name": "x", "kind": "router_silent", "sites": ["A*"], "of": 2}, {"name": "y", "kind": "z"}]'"""
    )
    assert restarted(network, tmp_path / "none.toml").rules == Rules(
        rules=(Rule(name="x", kind=SILENT, sites=("A*",)), Rule(name="y", kind="z")), restored=True
    )
    network.run(10)


@pytest.mark.parametrize(
    "mail", [None, replace(MAIL, to=("duty@example.org",))], ids=["no mail server", "others"]
)
def test_a_change_of_the_mail_server_alone_is_put_in_force(network: Network, mail: Mail | None) -> None:
    network.run(20)
    network.evaluator.use(replace(network.evaluator.rules, mail=mail, file=Path("/etc/radmeter/b.toml")))
    network.run(20)
    state = store.state(network.connection)
    assert (state["mails"], state["rules_file"]) == (mail is not None, "/etc/radmeter/b.toml")
    (rule,) = store.rules(network.connection)
    assert rule["mail"] == (list(mail.to) if mail else [])


def test_what_happened_while_there_was_no_mail_server_is_in_no_later_mail(network: Network) -> None:
    silence(network, "lobby")
    assert mails(network) == [("firing",)]
    network.evaluator.use(Rules(rules=(OURS,)))
    network.restore("lobby")
    network.run(300)
    network.evaluator.use(Rules(rules=(OURS,), mail=MAIL))
    network.run(20)
    assert told(network) == [("firing", "lobby"), ("resolved", "lobby")]
    assert mails(network) == [("firing",)]
