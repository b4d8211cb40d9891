"""Alerts of routers with many times their usual octets. `hours.py` says what is usual."""

from dataclasses import replace

from radmeter.alerts import conditions, hours
from radmeter.alerts.conditions import Condition
from radmeter.alerts.look import Look
from radmeter.alerts.place import Place, is_due
from radmeter.alerts.rules import SPIKE


def look_at_hours(look: Look, place: Place, *, whole: bool) -> Place:
    """Measure the hour under way, and look for spikes, each two minutes. `whole`: no node lags."""
    rules = look.rules.of(SPIKE)
    hour = hours.hour_of(look.at)
    if not rules or not (hour != place.hour or is_due(place.hours_at, look.at, hours.MEASURE_SECONDS)):
        return place
    if hour != place.hour:
        if place.hour is not None:
            hours.measure(look.connection, place.hour)
        follows = hours.turn(look.connection, place.hour, hour, whole=place.hour_is_whole and whole)
        place = replace(place, hour=hour, hour_is_whole=follows and whole)
    else:
        hours.measure(look.connection, hour)
        place = replace(place, hour_is_whole=place.hour_is_whole and whole)
    found = hours.spikes(
        look.connection, hour, min(rule.factor for rule in rules), min(rule.floor_bytes for rule in rules)
    )
    holding = []
    for each in found if whole else ():
        rule = look.rules.first(SPIKE, each.name, each.site, discovered=each.status == "discovered")
        if rule is not None and each.is_spike(rule.factor, rule.floor_bytes):
            detail = {"octets": each.octets, "usual_octets": each.usual, "hour": hour.isoformat()}
            holding.append(Condition(rule, f"router:{each.router_id}", True, hour, detail))
    fires = {(each.rule.name, each.subject) for each in holding}
    by_name = {rule.name: rule for rule in rules}
    over = [
        Condition(by_name[name], subject, False, look.at)
        for (name, subject), state in conditions.phases(look.connection, list(by_name)).items()
        if (name, subject) not in fires and (whole or state.phase == "clearing")
    ]
    conditions.watch(look, [*holding, *over])
    return replace(place, hours_at=look.at)
