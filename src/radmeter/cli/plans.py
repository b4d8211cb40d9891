"""`radmeter plans`: add, list, show, change and retire plans."""

from typing import TYPE_CHECKING, Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    Figure,
    Row,
    emit,
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
from radmeter.cli.plan_values import readable
from radmeter.config import Settings
from radmeter.units import counted, verb

if TYPE_CHECKING:
    from radmeter.database.connection import Connection

COLUMNS = (
    "id",
    "name",
    "quota_type",
    "anchor_day",
    "timezone",
    "quota_bytes",
    "quota_bytes_in",
    "quota_bytes_out",
    "quota_seconds",
    "speed_down",
    "speed_up",
    "role",
    "max_sessions",
    "session_timeout",
    "idle_timeout",
    "valid_seconds",
    "rollover_bytes",
    "tiers",
    "price",
    "users",
    "retired_at",
)
SHORT = ("name", "price", "quota_type", "quota_bytes", "speed_down", "speed_up", "users", "status")
LABELS = {
    "quota_type": "period",
    "quota_bytes": "quota",
    "quota_bytes_in": "quota up",
    "quota_bytes_out": "quota down",
    "quota_seconds": "time",
    "valid_seconds": "valid from first use",
    "rollover_bytes": "rolls over at most",
    "anchor_day": "begins on day",
}
SPANS = ("quota_seconds", "session_timeout", "idle_timeout", "valid_seconds")
LIMITS = ("quota_bytes", "quota_bytes_in", "quota_bytes_out", "quota_seconds")

_VOLUME = "VOLUME|unlimited"
_GIVEN = (
    click.option(
        "--quota",
        "quota_bytes",
        type=TEXT,
        metavar=_VOLUME,
        help="Octets in both directions in a period: 10MB is 10,000,000, 10MiB is 10,485,760, 0 is nothing at all.",
    ),
    click.option(
        "--quota-up", "quota_bytes_in", type=TEXT, metavar=_VOLUME, help="Octets from the user in a period."
    ),
    click.option(
        "--quota-down", "quota_bytes_out", type=TEXT, metavar=_VOLUME, help="Octets to the user in a period."
    ),
    click.option(
        "--time",
        "quota_seconds",
        type=TEXT,
        metavar="SPAN|unlimited",
        help="Time online in a period, of all sessions together, such as 30h or 90min.",
    ),
    click.option(
        "--period",
        "quota_type",
        type=click.Choice(["daily", "weekly", "monthly", "one-time"]),
        help="How long a quota lasts.  [default of a new plan: monthly]",
    ),
    click.option(
        "--anchor",
        "anchor_day",
        type=TEXT,
        metavar="DAY|joined",
        help="The day on which a period begins. monthly: 1 to 31, the last day of a shorter month; "
        "weekly: 1 (Monday) to 7; joined: that on which each user got the plan.  [default of a new plan: 1]",
    ),
    click.option(
        "--timezone",
        "timezone",
        type=TEXT,
        metavar="ZONE|default",
        help="IANA name of the time zone in which days begin.  [default: the installation's]",
    ),
    click.option(
        "--down", "speed_down", type=TEXT, metavar="SPEED|off", help="Speed to the user in bit/s: 5M, 512k."
    ),
    click.option("--up", "speed_up", type=TEXT, metavar="SPEED|off", help="Speed from the user in bit/s."),
    click.option(
        "--tier",
        "tiers",
        type=TEXT,
        multiple=True,
        metavar="FROM:DOWN/UP[:ROLE]|FROM:off",
        help="Fair use: from so many octets of a period on, these speeds, or off. Can be given several times. "
        "All tiers are replaced; `none` takes them away.",
    ),
    click.option(
        "--role",
        type=TEXT,
        metavar="NAME|off",
        help="The group, role or policy of the routers: for vendors that take no speeds (meraki, aruba, cisco).",
    ),
    click.option("--max-sessions", type=TEXT, metavar="N|unlimited", help="Sessions of a user at once."),
    click.option(
        "--session-timeout", type=TEXT, metavar="SPAN|off", help="The longest session. A number is seconds."
    ),
    click.option(
        "--idle-timeout",
        type=TEXT,
        metavar="SPAN|off",
        help="A session ends after this time without traffic.",
    ),
    click.option(
        "--valid",
        "valid_seconds",
        type=TEXT,
        metavar="SPAN|off",
        help="From first use until it expires, such as 30d.",
    ),
    click.option(
        "--rollover",
        "rollover_bytes",
        type=TEXT,
        metavar="VOLUME|off",
        help="At most so many unused octets of --quota go on into the next period.",
    ),
    click.option(
        "--price", type=TEXT, metavar="AMOUNT", help="Its price, such as 19.90.  [default of a new plan: 0]"
    ),
)


