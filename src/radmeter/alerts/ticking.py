"""One look at everything, and what is announced, in one transaction."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from radmeter.alerts import hours, opening, sites, watching
from radmeter.alerts.evaluating import Event, State, step
from radmeter.alerts.opening import New
from radmeter.alerts.rules import LAG, NO_PACKETS, QUOTA, SILENT, SITE, SPIKE, Rule, Rules
from radmeter.alerts.silence import Heard, Watch, judge, wants_closed
from radmeter.database.connection import Connection, explained_errors

# After a pause the shippers may have to catch up. Until they have sent something, nobody knows how far behind they are.
PAUSE_SECONDS = 10.0
GRACE_SECONDS = 60.0
# How often the journals are asked how far behind they are, and what the database says beside the packets.
AROUND_SECONDS = 5.0
SWEEP_SECONDS = 30.0
MOST_NOTICES = 2_000

# A few hundred rows of tables with a row for each router: by their indexes, which are in memory. With the usual costs
# the whole tables were read, which took five times as long with 30,000 routers.
BY_INDEX = "SET LOCAL random_page_cost = 1"
STATE = """
SELECT ticked_at, resumed_at, hour, hour_is_whole, hours_at, swept_at, notice_id, rules_digest
FROM radmeter.alert_state FOR UPDATE"""
SAVE = """
UPDATE radmeter.alert_state SET ticked_at = %(ticked_at)s, resumed_at = %(resumed_at)s, hour = %(hour)s,
    hour_is_whole = %(hour_is_whole)s, hours_at = %(hours_at)s, swept_at = %(swept_at)s, notice_id = %(notice_id)s,
    rules_digest = %(rules_digest)s"""
SAVE_RULES = """
UPDATE radmeter.alert_state SET rules = %(rules)s::jsonb, rules_file = %(file)s, mails = %(mails)s"""
AROUND = """
SELECT now(), (SELECT min(received_at) FROM radmeter.lagging_nodes()),
       (SELECT max(last_received_at) FROM radmeter.journal_segment)"""
NOT_WELL = "SELECT rule, subject, phase, since FROM radmeter.alert_watch WHERE rule = ANY (%s)"
FORGET = "DELETE FROM radmeter.alert_watch WHERE rule = %s AND subject = %s"
REMEMBER = """
INSERT INTO radmeter.alert_watch (rule, subject, phase, since) VALUES (%s, %s, %s, %s)
ON CONFLICT (rule, subject) DO UPDATE SET phase = excluded.phase, since = excluded.since"""
FORGET_RULES = "DELETE FROM radmeter.alert_watch WHERE rule <> ALL (%s)"
# Of rules that are no more, or that are of another kind now. Those of routers are looked at anew by their routers.
STRANDED = """
SELECT alert.id FROM radmeter.alerts AS alert
LEFT JOIN unnest(%(names)s::text[], %(kinds)s::text[]) AS rule (name, kind)
    ON rule.name = alert.rule AND rule.kind = alert.kind
