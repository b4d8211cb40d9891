"""What people read and change: open alerts, the worst first; acknowledge, mute, unmute; the rules in force; mails."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from radmeter.alerts.rules import DEFAULTS, KINDS
from radmeter.alerts.wording import explained, headline
from radmeter.database import views
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.views import NotKnown, Row

COLUMNS = (
    "id",
    "severity",
    "state",
    "subject",
    "kind",
    "rule",
    "router_id",
    "router",
    "site",
    "username",
    "began_at",
    "fired_at",
    "resolved_at",
    "announced_at",
    "folded",
    "folded_into",
    "muted_until",
    "acked_at",
    "acked_by",
    "ack_note",
)
MUTE_COLUMNS = (
    "id",
    "rule",
    "router_id",
    "router",
    "site",
    "username",
    "until_at",
    "note",
    "created_at",
    "created_by",
)
MAIL_COLUMNS = (
    "id",
    "recipients",
    "state",
    "alerts",
    "attempts",
    "error",
    "created_at",
    "tried_at",
    "next_try_at",
    "ended_at",
)

# The jobs look each second. After so long without a look nobody watches.
MOST_LATE_SECONDS = 60.0

_LIST = f"SELECT {', '.join(COLUMNS)}, detail FROM radmeter.alert_list"
# Trouble: what nobody knows of comes first, then by severity, then what has been so for the shortest time.
_ORDER = """
ORDER BY resolved_at IS NOT NULL, resolved_at DESC, acked_at IS NOT NULL, muted_until IS NOT NULL,
         array_position(ARRAY['critical', 'warning', 'info'], severity), fired_at DESC, id DESC"""
OPEN = f"""{_LIST}
WHERE (resolved_at IS NULL OR %(all)s) AND (folded_into IS NULL OR %(folded)s)
  AND (%(severity)s::text IS NULL OR severity = %(severity)s)
  AND (%(router_id)s::bigint IS NULL OR router_id = %(router_id)s)
  AND (%(site)s::text IS NULL OR site = %(site)s)
{_ORDER} LIMIT %(most)s"""
ONE = f"{_LIST} WHERE id = %(id)s"
PARTS = f"{_LIST} WHERE folded_into = %(id)s ORDER BY id LIMIT 1000"
MUTES = """
SELECT mute.id, mute.rule, mute.router_id, router.name AS router, mute.site, mute.username, mute.until_at, mute.note,
       mute.created_at, mute.created_by, router.status, router.nas_identifier
FROM radmeter.alert_mutes AS mute LEFT JOIN public.routers AS router ON router.id = mute.router_id
WHERE mute.until_at > now() OR %(all)s ORDER BY mute.until_at, mute.id"""
SITE = """
SELECT EXISTS (SELECT FROM public.routers WHERE site = %(site)s)
       OR EXISTS (SELECT FROM radmeter.alerts WHERE site = %(site)s)"""
USER = """
SELECT EXISTS (SELECT FROM public.subscribers WHERE username = %(username)s)
       OR EXISTS (SELECT FROM radmeter.alerts WHERE username = %(username)s)"""
STATE = """
SELECT ticked_at, extract(epoch FROM clock_timestamp() - ticked_at)::float8 AS late_seconds, rules_file, rules_error,
       mails, mail_error,
       (SELECT count(*) FROM radmeter.alerts WHERE resolved_at IS NULL AND folded_into IS NULL) AS open,
       (SELECT count(*) FROM radmeter.alerts
        WHERE resolved_at IS NULL AND folded_into IS NULL AND acked_at IS NULL AND severity = 'critical') AS critical,
       (SELECT count(*) FROM radmeter.alert_mail WHERE state = 'waiting') AS mails_waiting,
       (SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM radmeter.alert_mail
        WHERE state = 'waiting') AS mails_wait_seconds,
       (SELECT count(*) FROM radmeter.alert_mail WHERE state = 'dead' AND ended_at > now() - interval '1 day')
           AS mails_dead
FROM radmeter.alert_state"""
RULES = "SELECT rules FROM radmeter.alert_state"
# The number and a note; the rule, the router, the site, the user, until when, and a note; the number of a mute.
ACKNOWLEDGE = "SELECT radmeter.ack_alert(%s, %s)"
MUTE = "SELECT radmeter.mute_alerts(%s, %s, %s, %s, %s, %s)"
UNMUTE = "SELECT radmeter.unmute_alerts(%s)"
MAILS = """
SELECT mail.id, mail.recipients, mail.state,
       (SELECT count(*) FROM radmeter.alert_mail_line AS line WHERE line.mail_id = mail.id) AS alerts,
       mail.attempts, mail.error, mail.created_at, mail.tried_at,
       CASE WHEN mail.state = 'waiting' THEN mail.next_try_at END AS next_try_at, mail.ended_at
