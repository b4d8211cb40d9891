"""`radmeter usage`: show what users and routers have used."""

import datetime
from typing import TYPE_CHECKING

import click

from radmeter.cli import times
from radmeter.cli.common import TEXT, Row, emit, list_options, reading_database, with_settings
from radmeter.cli.groups import group
from radmeter.cli.months import MONTH
from radmeter.cli.pseudonymised import pseudonym_options
from radmeter.config import Settings
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.people.pseudonyms import Pseudonyms

USER_COLUMNS = (
    "username",
    "period_start",
    "bytes_in",
    "bytes_out",
    "bytes_total",
    "last_updated",
    "period_end",
    "plan",
    "quota_type",
    "quota_bytes",
    "bytes_left",
    "timezone",
    "status",
)
USER_SHORT = ("period_start", "bytes_in", "bytes_out", "bytes_total", "last_updated")
TOP_COLUMNS = (
    "username",
    "plan",
    "periods",
    "bytes_in",
    "bytes_out",
    "bytes_total",
    "quota_bytes",
    "last_updated",
)
TOP_SHORT = ("username", "plan", "bytes_in", "bytes_out", "bytes_total", "quota_bytes")
ROUTER_COLUMNS = (
    "router_id",
    "router",
    "usage_date",
    "bytes_in",
    "bytes_out",
    "bytes_total",
    "last_updated",
)


@group(epilog="Example: radmeter usage user alice")
def usage() -> None:
    """Show what a user or a router has used, open sessions included.

    bytes_in are octets from the user (Acct-Input-Octets), bytes_out octets to the user.
    """


@usage.command("user", epilog="Example: radmeter usage user alice --periods 3 --format json")
@click.argument("name", type=TEXT)
@click.option(
    "--periods",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="How many quota periods: the current one, and the latest before it with usage.",
)
@pseudonym_options
@list_options
@with_settings("state", "dsn", "read_dsn")
def user(
    settings: Settings, name: str, periods: int, output_format: str, pseudonyms: "Pseudonyms | None"
) -> None:
    """Show what the user NAME has used in the quota period, and what is left of the quota.

    An unknown user is an error, not zero usage. In json and csv, period_end is the first day after the period. It, the
    plan, its quota (with top-ups and what rolled over) and the status are those of the current period. `radmeter
    explain` shows from which sessions a number comes.
    """
    from radmeter.database.views import reading
    from radmeter.usage import counters as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows = read.with_plan(connection, read.user_usage(connection, name, periods))
    if pseudonyms is not None:
        rows = [pseudonyms.applied(row) for row in rows]
    emit(rows, output_format, columns=USER_COLUMNS, short=USER_SHORT, title=_plan(rows[0]))


def _plan(row: Row) -> str:
    """Return the line above a user's usage: the plan, the quota, what is left and when the period ends."""
    from radmeter.quotas.amounts import shown_octets, shown_seconds

    parts = [f"{row['username']}: {'no plan' if row['plan'] is None else 'plan ' + row['plan']}"]
    if row["quota_bytes"] is not None:
        left = row["bytes_left"]
        parts.append(f"{shown_octets(row['quota_bytes'])} {row['quota_type']}")
        parts.append(f"{shown_octets(left)} left" if left >= 0 else f"{shown_octets(-left)} over it")
    if row["quota_seconds"] is not None:
        parts.append(f"{shown_seconds(row['quota_seconds'])} online {row['quota_type']}")
        parts.append(f"{shown_seconds(row['remaining_seconds'])} left")
    elif row["quota_bytes"] is None and row["plan"] is not None:
        parts.append("no quota")
    beyond = row["quota_bytes"] is not None and row["bytes_left"] < 0
    if row["status"] not in (None, "active") and not (row["status"] == "over" and beyond):
        parts.append(row["status"])
    if row["period_end"] is None:
        parts.append("a single period, without an end")
    else:
        parts.append(f"next period from {row['period_end']} ({row['timezone']})")
    return ", ".join(parts)


@usage.command(
    "users",
    epilog="""\b
Examples: radmeter usage users --top 20 --period 2026-10
          radmeter usage users --top 100000 --format csv""",
)
@click.option("--top", type=click.IntRange(1, 10_000_000), default=20, show_default=True, help="How many.")
@click.option(
    "--period",
    type=MONTH,
    metavar="MONTH",
    help="The quota periods that began in this month, such as 2026-10.  [default: this month]",
)
@pseudonym_options
@list_options
@with_settings("state", "dsn", "read_dsn")
def users(
    settings: Settings,
    top: int,
    period: datetime.datetime | None,
    output_format: str,
    pseudonyms: "Pseudonyms | None",
) -> None:
    """List the users who used the most in a month, and how much.

    A user's usage is that of the quota periods that began in the month: one monthly period, or several of a daily or
    weekly plan. The plan is that of today. A month before the first one with usage, or after the last one, is an error.
    """
    from radmeter.database.views import reading
    from radmeter.usage import counters as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        month, rows = read.top_users(connection, period.date() if period else None, top)
    if pseudonyms is not None:
        rows = [pseudonyms.applied(row) for row in rows]
    title = f"Quota periods that began in {month:%Y-%m}: {counted(len(rows), 'user')}, most usage first"
    emit(rows, output_format, columns=TOP_COLUMNS, short=TOP_SHORT, title=title)


@usage.command("router", epilog="Example: radmeter usage router AA-BB-CC-DD-EE-FF --days 30 --format csv")
@click.argument("router", metavar="NAME|MAC|#ID", type=TEXT)
@click.option(
    "--days",
    type=click.IntRange(1, 10_000),
    default=7,
    show_default=True,
    help="How many days, today included.",
)
@list_options
@with_settings("state", "dsn", "read_dsn")
def router(settings: Settings, router: str, days: int, output_format: str) -> None:
    """Show the usage of a router on each day of its own time zone.

    #ID must be quoted in a shell: '#12'.
    """
    from radmeter.database.views import reading
    from radmeter.routers.lookup import find_router
    from radmeter.usage import counters as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        found = find_router(connection, router)
        rows = read.router_usage(connection, found, days)
    emit(
        [{**row, "router": found.name} for row in rows],
        output_format,
        columns=ROUTER_COLUMNS,
        short=ROUTER_COLUMNS[2:],
        title=f"#{found.id} {found.shown}, days in {found.timezone}",
    )
