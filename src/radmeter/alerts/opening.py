"""radmeter.alerts: open, fold, release and resolve alerts, and announce them. In sets; each message exactly once.

An announcement is a row for each endpoint of a webhook, and a line of a mail, in the transaction of the change.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from radmeter.alerts.rules import Rule, Rules
from radmeter.database.connection import Connection, explained_errors

# Announced in one tick; the others in the next.
MOST_ANNOUNCED = 2_000
# Lines of one mail; the others are counted.
MOST_LINES = 200
# Routers that the alert of a site names; the others are counted.
MOST_NAMES = 5

OPEN = """
INSERT INTO radmeter.alerts (rule, kind, severity, router_id, site, username, began_at, fired_at, detail, webhooks,
                             mail_to, hold_until, hold_for, folded_into, notice_id)
SELECT rule, kind, severity, router_id, site, username, began_at, %(at)s, detail::jsonb, webhooks,
       ARRAY(SELECT jsonb_array_elements_text(mail_to::jsonb)), hold_until,
       CASE WHEN hold_until IS NOT NULL THEN 'site' END, folded_into, notice_id
FROM unnest(%(rule)s::text[], %(kind)s::text[], %(severity)s::text[], %(router_id)s::bigint[], %(site)s::text[],
            %(username)s::text[], %(began_at)s::timestamptz[], %(detail)s::text[], %(webhooks)s::boolean[],
            %(mail_to)s::text[], %(hold_until)s::timestamptz[], %(folded_into)s::bigint[], %(notice_id)s::bigint[])
    AS new (rule, kind, severity, router_id, site, username, began_at, detail, webhooks, mail_to, hold_until,
            folded_into, notice_id)
ON CONFLICT DO NOTHING
RETURNING id"""
# A resolution is announced if the alert was: whoever was told that it fires is told that it is over, muted or not.
RESOLVE_ROUTERS = """
UPDATE radmeter.alerts SET resolved_at = %(at)s, hold_until = NULL
WHERE kind = %(kind)s AND router_id = ANY (%(ids)s) AND resolved_at IS NULL
RETURNING id, announced_at IS NOT NULL"""
RESOLVE_SUBJECTS = """
UPDATE radmeter.alerts AS alert SET resolved_at = %(at)s, hold_until = NULL
FROM unnest(%(rules)s::text[], %(subjects)s::text[]) AS well (rule, subject)
WHERE alert.resolved_at IS NULL AND alert.rule = well.rule
  AND radmeter.alert_subject(alert.router_id, alert.site) = well.subject
RETURNING alert.id, alert.announced_at IS NOT NULL"""
RESOLVE_IDS = """
UPDATE radmeter.alerts SET resolved_at = %(at)s, hold_until = NULL
WHERE id = ANY (%(ids)s) AND resolved_at IS NULL RETURNING id, announced_at IS NOT NULL"""
FOLD = """
UPDATE radmeter.alerts AS alert SET folded_into = site.id, hold_until = NULL
FROM radmeter.alerts AS site
WHERE site.kind = 'site_down' AND site.resolved_at IS NULL AND site.site = ANY (%(sites)s)
  AND alert.kind = 'router_silent' AND alert.resolved_at IS NULL AND alert.router_id IS NOT NULL
  AND alert.site = site.site AND alert.folded_into IS NULL"""
# With the names of the first few: a message about a site says of which routers, and stays short with a thousand.
COUNT_FOLDED = """
UPDATE radmeter.alerts AS site
SET detail = site.detail || jsonb_build_object('routers', parts.count, 'router_names', parts.names)
FROM (SELECT alert.folded_into, count(*), (array_agg(router.name ORDER BY router.name))[1:%(most)s] AS names
      FROM radmeter.alerts AS alert JOIN public.routers AS router ON router.id = alert.router_id
      WHERE alert.folded_into = ANY (
          SELECT id FROM radmeter.alerts WHERE kind = 'site_down' AND resolved_at IS NULL AND site = ANY (%(sites)s))
      GROUP BY alert.folded_into) AS parts