WHERE alert.resolved_at IS NULL AND rule.name IS NULL"""
FIRST_NOTICE = "SELECT coalesce(max(id), 0) FROM radmeter.quota_notice"
NOTICES = """
SELECT id, username, kind, percent, period_start, at FROM radmeter.quota_notice
WHERE id > %s ORDER BY id LIMIT %s"""
# A later notice of the user, another period, or a counter below the threshold: a top-up, another plan.
QUOTA_OVER = """
SELECT alert.id FROM radmeter.alerts AS alert LEFT JOIN radmeter.quota_account AS account USING (username)
WHERE alert.kind = 'quota' AND alert.resolved_at IS NULL
  AND (account.username IS NULL OR account.period_start > (alert.detail ->> 'period_start')::date
       OR account.percent < (alert.detail ->> 'percent')::integer
       OR EXISTS (SELECT FROM radmeter.alerts AS later
                  WHERE later.username = alert.username AND later.rule = alert.rule AND later.resolved_at IS NULL
                    AND later.notice_id > alert.notice_id))"""
SITE_PHASES = """
SELECT router.site, array_agg(watch.phase) FROM public.routers AS router
JOIN radmeter.router_watch AS watch ON watch.router_id = router.id
WHERE router.site = ANY (%s) AND router.status <> 'retired' GROUP BY router.site"""
DOWN_SITES = "SELECT site FROM radmeter.alerts WHERE kind = 'site_down' AND resolved_at IS NULL"
LOST_ROUTERS = """
SELECT alert.router_id FROM radmeter.alerts AS alert
LEFT JOIN radmeter.router_watch AS watch ON watch.router_id = alert.router_id
WHERE alert.kind = 'router_silent' AND alert.resolved_at IS NULL
  AND coalesce(watch.phase, 'idle') NOT IN ('firing', 'clearing')"""


@dataclass(frozen=True)
class Around:
    """What is known beside the sessions: the time, how far the shipper that is furthest behind is, the last packet."""

    now: datetime
    behind: datetime | None
    last_packet_at: datetime | None


@dataclass(frozen=True)
class _Place:
    """How far the looks are: the row of radmeter.alert_state."""

    ticked_at: datetime | None
    resumed_at: datetime | None
    hour: datetime | None
    hour_is_whole: bool
    hours_at: datetime | None
    swept_at: datetime | None
    notice_id: int | None
    rules_digest: str | None


@dataclass(frozen=True)
class Tick:
    """What a look did."""

    looked_at: int
    announced: int


def look_around(connection: Connection) -> Around:
    """Return what is known beside the sessions."""
    with explained_errors("radmeter_owner"):
        row = connection.execute(AROUND).fetchone()
    assert row is not None
    return Around(*row)


class Evaluator:
    """Looks at everything with some rules.

    Parameters
    ----------
    clock
        The time; None: that of the database.
    grace_seconds
        After a pause, no router is silent for so long.
    pause_seconds
        Looks that are further apart had a pause between them.
    """

    def __init__(
        self,
        connection: Connection,
        rules: Rules,
        *,
        clock: Callable[[], datetime] | None = None,
        grace_seconds: float = GRACE_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._connection = connection
        self.rules = rules
        self._clock = clock
        self._grace = timedelta(seconds=grace_seconds)
        self._pause = timedelta(seconds=pause_seconds)
        self._around: Around | None = None
        self._looked_around = False
        self._digest = digest_of(rules)

    def use(self, rules: Rules) -> None:
        """Go on with other rules."""
        self.rules = rules
        self._digest = digest_of(rules)

    def tick(self) -> Tick:
        """Look once, in one transaction."""
        around = self._look_around()
        at = around.now
        with explained_errors("radmeter_owner"), self._connection.transaction():
            self._connection.execute(BY_INDEX)
            row = self._connection.execute(STATE).fetchone()
            assert row is not None
            place = self._begun(_Place(*row), at)
            place = self._swept(place, at)
            behind = around.behind
            judged_at = at if behind is None else min(behind, at)
            held = place.resumed_at is not None and at < place.resumed_at + self._grace
            looked_at = self._routers(at, judged_at, held=held)
            place = self._hours(place, at, whole=behind is None)
            place = self._quotas(place, at)
            if self._looked_around:
                self._whole(around, at, held=held)
            announced = opening.announce(self._connection, at)
            opening.make_mails(self._connection, self.rules, at)
            self._connection.execute(SAVE, {**asdict(place), "ticked_at": at})
        return Tick(looked_at, announced)

    def _look_around(self) -> Around:
        """Return the time, and what was known beside it a few seconds ago."""
        if self._clock is not None:
            now = self._clock()
        else:
            with explained_errors("radmeter_owner"):
                row = self._connection.execute("SELECT now()").fetchone()
            assert row is not None
            now = row[0]
        known = self._around
        self._looked_around = known is None or _is_due(known.now, now, AROUND_SECONDS)
        if self._looked_around or known is None:
            known = self._around = look_around(self._connection)
            if self._clock is not None:
                known = self._around = Around(now, None, known.last_packet_at)
        return replace(known, now=now)

    def _begun(self, place: _Place, at: datetime) -> _Place:
        """Note a pause, and rules that have changed."""
        pause = self._pause
        if place.ticked_at is None or not -pause <= at - place.ticked_at <= pause:
            place = replace(place, resumed_at=at, hour_is_whole=False)
        if self._digest != place.rules_digest:
            self._connection.execute(FORGET_RULES, ([each.name for each in self.rules.rules],))
            stranded = self._connection.execute(
                STRANDED,
                {
                    "names": [each.name for each in self.rules.rules],
                    "kinds": [each.kind for each in self.rules.rules],
                },
            ).fetchall()
            sites_of = self._connection.execute(
                "SELECT id FROM radmeter.alerts WHERE id = ANY (%s) AND kind = %s",
                ([row[0] for row in stranded], SITE),
            ).fetchall()
            opening.unfold(self._connection, [row[0] for row in sites_of], at)
            opening.resolve(self._connection, [row[0] for row in stranded], at)
            # A router whose alert was of another rule fires anew by the rule that it has now.
            self._connection.execute(
                """UPDATE radmeter.router_watch AS watch SET phase = 'idle', since = %s
                   FROM radmeter.alerts AS alert
                   WHERE alert.id = ANY (%s) AND alert.kind = %s AND watch.router_id = alert.router_id""",
                (at, [row[0] for row in stranded], SILENT),
            )
            watching.all_due(self._connection, at)
            self._connection.execute(
                SAVE_RULES,
                {
                    "rules": json.dumps([shown(each, self.rules) for each in self.rules.rules]),
                    "file": None if self.rules.file is None else str(self.rules.file),
                    "mails": self.rules.mail is not None,
                },
            )
            place = replace(place, rules_digest=self._digest)
        return place

    def _swept(self, place: _Place, at: datetime) -> _Place:
        due = _is_due(place.swept_at, at, SWEEP_SECONDS)
        watching.add(self._connection, at, all_=due)
        if not due:
            return place
        over = [row[0] for row in self._connection.execute(QUOTA_OVER)]
        opening.resolve(self._connection, over, at)
        watching.sweep(self._connection, at)
        lost = [row[0] for row in self._connection.execute(LOST_ROUTERS)]
        opening.resolve_routers(self._connection, SILENT, lost, at)
        self._sites_back(None, at)
        return replace(place, swept_at=at)

    # Routers and sites

    def _routers(self, at: datetime, judged_at: datetime, *, held: bool) -> int:
        watches = {each.router_id: each for each in watching.due(self._connection, at, judged_at)}
        judged = self._judged(watches.values(), at, judged_at, held=held)
        fired = {router_id for router_id, (_, event) in judged.items() if event == "fired"}
        doubtful = {judged[each][0].site for each in fired}
        doubtful_sites = sorted(
            site for site in doubtful if site is not None and self._site_rule(site) is not None
        )
        more = [
            each
            for each in watching.of_sites(self._connection, doubtful_sites)
            if each.router_id not in judged
        ]
        watches |= {each.router_id: each for each in more}
        judged |= self._judged(more, at, judged_at, held=held)
        changed = [now for router_id, (now, _) in judged.items() if now != watches[router_id]]
        watching.note(self._connection, changed)

        resolved = [router_id for router_id, (_, event) in judged.items() if event == "resolved"]
        opening.resolve_routers(self._connection, SILENT, resolved, at)
        decisions = self._decided(doubtful_sites, judged, judged_at)
        down = opening.open_sites(
            self._connection, [each for each, found in decisions.items() if found.verdict == "down"]
        )
        news = []
        for router_id, (watch, event) in judged.items():
            rule = self._rule(watch)
            if event != "fired" or rule is None or watch.heard_at is None or watch.interim is None:
                continue
            decision = decisions.get(watch.site or "")
            news.append(
                New(
                    rule=rule,
                    mail_to=self.rules.recipients(rule),
                    router_id=router_id,
                    site=watch.site,
                    began_at=watch.heard_at,
                    detail={
                        "heard_at": watch.heard_at.isoformat(),
                        "interim_seconds": watch.interim,
                        "silent_after_seconds": round(watch.interim * rule.interims),
                    },
                    hold_until=None if decision is None else self._until(watch.site or "", decision, at),
                )
            )
        opening.open_alerts(self._connection, news, at)
        self._sites(decisions, judged, down, at)
        moved = {
            now.site
            for router_id, (now, _) in judged.items()
            if now.site is not None and now.phase != watches[router_id].phase
        }
        if moved:
            self._sites_back(moved, at)
        return len(judged)

    def _judged(
        self, watches: Iterable[Watch], at: datetime, judged_at: datetime, *, held: bool
    ) -> dict[int, tuple[Watch, Event | None]]:
        asked = list(watches)
        heard = watching.heard(self._connection, asked)
        missing = [each for each in asked if wants_closed(each, heard.get(each.router_id, Heard()))]
        heard |= {
            router_id: replace(found, interim=heard[router_id].interim)
            for router_id, found in watching.closed(self._connection, missing).items()
            if router_id in heard
        }
        return {
            each.router_id: judge(
                each, heard.get(each.router_id, Heard()), self._rule(each), at, judged_at, held=held
            )
            for each in asked
        }

    def _rule(self, watch: Watch) -> Rule | None:
        if watch.status == "retired":
            return None
        return self.rules.first(SILENT, watch.name, watch.site, discovered=watch.status == "discovered")

    def _site_rule(self, site: str) -> Rule | None:
        return self.rules.first(SITE, None, site)

    def _decided(
        self, names: Sequence[str], judged: dict[int, tuple[Watch, Event | None]], judged_at: datetime
    ) -> dict[str, sites.Decision]:
        routers: dict[str, list[tuple[Watch, float]]] = {name: [] for name in names}
        for watch, _ in judged.values():
            rule = self._rule(watch)
            if watch.site in routers and rule is not None:
                routers[watch.site].append((watch, rule.interims))
        return {name: sites.decide(found, judged_at) for name, found in routers.items()}

    def _until(self, site: str, decision: sites.Decision, at: datetime) -> datetime | None:
        """Return until when alerts of routers of a site wait for one of the whole site."""
        rule = self._site_rule(site)
        if decision.verdict != "down" or rule is None:
            return decision.until
        return at + timedelta(seconds=rule.fire_seconds + sites.LOOK_SECONDS) if rule.fire_seconds else None

    def _sites(
        self,
        decisions: dict[str, sites.Decision],
        judged: dict[int, tuple[Watch, Event | None]],
        known: dict[str, tuple[int, str]],
        at: datetime,
    ) -> None:
        """Open the alerts of sites that are down, fold those of their routers, and let others wait or go."""
        opening.hold(
            self._connection,
            {name: self._until(name, found, at) for name, found in decisions.items()},
        )
        down = [name for name, found in decisions.items() if found.verdict == "down"]
        conditions = []
        for name in down:
            rule = self._site_rule(name)
            if rule is not None and name not in known:
                heard = [
                    watch.heard_at
                    for watch, _ in judged.values()
                    if watch.site == name and watch.phase == "firing" and watch.heard_at is not None
                ]
                conditions.append((rule, f"site:{name}", True, max(heard, default=at)))
        self._watch(conditions, at)
        opening.fold(self._connection, down)

    def _sites_back(self, names: Collection[str] | None, at: datetime) -> None:
        """Look whether sites that were down are back: some of them, or all (None)."""
        down = [row[0] for row in self._connection.execute(DOWN_SITES)]
        asked = [each for each in down if names is None or each in names]
        pending = self._phases([each.name for each in self.rules.of(SITE)])
        unsettled = {
            subject.removeprefix("site:")
            for (_, subject), state in pending.items()
            if state.phase != "firing"
        }
        asked = sorted({*asked, *unsettled})
        if not asked:
            return
        rows = self._connection.execute(SITE_PHASES, (asked,)).fetchall()
        phases: dict[str, list[str]] = dict(rows)
        conditions = []
        for name in asked:
            rule = self._site_rule(name)
            if rule is not None:
                conditions.append((rule, f"site:{name}", not sites.is_back(phases.get(name, [])), at))
        self._watch(conditions, at)
        opening.fold(self._connection, [each for each in asked if each in unsettled])

    # Conditions of other rules

    def _phases(self, rules: Sequence[str]) -> dict[tuple[str, str], State]:
        rows = self._connection.execute(NOT_WELL, (list(rules),)).fetchall()
        return {(rule, subject): State(phase, since) for rule, subject, phase, since in rows}

    def _watch(
        self,
        conditions: Sequence[tuple[Rule, str, bool, datetime]],
        at: datetime,
        details: dict[str, dict[str, object]] | None = None,
    ) -> None:
        """Take steps of conditions, each with its rule, subject, whether it holds, and since when; announce changes."""
        if not conditions:
            return
        known = self._phases(sorted({rule.name for rule, *_ in conditions}))
        news: list[New] = []
        well: list[tuple[str, str]] = []
        for rule, subject, holds, began_at in conditions:
            before = known.get((rule.name, subject), State("ok", at))
            after, event = step(before, holds, at, rule.tolerance)
            if after != before:
                if after.phase == "ok":
                    self._connection.execute(FORGET, (rule.name, subject))
                else:
                    self._connection.execute(REMEMBER, (rule.name, subject, after.phase, after.since))
            if event == "fired":
                kind, _, name = subject.partition(":")
                news.append(
                    New(
                        rule=rule,
                        mail_to=self.rules.recipients(rule),
                        began_at=min(began_at, at),
                        site=name if kind == "site" else None,
                        router_id=int(name) if kind == "router" else None,
                        detail=(details or {}).get(subject, {}),
                    )
                )
            elif event == "resolved":
                well.append((rule.name, subject))
        opening.open_alerts(self._connection, news, at)
        if well:
            over = opening.resolve_subjects(self._connection, well, at)
            opening.unfold(self._connection, over, at)

    def _hours(self, place: _Place, at: datetime, *, whole: bool) -> _Place:
        rules = self.rules.of(SPIKE)
        hour = hours.hour_of(at)
        if not rules or not (hour != place.hour or _is_due(place.hours_at, at, hours.MEASURE_SECONDS)):
            return place
        if hour != place.hour:
            if place.hour is not None:
                hours.measure(self._connection, place.hour)
            follows = hours.turn(self._connection, place.hour, hour, whole=place.hour_is_whole and whole)
            place = replace(place, hour=hour, hour_is_whole=follows and whole)
        else:
            hours.measure(self._connection, hour)
            place = replace(place, hour_is_whole=place.hour_is_whole and whole)
        found = {
            each.router_id: each
            for each in hours.spikes(
                self._connection,
                hour,
                min(rule.factor for rule in rules),
                min(rule.floor_bytes for rule in rules),
            )
        }
        conditions = []
        details: dict[str, dict[str, object]] = {}
        fires = set()
        for each in found.values() if whole else ():
            rule = self.rules.first(SPIKE, each.name, each.site, discovered=each.status == "discovered")
            if rule is not None and each.is_spike(rule.factor, rule.floor_bytes):
                subject = f"router:{each.router_id}"
                fires.add((rule.name, subject))
                conditions.append((rule, subject, True, hour))
                details[subject] = {
                    "octets": each.octets,
                    "usual_octets": each.usual,
                    "hour": hour.isoformat(),
                }
        by_name = {rule.name: rule for rule in rules}
        for (name, subject), state in self._phases(list(by_name)).items():
            if (name, subject) not in fires and (whole or state.phase == "clearing"):
                conditions.append((by_name[name], subject, False, at))
        self._watch(conditions, at, details)
        return replace(place, hours_at=at)

    def _whole(self, around: Around, at: datetime, *, held: bool) -> None:
        """Look at what concerns the whole installation: no packet at all, a shipper that is far behind."""
        conditions = []
        details: dict[str, dict[str, object]] = {}
        for rule in self.rules.of(NO_PACKETS):
            last = around.last_packet_at
            late = last is not None and at - last > timedelta(seconds=rule.seconds)
            if not (late and held):
                holds = late and watching.any_expected(self._connection)
                conditions.append((rule, "all", holds, last or at))
        for rule in self.rules.of(LAG):
            behind = around.behind
            holds = behind is not None and at - behind > timedelta(seconds=rule.seconds)
            conditions.append((rule, "all", holds, behind or at))
        self._watch(conditions, at, details)

    def _quotas(self, place: _Place, at: datetime) -> _Place:
        rules = self.rules.of(QUOTA)
        if place.notice_id is None or not rules:
            ((latest,),) = self._connection.execute(FIRST_NOTICE).fetchall()
            return replace(place, notice_id=latest)
        rows = self._connection.execute(NOTICES, (place.notice_id, MOST_NOTICES)).fetchall()
        news = []
        for notice_id, username, kind, percent, period_start, noticed_at in rows:
            for rule in rules:
                if kind != "restored" and percent in rule.thresholds:
                    news.append(
                        New(
                            rule=rule,
                            mail_to=self.rules.recipients(rule),
                            began_at=min(noticed_at, at),
                            username=username,
                            notice_id=notice_id,
                            detail={"percent": percent, "period_start": period_start.isoformat()},
                        )
                    )
        opening.open_alerts(self._connection, news, at)
        # Another transaction may still commit a notice with a lower id. Those of the last minute are read again; one
        # that has an alert gets no second one.
        settled = [row[0] for row in rows if row[5] < at - timedelta(minutes=1)]
        return replace(place, notice_id=max(settled, default=place.notice_id))


def digest_of(rules: Rules) -> str:
    """Return what changes with the rules."""
    return hashlib.sha256(json.dumps([asdict(each) for each in rules.rules]).encode()).hexdigest()


def shown(rule: Rule, rules: Rules) -> dict[str, object]:
    """Return a rule as `radmeter alerts rules` and the page show it."""
    values = {**asdict(rule), "mail": rules.recipients(rule)}
    # Lists, as they come back from the database.
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _is_due(before: datetime | None, at: datetime, seconds: float) -> bool:
    return before is None or not timedelta(0) <= at - before < timedelta(seconds=seconds)
