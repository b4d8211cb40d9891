"""Days and months as arguments of commands: YYYY-MM-DD, YYYY-MM, and spans of months."""

import datetime
from typing import TYPE_CHECKING, Any

import click

from radmeter.partitions.span import MOST_MONTHS

if TYPE_CHECKING:
    from radmeter.billing.months import Month as CalendarMonth

DAY = click.DateTime(["%Y-%m-%d"])


class Month(click.types.StringParamType):
    """A month, as its first instant in UTC."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the month, or end with a usage error."""
        if isinstance(value, datetime.datetime):
            return value
        try:
            return datetime.datetime.strptime(value, "%Y-%m").replace(tzinfo=datetime.UTC)
        except ValueError:
            self.fail(f"{value!r} is not a month: write YYYY-MM, such as 2026-03", param, ctx)


class Months(click.types.StringParamType):
    """A month, or a span of months such as 2024-03..2025-08."""

    name = "months"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the months, or end with a usage error."""
        if isinstance(value, tuple):
            return value
        begin, dots, end = value.partition("..")
        first = MONTH.convert(begin, param, ctx)
        last = MONTH.convert(end, param, ctx) if dots else first
        count = (last.year - first.year) * 12 + last.month - first.month + 1
        if count < 1:
            self.fail(f"{value!r} ends before it begins", param, ctx)
        if count > MOST_MONTHS:
            self.fail(f"{value!r} has {count} months, more than {MOST_MONTHS}", param, ctx)
        months = range(first.month - 1, first.month - 1 + count)
        return tuple(first.replace(year=first.year + each // 12, month=each % 12 + 1) for each in months)


class CalendarMonthType(click.ParamType["CalendarMonth"]):
    """A month as its days, in whatever time zone."""

    name = "month"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "CalendarMonth":
        """Return the month, or end with a usage error."""
        from radmeter.billing.months import BadMonth, month

        if not isinstance(value, str):
            return value  # type: ignore[no-any-return] # converted already
        try:
            return month(value)
        except BadMonth as error:
            self.fail(str(error), param, ctx)


MONTH = Month()
CALENDAR_MONTH = CalendarMonthType()
