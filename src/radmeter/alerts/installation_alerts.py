"""Alerts of the whole installation: no packet at all, a shipper that is far behind."""

from datetime import timedelta

from radmeter.alerts import conditions, watching
from radmeter.alerts.around import Around
from radmeter.alerts.conditions import Condition
from radmeter.alerts.look import Look
from radmeter.alerts.rules import LAG, NO_PACKETS
from radmeter.alerts.subjects import ALL


def look_at_installation(look: Look, around: Around) -> None:
    """Look at what was just found around."""
    found = []
    for rule in look.rules.of(NO_PACKETS):
        last = around.last_packet_at
        quiet = timedelta(0) if last is None else look.at - last
        late = quiet > timedelta(seconds=rule.seconds)
        if not (late and look.held):
            # With few routers and long interims, it is quiet for longer although all is well.
            holds = late and watching.any_overdue(look.connection, quiet.total_seconds())
            found.append(Condition(rule, ALL, holds, last or look.at))
    for rule in look.rules.of(LAG):
        behind = around.behind
        holds = behind is not None and look.at - behind > timedelta(seconds=rule.seconds)
        found.append(Condition(rule, ALL, holds, behind or look.at))
    conditions.watch(look, found)
