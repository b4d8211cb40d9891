"""`radmeter users`: give plans to users, top up, suspend, import, and show what they have left."""

import datetime
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    Row,
    confirm,
    emit,
    emit_csv,
    emit_json,
    emit_one,
    existing_database,
    format_option,
    is_short,
    list_options,
    plain,
    reading_database,
    utc_option,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.months import DAY
from radmeter.cli.plan_values import readable
from radmeter.config import Settings
from radmeter.errors import ConfigurationError, RadmeterError
from radmeter.printable import printable
from radmeter.quotas.percent import percent_of
from radmeter.units import counted, verb

if TYPE_CHECKING:
    from radmeter.quotas.passwords import Stored

COLUMNS = (
    "username",
    "plan",
    "also",
    "status",
    "reason",
    "percent",
    "quota_type",
    "timezone",
    "period_start",
    "period_end",
    "period_ends_at",
    "quota_bytes",
    "used_bytes",
    "remaining_bytes",
    "used_bytes_in",
    "used_bytes_out",
    "quota_bytes_in",
    "quota_bytes_out",
    "remaining_bytes_in",
    "remaining_bytes_out",
    "quota_seconds",
    "used_seconds",
    "remaining_seconds",
    "top_up_bytes",
    "carried_bytes",
    "speed_down",
    "speed_up",
    "max_sessions",
    "session_timeout",
    "idle_timeout",
    "first_used_at",
    "expires_at",
    "suspended_at",
    "tenant",
)
SHORT = ("username", "plan", "status", "quota_bytes", "used_bytes", "remaining_bytes", "next_period")
LABELS = {
    "also": "further plans",
    "quota_type": "period",
    "period_start": "period from",
    "period_end": "next period from",
    "quota_bytes": "quota",
    "used_bytes": "used",
    "remaining_bytes": "remaining",
    "used_bytes_in": "uploaded",
    "used_bytes_out": "downloaded",
    "quota_bytes_in": "quota up",
    "quota_bytes_out": "quota down",
    "remaining_bytes_in": "remaining up",
    "remaining_bytes_out": "remaining down",
    "quota_seconds": "time",
    "used_seconds": "used time",
    "remaining_seconds": "remaining time",
    "top_up_bytes": "of that, top-ups",
    "carried_bytes": "rolled over",
}
# What a table leaves out if there is none of it.
IF_ANY = (
    "also",
    "reason",
    "quota_bytes_in",
    "quota_bytes_out",
    "remaining_bytes_in",
    "remaining_bytes_out",
    "quota_seconds",
    "used_seconds",
    "remaining_seconds",
    "max_sessions",
    "session_timeout",
    "idle_timeout",
    "first_used_at",
    "expires_at",
    "suspended_at",
    "tenant",
)
TOP_UP = (
    "id",
    "bytes",
    "used_bytes",
    "remaining_bytes",
    "price",
    "added_at",
    "expires_at",
    "added_by",
    "note",
)
TOP_UP_SHORT = ("id", "bytes", "used_bytes", "remaining_bytes", "expires_at", "note")
SESSION = (
    "id",
    "router",
    "session_id",
    "started_at",
    "updated_at",
    "bytes_in",
    "bytes_out",
    "calling_station",
    "framed_ip",
)
SESSION_SHORT = ("id", "router", "started_at", "bytes_in", "bytes_out", "framed_ip")
STATUSES = ("active", "warned", "over", "throttled", "expired", "suspended")
SPANS = ("quota_seconds", "used_seconds", "remaining_seconds", "session_timeout", "idle_timeout")
BATCH_LINES = 1000
LONG_FILE_BYTES = 1 << 17
OUTCOMES = ("added", "changed", "unchanged", "refused")

_anchor = click.option(
    "--anchor",
    type=TEXT,
    metavar="DAY|today",
    help="The day of the month or week on which this user's periods begin, for plans with --anchor joined.",
)
_cleartext = click.option(
    "--cleartext",
    is_flag=True,
    help="Store the password as it is. CHAP, MS-CHAP and EAP-MD5 need that; PAP does not.",
)


