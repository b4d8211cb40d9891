"""Alerts of single routers: those that are due are looked at, and with each that fires the others of its site."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from radmeter.alerts import opening, site_alerts, watching
from radmeter.alerts.evaluating import Event
from radmeter.alerts.look import Look
from radmeter.alerts.opening import New
from radmeter.alerts.rules import SILENT
from radmeter.alerts.silence import Heard, Watch, judge, wants_closed

# What is known of routers after a look at them, and what is to be announced, by the id of the router.
Judged = dict[int, tuple[Watch, Event | None]]


@dataclass(frozen=True)
class Seen:
    """How many routers were looked at, and whether there are more that are due."""

    routers: int
    more: bool


def look_at_routers(look: Look, review_after: int | None) -> Seen:
    """Look at the routers that are due, and at those after a router that are reviewed by new rules."""
    watches = {
        each.router_id: each
        for each in watching.due(look.connection, look.at, look.judged_at, review_after=review_after)
    }
    more_due = sum(_is_due(each, look) for each in watches.values()) >= watching.MOST_DUE
    judged = _judged(look, watches.values())
    fired = {router_id for router_id, (_, event) in judged.items() if event == "fired"}
    again = {
        router_id
        for router_id, (now, event) in judged.items()
        if event is None and now.phase == "firing" and watches[router_id].phase == "clearing"
    }
    doubtful = {judged[each][0].site for each in fired | again}
    doubtful_sites = {site for site in doubtful if site is not None and look.site_rule(site) is not None}
    waiting = site_alerts.waiting(look, doubtful_sites)
    names = sorted(doubtful_sites - waiting.keys())
    more = [each for each in watching.of_sites(look.connection, names) if each.router_id not in judged]
    watches |= {each.router_id: each for each in more}
    judged |= _judged(look, more)
    watching.note(look.connection, [now for key, (now, _) in judged.items() if now != watches[key]])

    resolved = [router_id for router_id, (_, event) in judged.items() if event == "resolved"]
    opening.resolve_routers(look.connection, SILENT, resolved, look.at)
    found = [watch for watch, _ in judged.values()]
    decisions = site_alerts.decided(look, names, found)
    down = opening.open_sites(
        look.connection, [each for each, decision in decisions.items() if decision.verdict == "down"]
    )

    def held_until(watch: Watch) -> datetime | None:
        site = watch.site or ""
        if (decision := decisions.get(site)) is None:
            return waiting.get(site)
        return site_alerts.hold_until(look, site, decision)

    news = []
    for router_id, (watch, event) in judged.items():
        rule = look.router_rule(watch)
        if event != "fired" or rule is None or watch.heard_at is None or watch.interim is None:
            continue
        news.append(
            New(
                rule=rule,
                mail_to=look.rules.recipients(rule),
                router_id=router_id,
                site=watch.site,
                began_at=watch.heard_at,
                detail={
                    "heard_at": watch.heard_at.isoformat(),
                    "interim_seconds": watch.interim,
                    "silent_after_seconds": round(watch.interim * rule.interims),
                },
                hold_until=held_until(watch),
            )
        )
    opening.open_alerts(look.connection, news, look.at)
    returned = [judged[each][0] for each in sorted(again)]
    opening.silent_again(
        look.connection, [(each.router_id, each.heard_at, held_until(each)) for each in returned], look.at
    )
    site_alerts.went_down(look, decisions, found, down)
    moved = {
        now.site
        for router_id, (now, _) in judged.items()
        if now.site is not None and now.phase != watches[router_id].phase
    }
    if moved:
        site_alerts.came_back(look, moved)
    return Seen(len(judged), more_due)


def _is_due(watch: Watch, look: Look) -> bool:
    return watch.phase in ("idle", "ok") and watch.due_at <= look.judged_at


def _judged(look: Look, watches: Iterable[Watch]) -> Judged:
    asked = list(watches)
    heard = watching.heard(look.connection, asked)
    missing = [each for each in asked if wants_closed(each, heard.get(each.router_id, Heard()))]
    heard |= {
        router_id: replace(found, interim=heard[router_id].interim)
        for router_id, found in watching.closed(look.connection, missing).items()
        if router_id in heard
    }
    return {
        each.router_id: judge(
            each,
            heard.get(each.router_id, Heard()),
            look.router_rule(each),
            look.at,
            look.judged_at,
            held=look.held,
        )
        for each in asked
    }
