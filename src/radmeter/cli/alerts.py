"""`radmeter alerts`: what is wrong, who knows of it, of what nobody is told, and by which rules."""

import datetime
import uuid
from pathlib import Path
from typing import Any

import click

from radmeter import output, waits
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    emit,
    emit_json,
    emit_one,
    existing_database,
    format_option,
    list_options,
    named_routers,
    plain,
    reading_database,
    utc_option,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.router_coa import WHICH
from radmeter.cli.since import SPAN, UNITS
from radmeter.config import Settings
from radmeter.errors import ConfigurationError, RadmeterError
from radmeter.units import counted

SHORT = ("id", "severity", "state", "subject", "rule", "fired_at", "acked_by", "muted_until")
DETAILS = ("headline", "explanation")
SHORT_MUTES = ("id", "rule", "router", "site", "username", "until_at", "note")
RULE_COLUMNS = (
    "name",
    "kind",
    "severity",
    "sites",
    "routers",
    "discovered",
    "fire_seconds",
    "resolve_seconds",
    "webhooks",
    "mail",
    "interims",
    "factor",
    "floor_bytes",
    "thresholds",
    "seconds",
)
SHORT_RULES = ("name", "kind", "severity", "sites", "routers", "webhooks", "mail")
MAIL_STATES = ("waiting", "done", "dead", "dropped")
NUMBER = click.IntRange(1, 2**63 - 1)


class Until(click.types.StringParamType):
    """A time, or a span from now."""

    name = "until"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an aware datetime. A time without an offset is in the machine's local time."""
        if isinstance(value, datetime.datetime):
            return value
        try:
            if match := SPAN.fullmatch(value):
                span = datetime.timedelta(**{UNITS[match[2]]: int(match[1])})
                return datetime.datetime.now(datetime.UTC) + span
            return datetime.datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a time (2026-11-20T10:00+01:00) nor a span (30m, 12h, 7d)")


@group(epilog="Example: radmeter alerts list")
def alerts() -> None:
    """Show what is wrong: silent routers, sites that are down, unusual traffic. Acknowledge and mute it.

    Routers that nobody has claimed are not watched, unless a rule says `discovered = true`.
    """


@alerts.command(
    "list",
    epilog="""\b
Examples:
  radmeter alerts list
  radmeter alerts list --all --site 'Hotel Adler' --format json
""",
)
@click.option("--all", "all_", is_flag=True, help="Also those that were resolved.")
@click.option("--folded", is_flag=True, help="Also those of routers whose whole site is down.")
@click.option("--severity", type=click.Choice(["info", "warning", "critical"]), help="Only these.")
@click.option("--site", type=TEXT, help="Only those of this site and its routers.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="At most so many."
)
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_alerts(
    settings: Settings,
    all_: bool,
    folded: bool,
    severity: str | None,
    site: str | None,
    limit: int,
    output_format: str,
) -> None:
    """List open alerts, the worst first: what nobody has acknowledged, then by severity.

    \b
    firing    it is wrong
    clearing  it is well again, but not for long enough
    resolved  it is over
    """
    from radmeter.alerts import store
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        store.must_be_known(connection, site=site)
        rows = store.alerts(
            connection, all_=all_, with_folded=folded, severity=severity, site=site, most=limit
        )
        state = store.state(connection)
        rows = named_routers(connection, rows, output_format)
    if rows or output_format != "table":
        emit(rows, output_format, columns=(*store.COLUMNS, *DETAILS), short=SHORT)
    else:
        output.say("There is no such alert." if all_ or severity or site else "No alert is open.", err=True)
    if state["ticked_at"] is None or state["late_seconds"] > store.MOST_LATE_SECONDS:
        output.say("nobody watches: `radmeter jobs run` does it, in one process at a time", err=True)


@alerts.command("show", epilog="Example: radmeter alerts show 12")
@click.argument("alert", type=NUMBER)
@utc_option
@format_option
@with_settings("state", "dsn", "read_dsn")
def show(settings: Settings, alert: int, output_format: str) -> None:
    """Show all about the alert ALERT, and the alerts of routers for which it stands."""
    from radmeter.alerts import store
    from radmeter.database.views import reading

    columns = (*store.COLUMNS, *DETAILS)
    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        row = store.alert(connection, alert)
        (row,) = named_routers(connection, [row], output_format)
    if output_format == "json":
        parts = [{name: plain(each[name]) for name in columns} for each in row["parts"]]
        emit_json({**{name: plain(row[name]) for name in columns}, "detail": row["detail"], "parts": parts})
        return
    emit_one(row, output_format, columns=columns)
    if output_format == "table" and row["parts"]:
        output.say()
        emit(row["parts"], output_format, columns=SHORT)