def password_options(command: Any) -> Any:
    """Add the options for a password in radcheck."""
    for option in (
        _cleartext,
        click.option(
            "--password",
            type=TEXT,
            metavar="PASSWORD",
            help="The password, for the try-out only: everybody on this machine sees it in the list of processes.",
        ),
        click.option(
            "--password-file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="A file with one line, the password.",
        ),
    ):
        command = option(command)
    return command


@group(epilog="Example: radmeter users show bob")
def users() -> None:
    """Give plans to users, top up, suspend, import a list, and show what users have left.

    USER is the User-Name as the router sends it: alice, Alice and alice@example.org are three users. audit_log keeps
    the changes, without passwords.
    """


@users.command(
    "add",
    epilog="""\b
Examples:
  radmeter users add bob --plan basic --password-file bob.txt
  radmeter users add carol --plan basic --no-password
""",
)
@click.argument("user", type=TEXT)
@click.option("--plan", type=TEXT, required=True, help="The plan whose period, time zone and tiers count.")
@click.option(
    "--also", type=TEXT, multiple=True, metavar="PLAN", help="A further plan, whose quota is added."
)
@_anchor
@click.option(
    "--tenant",
    type=TEXT,
    metavar="TENANT",
    help="Whose user it is, by name or number: see `radmeter tenants`.",
)
@password_options
@click.option("--no-password", is_flag=True, help="Do not ask for one: the user authenticates elsewhere.")
@with_settings("state", "dsn")
def add(
    settings: Settings,
    user: str,
    plan: str,
    also: tuple[str, ...],
    anchor: str | None,
    tenant: str | None,
    password: str | None,
    password_file: Path | None,
    cleartext: bool,
    no_password: bool,
) -> None:
    """Add USER with a plan, and with a password if FreeRADIUS is to find one in its table radcheck.

    Where users authenticate elsewhere (LDAP, an own table, EAP-TLS), no password is needed. At a terminal the command
    asks for one. FreeRADIUS reads radcheck if `radmeter freeradius install` had the options --quota and --radcheck, or
    if its own module sql does. The password is stored as a salted digest (SSHA2-512-Password), which PAP and
    EAP-TTLS/PAP can compare. With --cleartext it is stored as it is.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import subscribers as write
    from radmeter.quotas.user_list import check_name

    check_name(user)
    stored = None if no_password else _password(user, password, password_file, cleartext, optional=True)
    if no_password and (password or password_file or cleartext):
        raise click.UsageError("--no-password goes with no other option for a password")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection, connection.transaction():
        write.add(connection, user, plan, also, stored)
        if anchor is not None:
            write.set_anchor(connection, user, _day(anchor))
        if tenant is not None:
            write.set_tenant(connection, user, tenant)
    told = "no password is stored here" if stored is None else f"password stored as {stored.attribute}"
    output.say(f"added user {user!r} with plan {plan!r}; {told}")


@users.command(
    "password",
    epilog="""\b
Examples:
  radmeter users password bob
  radmeter users password bob --password-file bob.txt
""",
)
@click.argument("user", type=TEXT)
@password_options
@with_settings("state", "dsn")
def set_password(
    settings: Settings, user: str, password: str | None, password_file: Path | None, cleartext: bool
) -> None:
    """Give USER another password in FreeRADIUS's table radcheck. Other passwords of the user there are removed."""
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import subscribers as write

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        if password is None and password_file is None:  # not asked for in vain
            write.check(connection, user)
        stored = _password(user, password, password_file, cleartext, optional=False)
        assert stored is not None
        write.set_password(connection, user, stored)
    output.say(f"user {user!r}: password stored as {stored.attribute}")


def _password(
    user: str, given: str | None, file: Path | None, cleartext: bool, *, optional: bool
) -> "Stored | None":
    """Return the password that was given, or that a terminal is asked for. None: there is none."""
    from radmeter.quotas.passwords import stored
    from radmeter.secret_files import read_password

    if given is not None and file is not None:
        raise click.UsageError("give either --password-file or --password")
    if file is not None:
        given = read_password(file, f"the password file {file}")
        if file.stat().st_mode & 0o004:
            output.say(
                f"note: everybody on this machine can read {file}: chmod o-r it, or remove it", err=True
            )
    if given is None:
        if not sys.stdin.isatty():
            if optional and not cleartext:
                return None
            raise click.UsageError("there is no terminal to ask at: give --password-file")
        hint = " (empty: the user authenticates elsewhere)" if optional else ""
        given = _asked(f"Password of {user}{hint}")
        if not given and optional:
            return None
        if _asked("Once more") != given:
            raise ConfigurationError("the two passwords differ: run the command again")
    return stored(given, cleartext=cleartext)


