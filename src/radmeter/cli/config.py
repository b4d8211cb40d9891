"""`radmeter config`: the settings in force."""

import textwrap

import click

from radmeter import output
from radmeter.cli.common import emit, format_option, with_settings
from radmeter.config import ALL, Settings

COLUMNS = ["name", "variable", "value", "source", "default", "meaning"]
# In a narrower terminal the columns would break the names of the variables.
WIDE = 150


@click.command(
    epilog="""\b
Examples:
  radmeter config
  radmeter config --config /etc/radmeter/radmeter.toml
  RADMETER_SYNC=interval radmeter config --state /var/lib/radmeter
"""
)
@with_settings(*(setting.name for setting in ALL))
@format_option
def config(settings: Settings, output_format: str) -> None:
    """Show every setting: its value, where it came from, its variable, default and meaning.

    An option wins over the environment, that over the configuration file, and that over the default. The source of a
    value is the option, the variable, or the file with the table in it. Passwords and secrets are not shown.
    """
    rows = settings.in_force()
    width = output.console().width
    if output_format != "table" or width >= WIDE:
        emit([row._asdict() for row in rows], output_format, columns=COLUMNS)
        return
    for row in rows:
        default = f", default {row.default}" if row.source != "default" and row.default else ""
        output.say(f"{row.name} = {row.value}  ({row.source}{default})")
        meaning = f"{row.meaning} [{row.variable}]"
        output.say(*textwrap.wrap(meaning, width, initial_indent="    ", subsequent_indent="    "))
