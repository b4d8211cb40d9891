"""Alerts of users who have used much of their quota, from the notices of the room `quotas`."""

from dataclasses import replace
from datetime import timedelta

from radmeter.alerts import opening
from radmeter.alerts.look import Look
from radmeter.alerts.opening import New
from radmeter.alerts.place import Place
from radmeter.alerts.rules import QUOTA

# Read in one look.
MOST_NOTICES = 2_000
LATEST = "SELECT coalesce(max(id), 0) FROM radmeter.quota_notice"
NOTICES = """
SELECT id, username, kind, percent, period_start, at FROM radmeter.quota_notice
WHERE id > %s ORDER BY id LIMIT %s"""
# A later notice of the user, another period, or a counter below the threshold: a top-up, another plan.
OVER = """
SELECT alert.id FROM radmeter.alerts AS alert LEFT JOIN radmeter.quota_account AS account USING (username)
WHERE alert.kind = 'quota' AND alert.resolved_at IS NULL
  AND (account.username IS NULL OR account.period_start > (alert.detail ->> 'period_start')::date
       OR account.percent < (alert.detail ->> 'percent')::integer
       OR EXISTS (SELECT FROM radmeter.alerts AS later
                  WHERE later.username = alert.username AND later.rule = alert.rule AND later.resolved_at IS NULL
                    AND later.notice_id > alert.notice_id))"""


def look_at_notices(look: Look, place: Place) -> Place:
    """Open an alert for each notice that is new and that a rule wants."""
    rules = look.rules.of(QUOTA)
    if place.notice_id is None or not rules:
        ((latest,),) = look.connection.execute(LATEST).fetchall()
        return replace(place, notice_id=latest)
    rows = look.connection.execute(NOTICES, (place.notice_id, MOST_NOTICES)).fetchall()
    news = []
    for notice_id, username, kind, percent, period_start, noticed_at in rows:
        for rule in rules:
            if kind != "restored" and percent in rule.thresholds:
                news.append(
                    New(
                        rule=rule,
                        mail_to=look.rules.recipients(rule),
                        began_at=min(noticed_at, look.at),
                        username=username,
                        notice_id=notice_id,
                        detail={"percent": percent, "period_start": period_start.isoformat()},
                    )
                )
    opening.open_alerts(look.connection, news, look.at)
    # Another transaction may still commit a notice with a lower id. Those of the last minute are read again; one that
    # has an alert gets no second one.
    settled = [row[0] for row in rows if row[5] < look.at - timedelta(minutes=1)]
    return replace(place, notice_id=max(settled, default=place.notice_id))


def end_alerts(look: Look) -> None:
    """Resolve those of which the counter says otherwise now."""
    opening.resolve(look.connection, [row[0] for row in look.connection.execute(OVER)], look.at)
