"""`radmeter report usage`: usage by day, week or month."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import emit, list_options, reading_database, with_settings
from radmeter.cli.report_common import (
    UNIT,
    shown_in_unit,
    span_of,
    span_options,
    subject_options,
    unit_option,
)
from radmeter.config import Settings
from radmeter.durable_files import write_durably
from radmeter.units import in_unit

if TYPE_CHECKING:
    from radmeter.usage.subject import Subject

COLUMNS = ("first", "last", "bytes_in", "bytes_out", "bytes_total")


@click.command(
    "usage",
    epilog="""\b
Examples:
  radmeter report usage --router lobby --from 2026-10-01 --to 2026-10-31
  radmeter report usage --tenant acme --from 2026-01-01 --by month
  radmeter report usage --user alice --by week --plot alice.png""",
)
@subject_options
@span_options
@click.option(
    "--by",
    type=click.Choice(["day", "week", "month"]),
    default="day",
    show_default=True,
    help="A row for each. Weeks begin on Monday.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a chart: .svg, or .png, which needs radmeter[billing].",
)
@unit_option
@list_options
@with_settings("state", "dsn", "read_dsn")
def usage(
    settings: Settings,
    named: dict[str, str | None],
    first: datetime.datetime | None,
    last: datetime.datetime | None,
    by: str,
    plot: Path | None,
    unit: str | None,
    output_format: str,
) -> None:
    """Show the usage of a router, a user or a tenant by day, week or month.

    Routers have exact counters for each day of their own time zone; a tenant's are those of its routers. Users have
    counters by quota period only: their days are added up from the sessions that the database keeps, and a note says
    from when on these are complete. Days without usage have zero bytes. The first and the last week or month have only
    the days from --from to --to.
    """
    from radmeter.database.views import reading
    from radmeter.usage import plot as plotting
    from radmeter.usage import spans
    from radmeter.usage.subject import find_subject

    if plot is not None and plot.suffix.lower() not in plotting.KINDS:
        raise click.UsageError(f"{str(plot)!r} is neither .svg nor .png")
    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        subject = find_subject(connection, **named)
        begin, end = span_of(first, last, subject.today)
        rows = spans.added_up(subject.days(connection, begin, end), begin, end, by)
    _note_limits(subject, begin)
    shown_in = unit or subject.unit or UNIT
    total = in_unit(sum(row["bytes_total"] for row in rows), shown_in)
    title = f"{subject.shown}: {total} from {begin} to {end}, days in {subject.days_in}"
    if plot is not None:
        svg = plotting.chart(rows, by, f"{subject.shown} by {by}, {begin} to {end}")
        write_durably(plot, svg.encode() if plot.suffix.lower() == ".svg" else plotting.as_png(svg))
    # For people a day has one date. The last day of a week or a month is in it.
    days = ("day",) if by == "day" else ("from_day", "to_day")
    named_days = [
        {**row, "day": row["first"], "from_day": row["first"], "to_day": row["last"]} for row in rows
    ]
    emit(
        shown_in_unit(named_days, shown_in, output_format),
        output_format,
        columns=COLUMNS,
        short=(*days, *COLUMNS[2:]),
        title=title,
    )


def _note_limits(subject: "Subject", begin: datetime.date) -> None:
    """Say from when on the days of a user are complete, if that is after the first one that is asked for."""
    known = subject.complete_from
    if known is not None and known.date() >= begin:
        output.say(
            f"note: sessions that stopped before {times.shown(known)} are not all kept here, so that days before "
            f"{known.date() + datetime.timedelta(days=1)} may lack some. `radmeter usage user` has the exact counters "
            "of quota periods",
            err=True,
        )
