"""Alerts of whole sites: opened, folded, and over. `sites.py` says when a site is down."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from radmeter.alerts import conditions, opening, sites
from radmeter.alerts.conditions import Condition
from radmeter.alerts.look import Look
from radmeter.alerts.rules import SILENT, SITE
from radmeter.alerts.silence import Watch
from radmeter.alerts.subjects import Subject

# A router that was silent is well for a while before it counts as such. One that was idle, or came from elsewhere, has
# to be well for as long before it shows that a site is back.
PHASES = """
SELECT router.site,
       array_agg(CASE WHEN watch.phase = 'ok' AND watch.since > %(settled)s THEN 'new' ELSE watch.phase END)
FROM public.routers AS router
JOIN radmeter.router_watch AS watch ON watch.router_id = router.id
WHERE router.site = ANY (%(sites)s) AND router.status <> 'retired' GROUP BY router.site"""
DOWN = "SELECT site FROM radmeter.alerts WHERE kind = 'site_down' AND resolved_at IS NULL"

# Routers of a site that is not decided wait until it is known.
WAITING = """
SELECT site, max(hold_until) FROM radmeter.alerts
WHERE kind = 'router_silent' AND resolved_at IS NULL AND announced_at IS NULL AND folded_into IS NULL
  AND hold_for = 'site' AND hold_until > %(after)s AND site = ANY (%(sites)s) GROUP BY site"""


def waiting(look: Look, names: Collection[str]) -> dict[str, datetime]:
    """Return the sites of which it is known already when they are decided, and when that is.

    Before, looking at all of their routers would say the same. If many sites fall silent, that is most of the work.
    """
    if not names:
        return {}
    after = look.judged_at + timedelta(seconds=sites.LOOK_SECONDS)
    return dict(look.connection.execute(WAITING, {"after": after, "sites": list(names)}).fetchall())


def decided(look: Look, names: Sequence[str], watches: Collection[Watch]) -> dict[str, sites.Decision]:
    """Say of some sites whether they are down. `watches`: all of their routers, and others."""
    routers: dict[str, list[tuple[Watch, float]]] = {name: [] for name in names}
    for watch in watches:
        rule = look.router_rule(watch)
        if watch.site in routers and rule is not None:
            routers[watch.site].append((watch, rule.interims))
    return {name: sites.decide(found, look.judged_at) for name, found in routers.items()}


def hold_until(look: Look, site: str, decision: sites.Decision) -> datetime | None:
    """Return until when alerts of routers of a site wait for one of the whole site."""
    rule = look.site_rule(site)
    if decision.verdict != "down" or rule is None:
        return decision.until
    if not rule.fire_seconds:
        return None
    return look.at + timedelta(seconds=rule.fire_seconds + sites.LOOK_SECONDS)


def went_down(
    look: Look, decisions: Mapping[str, sites.Decision], watches: Collection[Watch], known: Collection[str]
) -> None:
    """Open the alerts of sites that are down, fold those of their routers, and let others wait or go.

    `known`: the sites that have an alert already.
    """
    opening.hold(look.connection, {name: hold_until(look, name, found) for name, found in decisions.items()})
    down = [name for name, found in decisions.items() if found.verdict == "down"]
    heard: dict[str, datetime] = {}
    for watch in watches:
        if watch.site is not None and watch.phase == "firing" and watch.heard_at is not None:
            heard[watch.site] = max(watch.heard_at, heard.get(watch.site, watch.heard_at))
    holding = []
    for name in down:
        rule = look.site_rule(name)
        if rule is not None and name not in known:
            holding.append(Condition(rule, Subject(name), True, heard.get(name, look.at)))
    conditions.watch(look, holding)
    opening.fold(look.connection, down)


def came_back(look: Look, names: Collection[str] | None) -> None:
    """Look whether sites that were down are back: some of them, or all (None)."""
    down = [row[0] for row in look.connection.execute(DOWN)]
    asked = [each for each in down if names is None or each in names]
    pending = conditions.phases(look.connection, [each.name for each in look.rules.of(SITE)])
    unsettled = {
        subject.site
        for (_, subject), state in pending.items()
        if state.phase != "firing" and subject.site is not None
    }
    asked = sorted({*asked, *unsettled})
    if not asked:
        return
    settled = look.at - timedelta(
        seconds=max((rule.resolve_seconds for rule in look.rules.of(SILENT)), default=0)
    )
    phases: dict[str, list[str]] = dict(
        look.connection.execute(PHASES, {"sites": asked, "settled": settled}).fetchall()
    )
    found = []
    for name in asked:
        rule = look.site_rule(name)
        if rule is not None:
            found.append(Condition(rule, Subject(name), not sites.is_back(phases.get(name, [])), look.at))
    conditions.watch(look, found)
    opening.fold(look.connection, [each for each in asked if each in unsettled])
