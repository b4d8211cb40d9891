"""`radmeter login list|set`: what users are told who may not log in, and other settings of logins."""

import click

from radmeter import output
from radmeter.cli.common import TEXT, emit, existing_database, list_options, reading_database, with_settings
from radmeter.cli.groups import group
from radmeter.config import Settings

COLUMNS = ["name", "value", "default", "meaning"]


@group(epilog='Example: radmeter login set message_over "Ihr Guthaben ist verbraucht."')
def login() -> None:
    """Show and set what refused users are told, and other settings of logins. They are kept in the database."""


@login.command("list", epilog="Example: radmeter login list --format json")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_settings(settings: Settings, output_format: str) -> None:
    """Show each setting: its value, default and meaning."""
    from radmeter.database.connection import connect
    from radmeter.database.login_settings import login_settings

    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        rows = login_settings(connection)
    emit(rows, output_format, columns=COLUMNS)


@login.command("set", epilog="Example: radmeter login set unknown_users refuse")
@click.argument("name", type=TEXT)
@click.argument("value", type=TEXT)
@with_settings("state", "dsn")
def set_setting(settings: Settings, name: str, value: str) -> None:
    """Set the setting NAME. `default` sets the default again. The next login is answered by it.

    A message may be in any language, and has at most 253 octets: that is what a RADIUS attribute holds.
    """
    from radmeter.database.login_settings import login_settings, set_login_setting
    from radmeter.database.operator import connect_as_operator

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        changed = set_login_setting(connection, name, None if value == "default" else value)
        now = next(row["value"] for row in login_settings(connection) if row["name"] == name)
    output.say(f"{name}: {now}" + ("" if changed else ", as before"))