def given_options(command: Any) -> Any:
    """Add the options for what a plan gives."""
    for option in reversed(_GIVEN):
        command = option(command)
    return command


@group(epilog="Example: radmeter plans add basic --quota 10MB --period monthly")
def plans() -> None:
    """Add, list, change and retire plans: what users may use in a period, and how fast.

    `radmeter users` gives plans to users. Changes hold at once, for all users who have the plan, and audit_log keeps
    them. MB, GB and TB are powers of 1000, MiB, GiB and TiB powers of 1024. What could mean two things is refused.
    """


@plans.command(
    "add",
    epilog="""\b
Examples:
  radmeter plans add basic --quota 10MB --period monthly
  radmeter plans add home --quota 500GB --anchor 15 --down 50M --up 10M
  radmeter plans add fair --quota unlimited --down 50M --up 10M \\
      --tier 80GB:5M/1M --tier 90GB:off
  radmeter plans add voucher --quota 2GB --period one-time --valid 7d
""",
)
@click.argument("name", type=TEXT)
@given_options
@with_settings("state", "dsn")
def add(settings: Settings, name: str, tiers: tuple[str, ...], **given: str | None) -> None:
    """Add the plan NAME."""
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import plans as write

    plan = write.values({"name": name, **given}, tiers)
    if not plan.keys() & {*LIMITS, "tiers"}:
        raise click.UsageError(
            "give --quota, such as --quota 10GB; a plan without a limit has --quota unlimited"
        )
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        plan_id = write.add(connection, plan)
        _tell_without_speeds(connection, plan)
    output.say(f"added plan #{plan_id} {name!r}: {summary(plan)}")
    quota = plan.get("quota_bytes")
    if quota is not None and any(tier["from_bytes"] >= quota for tier in plan.get("tiers", ())):
        output.say("note: a tier begins beyond --quota: only top-ups and roll-over lead there", err=True)