def _day(text: str) -> int | None:
    """Return the day on which periods begin; None: today's."""
    if text.lower() == "today":
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= len(text) <= 2 and 1 <= int(text) <= 31):
        raise click.UsageError(f"--anchor {text!r}: give a day from 1 to 31 (of a week, 1 to 7), or today")
    return int(text)


def _asked(question: str) -> str:
    """Ask at the terminal for a text that is not shown."""
    return str(click.prompt(printable(question), hide_input=True, default="", show_default=False, err=True))


@users.command(
    "show",
    epilog="""\b
Examples:
  radmeter users show bob
  radmeter users show bob --format json
""",
)
@click.argument("user", type=TEXT)
@utc_option
@format_option
@with_settings("state", "dsn", "read_dsn")
def show(settings: Settings, user: str, output_format: str) -> None:
    """Show what USER may use, has used and has left now, the top-ups and the open sessions.

    In json a limit that there is not is null, and period_end is the first day after the period. status is active,
    warned (80 % of a limit used), over, throttled, expired or suspended. A user who is over, expired or suspended is
    refused at login.
    """
    from radmeter.database.views import reading
    from radmeter.quotas import subscribers as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        row = read.find(connection, user)
    if output_format == "json":
        values = {column: plain(row[column]) for column in COLUMNS}
        values["top_ups"] = [{name: plain(each[name]) for name in TOP_UP} for each in row["top_ups"]]
        values["sessions"] = row["sessions"] and [
            {name: plain(each[name]) for name in SESSION} for each in row["sessions"]
        ]
        emit_json(values)
        return
    if output_format == "csv":
        emit_one({**row, "also": "; ".join(row["also"]) or None}, output_format, columns=COLUMNS)
        return
    shown = _shown(row)
    # The next period begins with a day, so its instant is for programs.
    columns = [
        name
        for name in COLUMNS
        if name != "period_ends_at" and (name not in IF_ANY or shown[name] is not None)
    ]
    # Next to what it is a part of.
    columns.remove("top_up_bytes")
    columns.insert(columns.index("remaining_bytes") + 1, "top_up_bytes")
    emit_one(shown, output_format, columns=columns, labels=LABELS)
    if row["top_ups"]:
        output.say()
        top_ups = [readable(each) for each in row["top_ups"]]
        emit(top_ups, output_format, columns=TOP_UP_SHORT, title="Top-ups, the first to be used first")
    if row["sessions"]:
        output.say()
        sessions = [readable(each) for each in row["sessions"]]
        emit(sessions, output_format, columns=SESSION_SHORT, title="Open sessions")


@users.command(
    "list",
    epilog="""\b
Examples:
  radmeter users list --status over
  radmeter users list --plan basic --limit 100000 --format csv
""",
)
@click.option("--plan", type=TEXT, help="Only users who have this plan, also as a further one.")
@click.option("--status", type=click.Choice(STATUSES), help="Only users with this status.")
@click.option("--limit", type=click.IntRange(1, 10_000_000), default=200, show_default=True, help="How many.")
@click.option("--after", type=TEXT, default="", metavar="USER", help="Go on after this user.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(
    settings: Settings, plan: str | None, status: str | None, limit: int, after: str, output_format: str
) -> None:
    """List the users who have a plan, by name, with what they have left now. A dash means no limit."""
    from radmeter.database.views import reading
    from radmeter.quotas import plans
    from radmeter.quotas import subscribers as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        plan_id = None if plan is None else plans.find(connection, plan)["id"]
        found = read.list_users(connection, plan_id=plan_id, status=status, after=after, limit=limit + 1)
        if output_format == "csv" and not click.get_current_context().meta.get("radmeter.columns"):
            # A long list needs no memory.
            emit_csv(
                ([_text(row)[name] for name in COLUMNS] for row in islice(found, limit)), columns=COLUMNS
            )
            rows, more = [], next(found, None) is not None
        else:
            rows = list(found)
            more, rows = len(rows) > limit, rows[:limit]
            if is_short(output_format):
                emit([_shown(row) for row in rows], output_format, columns=COLUMNS, short=SHORT)
            else:
                as_text = _shown if output_format == "table" else _text
                shown = rows if output_format == "json" else [as_text(row) for row in rows]
                emit(shown, output_format, columns=COLUMNS)
    if more:
        last = f": go on with --after {rows[-1]['username']!r}" if rows else ": give a larger --limit"
        output.say(f"There are more{last}", err=True)