WHERE site.id = parts.folded_into AND site.announced_at IS NULL"""
# Each router that is still silent has its own interims again before it is announced alone.
UNFOLD = """
UPDATE radmeter.alerts AS alert SET folded_into = NULL,
    hold_for = CASE WHEN alert.announced_at IS NULL THEN 'return' END,
    hold_until = CASE WHEN alert.announced_at IS NULL
                      THEN %(at)s + interval '1 second'
                           * coalesce((alert.detail ->> 'silent_after_seconds')::float8, 0) END
FROM radmeter.alerts AS site
WHERE alert.folded_into = site.id AND site.id = ANY (%(ids)s) AND alert.resolved_at IS NULL"""
HOLD = """
UPDATE radmeter.alerts AS alert SET hold_until = new.until
FROM unnest(%(sites)s::text[], %(until)s::timestamptz[]) AS new (site, until)
WHERE alert.kind = 'router_silent' AND alert.resolved_at IS NULL AND alert.announced_at IS NULL
  AND alert.folded_into IS NULL AND alert.site = new.site AND alert.hold_for = 'site'
  AND alert.hold_until IS DISTINCT FROM new.until"""
OPEN_SITES = """
SELECT id, rule, site FROM radmeter.alerts
WHERE kind = 'site_down' AND resolved_at IS NULL AND site = ANY (%(sites)s)"""
# A router that is silent again, within the time after which it would have been well. If nobody was told of the silence
# before, the alert is of this one alone.
SILENT_AGAIN = """
UPDATE radmeter.alerts AS alert SET
    began_at = CASE WHEN alert.announced_at IS NULL THEN coalesce(new.heard_at::timestamptz, alert.began_at)
                    ELSE alert.began_at END,
    fired_at = CASE WHEN alert.announced_at IS NULL THEN %(at)s ELSE alert.fired_at END,
    detail = alert.detail || jsonb_build_object('heard_at', new.heard_at),
    hold_for = CASE WHEN alert.announced_at IS NULL AND alert.folded_into IS NULL THEN 'site' END,
    hold_until = CASE WHEN alert.announced_at IS NULL AND alert.folded_into IS NULL THEN new.hold_until END
FROM unnest(%(router_id)s::bigint[], %(heard_at)s::text[], %(hold_until)s::timestamptz[])
    AS new (router_id, heard_at, hold_until)
WHERE alert.kind = 'router_silent' AND alert.resolved_at IS NULL AND alert.router_id = new.router_id"""
# What is well again, but not for long enough, waits: it may be over before anybody is told. So does a silent router
# that was heard once and is not late since: its second packet may be the next.
# An array, so that its rows are found by their ids. As a join, with 50,000 open alerts, the table was read in whole for
# each, which took 2 s. The mutes in force are read once: there are few, and there may be 100,000 alerts.
TO_ANNOUNCE = """
UPDATE radmeter.alerts AS alert SET announced_at = %(at)s, hold_until = NULL
WHERE alert.id = ANY (ARRAY(
    WITH mute AS MATERIALIZED (
        SELECT rule, router_id, site, username FROM radmeter.alert_mutes
        WHERE until_at > %(at)s AND created_at <= %(at)s
    )
    SELECT id FROM radmeter.alerts AS open
    WHERE announced_at IS NULL AND resolved_at IS NULL AND folded_into IS NULL AND acked_at IS NULL
      AND coalesce(hold_until, '-infinity'::timestamptz) <= %(at)s
      AND (webhooks OR mail_to <> '{}')
      AND NOT EXISTS (SELECT FROM mute WHERE radmeter.is_muted(
          mute.rule, mute.router_id, mute.site, mute.username, open.rule, open.router_id, open.site, open.username))
      AND NOT EXISTS (SELECT FROM radmeter.router_watch AS watch
                      WHERE open.kind = 'router_silent' AND watch.router_id = open.router_id
                        AND (watch.phase = 'clearing' OR watch.arrivals > 0))
      AND NOT EXISTS (SELECT FROM radmeter.alert_watch AS watch
                      WHERE watch.rule = open.rule AND watch.phase = 'clearing'
                        AND watch.subject = radmeter.alert_subject(open.router_id, open.site))
    ORDER BY id LIMIT %(most)s))
