"""`radmeter doctor`: one screen of what is well and what is wrong, with the commands that repair it."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

from radmeter import output
from radmeter.cli.common import emit_json, existing_database, with_settings
from radmeter.config import Settings
from radmeter.doctor.commands import by_path, without_sudo
from radmeter.doctor.finding import Finding, Level
from radmeter.errors import StoreError
from radmeter.printable import printable

EXIT_COULD_NOT_LOOK, EXIT_FOUND = 1, 3
COLORS = {Level.GREEN: "green", Level.YELLOW: "yellow", Level.RED: "red", Level.UNKNOWN: "bright_black"}
# The width of the first two columns. The third column is indented by both.
LEVEL_WIDTH, CHECK_WIDTH = 8, 13
INDENT = " " * (LEVEL_WIDTH + CHECK_WIDTH)
# The parts of a line: text, or text in bold with its color.
Line = tuple[str | tuple[str, str | None], ...]
# How many findings of one check are shown without --verbose.
SHOWN = 6
DETAILS = 60


@click.command(
    epilog="""\b
Examples:
  radmeter doctor
  radmeter doctor --verbose
  radmeter doctor --only schema --only partitions
  radmeter doctor --raddb /etc/freeradius/3.0 --check-config
  radmeter doctor --strict --format json

\b
Exit codes:
  0  nothing is red (with --strict: nothing is yellow either)
  1  the database does not answer; doctor shows what it can check without it
  2  wrong options or settings
  3  something is red
"""
)
@click.option(
    "--raddb",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="FreeRADIUS's configuration directory.  [default: the running server's, or the usual places]",
)
@click.option(
    "--check-config", is_flag=True, help="Also ask FreeRADIUS itself (radiusd -C, which serves no packets)."
)
@click.option(
    "--only",
    multiple=True,
    metavar="CHECK",
    help="Run only this check, such as schema. May be given several times.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 for yellow as well.")
@click.option("--verbose", is_flag=True, help="Show all findings, with details.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="table for people; json for programs.",
)
@with_settings("state", "dsn", "journal")
def doctor(
    settings: Settings,
    raddb: Path | None,
    check_config: bool,
    only: tuple[str, ...],
    strict: bool,
    verbose: bool,
    output_format: str,
) -> None:
    """Check everything: say what is wrong, with which object, and print the command that repairs it.

    green is well. yellow works, but not for ever. red does not work, counts wrong, or soon will. unknown could not be
    checked, for instance because this database role may not see it.

    doctor only reads, waits for no lock, and takes a few seconds. Run its commands in a shell with the same settings.
    If a psql command asks for a password, give that of the database's owner.
    """
    findings, lost = _examine(settings, raddb, check_config, only)
    level = _worst(findings, strict)
    if output_format == "json":
        emit_json(_as_json(findings))
    else:
        for line in _lines(findings, verbose):
            output.say_styled(*line)
    if lost:
        sys.exit(EXIT_COULD_NOT_LOOK)
    if level is Level.RED:
        sys.exit(EXIT_FOUND)


def _examine(
    settings: Settings, raddb: Path | None, check_config: bool, only: tuple[str, ...]
) -> tuple[list[Finding], bool]:
    """Return the findings, and whether the database did not answer or was lost before the end."""
    from radmeter.database.connection import connect
    from radmeter.doctor import connection
    from radmeter.doctor.checks import CHECKS
    from radmeter.doctor.context import Context
    from radmeter.doctor.runner import bounded, examine

    names = [named.name for named in CHECKS]
    if unknown := sorted(set(only) - set(names)):
        raise click.UsageError(f"--only {unknown[0]}: the checks are {', '.join(names)}")
    # The check of the connection collects the facts that the others need.
    checks = [named for named in CHECKS if not only or named.name in (*only, "connection")]
    findings: list[Finding] = []
    context = Context(settings=settings, raddb=raddb, check_config=check_config)
    with ExitStack() as stack:
        try:
            context.dsn = stack.enter_context(existing_database(settings))
            context.connection = connect(context.dsn)
            stack.callback(context.connection.close)
            bounded(context.connection)
        except Exception as error:
            if not isinstance(error, StoreError | OSError | _database_error()):
                raise
            context.connection = None
            findings.append(connection.failed(context, error))
        examine(context, checks, findings.append)
        if context.connection is None:
            stack.pop_all()  # closing may hang: the process ends without it
    return sorted(findings, key=lambda each: names.index(each.check)), context.connection is None


def _database_error() -> type[Exception]:
    import psycopg

    return psycopg.Error


def _worst(findings: list[Finding], strict: bool) -> Level:
    levels = {each.level for each in findings}
    if Level.RED in levels or (strict and Level.YELLOW in levels):
        return Level.RED
    return Level.YELLOW if Level.YELLOW in levels else Level.GREEN


def _as_json(findings: list[Finding]) -> dict[str, object]:
    return {
        "status": str(_worst(findings, strict=False)),
        "counts": {str(level): sum(each.level is level for each in findings) for level in Level},
        "findings": [asdict(each) for each in findings],
    }


def _lines(findings: list[Finding], verbose: bool) -> Iterator[Line]:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for check in dict.fromkeys(each.check for each in findings):
        of_check = [each for each in findings if each.check == check]
        shown = of_check if verbose else of_check[:SHOWN]
        for number, finding in enumerate(shown):
            yield from _finding(finding, width, verbose)
            following = shown[number + 1] if number + 1 < len(shown) else None
            if following is None or (finding.remedy, finding.note) != (following.remedy, following.note):
                yield from _remedy(finding, width)
        if hidden := of_check[len(shown) :]:
            yield (f"{INDENT}and {len(hidden)} more: radmeter doctor --verbose",)
    counts = {level: sum(each.level is level for each in findings) for level in Level}
    said = ", ".join(f"{count} {level}" for level, count in counts.items() if count)
    yield ((said, COLORS[_worst(findings, strict=False)]),)


def _finding(finding: Finding, width: int, verbose: bool) -> Iterator[Line]:
    level = (f"{finding.level:<{LEVEL_WIDTH}}", COLORS[finding.level])
    parts = _wrapped(printable(finding.said), width)
    yield level, f"{finding.check:<{CHECK_WIDTH}}{parts[0]}"
    yield from ((INDENT + part,) for part in parts[1:])
    if verbose:
        yield from ((f"{INDENT}  {each}",) for each in finding.detail[:DETAILS])


def _remedy(finding: Finding, width: int) -> Iterator[Line]:
    if finding.remedy:
        # A command is never broken into lines, so that it can be pasted.
        lacks_sudo = os.geteuid() == 0 and shutil.which("sudo") is None
        command = by_path(without_sudo(finding.remedy) if lacks_sudo else finding.remedy)
        yield " " * LEVEL_WIDTH, ("run:", None), " " * (CHECK_WIDTH - 4) + command
    if finding.note:
        parts = _wrapped(printable(finding.note), width)
        yield " " * LEVEL_WIDTH, ("note:", None), " " * (CHECK_WIDTH - 5) + parts[0]
        yield from ((INDENT + part,) for part in parts[1:])


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines that fit beside the first two columns."""
    room = width - len(INDENT)
    return textwrap.wrap(text, room, break_on_hyphens=False) if room > 20 and text else [text]
