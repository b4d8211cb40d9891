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
# A transaction may still commit a notice with a lower id, so those of the last minute are read again. One that has its
# alert is left out, so that they cannot fill the part that is read.
NOTICES = """
SELECT notice.id, notice.username, notice.percent, notice.period_start, notice.at, rule.name
FROM radmeter.quota_notice AS notice
JOIN unnest(%(rules)s::text[], %(percents)s::integer[]) AS rule (name, percent) ON rule.percent = notice.percent
WHERE notice.id > %(after)s AND notice.kind <> 'restored'
  AND NOT EXISTS (SELECT FROM radmeter.alerts AS alert
                  WHERE alert.rule = rule.name AND alert.notice_id = notice.id)
ORDER BY notice.id, rule.name LIMIT %(most)s"""
SETTLED = """
SELECT max(id) FROM radmeter.quota_notice
WHERE id > %(after)s AND (%(last)s::bigint IS NULL OR id < %(last)s) AND at < %(minute_ago)s"""
# A later notice of the user, another period, or a counter below the threshold: a top-up, another plan.
OVER = """
SELECT alert.id FROM radmeter.alerts AS alert LEFT JOIN radmeter.quota_account AS account USING (username)
WHERE alert.kind = 'quota' AND alert.resolved_at IS NULL
  AND (account.username IS NULL OR account.period_start > (alert.detail ->> 'period_start')::date
       OR account.percent < (alert.detail ->> 'percent')::integer
       OR EXISTS (SELECT FROM radmeter.alerts AS later
                  WHERE later.username = alert.username AND later.rule = alert.rule AND later.resolved_at IS NULL
                    AND later.notice_id > alert.notice_id))"""


def look_at_notices(look: Look, place: Place) -> tuple[Place, bool]:
    """Open an alert for each notice that is new and that a rule wants. Return also whether there are more of them."""
    rules = look.rules.of(QUOTA)
    if place.notice_id is None or not rules:
        ((latest,),) = look.connection.execute(LATEST).fetchall()
        return replace(place, notice_id=latest), False
    wanted = [(rule.name, percent) for rule in rules for percent in rule.thresholds]
    rows = look.connection.execute(
        NOTICES,
        {
            "rules": [name for name, _ in wanted],
            "percents": [percent for _, percent in wanted],
            "after": place.notice_id,
            "most": MOST_NOTICES,
        },
    ).fetchall()
    by_name = {rule.name: rule for rule in rules}
    news = [
        New(
            rule=by_name[name],
            mail_to=look.rules.recipients(by_name[name]),
            began_at=min(noticed_at, look.at),
            username=username,
            notice_id=notice_id,
            detail={"percent": percent, "period_start": period_start.isoformat()},
        )
        for notice_id, username, percent, period_start, noticed_at, name in rows
    ]
    opening.open_alerts(look.connection, news, look.at)
    more = len(rows) >= MOST_NOTICES
    ((settled,),) = look.connection.execute(
        SETTLED,
        {
            "after": place.notice_id,
            # Of the last one, another rule may be in the next part.
            "last": rows[-1][0] if more else None,
            "minute_ago": look.at - timedelta(minutes=1),
        },
    ).fetchall()
    return replace(place, notice_id=place.notice_id if settled is None else settled), more


def end_alerts(look: Look) -> None:
    """Resolve those of which the counter says otherwise now."""
    opening.resolve(look.connection, [row[0] for row in look.connection.execute(OVER)], look.at)