@users.command(
    "assign",
    epilog="""\b
Examples:
  radmeter users assign bob --plan other
  radmeter users assign bob --also weekend
  radmeter users assign bob --plan voucher --renew
""",
)
@click.argument("user", type=TEXT)
@click.option("--plan", type=TEXT, help="The plan whose period, time zone and tiers count.")
@click.option(
    "--also", type=TEXT, multiple=True, metavar="PLAN", help="A further plan, whose quota is added."
)
@click.option("--without", type=TEXT, multiple=True, metavar="PLAN", help="A further plan to take away.")
@_anchor
@click.option("--renew", is_flag=True, help="Begin the validity, or the one-time period, of the plan anew.")
@with_settings("state", "dsn")
def assign(
    settings: Settings,
    user: str,
    plan: str | None,
    also: tuple[str, ...],
    without: tuple[str, ...],
    anchor: str | None,
    renew: bool,
) -> None:
    """Give USER another plan, or further plans, at once.

    If the new plan has the same period, it goes on, with what is used. Otherwise the user begins with what was used in
    the new period, mostly 0. Top-ups stay, and what they have paid stays paid. Nothing rolls over into another plan. A
    validity begins with the first use of the new plan.
    """
    from radmeter.cli.cached_plans import forget
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import subscribers as write

    if plan is None and anchor is None and not (also or without or renew):
        raise click.UsageError("give at least one of --plan, --also, --without, --anchor and --renew")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection, connection.transaction():
        changed = write.assign(connection, user, plan, also, without, renew=renew)
        if anchor is not None:
            changed = write.set_anchor(connection, user, _day(anchor)) or changed
        if changed:
            forget(settings, connection, user)
    output.say(f"user {user!r} {'is changed' if changed else 'has these plans already'}")


@users.command("set", epilog="Example: radmeter users set bob --tenant acme")
@click.argument("user", type=TEXT)
@click.option(
    "--tenant", type=TEXT, metavar="TENANT|none", required=True, help="Whose user it is, by name or number."
)
@with_settings("state", "dsn")
def set_(settings: Settings, user: str, tenant: str) -> None:
    """Say whose USER it is: a share of what the user pays belongs to this tenant, if its rate has one.

    It holds for documents of months that are closed from now on. `none`: the operator's own. Plans are given by
    `radmeter users assign`.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import subscribers as write

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        changed = write.set_tenant(connection, user, None if tenant.lower() == "none" else tenant)
    output.say(f"user {user!r} is {'changed' if changed else 'as before'}")


@users.command(
    "top-up",
    epilog="""\b
Examples:
  radmeter users top-up bob 20MB
  radmeter users top-up bob 5GB --expires 2026-12-31 --note 'ticket 4711'
  radmeter users top-up bob 5GB --valid 30d
  radmeter users top-up --undo 7
