"""`radmeter migrate`: bring the database to the newest schema."""

import click

from radmeter import schema
from radmeter.cli.common import with_settings
from radmeter.config import Settings
from radmeter.embedded import open_database


@click.group()
def migrate() -> None:
    """Create or upgrade radmeter's tables, functions and triggers."""


@migrate.command("up", epilog="Example: RADMETER_DSN=postgresql://owner@db/radius radmeter migrate up")
@with_settings("state", "dsn", "timezone")
def up(settings: Settings) -> None:
    """Bring the database to the newest schema. Safe to run twice, and from two places at once."""
    with open_database(settings) as database:
        explicit = settings.source("timezone") != "default"
        schema.upgrade(database.dsn, timezone=settings.timezone if explicit else None)
    click.echo("the schema is up to date")
