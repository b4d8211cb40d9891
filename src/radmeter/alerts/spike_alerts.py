"""Alerts of routers with many times their usual octets. `hours.py` says what is usual.

The routers are gone through each two minutes, a part of them in each look, in the order of their ids. So an hour begins
for each router at its own time, which is the same in each hour.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from radmeter.alerts import conditions, hours
from radmeter.alerts.conditions import Condition
from radmeter.alerts.look import Look
from radmeter.alerts.place import Place, is_due
from radmeter.alerts.rules import SPIKE
from radmeter.alerts.subjects import Subject

# More than any id.
_BEYOND = 2**63


def look_at_hours(look: Look, place: Place, *, whole: bool) -> Place:
    """Look at the next part of the routers. `whole`: no node lags."""
    if not look.rules.of(SPIKE):
        return place
    place = _turned(look, place, whole=whole)
    if place.hours_after is None:
        if not is_due(place.hours_at, look.at, hours.ROUND_SECONDS):
            return place
        place = replace(place, hours_at=look.at, hours_after=0)
    hour, after = place.hour, place.hours_after
    assert hour is not None
    assert after is not None
    last = hours.last_of(look.connection, after)
    hours.turn(look.connection, hour, after, last, whole=place.before_is_whole)
    _judge(look, hour, after, last, whole=whole)
    return replace(place, hours_after=last)


def _turned(look: Look, place: Place, *, whole: bool) -> Place:
    """Return the place with the hour of now. One that begins late, or in which a node lags, is not whole."""
    hour = hours.hour_of(look.at)
    paused = place.resumed_at == look.at
    if paused or not whole:
        place = replace(place, hour_is_whole=False, before_is_whole=False)
    if hour == place.hour:
        return place
    follows = place.hour is not None and place.hour + timedelta(hours=1) == hour
    return replace(
        place,
        hour=hour,
        before_is_whole=place.hour_is_whole and follows,
        hour_is_whole=follows and whole and not paused,
        hours_at=look.at,
        hours_after=0,
    )


def _judge(look: Look, hour: datetime, after: int, last: int | None, *, whole: bool) -> None:
    rules = look.rules.of(SPIKE)
    found = hours.spikes(
        look.connection,
        hour,
        after,
        last,
        factor=min(rule.factor for rule in rules),
        floor_bytes=min(rule.floor_bytes for rule in rules),
    )
    holding = []
    for each in found if whole else ():
        rule = look.rules.first(SPIKE, each.name, each.site, discovered=each.status == "discovered")
        if rule is not None and each.is_spike(rule.factor, rule.floor_bytes):
            detail = {"octets": each.octets, "usual_octets": each.usual, "hour": hour.isoformat()}
            subject = Subject(router_id=each.router_id)
            holding.append(Condition(rule, subject, True, hour, detail, site=each.site))
    fires = {(each.rule.name, each.subject) for each in holding}
    by_name = {rule.name: rule for rule in rules}
    over = [
        Condition(by_name[name], subject, False, look.at)
        for (name, subject), state in conditions.phases(look.connection, list(by_name)).items()
        if (name, subject) not in fires
        and after < (subject.router_id or 0) <= (last or _BEYOND)
        and (whole or state.phase == "clearing")
    ]
    conditions.watch(look, [*holding, *over])