""",
)
@click.argument("user", type=TEXT, required=False)
@click.argument("volume", type=TEXT, required=False)
@click.option(
    "--expires",
    type=DAY,
    metavar="DAY",
    help="The last day on which it can be used, in the time zone of the user's plan.",
)
@click.option("--valid", type=TEXT, metavar="SPAN", help="How long it can be used from now on, such as 30d.")
@click.option("--note", type=TEXT, help="A note for people.")
@click.option(
    "--price", type=TEXT, metavar="AMOUNT", help="What the user pays for it, without tax, such as 4.90."
)
@click.option(
    "--undo",
    type=click.IntRange(1, 2**63 - 1),
    metavar="ID",
    help="Take back what is unused of this top-up. `users show` has the ids. Without VOLUME.",
)
@with_settings("state", "dsn")
def top_up(
    settings: Settings,
    user: str | None,
    volume: str | None,
    expires: datetime.datetime | None,
    valid: str | None,
    note: str | None,
    price: str | None,
    undo: int | None,
) -> None:
    """Give USER a VOLUME beyond the quota, at once: 20MB is 20,000,000 octets in both directions.

    A top-up is used when the quota is used up; of several, the one that expires first. It lasts beyond the period.
    What the user is over the limit in this period is taken from it first. With --price it is billed once
    (`radmeter billing close`); a top-up that was billed cannot be undone.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.database.views import rows as query
    from radmeter.quotas import subscribers as write
    from radmeter.quotas.amounts import BadAmount, octets, seconds
    from radmeter.quotas.plans import price as checked_price

    if undo is not None:
        if any(each is not None for each in (volume, expires, valid, note, price)):
            raise click.UsageError("--undo ID goes with nothing but USER")
        with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
            owner, taken = write.undo_top_up(connection, undo, user)
            (now,) = query(connection, write.STATE, {"names": [owner]})
        output.say(f"top-up #{undo} of {owner!r}: {taken:,} bytes are taken back; {_left(now)}")
        return
    if user is None or volume is None:
        raise click.UsageError("give USER and VOLUME, such as bob 20MB")
    if expires is not None and valid is not None:
        raise click.UsageError("give either --expires or --valid")
    size = octets(volume)
    if size == 0:
        raise BadAmount(f"{volume!r} is nothing: give a volume, such as 20MB")
    valid_seconds = None if valid is None else seconds(valid)
    if note is not None and not note.isprintable():
        raise ConfigurationError(f"the note {note!r} has characters that cannot be printed")
    paid = None if price is None else checked_price(price)
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        with connection.transaction():
            top_up_id, expires_at = write.top_up(
                connection,
                user,
                size,
                last_day=None if expires is None else expires.date(),
                valid_seconds=valid_seconds,
                note=note,
            )
            if paid is not None:
                write.set_price(connection, top_up_id, paid)
        times.use_zone(connection)
        (now,) = query(connection, write.STATE, {"names": [user]})
    until = "does not expire" if expires_at is None else f"expires {times.shown(expires_at)}"
    output.say(f"top-up #{top_up_id} of {size:,} bytes for {user!r}, {until}; {_left(now)}")


def _left(now: Row) -> str:
    """Return a user's status and what is left."""
    from radmeter.quotas.amounts import shown_octets

    left = now["remaining_bytes"]
    return f"{now['status']}, {'no limit' if left is None else f'{shown_octets(left)} left'}"


@users.command("remove", epilog="Example: radmeter users remove bob")
@click.argument("user", type=TEXT)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def remove(settings: Settings, user: str, yes: bool) -> None:
    """Take all plans, top-ups and the password in radcheck from USER, who is unknown from then on.

    What was used stays, and counts again if USER is added again. Open sessions go on without a limit: `radmeter
    disconnect` ends them. Unknown users are let in, without limits, unless `radmeter login set unknown_users refuse`
    was run. `radmeter people erase` removes a person's data.
    """
    from radmeter.cli.cached_plans import forget
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import subscribers as write

    confirm(f"Remove the user {user!r}, with top-ups and password? It cannot be undone.", yes)
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        done = write.remove(connection, user)
        forget(settings, connection, user)
    lost = f" with {counted(done.unused_top_ups, 'top-up')} not used up" if done.unused_top_ups else ""
    output.say(f"user {user!r} is removed{lost}; what was used stays counted")
    if done.radcheck_fault is not None:
        output.say(f"no password was removed: {done.radcheck_fault}", err=True)
    if done.open_sessions:
        goes = verb(done.open_sessions, "goes", "go")
        output.say(
            f"{counted(done.open_sessions, 'session')} {goes} on: `radmeter disconnect` ends them", err=True
        )


@users.command("suspend", epilog="Example: radmeter users suspend bob")
@click.argument("user", type=TEXT)
@with_settings("state", "dsn")
def suspend(settings: Settings, user: str) -> None:
    """Let USER in no more, and disconnect the open sessions. Plan, usage and top-ups stay."""
    _suspend(settings, user, resume=False)


