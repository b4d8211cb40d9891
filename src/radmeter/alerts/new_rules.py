"""What happens when the rules are others than before."""

import hashlib
import json
from dataclasses import asdict

from radmeter.alerts import opening
from radmeter.alerts.look import Look
from radmeter.alerts.rules import SILENT, SITE, Rule, Rules

FORGET = "DELETE FROM radmeter.alert_watch WHERE rule <> ALL (%s)"
# Of rules that are no more, or that are of another kind now. Those of routers are looked at anew by their routers.
STRANDED = """
SELECT alert.id, alert.kind FROM radmeter.alerts AS alert
LEFT JOIN unnest(%(names)s::text[], %(kinds)s::text[]) AS rule (name, kind)
    ON rule.name = alert.rule AND rule.kind = alert.kind
WHERE alert.resolved_at IS NULL AND rule.name IS NULL"""
# A router whose alert was of another rule fires anew by the rule that it has now.
FIRE_ANEW = """
UPDATE radmeter.router_watch AS watch SET phase = 'idle', since = %(at)s
FROM radmeter.alerts AS alert
WHERE alert.id = ANY (%(ids)s) AND alert.kind = %(kind)s AND watch.router_id = alert.router_id"""
SAVE = "UPDATE radmeter.alert_state SET rules = %(rules)s::jsonb, rules_file = %(file)s, mails = %(mails)s"


def digest_of(rules: Rules) -> str:
    """Return what changes with the rules."""
    return hashlib.sha256(json.dumps([asdict(each) for each in rules.rules]).encode()).hexdigest()


def adopt(look: Look) -> None:
    """End the alerts of rules that are no more, and write down the rules in force.

    The routers are reviewed by the next looks.
    """
    rules = look.rules.rules
    look.connection.execute(FORGET, ([each.name for each in rules],))
    stranded = look.connection.execute(
        STRANDED, {"names": [each.name for each in rules], "kinds": [each.kind for each in rules]}
    ).fetchall()
    ids = [alert for alert, _ in stranded]
    opening.unfold(look.connection, [alert for alert, kind in stranded if kind == SITE], look.at)
    opening.resolve(look.connection, ids, look.at)
    look.connection.execute(FIRE_ANEW, {"at": look.at, "ids": ids, "kind": SILENT})
    look.connection.execute(
        SAVE,
        {
            "rules": json.dumps([shown(each, look.rules) for each in rules]),
            "file": None if look.rules.file is None else str(look.rules.file),
            "mails": look.rules.mail is not None,
        },
    )


def shown(rule: Rule, rules: Rules) -> dict[str, object]:
    """Return a rule as `radmeter alerts rules` and the page show it."""
    values = {**asdict(rule), "mail": rules.recipients(rule)}
    # Lists, as they come back from the database.
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
