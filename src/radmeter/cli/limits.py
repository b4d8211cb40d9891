"""`radmeter limits list|set`: the limits that keep a flood from filling tables."""

import textwrap
from typing import Any

import click

from radmeter import output
from radmeter.cli.common import (
    TEXT,
    confirm,
    emit,
    existing_database,
    is_short,
    list_options,
    reading_database,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.config import Settings

# What the names of the limits contain beyond which the jobs remove or clear what is stored.
KEEP = "_keep_"
# Longer lines of prose are hard to read.
PROSE = 100
COLUMNS = ["name", "value", "default", "unit", "meaning"]


class Value(click.types.StringParamType):
    """A limit: a whole number, ``off`` or ``default``."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or end with a usage error."""
        text = str(value)
        if text not in ("off", "default") and not (text.isascii() and text.isdigit() and len(text) < 19):
            self.fail(f"{value!r} is neither a whole number nor `off` nor `default`", param, ctx)
        return text


@group(epilog="Example: radmeter limits set discoveries_per_client_hour 5000")
def limits() -> None:
    """Show and set the limits of this installation. They are kept in the database."""


@limits.command("list", epilog="Example: radmeter limits list --format json")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_limits(settings: Settings, output_format: str) -> None:
    """Show each limit: its value, default, unit and meaning."""
    from radmeter.database import limits as read
    from radmeter.database.connection import connect

    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        rows = read.limits(connection)
    if is_short(output_format):
        for row in rows:
            default = "" if row["value"] == row["default"] else f"  (default {_shown(row['default'])})"
            unit = "" if row["value"] is None else f" {row['unit']}"
            output.say(f"{row['name']} = {_shown(row['value'])}{unit}{default}")
            width = min(output.width() or PROSE, PROSE)
            output.say(*textwrap.wrap(row["meaning"], width, initial_indent="    ", subsequent_indent="    "))
        return
    if output_format == "table":
        rows = [{**row, **{name: _shown(row[name]) for name in ("value", "default")}} for row in rows]
    emit(rows, output_format, columns=COLUMNS)


@limits.command("set", epilog="Example: radmeter limits set discoveries_per_client_hour off")
@click.argument("name", type=TEXT)
@click.argument("value", metavar="NUMBER|off|default", type=Value())
@click.option("--yes", is_flag=True, help="Do not ask before data is removed.")
@with_settings("state", "dsn")
def set_limit(settings: Settings, name: str, value: str, yes: bool) -> None:
    """Set the limit NAME. `off` means no limit, `default` sets the default again. The audit log notes the change.

    Before a limit is lowered beyond which data is removed, such as rejected_keep_days, the command asks.
    """
    from radmeter.database import limits as write
    from radmeter.database.operator import connect_as_operator

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        if KEEP in name and _lowered(write.limits(connection), name, value):
            confirm(
                f"Beyond {name} the jobs remove data, and nothing brings it back. Set it to {value}?", yes
            )
        changed = write.set_limit(connection, name, None if value == "default" else value)
        now = next(row["value"] for row in write.limits(connection) if row["name"] == name)
    output.say(f"{name}: {_shown(now)}" + ("" if changed else ", as before"))


def _lowered(rows: list[dict[str, Any]], name: str, value: str) -> bool:
    """Return whether a value is lower than the one in force. Of a value that is none, the database tells."""
    for row in rows:
        if row["name"] == name:
            new = row["default"] if value == "default" else int(value) if value.isdecimal() else None
            return new is not None and (row["value"] is None or new < row["value"])
    return False


def _shown(value: int | None) -> str:
    return "off" if value is None else f"{value:,}"
