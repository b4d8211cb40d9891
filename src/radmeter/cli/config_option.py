"""The option --config, which every command has. It may also come before the command."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from radmeter.plugin.config_file import INSTALLED_FILE, VARIABLE, checkout

F = TypeVar("F", bound=Callable[..., Any])
# The keys of a --config and a --log-format before the command in click's context.
_BEFORE = "radmeter.config"
_LOG_FORMAT = "radmeter.log_format"


def config_option(function: F) -> F:
    """Add the option --config, as `config_file`."""
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        help=f"The configuration file.  [env: {VARIABLE}; default: {INSTALLED_FILE}, in a checkout var/radmeter.toml]",
    )(function)


def log_format_option(function: F) -> F:
    """Add the option --log-format before the command, as `log_format`."""
    return click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        help="How the log, and all else on standard error, is written.  [env: RADMETER_LOG_FORMAT; default: text]",
    )(function)


def keep(context: click.Context, config_file: str | None, log_format: str | None) -> None:
    """Keep the file and the format that were named before the command."""
    context.meta[_BEFORE] = config_file
    context.meta[_LOG_FORMAT] = log_format


def log_format(context: click.Context) -> str | None:
    """Return the format of the log that was named before the command; None: none was."""
    found: str | None = context.meta.get(_LOG_FORMAT)
    return found


def named(context: click.Context, config_file: str | None, *, trial: bool) -> str | None:
    """Return the file that an option names; None: none does.

    Parameters
    ----------
    config_file
        What --config after the command names.
    trial
        The command must not read the file of an installation unless that file is named. /dev/null stands for no file.
    """
    found = config_file or context.meta.get(_BEFORE)
    if found is None and trial and checkout() is None and not os.environ.get(VARIABLE):
        return os.devnull
    return found


def command(context: click.Context) -> dict[str, Any]:
    """Return the command that runs, such as ``jobs`` in `radmeter jobs run`, and all commands that there are."""
    path: list[str | None] = []
    while context.parent is not None:
        path.append(context.info_name)
        context = context.parent
    if not path or not isinstance(context.command, click.Group):
        return {}
    return {"program": path[-1], "programs": context.command.list_commands(context)}