FROM radmeter.alert_mail AS mail WHERE %(state)s::text IS NULL OR mail.state = %(state)s
ORDER BY mail.id DESC LIMIT %(most)s"""


def alerts(
    connection: Connection,
    *,
    all_: bool = False,
    with_folded: bool = False,
    severity: str | None = None,
    router_id: int | None = None,
    site: str | None = None,
    most: int = 1000,
) -> list[Row]:
    """Return open alerts, the worst first.

    Parameters
    ----------
    all_
        Also those that were resolved, the latest first, after the others.
    with_folded
        Also those for which the alert of the whole site stands.
    """
    values = {
        "all": all_,
        "folded": with_folded,
        "severity": severity,
        "router_id": router_id,
        "site": site,
        "most": most,
    }
    return [_worded(row) for row in views.rows(connection, OPEN, values)]


def alert(connection: Connection, alert_id: int) -> Row:
    """Return an alert, with those that are folded into it as ``parts``.

    Raises
    ------
    NotKnown
        There is none with this id.
    """
    rows = views.rows(connection, ONE, {"id": alert_id})
    if not rows:
        raise NotKnown(f"there is no alert {alert_id}: `radmeter alerts list --all` shows them")
    parts = [_worded(row) for row in views.rows(connection, PARTS, {"id": alert_id})]
    return {**_worded(rows[0]), "parts": parts}


def must_be_known(
    connection: Connection, *, rule: str | None = None, site: str | None = None, username: str | None = None
) -> None:
    """See that there is a rule, a site or a user with a name.

    Raises
    ------
    NotKnown
        There is none. A site that no router has any more is known as long as it has alerts.
    """
    if rule is not None:
        # Before the first look, those that are built in.
        names = [each["name"] for each in rules(connection)] or [each.name for each in DEFAULTS.rules]
        if rule not in names:
            raise NotKnown(f"there is no rule {rule!r}: `radmeter alerts rules` lists them")
    with explained_errors("radmeter_reader"):
        if site is not None and connection.execute(SITE, {"site": site}).fetchone() != (True,):
            raise NotKnown(
                f"no router has the site {site!r}: `radmeter routers list --wide` shows the sites, "
                "and `radmeter routers set --site` gives one"
            )
        if username is not None and connection.execute(USER, {"username": username}).fetchone() != (True,):
            raise NotKnown(
                f"there is no user {username!r} with a quota or an alert: `radmeter users list` lists users"
            )


def mutes(connection: Connection, *, all_: bool = False) -> list[Row]:
    """Return the mutes in force, or all that there were."""
    return views.rows(connection, MUTES, {"all": all_})


def state(connection: Connection) -> Row:
    """Return when the jobs looked last, which rules they have, and whether mails can be sent."""
    (row,) = views.rows(connection, STATE)
    return row


def rules(connection: Connection) -> list[dict[str, Any]]:
    """Return the rules by which the jobs look.

    Jobs of another version of radmeter may have written them: with a kind that is not known here, or without a field.
    """
    ((found,),) = connection.execute(RULES).fetchall()
    order = {kind: at for at, kind in enumerate(KINDS)}
    return sorted(found, key=lambda rule: order.get(rule["kind"], len(order)))


def mails(connection: Connection, most: int = 100, *, state: str | None = None) -> list[Row]:
    """Return the latest mails, all or those in a state."""
    return views.rows(connection, MAILS, {"most": most, "state": state})


def retry_mails(connection: Connection, ids: Sequence[int] | None) -> tuple[list[int], list[int]]:
    """Send dead mails again; None: all. Return those that will be sent, and the ids that no mail has."""
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT radmeter.retry_mails(%s::bigint[])", (ids,)).fetchone()
        assert row is not None
        rows = connection.execute("SELECT id FROM radmeter.alert_mail WHERE id = ANY (%s)", (ids or [],))
        return list(row[0]), sorted({*(ids or ())} - {each[0] for each in rows})


def acknowledge(connection: Connection, alert_id: int, note: str | None) -> None:
    """Note that somebody knows of an alert.

    Raises
    ------
    StoreError
        There is none, or it was resolved.
    """
    with explained_errors("radmeter_noc"):
        connection.execute(ACKNOWLEDGE, (alert_id, note))


def mute(
    connection: Connection,
    until: datetime,
    *,
    rule: str | None = None,
    router_id: int | None = None,
    site: str | None = None,
    username: str | None = None,
    note: str | None = None,
) -> int:
    """Tell nobody of some alerts until a time; None stands for any. Return the id of the mute.

    Raises
    ------
    StoreError
        Nothing is named, or the time is over or too far ahead.
    """
    with explained_errors("radmeter_noc"):
        row = connection.execute(MUTE, (rule, router_id, site, username, until, note)).fetchone()
    assert row is not None
    return int(row[0])


def unmute(connection: Connection, mute_id: int) -> None:
    """End a mute. Raises StoreError if there is none in force."""
    with explained_errors("radmeter_noc"):
        connection.execute(UNMUTE, (mute_id,))


def _worded(row: Row) -> Row:
    return {**row, "headline": headline(row), "explanation": explained(row) or None}
