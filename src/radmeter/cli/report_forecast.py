"""`radmeter report forecast`: what will have been used at the end of the period."""

import datetime
import textwrap
from typing import TYPE_CHECKING

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import emit_one, format_option, reading_database, with_settings
from radmeter.cli.report_common import UNIT, shown_in_unit, subject_options, unit_option
from radmeter.config import Settings
from radmeter.errors import StoreError
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.database.connection import Connection
    from radmeter.usage.subject import Subject

COLUMNS = (
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
# The sentences of the method are read on any terminal.
SCREEN = 80


@click.command(
    "forecast",
    epilog="""\b
Examples:
  radmeter report forecast --tenant acme
  radmeter report forecast --user alice --format json""",
)
@subject_options
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
    columns = [name for name in COLUMNS if name != "quota_bytes" or subject.kind == "user"]
    if output_format != "table":
        emit_one(row, output_format, columns=columns)
        return
    (shown,) = shown_in_unit([row], unit or subject.unit or UNIT, output_format)
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