@users.command("resume", epilog="Example: radmeter users resume bob")
@click.argument("user", type=TEXT)
@with_settings("state", "dsn")
def resume(settings: Settings, user: str) -> None:
    """Let a suspended USER in again."""
    _suspend(settings, user, resume=True)


def _suspend(settings: Settings, user: str, *, resume: bool) -> None:
    from radmeter.cli.cached_plans import forget
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import subscribers as write
    from radmeter.quotas.operations import unreached

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        changed = write.suspend(connection, user, resume=resume)
        if changed and not resume:
            forget(settings, connection, user)
        left = [] if resume else unreached(connection, user)
    if resume:
        output.say(f"user {user!r} {'may log in again' if changed else 'is not suspended'}")
    else:
        output.say(f"user {user!r} is suspended{'' if changed else ' already'}")
    for line in left:
        output.say(f"warning: {line}", err=True)


@users.command(
    "import",
    epilog="""\b
The file begins with a header, all columns but the first may be left out:
  username,plan,also,password,tenant
also has further plans with ; between them, or none. tenant is a name or none.
\b
Example: radmeter users import users.csv --dry-run

\b
Exit codes:
  0  all lines are imported
  1  a line was refused, or the import failed
  2  wrong options or settings
""",
)
@click.argument("file", metavar="CSV", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@_cleartext
@with_settings("state", "dsn")
def import_(settings: Settings, file: BinaryIO, dry_run: bool, cleartext: bool) -> None:
    """Import a list of users: add new ones, and give others the plans of the list.

    An import that is run twice changes nothing the second time. Empty fields change nothing. A password is used for a
    user who is added; `radmeter users password` changes one. Users who are not in the list stay as they are.

    Lines that cannot be used are shown with their number and the reason. The others are imported.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import subscribers as write
    from radmeter.quotas import user_list

    counts = dict.fromkeys(OUTCOMES, 0)
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        entries = user_list.read(_with_progress(file), cleartext=cleartext)
        while batch := list(islice(entries, BATCH_LINES)):
            refused = [entry for entry in batch if not isinstance(entry, user_list.Line)]
            lines = [entry.as_json() for entry in batch if isinstance(entry, user_list.Line)]
            try:
                outcomes = write.import_lines(connection, lines, dry_run=dry_run) if lines else []
            except RadmeterError:
                if not dry_run:
                    done = sum(counts.values()) - counts["refused"]
                    output.say(
                        f"stopped: {counted(done, 'line')} imported. Import the file again to go on.",
                        err=True,
                    )
                raise
            refused += [(each.line, each.reason or "") for each in outcomes if each.outcome == "refused"]
            for number, reason in sorted(refused):
                output.say(f"line {number}: {reason}", err=True)
            counts["refused"] += len(refused)
            for each in outcomes:
                counts[each.outcome] += each.outcome != "refused"
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items() if count) or "nothing"
    output.say(
        f"{'dry run, nothing is changed: ' if dry_run else ''}{counted(sum(counts.values()), 'line')}: {told}"
    )
    if counts["refused"]:
        sys.exit(1)


def _with_progress(file: BinaryIO) -> Iterator[bytes]:
    """Yield the file's lines, bounded. Show the progress if the file is long."""
    from radmeter.csv_lines import lines_of

    size = file.seek(0, os.SEEK_END) if file.seekable() else 0
    if size:
        file.seek(0)
    if size < LONG_FILE_BYTES:
        yield from lines_of(file)
        return
    from radmeter.progress import progress

    with progress("importing", size, "bytes") as bar:
        for number, line in enumerate(lines_of(file), start=1):
            yield line
            if number % 1000 == 0:
                bar.completed = file.tell()
        bar.completed = size


def _text(row: Row) -> Row:
    return {**row, "also": "; ".join(row["also"]) or None}


def _shown(row: Row) -> Row:
    """Return a user for a table, with volumes, speeds and spans as people write them."""
    return {
        **readable(_text(row), SPANS),
        "percent": f"{percent_of(row)} %",
        "next_period": row["period_end"],
    }
