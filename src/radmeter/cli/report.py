"""`radmeter report`: usage by day, week or month; who used the most; months compared; what is to be expected."""

import datetime
import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    Figure,
    Row,
    emit,
    emit_one,
    format_option,
    list_options,
    reading_database,
    with_settings,
)
from radmeter.cli.groups import Group, group
from radmeter.cli.months import CALENDAR_MONTH, DAY
from radmeter.config import Settings
from radmeter.durable_files import write_durably
from radmeter.errors import StoreError
from radmeter.units import VOLUMES, counted, in_unit

if TYPE_CHECKING:
    from radmeter.billing.months import Month
    from radmeter.database.connection import Connection
    from radmeter.usage.subject import Subject

F = TypeVar("F", bound=Callable[..., Any])

# Ten years and a leap day or three: a row for each day is made.
MOST_DAYS = 3_660
USAGE_COLUMNS = ("first", "last", "bytes_in", "bytes_out", "bytes_total")
TOP_USERS = ("username", "periods", "bytes_in", "bytes_out", "bytes_total")
TOP_ROUTERS = ("router_id", "router", "days", "bytes_in", "bytes_out", "bytes_total")
COMPARED = ("name", "id", "bytes_before", "bytes_after", "bytes_change", "change_percent")
FORECAST = (
    "kind",
    "name",
    "period_start",
    "period_end",
    "today",
    "days_left",
    "bytes_used",
    "bytes_expected",
    "bytes_low",
    "bytes_high",
    "quota_bytes",
    "days_of_history",
    "method",
)


# Rates are per GB if nothing else is said.
UNIT = "GB"
# The sentences of the method are read on any terminal.
SCREEN = 80


@group(epilog="Example: radmeter report usage --router lobby --by week")
def report() -> None:
    """Show usage by day, week or month, who used the most, months compared, and a forecast."""


def _subject_options(function: F) -> F:
    """Add --router, --user and --tenant, of which one is given. The command gets them as `named`."""

    @wraps(function)
    def wrapper(*args: Any, router: str | None, user: str | None, tenant: str | None, **kwargs: Any) -> Any:
        named = {"router": router, "user": user, "tenant": tenant}
        if sum(each is not None for each in named.values()) != 1:
            raise click.UsageError("name one of --router, --user and --tenant")
        return function(*args, named=named, **kwargs)

    command: Any = wrapper
    for option, metavar, help_text in (
        (
            "--tenant",
            "TENANT",
            "A tenant, by name or number: all its routers, each on the days on which it was the tenant's.",
        ),
        ("--user", "NAME", "A user."),
        ("--router", "NAME|MAC|#ID", "A router."),
    ):
        command = click.option(option, type=TEXT, metavar=metavar, help=help_text)(command)
    return cast(F, command)


unit_option = click.option(
    "--unit",
    type=click.Choice(list(VOLUMES)),
    help="In which volumes are shown: GB is 10^9 octets, GiB 2^30. json and csv have octets.  "
    "[default: with --tenant that of its rate, else GB]",
)


