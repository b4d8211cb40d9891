"""`radmeter usage`: show what users and routers have used."""

from typing import TYPE_CHECKING

import click

from radmeter.cli.common import (
    TEXT,
    emit,
    format_option,
    reading_database,
    with_settings,
)
from radmeter.cli.pseudonymised import pseudonym_options
from radmeter.config import Settings

if TYPE_CHECKING:
    from radmeter.people.pseudonyms import Pseudonyms

USER_COLUMNS = ("username", "period_start", "bytes_in", "bytes_out", "bytes_total", "last_updated")
ROUTER_COLUMNS = (
    "router_id",
    "router",
    "usage_date",
    "bytes_in",
    "bytes_out",
    "bytes_total",
    "last_updated",
)


@click.group(epilog="Example: radmeter usage user alice")
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
@format_option
@with_settings("state", "dsn", "read_dsn")
def user(
    settings: Settings, name: str, periods: int, output_format: str, pseudonyms: "Pseudonyms | None"
) -> None:
    """Show what the user NAME has used in the quota period. An unknown user is an error, not zero usage."""
    from radmeter.database.views import reading
    from radmeter.usage import counters as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        rows = read.user_usage(connection, name, periods)
    if pseudonyms is not None:
        rows = [pseudonyms.applied(row) for row in rows]
    emit(rows, output_format, columns=USER_COLUMNS)


@usage.command("router", epilog="Example: radmeter usage router AA-BB-CC-DD-EE-FF --days 30 --format csv")
@click.argument("router", metavar="NAME|MAC|#ID", type=TEXT)
@click.option(
    "--days",
    type=click.IntRange(1, 10_000),
    default=7,
    show_default=True,
    help="How many days, today included.",
)
@format_option
@with_settings("state", "dsn", "read_dsn")
def router(settings: Settings, router: str, days: int, output_format: str) -> None:
    """Show the usage of a router on each day of its own time zone.

    #ID must be quoted in a shell: '#12'.
    """
    from radmeter.database.views import reading
    from radmeter.routers.lookup import find_router
    from radmeter.usage import counters as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        found = find_router(connection, router)
        rows = read.router_usage(connection, found, days)
    emit(
        [{**row, "router": found.name} for row in rows],
        output_format,
        columns=ROUTER_COLUMNS[2:] if output_format == "table" else ROUTER_COLUMNS,
        title=f"{found}, days in {found.timezone}",
    )