RETURNING alert.id"""
MESSAGES = """
SELECT alert.id, alert.username, alert.webhooks, alert.mail_to,
       jsonb_strip_nulls(jsonb_build_object(
           'alert', alert.id, 'rule', alert.rule, 'kind', alert.kind, 'severity', alert.severity,
           'router_id', alert.router_id, 'router', router.name, 'site', alert.site, 'username', alert.username,
           'began_at', alert.began_at, 'fired_at', alert.fired_at, 'resolved_at', alert.resolved_at,
           'detail', alert.detail))
FROM radmeter.alerts AS alert LEFT JOIN public.routers AS router ON router.id = alert.router_id
WHERE alert.id = ANY (%s) ORDER BY alert.id"""
QUEUE = """
SELECT radmeter.queue_deliveries(%(types)s, %(subjects)s, %(times)s, %(data)s::jsonb[])
WHERE EXISTS (SELECT FROM radmeter.webhook WHERE retired_at IS NULL AND switched_off_at IS NULL)"""
LINES = """
INSERT INTO radmeter.alert_mail_line (alert_id, type, recipients, at)
SELECT id, %(type)s, mail_to, %(at)s FROM radmeter.alerts
WHERE id = ANY (%(ids)s) AND mail_to <> '{}' ORDER BY id"""
# Those of a mail are fixed: an attempt that is repeated says the same. A mail at once, and then one in `every` seconds.
MAILS = """
WITH waiting AS MATERIALIZED (
    SELECT line.recipients FROM radmeter.alert_mail_line AS line WHERE line.mail_id IS NULL GROUP BY line.recipients
), ready AS MATERIALIZED (
    SELECT waiting.recipients FROM waiting
    WHERE NOT EXISTS (SELECT FROM radmeter.alert_mail AS mail
                      WHERE mail.recipients = waiting.recipients AND mail.created_at <= %(at)s
                        AND mail.created_at > %(at)s - %(every)s * interval '1 second')
), mail AS (
    INSERT INTO radmeter.alert_mail (recipients, created_at) SELECT recipients, %(at)s FROM ready
    RETURNING id, recipients
)
UPDATE radmeter.alert_mail_line AS line SET mail_id = mail.id
FROM mail WHERE line.recipients = mail.recipients AND line.mail_id IS NULL"""

# If there is a mail server again some day, nobody wants to hear of what was then.
DROP_LINES = "DELETE FROM radmeter.alert_mail_line WHERE mail_id IS NULL"


@dataclass(frozen=True, kw_only=True)
class New:
    """An alert that fires. `folded_into`: the alert of its site, which is open already."""

    rule: Rule
    mail_to: Sequence[str]
    began_at: datetime
    router_id: int | None = None
    site: str | None = None
    username: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    hold_until: datetime | None = None
    folded_into: int | None = None
    notice_id: int | None = None


def open_alerts(connection: Connection, alerts: Sequence[New], at: datetime) -> list[int]:
    """Open alerts; return their ids. One that is open already stays as it is."""
    if not alerts:
        return []
    values: dict[str, Any] = {
        "at": at,
        "rule": [each.rule.name for each in alerts],
        "kind": [each.rule.kind for each in alerts],
        "severity": [each.rule.severity for each in alerts],
        "webhooks": [each.rule.webhooks for each in alerts],
        "mail_to": [json.dumps(list(each.mail_to)) for each in alerts],
        "detail": [json.dumps(each.detail) for each in alerts],
    }
    for name in ("router_id", "site", "username", "began_at", "hold_until", "folded_into", "notice_id"):
        values[name] = [getattr(each, name) for each in alerts]
    with explained_errors("radmeter_owner"):
        return [row[0] for row in connection.execute(OPEN.encode(), values)]


def resolve_routers(connection: Connection, kind: str, ids: Sequence[int], at: datetime) -> None:
    """Resolve the alerts of a kind of some routers, and announce that."""
    if ids:
        _resolved(connection, RESOLVE_ROUTERS, {"kind": kind, "ids": list(ids)}, at)


def resolve_subjects(connection: Connection, subjects: Iterable[tuple[str, str]], at: datetime) -> list[int]:
    """Resolve the alerts of some rules and subjects (``site:Hotel A``), announce that, and return their ids."""
    pairs = list(subjects)
    return _resolved(
        connection,
        RESOLVE_SUBJECTS,
        {"rules": [rule for rule, _ in pairs], "subjects": [subject for _, subject in pairs]},
        at,
    )


def resolve(connection: Connection, ids: Sequence[int], at: datetime) -> None:
    """Resolve alerts, and announce that."""
    if ids:
        _resolved(connection, RESOLVE_IDS, {"ids": list(ids)}, at)


def _resolved(connection: Connection, statement: str, values: dict[str, Any], at: datetime) -> list[int]:
    with explained_errors("radmeter_owner"):
        rows = connection.execute(statement.encode(), {**values, "at": at}).fetchall()
    _tell(connection, [row[0] for row in rows if row[1]], "resolved", at)
    return [row[0] for row in rows]


def fold(connection: Connection, sites: Sequence[str]) -> None:
    """Let the alert of each site stand for those of its routers."""
    if sites:
        with explained_errors("radmeter_owner"):
            connection.execute(FOLD.encode(), {"sites": list(sites)})
            connection.execute(COUNT_FOLDED.encode(), {"sites": list(sites), "most": MOST_NAMES})


def unfold(connection: Connection, ids: Sequence[int], at: datetime) -> None:
    """Let the alerts of routers be their own again: the site is back, and they are not."""
    if ids:
        with explained_errors("radmeter_owner"):
            connection.execute(UNFOLD.encode(), {"ids": list(ids), "at": at})


def hold(connection: Connection, sites: dict[str, datetime | None]) -> None:
    """Set until when alerts of routers wait for their site. None: they wait no more."""
    if sites:
        with explained_errors("radmeter_owner"):
            connection.execute(HOLD.encode(), {"sites": list(sites), "until": list(sites.values())})


def silent_again(
    connection: Connection, routers: Sequence[tuple[int, datetime | None, datetime | None]], at: datetime
) -> None:
    """Say in the alerts of routers when they were heard last, and until when each waits for its site."""
    if routers:
        with explained_errors("radmeter_owner"):
            connection.execute(
                SILENT_AGAIN.encode(),
                {
                    "at": at,
                    "router_id": [each[0] for each in routers],
                    "heard_at": [each[1] and each[1].isoformat() for each in routers],
                    "hold_until": [each[2] for each in routers],
                },
            )


def open_sites(connection: Connection, sites: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return the alerts of sites that are open, with their rules, by the site."""
    if not sites:
        return {}
    with explained_errors("radmeter_owner"):
        rows = connection.execute(OPEN_SITES.encode(), {"sites": list(sites)})
        return {site: (alert, rule) for alert, rule, site in rows}


