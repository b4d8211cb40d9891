"""`radmeter cache status|drop`: what FreeRADIUS keeps of users' plans for the time when the database is away."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from radmeter import output
from radmeter.cli.common import TEXT, emit_one, format_option, with_settings
from radmeter.cli.groups import group
from radmeter.config import Settings

if TYPE_CHECKING:
    from radmeter.freeradius import plan_cache

COLUMNS = ["age_seconds", "users", "hits", "misses", "stored", "dropped"]
OF_USER = ["username", "cached", "age_seconds"]
raddb_option = click.option(
    "--raddb",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="FreeRADIUS's configuration directory.  [default: the running server's, or the usual places]",
)


@group(epilog="Example: radmeter cache drop alice")
def cache() -> None:
    """Show and empty the cache of plans, by which FreeRADIUS lets users in while the database is away."""


@cache.command(
    epilog="""\b
Examples:
  radmeter cache status
  radmeter cache status alice --format json
"""
)
@click.argument("username", metavar="[USER]", required=False, type=TEXT)
@raddb_option
@format_option
@with_settings("journal", "state")
def status(settings: Settings, username: str | None, raddb: Path | None, output_format: str) -> None:
    """Show the cache's age, how many users are in it, and its hits and misses; or the age of a user's entry.

    Hits and misses are logins while the database was away. Users are counted as they are stored: those whose entries
    expired since are among them until their next login.
    """
    from radmeter.freeradius import plan_cache

    place = _place(settings, raddb)
    if username is None:
        emit_one(plan_cache.status(place), output_format, columns=COLUMNS)
        return
    age = plan_cache.age_of(place, username)
    emit_one(
        {"username": username, "cached": age is not None, "age_seconds": age}, output_format, columns=OF_USER
    )


@cache.command(epilog="Example: radmeter cache drop --all")
@click.argument("username", metavar="[USER]", required=False, type=TEXT)
@click.option("--all", "everything", is_flag=True, help="Empty the cache.")
@raddb_option
@with_settings("journal", "state")
def drop(settings: Settings, username: str | None, everything: bool, raddb: Path | None) -> None:
    """Remove a user's plan from the cache, or all plans. The next login stores it again."""
    from radmeter.freeradius import plan_cache

    if everything == (username is not None):
        raise click.UsageError("name a user, or --all")
    dropped = plan_cache.drop(_place(settings, raddb), username)
    output.say(
        "the cache is empty" if everything else f"{username}: {'dropped' if dropped else 'was not in it'}"
    )


def _place(settings: Settings, given: Path | None) -> "plan_cache.Place":
    """Return where the cache is: with --raddb, that of this configuration."""
    from radmeter.freeradius import installed, plan_cache

    raddb = installed.raddb(given, settings.journal)[0]
    return plan_cache.find(raddb, None if given else settings.state)
