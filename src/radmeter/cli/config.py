"""`radmeter config`: the settings in force."""

import click

from radmeter.cli.common import emit, format_option, with_settings
from radmeter.config import ALL, Settings

COLUMNS = ["name", "variable", "value", "source", "default", "meaning"]


@click.command(epilog="Example: RADMETER_SYNC=interval radmeter config --state /var/lib/radmeter")
@with_settings(*(setting.name for setting in ALL))
@format_option
def config(settings: Settings, output_format: str) -> None:
    """Show every setting: its value, where it came from, its variable, default and meaning.

    An option wins over the environment, the environment over the default. Passwords and secrets are not
    shown.
    """
    emit([row._asdict() for row in settings.in_force()], output_format, columns=COLUMNS)
