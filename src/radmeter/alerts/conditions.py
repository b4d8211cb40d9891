"""radmeter.alert_watch: the states of what is wrong with a site, the hour of a router, or the whole installation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from radmeter.alerts import opening
from radmeter.alerts.evaluating import State, step
from radmeter.alerts.look import Look
from radmeter.alerts.opening import New
from radmeter.alerts.rules import Rule
from radmeter.alerts.subjects import Subject
from radmeter.database.connection import Connection

NOT_WELL = "SELECT rule, subject, phase, since FROM radmeter.alert_watch WHERE rule = ANY (%s)"
FORGET = """
DELETE FROM radmeter.alert_watch AS watch USING unnest(%(rule)s::text[], %(subject)s::text[]) AS well (rule, subject)
WHERE watch.rule = well.rule AND watch.subject = well.subject"""
REMEMBER = """
INSERT INTO radmeter.alert_watch (rule, subject, phase, since)
SELECT * FROM unnest(%(rule)s::text[], %(subject)s::text[], %(phase)s::text[], %(since)s::timestamptz[])
ON CONFLICT (rule, subject) DO UPDATE SET phase = excluded.phase, since = excluded.since"""


@dataclass(frozen=True)
class Condition:
    """Whether it is wrong, and since when. `detail` is that of the alert, if one fires.

    `site`: of a router, so that whatever holds for the site holds for the alert.
    """

    rule: Rule
    subject: Subject
    holds: bool
    began_at: datetime
    detail: Mapping[str, object] = field(default_factory=dict)
    site: str | None = None


def phases(connection: Connection, rules: Sequence[str]) -> dict[tuple[str, Subject], State]:
    """Return the states of what is not well, by rule and subject."""
    rows = connection.execute(NOT_WELL, (list(rules),)).fetchall()
    return {(rule, Subject.parse(text)): State(phase, since) for rule, text, phase, since in rows}


def watch(look: Look, conditions: Sequence[Condition]) -> None:
    """Take a step with each condition; open and resolve alerts."""
    if not conditions:
        return
    known = phases(look.connection, sorted({each.rule.name for each in conditions}))
    news: list[New] = []
    well: list[tuple[str, str]] = []
    changed: dict[tuple[str, Subject], State] = {}
    for each in conditions:
        rule = each.rule
        before = known.get((rule.name, each.subject), State("ok", look.at))
        after, event = step(before, each.holds, look.at, rule.tolerance)
        if after != before:
            changed[rule.name, each.subject] = after
        if event == "fired":
            news.append(
                New(
                    rule=rule,
                    mail_to=look.rules.recipients(rule),
                    began_at=min(each.began_at, look.at),
                    site=each.subject.site or each.site,
                    router_id=each.subject.router_id,
                    detail=dict(each.detail),
                )
            )
        elif event == "resolved":
            well.append((rule.name, str(each.subject)))
    _note(look.connection, changed)
    opening.open_alerts(look.connection, news, look.at)
    if well:
        over = opening.resolve_subjects(look.connection, well, look.at)
        opening.unfold(look.connection, over, look.at)


def _note(connection: Connection, changed: Mapping[tuple[str, Subject], State]) -> None:
    """Write the states that are others than before. Only what is not well has a row."""
    for statement, states in (
        (FORGET, {key: state for key, state in changed.items() if state.phase == "ok"}),
        (REMEMBER, {key: state for key, state in changed.items() if state.phase != "ok"}),
    ):
        if states:
            connection.execute(
                statement.encode(),
                {
                    "rule": [rule for rule, _ in states],
                    "subject": [str(subject) for _, subject in states],
                    "phase": [state.phase for state in states.values()],
                    "since": [state.since for state in states.values()],
                },
            )
