"""`radmeter report compare`: a month against another one."""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from radmeter.cli import times
from radmeter.cli.common import emit, list_options, reading_database, with_settings
from radmeter.cli.months import CALENDAR_MONTH
from radmeter.cli.report_common import UNIT, shown_in_unit, top_option, unit_option
from radmeter.config import Settings
from radmeter.units import counted, in_unit

if TYPE_CHECKING:
    from radmeter.billing.months import Month

COLUMNS = ("name", "id", "bytes_before", "bytes_after", "bytes_change", "change_percent")


@click.command(
    "compare",
    epilog="""\b
Examples:
  radmeter report compare --month 2026-10
  radmeter report compare --what tenants --month 2026-10 --with 2025-10""",
)
@click.option(
    "--what",
    type=click.Choice(["routers", "tenants", "users"]),
    default="routers",
    show_default=True,
    help="A row for each.",
)
@click.option("--month", type=CALENDAR_MONTH, metavar="MONTH", help="The month.  [default: this month]")
@click.option(
    "--with",
    "before",
    type=CALENDAR_MONTH,
    metavar="MONTH",
    help="The month before.  [default: the one before]",
)
@top_option
@unit_option
@list_options
@with_settings("state", "dsn", "read_dsn")
def compare(
    settings: Settings,
    what: str,
    month: "Month | None",
    before: "Month | None",
    most: int,
    unit: str | None,
    output_format: str,
) -> None:
    """Compare a month with another one: the largest changes first.

    Of routers and tenants, this month is compared day by day: with only as many days of the other one. Of users,
    the quota periods are compared that began in each month, as far as they are.
    """
    from radmeter.database.views import reading
    from radmeter.usage import comparing

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        now = comparing.today(connection)
        after = month.first if month else now.replace(day=1)
        earlier = before.first if before else (after - datetime.timedelta(days=1)).replace(day=1)
        is_now = after == now.replace(day=1)
        days = now.day if is_now and what != "users" else None
        rows = comparing.compare(connection, what, earlier, after, days)
    old, new = (sum(row[name] for row in rows) for name in ("bytes_before", "bytes_after"))
    percent = comparing.percent(old, new)
    cut = f", days 1 to {days} of each" if days is not None else ""
    if is_now and what == "users":
        cut = f", so far (today is {now})"
    title = [
        f"{after:%Y-%m} against {earlier:%Y-%m}{cut}: {in_unit(new, unit or UNIT)} against {in_unit(old, unit or UNIT)}"
        + ("" if percent is None else f", {percent:+} %"),
        f"{counted(len(rows), what.removesuffix('s'))}, "
        + (_largest(most) if len(rows) > most else "largest change first"),
    ]
    emit(
        shown_in_unit(rows[:most], unit or UNIT, output_format),
        output_format,
        columns=COLUMNS,
        short=_without_id(COLUMNS),
        title=title,
    )


def _largest(most: int) -> str:
    return "the largest change of them" if most == 1 else f"the {most:,} largest changes"


def _without_id(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name != "id"]
