"""`radmeter report top`: the users or the routers with the most usage."""

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING

from radmeter.cli import times
from radmeter.cli.common import Row, emit, list_options, reading_database, with_settings
from radmeter.cli.groups import group
from radmeter.cli.report_common import UNIT, shown_in_unit, span_of, span_options, top_option, unit_option
from radmeter.config import Settings
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.database.connection import Connection

USERS = ("username", "periods", "bytes_in", "bytes_out", "bytes_total")
ROUTERS = ("router_id", "router", "days", "bytes_in", "bytes_out", "bytes_total")


def _options(command: Callable[..., None]) -> Callable[..., None]:
    with_database = with_settings("state", "dsn", "read_dsn")(command)
    return span_options(top_option(unit_option(list_options(with_database))))


@group(epilog="Example: radmeter report top routers --from 2026-10-01 --top 10")
def top() -> None:
    """Show the users or the routers with the most usage."""


@top.command("users", epilog="Example: radmeter report top users --from 2026-10-01 --format csv")
@_options
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
    emit(shown_in_unit(rows, unit or UNIT, output_format), output_format, columns=USERS, title=title)


@top.command("routers", epilog="Example: radmeter report top routers --from 2026-10-01 --top 10")
@_options
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
        shown_in_unit(rows, unit or UNIT, output_format),
        output_format,
        columns=ROUTERS,
        short=ROUTERS[1:],
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
        begin, end = span_of(first, last, today(connection))
        return begin, end, read(connection, begin, end)
