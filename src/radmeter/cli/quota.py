"""`radmeter quota`: who has come to a limit."""

from typing import TYPE_CHECKING

import click

from radmeter.cli import times
from radmeter.cli.common import Figure, Row, emit, list_options, reading_database, with_settings
from radmeter.cli.groups import group
from radmeter.cli.plan_values import readable
from radmeter.cli.pseudonymised import pseudonym_options
from radmeter.config import Settings
from radmeter.quotas.percent import percent_of
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.people.pseudonyms import Pseudonyms

STATUSES = ("suspended", "expired", "over", "throttled", "warned")
COLUMNS = (
    "username",
    "plan",
    "status",
    "reason",
    "percent",
    "quota_bytes",
    "used_bytes",
    "remaining_bytes",
    "quota_seconds",
    "used_seconds",
    "remaining_seconds",
    "speed_down",
    "speed_up",
    "period_start",
    "period_end",
    "expires_at",
    "timezone",
    "open_sessions",
)
SHORT = ("username", "status", "percent", "quota", "used", "next_period", "open_sessions")
SPANS = ("quota_seconds", "used_seconds", "remaining_seconds")


@group(epilog="Example: radmeter quota over --status over")
def quota() -> None:
    """Show which users have come to a limit."""


@quota.command("over", epilog="Example: radmeter quota over --status over --status expired --format csv")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(STATUSES),
    multiple=True,
    help="Only users with this status; may be given several times.  [default: all of them]",
)
@pseudonym_options
@list_options
@with_settings("state", "dsn", "read_dsn")
def over(
    settings: Settings, statuses: tuple[str, ...], output_format: str, pseudonyms: "Pseudonyms | None"
) -> None:
    """List the users who are over, throttled, warned, expired or suspended.

    over: nothing is left. throttled: a fair-use tier is in force. warned: 80 % or more is used. expired: the plan's
    validity is over. suspended: an operator lets the user in no more. It is so as of now, also where a period has just
    ended or a plan was just changed.
    """
    from radmeter.database.views import reading
    from radmeter.quotas import over as read

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows = list(read.over(connection, statuses or STATUSES))
    if pseudonyms is not None:
        rows = [pseudonyms.applied(row) for row in rows]
    if output_format == "table":
        rows = [_shown(row) for row in rows]
    wanted = ", ".join(statuses) if statuses else "over, throttled, warned, expired or suspended"
    emit(rows, output_format, columns=COLUMNS, short=SHORT, title=f"{counted(len(rows), 'user')} {wanted}")


def _shown(row: Row) -> Row:
    """Return a user for a table, with the limit that is nearer: octets or time."""
    shown = readable(row, SPANS)
    octets, seconds = row["quota_bytes"], row["quota_seconds"]
    by_time = seconds is not None and (
        octets is None or row["used_seconds"] * octets > row["used_bytes"] * seconds
    )
    kind = "seconds" if by_time else "bytes"
    shown |= {each: Figure(shown[f"{each}_{kind}"] or "-") for each in ("quota", "used")}
    return {**shown, "percent": percent_of(row), "next_period": row["period_end"]}
