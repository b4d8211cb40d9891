"""The time zone in which commands show times to people: the installation's, or UTC with --utc.

JSON and CSV have each time with its offset, whatever the zone is.
"""

import datetime
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from radmeter.errors import StoreError

if TYPE_CHECKING:
    from radmeter.database.connection import Connection

# The keys in click's context.
UTC = "radmeter.utc"
ZONE = "radmeter.zone"


def use_zone(connection: "Connection", *, if_permitted: bool = False) -> None:
    """Show times in the installation's time zone from now on, which the database knows.

    Parameters
    ----------
    if_permitted
        A role that may not ask for it goes on with the machine's own zone. Only in autocommit mode.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return
    # Imported here because psycopg loads slowly, and --help needs none.
    from radmeter.database.connection import explained_errors

    with suppress(StoreError) if if_permitted else nullcontext(), explained_errors("radmeter_reader"):
        row = connection.execute("SELECT radmeter.setting_value('timezone')").fetchone()
        if row is not None and row[0]:
            context.meta[ZONE] = row[0]


def zone() -> datetime.tzinfo | None:
    """Return the zone in which times are shown; None: that of this machine."""
    context = click.get_current_context(silent=True)
    if context is None:
        return None
    if context.meta.get(UTC):
        return datetime.UTC
    name = context.meta.get(ZONE)
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the server's list of zones is newer than ours
        return datetime.UTC


def zone_name() -> str:
    """Return the name of the zone for a heading."""
    found = zone()
    if isinstance(found, ZoneInfo):
        return found.key
    return str(found or datetime.datetime.now().astimezone().tzname())


def shown(moment: datetime.datetime) -> str:
    """Return a time with the abbreviation of its zone, for text without a heading."""
    return moment.astimezone(zone()).strftime("%Y-%m-%d %H:%M:%S %Z")


def to_the_minute(moment: datetime.datetime) -> str:
    """Return a time for a table whose heading names the zone."""
    return moment.astimezone(zone()).strftime("%Y-%m-%d %H:%M")


def of_a_packet(moment: datetime.datetime) -> str:
    """Return a time to the second for a table whose heading names the zone."""
    return moment.astimezone(zone()).strftime("%Y-%m-%d %H:%M:%S")


def to_the_second(moment: datetime.datetime) -> str:
    """Return a time for a wide table whose heading names the zone. The offset tells the hours of autumn apart."""
    return moment.astimezone(zone()).strftime("%Y-%m-%d %H:%M:%S%z")