@alerts.command("ack", epilog="Example: radmeter alerts ack 12 13 --note 'power cut, ticket 812'")
@click.argument("ids", nargs=-1, type=NUMBER, metavar="ID...", required=True)
@click.option("--note", type=TEXT, help="What is done about it.")
@with_settings("state", "dsn")
def ack(settings: Settings, ids: tuple[int, ...], note: str | None) -> None:
    """Note that you know of alerts. They stay open until they are resolved.

    All or none are acknowledged. The database role needs radmeter_noc.
    """
    from radmeter.alerts import store
    from radmeter.database.operator import connect_as_operator

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection, connection.transaction():
        for each in dict.fromkeys(ids):
            store.acknowledge(connection, each, note)
    for each in dict.fromkeys(ids):
        output.say(f"alert {each} is acknowledged")


@alerts.command(
    "mute",
    epilog="""\b
Examples:
  radmeter alerts mute --site 'Hotel Adler' --until 4h --note 'new cabling'
  radmeter alerts mute --rule traffic-spike --router lobby --until 7d
""",
)
@click.option("--rule", type=TEXT, help="Only alerts of this rule.")
@click.option("--router", metavar=WHICH, type=TEXT, help="Only alerts of this router.")
@click.option("--site", type=TEXT, help="Only alerts of this site and its routers.")
@click.option("--user", type=TEXT, help="Only alerts of this user.")
@click.option(
    "--until",
    type=Until(),
    required=True,
    metavar="TIME|SPAN",
    help="Until when, such as 4h or 2026-11-20T18:00.",
)
@click.option("--note", type=TEXT, help="Why.")
@with_settings("state", "dsn")
def mute(
    settings: Settings,
    rule: str | None,
    router: str | None,
    site: str | None,
    user: str | None,
    until: datetime.datetime,
    note: str | None,
) -> None:
    """Tell nobody of some alerts until a time. They are listed all the same.

    What is still open then is announced. If an alert was announced before, its end is announced, too. The database role
    needs radmeter_noc.
    """
    from radmeter.alerts import store
    from radmeter.database.operator import connect_as_operator
    from radmeter.database.views import reading
    from radmeter.routers.lookup import find_router

    if rule is None and router is None and site is None and user is None:
        raise click.UsageError("give at least one of --rule, --router, --site and --user")
    with existing_database(settings) as dsn:
        with reading(dsn) as reader:
            times.use_zone(reader)
            router_id = None if router is None else find_router(reader, router).id
            store.must_be_known(reader, rule=rule, site=site, username=user)
        with connect_as_operator(dsn) as connection:
            mute_id = store.mute(
                connection, until, rule=rule, router_id=router_id, site=site, username=user, note=note
            )
    output.say(f"mute {mute_id}: nobody is told until {times.shown(until)}")


@alerts.command("unmute", epilog="Example: radmeter alerts unmute 3")
@click.argument("mute", type=NUMBER)
@with_settings("state", "dsn")
def unmute(settings: Settings, mute: int) -> None:
    """End the mute MUTE now. The database role needs radmeter_noc."""
    from radmeter.alerts import store
    from radmeter.database.operator import connect_as_operator

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        store.unmute(connection, mute)
    output.say(f"mute {mute} is over")


