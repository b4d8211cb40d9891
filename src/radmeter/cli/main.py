"""The command `radmeter`: loads its subcommands when they are named, and turns errors into messages."""

import importlib
import logging
import os
import sys
from collections.abc import Sequence

import click

from radmeter import __version__, output
from radmeter.cli import config_option, mistakes
from radmeter.errors import ConfigurationError, RadmeterError
from radmeter.os_errors import explained

# A command is loaded when it is named, so that `radmeter ship` does not load what only `radmeter usage` needs.
COMMANDS = {
    "up": "radmeter.cli.up:up",
    "simulate": "radmeter.cli.simulate:simulate",
    "ship": "radmeter.cli.ship:ship",
    "jobs": "radmeter.cli.jobs:jobs",
    "freeradius": "radmeter.cli.freeradius:freeradius",
    "migrate": "radmeter.cli.migrate:migrate",
    "adopt": "radmeter.cli.adopt:adopt",
    "partitions": "radmeter.cli.partitions:partitions",
    "usage": "radmeter.cli.usage:usage",
    "sessions": "radmeter.cli.sessions:sessions",
    "routers": "radmeter.cli.routers:routers",
    "status": "radmeter.cli.status:status",
    "journal": "radmeter.cli.journal:journal",
    "backfill": "radmeter.cli.backfill:backfill",
    "verify": "radmeter.cli.verify:verify",
    "doctor": "radmeter.cli.doctor:doctor",
    "replay": "radmeter.cli.replay:replay",
    "rejected": "radmeter.cli.rejected:rejected",
    "people": "radmeter.cli.people:people",
    "limits": "radmeter.cli.limits:limits",
    "config": "radmeter.cli.config:config",
}

EXIT_FAILED = 1
EXIT_CONFIGURATION = 2


class LazyGroup(click.Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order in which an operator meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="radmeter")
@config_option.config_option
@click.pass_context
def cli(context: click.Context, config_file: str | None) -> None:
    """Exact usage counters from RADIUS accounting: FreeRADIUS plugin, shipper and PostgreSQL triggers.

    \b
    Try it:          radmeter up
    In production:   radmeter migrate up; radmeter ship; radmeter jobs run
    Read:            radmeter usage user alice; radmeter status

    Settings come from options, the environment and the configuration file; `radmeter config` shows what is in force.

    Exit codes: 0 done, 1 failed (the reason is on standard error), 2 wrong options or settings.
    """
    config_option.keep(context, config_file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. A user's mistake ends in a message, never in a traceback."""
    output.prepare()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        # ctx.exit(n) makes this return n. A command that returns makes it return None.
        code = cli.main(args=arguments, prog_name="radmeter", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        if context is not None:
            output.say(*context.get_usage().split("\n"), err=True)
            output.say(f"Try '{context.command_path} --help' for help.", "", err=True)
        output.say(f"error: {mistakes.message(error)}", err=True)
        sys.exit(error.exit_code)
    except RadmeterError as error:
        first, *more = map(str, error.args or (error,))
        output.say(f"error: {first}", *more, err=True)
        sys.exit(EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`radmeter sessions | head`). The rest of the buffer is thrown away.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except OSError as error:
        message = explained(error)
        if message is None:
            raise
        output.say(f"error: {message}", err=True)
        sys.exit(EXIT_FAILED)