@plans.command("list", epilog="Example: radmeter plans list --format json")
@click.option("--retired", is_flag=True, help="Retired plans too.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(settings: Settings, retired: bool, output_format: str) -> None:
    """List plans by name. A dash means no limit. users counts those who have the plan, also as a further one.

    price is per period, before tax, in the currency of who pays: that of the user's tenant, else the installation's.
    """
    from radmeter.database.views import reading
    from radmeter.quotas import plans as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows = read.list_plans(connection, retired=retired)
    if is_short(output_format):
        rows = [{**_shown(row), "status": "retired" if row["retired_at"] else "in use"} for row in rows]
        emit(rows, output_format, columns=COLUMNS, short=SHORT)
        return
    emit([row if output_format == "json" else _shown(row, output_format) for row in rows], output_format,
         columns=COLUMNS)  # fmt: skip


@plans.command("show", epilog="Example: radmeter plans show basic --format json")
@click.argument("name", type=TEXT)
@utc_option
@format_option
@with_settings("state", "dsn", "read_dsn")
def show(settings: Settings, name: str, output_format: str) -> None:
    """Show everything about the plan NAME. A dash means no limit."""
    from radmeter.database.views import reading
    from radmeter.quotas import plans as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        row = read.find(connection, name)
    if output_format == "json":
        emit_json({column: plain(row[column]) for column in COLUMNS})
        return
    emit_one(_shown(row, output_format), output_format, columns=COLUMNS, labels=LABELS)


@plans.command(
    "set",
    epilog="""\b
Examples:
  radmeter plans set basic --quota 20MB
  radmeter plans set fair --tier 100GB:5M/1M
  radmeter plans set fair --tier none --down off --up off
""",
)
@click.argument("plan", metavar="NAME", type=TEXT)
@click.option("--name", type=TEXT, metavar="NEW", help="Its new name.")
@given_options
@with_settings("state", "dsn")
def set_(settings: Settings, plan: str, tiers: tuple[str, ...], **given: str | None) -> None:
    """Change the plan NAME, at once, for all users who have it. What is not given stays.

    A user who is now beyond a limit is disconnected, and one who is not any more may log in again. What users have
    used stays. Only if the period changes (--period, --anchor, --timezone), they begin the new one with 0, and nothing
    rolls over into it.
    """
    from radmeter.cli.cached_plans import CACHED, forget
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import plans as write

    changes = write.values(given, tiers)
    if not changes:
        raise click.UsageError("give at least one value to change, such as --quota 20MB")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        done = write.change(connection, plan, changes)
        _tell_without_speeds(connection, changes)
        if done.changed and CACHED & set(changes):
            forget(settings, connection, None)
    if not done.changed:
        output.say(f"plan {plan!r} is as before")
        return
    has = verb(done.users, "has", "have")
    output.say(f"plan {changes.get('name', plan)!r} is changed: {counted(done.users, 'user')} {has} it")
    if done.period_changed and done.users:
        output.say("its period is another one: its users begin with what they used in it, mostly 0", err=True)


@plans.command("retire", epilog="Example: radmeter plans retire basic")
@click.argument("name", type=TEXT)
@click.option("--undo", is_flag=True, help="Take it into use again.")
@with_settings("state", "dsn")
def retire(settings: Settings, name: str, undo: bool) -> None:
    """Take the plan NAME out of use: nobody new can be given it. Users who have it keep it."""
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import plans as write

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        done = write.retire(connection, name, undo=undo)
    state = "in use" if undo else "retired"
    if not done.changed:
        output.say(f"plan {name!r} is {state} already")
    elif undo:
        output.say(f"plan {name!r} is in use again")
    else:
        keep = verb(done.users, "keeps", "keep")
        output.say(f"plan {name!r} is retired: {counted(done.users, 'user')} {keep} it")


def _tell_without_speeds(connection: "Connection", plan: Row) -> None:
    """Say that there are routers that cannot slow users down as a tier says."""
    from radmeter.quotas.operations import routers_without_speeds

    tiers = [tier for tier in plan.get("tiers") or () if tier["speed_down"] and tier["role"] is None]
    if tiers and (vendors := routers_without_speeds(connection)):
        output.say(
            f"routers of {' and '.join(sorted(vendors))} take no speeds: there a tier slows nobody down unless it has "
            "a role that the router knows (FROM:DOWN/UP:ROLE), or is off",
            err=True,
        )


def summary(plan: Row) -> str:
    """Return what a plan gives in a line, to see a slip at once."""
    from radmeter.quotas.amounts import shown_seconds, shown_speed

    parts = []
    for column, direction in (("quota_bytes", ""), ("quota_bytes_in", " up"), ("quota_bytes_out", " down")):
        if plan.get(column) is not None:
            parts.append(f"{plan[column]:,} bytes{direction}")
    if plan.get("quota_seconds") is not None:
        parts.append(f"{shown_seconds(plan['quota_seconds'])} online")
    text = f"{' and '.join(parts) or 'no limit'}, {plan.get('quota_type', 'monthly')}"
    speeds = [
        f"{shown_speed(plan[column])}bit/s {direction}"
        for column, direction in (("speed_down", "down"), ("speed_up", "up"))
        if plan.get(column)
    ]
    return f"{text}, {' and '.join(speeds)}" if speeds else text


def _shown(row: Row, output_format: str = "table") -> Row:
    """Return a plan for a table, with speeds and spans as people write them; for CSV only the tiers are text."""
    from radmeter.billing.wording import ENGLISH
    from radmeter.quotas.amounts import shown_octets, shown_speed

    table = output_format == "table"
    tiers = [
        f"{shown_octets(tier['from_bytes']) if table else tier['from_bytes']}:"
        + (
            "off"
            if tier["speed_down"] is None and tier["speed_up"] is None
            else f"{shown_speed(tier['speed_down'])}/{shown_speed(tier['speed_up'])}"
            + (f":{tier['role']}" if tier["role"] else "")
        )
        for tier in row["tiers"]
    ]
    shown = {**row, "tiers": (", " if table else " ").join(tiers) or None}
    if table:
        # How many digits it has depends on who pays.
        shown["price"] = Figure(ENGLISH.number(row["price"], 2 if row["price"] % 1 else 0))
        shown["anchor_day"] = row["anchor_day"] or "joined"
        shown = readable(shown, SPANS)
    return shown