@alerts.command("mutes", epilog="Example: radmeter alerts mutes --all")
@click.option("--all", "all_", is_flag=True, help="Also those that are over.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def mutes(settings: Settings, all_: bool, output_format: str) -> None:
    """List the mutes in force."""
    from radmeter.alerts import store
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows = named_routers(connection, store.mutes(connection, all_=all_), output_format)
    emit(rows, output_format, columns=store.MUTE_COLUMNS, short=SHORT_MUTES)


@alerts.command(
    "mails",
    epilog="""\b
Examples:
  radmeter alerts mails --only dead
  radmeter alerts mails --format json
""",
)
@click.option("--only", type=click.Choice(MAIL_STATES), help="Only those in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="At most so many."
)
@list_options
@with_settings("state", "dsn", "read_dsn")
def mails(settings: Settings, only: str | None, limit: int, output_format: str) -> None:
    """List e-mails about alerts, the latest first, and why one could not be sent.

    \b
    waiting  not tried yet, or to be tried again at next_try_at
    done     the mail server took it
    dead     given up after two days; `radmeter alerts retry` sends it again
    """
    from radmeter.alerts import store
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows = store.mails(connection, limit, state=only)
    rows = [{**row, "recipients": ",".join(row["recipients"])} for row in rows]
    emit(
        rows,
        output_format,
        columns=store.MAIL_COLUMNS,
        short=("id", "recipients", "state", "alerts", "attempts", "error", "created_at"),
    )


@alerts.command("retry", epilog="Example: radmeter alerts retry 12 13")
@click.argument("ids", nargs=-1, type=NUMBER, metavar="[ID]...")
@click.option("--all", "all_", is_flag=True, help="All that are dead.")
@with_settings("state", "dsn")
def retry(settings: Settings, ids: tuple[int, ...], all_: bool) -> None:
    """Send dead e-mails again, with the same Message-ID. The database role needs radmeter_noc.

    `radmeter webhooks queue retry` does so for webhooks.
    """
    from radmeter.alerts import store
    from radmeter.database.operator import connect_as_operator

    if bool(ids) == all_:
        raise click.UsageError("name mails by their ids, or give --all")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        retried, missing = store.retry_mails(connection, None if all_ else list(ids))
    if retried or all_:
        output.say(f"{counted(len(retried), 'mail')} will be sent again")
    if missing:
        listed = ", ".join(map(str, missing))
        raise RadmeterError(f"there is no mail {listed}: `radmeter alerts mails` shows them")
    if left := sorted({*ids} - {*retried}):
        raise RadmeterError(f"not {', '.join(map(str, left))}: only a dead mail is sent again")


@alerts.command("rules", epilog="Example: radmeter alerts rules --format json")
@list_options
@with_settings("state", "dsn", "read_dsn")
def rules(settings: Settings, output_format: str) -> None:
    """List the rules by which the jobs watch now. `radmeter alerts check` reads a file of rules."""
    from radmeter.alerts import store
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        found = store.rules(connection)
        state = store.state(connection)
    _emit_rules(found, output_format)
    if state["rules_error"]:
        output.say(
            f"the file cannot be used, and the rules before stay in force: {state['rules_error']}", err=True
        )


@alerts.command("check", epilog="Example: radmeter alerts check /etc/radmeter/alerts.toml")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@list_options
@with_settings("alerts_file")
def check(settings: Settings, file: Path | None, output_format: str) -> None:
    """Read a file of rules, and list what it says.

    Without FILE: that of the setting alerts_file, or what is built in.
    """
    from radmeter.alerts import rules_file
    from radmeter.alerts.new_rules import shown

    found = rules_file.read(file.absolute() if file is not None else settings.alerts_file)
    _emit_rules([shown(each, found) for each in found.rules], output_format)


@alerts.command("test", epilog="Example: radmeter alerts test --to noc@example.org")
@click.option("--to", type=TEXT, help="To this address.  [default: that of the table mail]")
@with_settings("alerts_file")
def test(settings: Settings, to: str | None) -> None:
    """Send a test e-mail by the mail server of the rules, from here, and say whether it was taken.

    `radmeter webhooks test` does so for an endpoint.
    """
    from radmeter.alerts import mail, rules_file

    found = rules_file.read(settings.alerts_file)
    if found.mail is None:
        if settings.alerts_file is None:
            raise ConfigurationError(
                "no file of rules names a mail server: copy deploy/alerts.toml to /etc/radmeter/alerts.toml, write its "
                "table [mail], and name the file with the setting alerts_file"
            )
        raise ConfigurationError(f"{settings.alerts_file} names no mail server: write a table [mail]")
    recipients = [to] if to else list(found.mail.to)
    message = mail.compose(found.mail, recipients, uuid.uuid4(), datetime.datetime.now(datetime.UTC), [])
    message.set_content("This is a test of radmeter.\n")
    with waits.waiting_for("the mail server"):
        try:
            refused = mail.send(found.mail, message, recipients)
        except mail.NotSent as error:
            raise mail.NotSent(
                f"{error}. See host, port, tls and user in the table [mail] of {settings.alerts_file}"
            ) from None
    if refused:
        raise mail.NotSent(f"{found.mail.host} took it, but not for {refused}")
    output.say(f"{found.mail.host} port {found.mail.port} took it for {', '.join(recipients)}")


def _emit_rules(rows: list[dict[str, Any]], output_format: str) -> None:
    rows = [{name: row.get(name) for name in RULE_COLUMNS} for row in rows]
    if output_format != "json":
        rows = [
            {
                name: ",".join(map(str, each)) if isinstance(each, list | tuple) else each
                for name, each in row.items()
            }
            for row in rows
        ]
    emit(rows, output_format, columns=RULE_COLUMNS, short=SHORT_RULES)
