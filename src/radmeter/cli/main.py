"""The command `radmeter`: loads its subcommands when they are named, and turns errors into messages."""

import importlib
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from radmeter import __version__, output, waits
from radmeter.cli import config_option, mistakes
from radmeter.cli.groups import Group
from radmeter.errors import ConfigurationError, OutputError, RadmeterError
from radmeter.os_errors import explained

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# The sections of --help. Each command has its place, and its summary: the first sentence of its help. A command is
# loaded when it is named. So `radmeter --help` loads none, and `radmeter ship` not what only `radmeter usage` needs.
SECTIONS = {
    "Try it": {
        "up": (
            "radmeter.cli.up:up",
            "Run everything on this machine: PostgreSQL, FreeRADIUS, shipper, jobs, server, and simulated traffic.",
        ),
        "simulate": (
            "radmeter.cli.simulate:simulate",
            "Simulate routers and users for a RADIUS accounting server.",
        ),
    },
    "Read": {
        "usage": (
            "radmeter.cli.usage:usage",
            "Show what a user or a router has used, open sessions included.",
        ),
        "quota": ("radmeter.cli.quota:quota", "Show which users have come to a limit."),
        "explain": (
            "radmeter.cli.explain:explain",
            "Show the sessions and corrections that make up what USER has used in a quota period.",
        ),
        "sessions": ("radmeter.cli.sessions:sessions", "List sessions, newest first, a page at a time."),
        "report": (
            "radmeter.cli.report:report",
            "Show usage by day, week or month, who used the most, months compared, and a forecast.",
        ),
        "top": ("radmeter.cli.top:top", "Show live who uses what: users, routers, packets per second."),
        "routers": ("radmeter.cli.routers:routers", "List, add, claim, import, change and merge routers."),
        "queue": (
            "radmeter.cli.queue:queue",
            "Show the requests to routers, send them again, or give them up.",
        ),
        "disconnect": (
            "radmeter.cli.disconnect:disconnect",
            "End the open sessions of USER, or one session, at their routers.",
        ),
        "people": (
            "radmeter.cli.people:people",
            "Show what is stored about a person, and erase it (GDPR articles 15 and 17).",
        ),
    },
    "Plans and users": {
        "plans": (
            "radmeter.cli.plans:plans",
            "Add, list, change and retire plans: what users may use in a period, and how fast.",
        ),
        "users": (
            "radmeter.cli.users:users",
            "Give plans to users, top up, suspend, import a list, and show what users have left.",
        ),
    },
    "Billing": {
        "tenants": (
            "radmeter.cli.tenants:tenants",
            "Add, list and change tenants, and say what their usage costs.",
        ),
        "billing": (
            "radmeter.cli.billing:billing",
            "Close months, and issue, credit, print and export documents.",
        ),
    },
    "Check": {
        "status": (
            "radmeter.cli.status:status",
            "Show what is in the journal, how far and how fast each node is ingested, and what an operator has to do.",
        ),
        "alerts": (
            "radmeter.cli.alerts:alerts",
            "Show what is wrong: silent routers, sites that are down, unusual traffic.",
        ),
        "doctor": (
            "radmeter.cli.doctor:doctor",
            "Check everything: say what is wrong, with which object, and print the command that repairs it.",
        ),
        "verify": (
            "radmeter.cli.verify:verify",
            "Recompute the counters from the sessions, list those that differ, and check the guarantees of the schema.",
        ),
        "audit": (
            "radmeter.cli.audit:audit",
            "Show what people changed by hand, and check that no line of it was changed or removed.",
        ),
        "metrics": (
            "radmeter.cli.metrics:metrics",
            "Print the metrics of the database and of this host's journal, as Prometheus reads them.",
        ),
        "journal": (
            "radmeter.cli.journal:journal",
            "Show the journal's segments, acknowledge what is missing, and save damaged or orphaned segments.",
        ),
        "rejected": (
            "radmeter.cli.rejected:rejected",
            "Show packets that could not be counted, count them again, or give them up.",
        ),
    },
    "Run": {
        "cache": (
            "radmeter.cli.cache:cache",
            "Show and empty the cache of plans, by which FreeRADIUS lets users in while the database is away.",
        ),
        "ship": (
            "radmeter.cli.ship:ship",
            "Ship the journal into the database, in batches, exactly once.",
        ),
        "serve": (
            "radmeter.cli.serve:serve",
            "Serve the page of the NOC, pages for hosts, the HTTP API and metrics, to who has a key.",
        ),
        "jobs": (
            "radmeter.cli.jobs:jobs",
            "Close stale sessions, make partitions ahead, archive, remove or clear what is too old.",
        ),
        "replay": (
            "radmeter.cli.replay:replay",
            "Ship FreeRADIUS detail files, plain or compressed with gzip; - is standard input.",
        ),
    },
    "Set up": {
        "config": (
            "radmeter.cli.config:config",
            "Show every setting: its value, where it came from, its variable, default and meaning.",
        ),
        "webhooks": (
            "radmeter.cli.webhooks:webhooks",
            "Tell other programs by HTTP who was warned, is over the quota, or is served again, and of alerts.",
        ),
        "keys": ("radmeter.cli.keys:keys", "Add, list, rotate and revoke keys of the HTTP API."),
        "limits": ("radmeter.cli.limits:limits", "Show and set the limits of this installation."),
        "login": (
            "radmeter.cli.login:login",
            "Show and set what refused users are told, and other settings of logins.",
        ),
        "freeradius": (
            "radmeter.cli.freeradius:freeradius",
            "Put radmeter into the configuration of a FreeRADIUS that is in use.",
        ),
        "migrate": (
            "radmeter.cli.migrate:migrate",
            "Create or upgrade radmeter's tables, functions, triggers and roles, while packets come in.",
        ),
        "adopt": (
            "radmeter.cli.adopt:adopt",
            "Adopt the radacct of a FreeRADIUS database: it becomes the oldest partition of radmeter's radacct.",
        ),
        "backfill": ("radmeter.cli.backfill:backfill", "Count the history of an adopted radacct."),
        "partitions": (
            "radmeter.cli.partitions:partitions",
            "List months of sessions, make them, archive old ones into Parquet files, and restore them.",
        ),
    },
}
COMMANDS = {name: about for section in SECTIONS.values() for name, about in section.items()}