def _in_unit(rows: Sequence[Row], unit: str, output_format: str) -> list[Row]:
    """Return rows for a table with their volumes in a unit."""
    if output_format != "table":
        return list(rows)
    return [
        {
            name: Figure(in_unit(value, unit)) if "bytes" in name.split("_") and value is not None else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _span_options(function: F) -> F:
    """Add --from and --to."""
    command: Any = function
    for option, name, help_text in (
        ("--to", "last", "The last day.  [default: today]"),
        ("--from", "first", "The first day.  [default: the first of the last day's month]"),
    ):
        command = click.option(option, name, type=DAY, metavar="DAY", help=help_text)(command)
    return cast(F, command)


def _span(
    first: datetime.datetime | None, last: datetime.datetime | None, today: datetime.date
) -> tuple[datetime.date, datetime.date]:
    end = last.date() if last else today
    begin = first.date() if first else end.replace(day=1)
    if begin > end:
        raise click.UsageError(f"--from {begin} is after {'--to' if last else 'today,'} {end}")
    if (end - begin).days >= MOST_DAYS:
        raise click.UsageError(f"{begin} to {end} are more than {MOST_DAYS:,} days")
    return begin, end


@report.command(
    "usage",
    epilog="""\b
Examples:
  radmeter report usage --router lobby --from 2026-10-01 --to 2026-10-31
  radmeter report usage --tenant acme --from 2026-01-01 --by month
  radmeter report usage --user alice --by week --plot alice.png""",
)
@_subject_options
@_span_options
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
        begin, end = _span(first, last, subject.today)
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
        _in_unit(named_days, shown_in, output_format),
        output_format,
        columns=USAGE_COLUMNS,
        short=(*days, *USAGE_COLUMNS[2:]),
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


@report.group("top", cls=Group, epilog="Example: radmeter report top routers --from 2026-10-01 --top 10")
def top() -> None:
    """Show the users or the routers with the most usage."""


def _top_option(function: F) -> F:
    return click.option(
        "--top", "most", type=click.IntRange(1, 10_000_000), default=20, show_default=True, help="How many."
    )(function)


@top.command("users", epilog="Example: radmeter report top users --from 2026-10-01 --format csv")
@_span_options
@_top_option
@unit_option
@list_options
@with_settings("state", "dsn", "read_dsn")
def top_users(
    settings: Settings,
    first: datetime.datetime | None,
    last: datetime.datetime | None,
    most: int,
    unit: str | None,
    output_format: str,
) -> None:
    """Show the users with the most usage in the quota periods that began on some days.

    The counters of quota periods are exact. A period counts as a whole, also what was used in it after --to.
    """
    from radmeter.usage import spans

    def read(connection: "Connection", begin: datetime.date, end: datetime.date) -> list[Row]:
        return spans.top_users(connection, begin, end, most)

    begin, end, rows = _top(settings, first, last, read)
    title = f"Quota periods that began from {begin} to {end}: {counted(len(rows), 'user')}, most usage first"
    emit(_in_unit(rows, unit or UNIT, output_format), output_format, columns=TOP_USERS, title=title)


@top.command("routers", epilog="Example: radmeter report top routers --from 2026-10-01 --top 10")
@_span_options
@_top_option
@unit_option
@list_options
@with_settings("state", "dsn", "read_dsn")
def top_routers(
    settings: Settings,
    first: datetime.datetime | None,
    last: datetime.datetime | None,
    most: int,
    unit: str | None,
    output_format: str,
) -> None:
    """Show the routers with the most usage on some days, each in its own time zone.

    The counters are exact. days is how many days have one.
    """
    from radmeter.usage import spans

    def read(connection: "Connection", begin: datetime.date, end: datetime.date) -> list[Row]:
        return spans.top_routers(connection, begin, end, most)

    begin, end, rows = _top(settings, first, last, read)
    title = f"From {begin} to {end}: {counted(len(rows), 'router')}, most usage first"
    emit(
        _in_unit(rows, unit or UNIT, output_format),
        output_format,
        columns=TOP_ROUTERS,
        short=TOP_ROUTERS[1:],
        title=title,
    )


def _top(
    settings: Settings,
    first: datetime.datetime | None,
    last: datetime.datetime | None,
    read: "Callable[[Connection, datetime.date, datetime.date], list[Row]]",
) -> tuple[datetime.date, datetime.date, list[Row]]:
    from radmeter.database.views import reading
    from radmeter.usage.comparing import today

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        begin, end = _span(first, last, today(connection))
        return begin, end, read(connection, begin, end)


@report.command(
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
@_top_option
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
        _in_unit(rows[:most], unit or UNIT, output_format),
        output_format,
        columns=COMPARED,
        short=_without_id(COMPARED),
        title=title,
    )


def _largest(most: int) -> str:
    return "the largest change of them" if most == 1 else f"the {most:,} largest changes"


def _without_id(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name != "id"]


@report.command(
    "forecast",
    epilog="""\b
Examples:
  radmeter report forecast --tenant acme
  radmeter report forecast --user alice --format json""",
)
@_subject_options
@unit_option
@format_option
@with_settings("state", "dsn", "read_dsn")
def forecast(settings: Settings, named: dict[str, str | None], unit: str | None, output_format: str) -> None:
    """Estimate what a router, a user or a tenant will have used at the end of the period.

    The period is the calendar month; of a user, the quota period. What is used so far is exact. Each day that is left
    is expected to be the mean of the same weekday in the last 8 weeks. The range is twice the standard deviation of
    these days around it, as if they were independent of each other. So it is an estimate: it knows of no holidays,
    guests or faults. With fewer than 14 days of history there is none.

    period_end is the first day after the period.
    """
    from radmeter.database.views import reading
    from radmeter.usage import forecast as estimating
    from radmeter.usage.subject import find_subject

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        subject = find_subject(connection, **named)
        begin, end, quota = _period(connection, subject)
        today = subject.today
        since = min(begin, today - datetime.timedelta(weeks=estimating.WEEKS))
        days = {day: each.total for day, each in subject.days(connection, since, today).items()}
    known = subject.complete_from
    try:
        found = estimating.forecast(
            days,
            first=begin,
            end=end,
            today=today,
            known_from=None if known is None else known.date() + datetime.timedelta(days=1),
        )
    except estimating.TooLittleHistory as few:
        raise StoreError(
            f"{subject.shown} has {counted(few.days, 'whole day')} of history: a forecast needs "
            f"{estimating.FEWEST_DAYS}, two of each weekday. `radmeter report usage` shows what is there"
        ) from None
    method = [each.format(weeks=estimating.WEEKS, days=found.days_of_history) for each in estimating.METHOD]
    row = {
        "kind": subject.kind,
        "name": subject.name,
        "period_start": begin,
        "period_end": end,
        "today": today,
        "days_left": found.days_left,
        "bytes_used": found.used,
        "bytes_expected": found.expected,
        "bytes_low": found.low,
        "bytes_high": found.high,
        "quota_bytes": quota,
        "days_of_history": found.days_of_history,
        "method": " ".join(method),
    }
    columns = [name for name in FORECAST if name != "quota_bytes" or subject.kind == "user"]
    if output_format != "table":
        emit_one(row, output_format, columns=columns)
        return
    (shown,) = _in_unit([row], unit or subject.unit or UNIT, output_format)
    emit_one(shown, output_format, columns=[name for name in columns if name != "method"])
    output.say("", *(line for each in method for line in textwrap.wrap(each, SCREEN)))


def _period(connection: "Connection", subject: "Subject") -> tuple[datetime.date, datetime.date, int | None]:
    """Return the period of today: its first day, the first one after it, and of a user the quota.

    Raises
    ------
    StoreError
        The user's period does not end.
    """
    from radmeter.usage import counters
    from radmeter.usage.spans import following

    if subject.kind != "user":
        first = subject.today.replace(day=1)
        return first, following(first, "month"), None
    first = counters.current_period(connection, subject.name)
    (row, *_) = counters.with_plan(connection, counters.user_usage(connection, subject.name, 1))
    if row["period_end"] is None:
        raise StoreError(
            f"the quota period of user {subject.name!r} has no end: there is nothing to forecast to"
        )
    quota = row["quota_bytes"]
    return first, row["period_end"], None if quota is None else int(quota)
