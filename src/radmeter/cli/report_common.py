"""What the reports have in common: whose usage, which days, how many rows, and in which unit."""

import datetime
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import click

from radmeter.cli.common import TEXT, Figure, Row
from radmeter.cli.months import DAY
from radmeter.units import VOLUMES, in_unit

F = TypeVar("F", bound=Callable[..., Any])

# Ten years and a leap day or three: a row for each day is made.
MOST_DAYS = 3_660
# Rates are per GB if nothing else is said.
UNIT = "GB"


def subject_options(function: F) -> F:
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


def shown_in_unit(rows: Sequence[Row], unit: str, output_format: str) -> list[Row]:
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


def span_options(function: F) -> F:
    """Add --from and --to."""
    command: Any = function
    for option, name, help_text in (
        ("--to", "last", "The last day.  [default: today]"),
        ("--from", "first", "The first day.  [default: the first of the last day's month]"),
    ):
        command = click.option(option, name, type=DAY, metavar="DAY", help=help_text)(command)
    return cast(F, command)


def span_of(
    first: datetime.datetime | None, last: datetime.datetime | None, today: datetime.date
) -> tuple[datetime.date, datetime.date]:
    end = last.date() if last else today
    begin = first.date() if first else end.replace(day=1)
    if begin > end:
        raise click.UsageError(f"--from {begin} is after {'--to' if last else 'today,'} {end}")
    if (end - begin).days >= MOST_DAYS:
        raise click.UsageError(f"{begin} to {end} are more than {MOST_DAYS:,} days")
    return begin, end


def top_option(function: F) -> F:
    return click.option(
        "--top", "most", type=click.IntRange(1, 10_000_000), default=20, show_default=True, help="How many."
    )(function)
