"""What happens when the rules are others than before."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

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
    """Return what changes with whatever `put_in_force` writes down: the rules, whom they tell, and the file."""
    return hashlib.sha256(json.dumps(_written(rules)).encode()).hexdigest()


def put_in_force(look: Look) -> None:
    """End the alerts of rules that are no more, and write down the rules that hold from now on.

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
    written = _written(look.rules)
    look.connection.execute(SAVE, {**written, "rules": json.dumps(written["rules"])})


def _written(rules: Rules) -> dict[str, object]:
    return {
        "rules": [shown(each, rules) for each in rules.rules],
        "file": None if rules.file is None else str(rules.file),
        "mails": rules.mail is not None,
    }


def shown(rule: Rule, rules: Rules) -> dict[str, object]:
    """Return a rule as `radmeter alerts rules` and the page show it."""
    values = {**asdict(rule), "mail": rules.recipients(rule)}
    # Lists, as they come back from the database.
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def restored(rows: Sequence[Mapping[str, object]]) -> Rules:
    """Return the rules that `put_in_force` wrote down, for jobs that cannot read their file.

    Whom they tell is known, by which mail server is not. What another version of radmeter has written besides is left
    out.
    """
    names = {each.name for each in fields(Rule)}
    rules = [
        Rule(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in row.items()
                if name in names
            }  # type: ignore[arg-type] # as `shown` wrote them
        )
        for row in rows
    ]
    return Rules(rules=tuple(rules), restored=True)