def announce(connection: Connection, at: datetime) -> int:
    """Announce what fires and was not announced, is neither folded nor held nor muted; return how many."""
    with explained_errors("radmeter_owner"):
        rows = connection.execute(TO_ANNOUNCE.encode(), {"at": at, "most": MOST_ANNOUNCED}).fetchall()
    _tell(connection, [row[0] for row in rows], "firing", at)
    return len(rows)


def make_mails(connection: Connection, rules: Rules, at: datetime) -> None:
    """Make the mails whose time has come, of what was announced. Without a mail server nothing waits for one."""
    if rules.restored:
        return
    with explained_errors("radmeter_owner"):
        if rules.mail is None:
            connection.execute(DROP_LINES)
        else:
            connection.execute(MAILS.encode(), {"at": at, "every": rules.mail.every_seconds})


def _tell(connection: Connection, ids: Sequence[int], type_: str, at: datetime) -> None:
    if not ids:
        return
    with explained_errors("radmeter_owner"):
        rows = connection.execute(MESSAGES.encode(), (list(ids),)).fetchall()
        told = [row for row in rows if row[2]]
        if told:
            connection.execute(
                QUEUE.encode(),
                {
                    "types": [f"alert.{type_}"] * len(told),
                    "subjects": [row[1] for row in told],
                    "times": [at] * len(told),
                    "data": [json.dumps(row[4]) for row in told],
                },
            )
        connection.execute(LINES.encode(), {"type": type_, "ids": list(ids), "at": at})