EXIT_FAILED = 1
EXIT_CONFIGURATION = 2


class LazyGroup(Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of --help."""
        return list(COMMANDS)

    def sections(self, ctx: click.Context) -> list[tuple[str, list[str]]]:
        """Return the headings of --help, and the commands under each."""
        return [(heading, list(commands)) for heading, commands in SECTIONS.items()]

    def summary(self, ctx: click.Context, name: str) -> str:
        """Return a command's summary without loading the command. A test compares it with the command's help."""
        return COMMANDS[name][1].removesuffix(".")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Return the commands and options that begin with a text. Completion loads no command either."""
        # Imported here because it is only needed when a shell asks.
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=self.summary(ctx, name))
            for name in COMMANDS
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="radmeter")
@config_option.log_format_option
@config_option.config_option
@click.pass_context
def cli(context: click.Context, config_file: str | None, log_format: str | None) -> None:
    """Exact usage counters from RADIUS accounting: FreeRADIUS plugin, shipper and PostgreSQL triggers.

    \b
    Try it:          radmeter up
    In production:   radmeter migrate up; radmeter ship; radmeter jobs run
    Read:            radmeter usage user alice; radmeter status

    Settings come from options, the environment and the configuration file; `radmeter config` shows what is in force.

    Exit codes: 0 done, 1 failed (the reason is on standard error), 2 wrong options or settings.
    """
    config_option.keep(context, config_file, log_format)
    if log_format is not None:
        output.log_as(log_format)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. A user's mistake ends in a message, never in a traceback."""
    output.prepare()
    waits.use(
        lambda text: output.say(text, err=True),
        waits.AT_TERMINAL_SECONDS if output.is_terminal(err=True) else waits.ELSEWHERE_SECONDS,
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        # ctx.exit(n) makes this return n. A command that returns makes it return None.
        code = cli.main(args=arguments, prog_name="radmeter", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        # A group without a command. The text is that of --help.
        _complain(*error.message.split("\n"))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        usage = []
        if context is not None:
            usage = [*context.get_usage().split("\n"), f"Try '{context.command_path} --help' for help.", ""]
        _complain(*usage, f"error: {mistakes.message(error)}")
        sys.exit(error.exit_code)
    except RadmeterError as error:
        output.settle()
        first, *more = map(str, error.args or (error,))
        _complain(f"error: {first}", *more)
        sys.exit(EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`radmeter sessions | head`).
        output.settle()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        message = explained(error)
        if message is None:
            raise
        if error.filename is None:
            # Commands explain their errors themselves. So click wrote --help, or the script for completion.
            message = output.refused(error)
        output.settle()
        _complain(f"error: {message}")
        sys.exit(EXIT_FAILED)


def _complain(*lines: str) -> None:
    """Say lines on standard error. If it takes none, only the exit code tells."""
    with suppress(OutputError):
        output.say(*lines, err=True)
