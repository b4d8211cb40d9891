"""`radmeter routers`: the routers there are, and which of them the NOC knows."""

import os
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

import click

from radmeter.cli.common import (
    TEXT,
    emit,
    emit_one,
    existing_database,
    format_option,
    printable,
    with_settings,
)
from radmeter.config import Settings
from radmeter.errors import RadmeterError

COLUMNS = ("id", "name", "mac", "nas_identifier", "ip_address", "timezone", "status")
DETAILS = (
    *COLUMNS,
    "discovery_key",
    "created_at",
    "updated_at",
    "open_sessions",
    "last_packet_at",
    "clock_skew_seconds",
    "bytes_today",
)
BATCH_LINES = 5000
LONG_FILE_BYTES = 1 << 17
OUTCOMES = ("added", "claimed", "updated", "unchanged", "refused")

_GIVEN = (
    click.option("--mac", type=TEXT, help="MAC address, in any of the usual forms."),
    click.option("--nas-identifier", type=TEXT, help="The NAS-Identifier it sends."),
    click.option("--ip", "ip_address", type=TEXT, help="The address of its packets, where no other has it."),
    click.option("--timezone", type=TEXT, help="IANA name; its days begin at midnight there."),
)


def _given_options(command: Any) -> Any:
    for option in reversed(_GIVEN):
        command = option(command)
    return command


@click.group(epilog="Example: radmeter routers list --status discovered")
def routers() -> None:
    """List, add, claim and import routers.

    A router that is not known here is discovered by its first packet, so that its usage is kept; claim it to give
    it a name. Routers are recognised by MAC, then by NAS-Identifier, then by address.
    """


@routers.command("list", epilog="Example: radmeter routers list --status discovered")
@click.option("--status", type=click.Choice(["active", "discovered", "retired"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="How many.")
@click.option(
    "--after", metavar="ID", type=click.IntRange(0, 2**63 - 1), default=0, help="Go on after this id."
)
@format_option
@with_settings("state", "dsn")
def list_(settings: Settings, status: str | None, limit: int, after: int, output_format: str) -> None:
    """List routers in the order of their ids."""
    from radmeter.routers import list_routers
    from radmeter.views import reading

    with existing_database(settings) as dsn, reading(dsn) as connection:
        rows, more = list_routers(connection, status=status, after=after, limit=limit)
    emit(rows, output_format, columns=COLUMNS)
    if more:
        click.echo(f"There are more: go on with --after {rows[-1]['id']}", err=True)


@routers.command("show", epilog="Example: radmeter routers show lobby")
@click.argument("router", metavar="NAME|MAC|#ID", type=TEXT)
@format_option
@with_settings("state", "dsn")
def show(settings: Settings, router: str, output_format: str) -> None:
    """Show all there is to know about a router: its keys, its open sessions, its clock, its usage today."""
    from radmeter import usage
    from radmeter.routers import activity, find_router
    from radmeter.views import reading

    with existing_database(settings) as dsn, reading(dsn) as connection:
        found = find_router(connection, router)
        (today, *_) = [
            row for row in usage.router_usage(connection, found, 1) if row["usage_date"] == found.today
        ]
        row = {**vars(found), **activity(connection, found), "bytes_today": today["bytes_total"]}
    emit_one(row, output_format, columns=DETAILS)


@routers.command(
    "add",
    epilog="Example: radmeter routers add --name lobby --mac AA-BB-CC-DD-EE-FF --timezone Europe/Berlin",
)
@click.option("--name", type=TEXT, required=True, help="Its name, which no other has.")
@_given_options
@with_settings("state", "dsn")
def add(settings: Settings, name: str, **given: str | None) -> None:
    """Add a router that has not been discovered yet."""
    from radmeter.inventory import BadLine, Line
    from radmeter.routers import writing

    with existing_database(settings) as dsn, writing(dsn) as writer:
        line = Line.checked({"name": name, **given}, writer.timezones() if given["timezone"] else {})
        if line.name is None:
            raise BadLine("the name is empty: give one with --name")
        router_id = writer.add(line)
    click.echo(f"added router #{router_id} {line.name!r}")


@routers.command("claim", epilog="Example: radmeter routers claim AA-BB-CC-DD-EE-FF --name lobby")
@click.argument("router", metavar="ID|MAC|NAME", type=TEXT)
@click.option("--name", type=TEXT, help="Its name from now on; else the one it was discovered with.")
@_given_options
@with_settings("state", "dsn")
def claim(settings: Settings, router: str, name: str | None, **given: str | None) -> None:
    """Make a discovered router a known one. Its usage is kept."""
    from radmeter.inventory import Line
    from radmeter.routers import find_router, writing
    from radmeter.views import reading

    with existing_database(settings) as dsn:
        with reading(dsn) as connection:
            found = find_router(connection, router, status="discovered")
        with writing(dsn) as writer:
            line = Line.checked({"name": name, **given}, writer.timezones() if given["timezone"] else {})
            writer.claim(found.id, line)
    click.echo(f"claimed router #{found.id} {line.name or found.name!r}")


@routers.command(
    "import",
    epilog="""\b
The file begins with the header name,mac,nas_identifier,ip_address,timezone.
Example: radmeter routers import inventory.csv --dry-run""",
)
@click.argument("file", metavar="CSV", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@with_settings("state", "dsn")
def import_(settings: Settings, file: BinaryIO, dry_run: bool) -> None:
    """Bring an inventory in: adds routers, claims discovered ones, completes what is known. Twice is as once.

    A line whose MAC or name is another router's is refused; so is what cannot be read. Each is told with its number
    and reason, the others go in. Empty fields change nothing.

    Exit code 1 if any line was refused.
    """
    from radmeter import inventory
    from radmeter.routers import writing

    counts = dict.fromkeys(OUTCOMES, 0)

    def refuse(number: int, reason: str | None) -> None:
        click.echo(f"line {number}: {printable(str(reason))}", err=True)
        counts["refused"] += 1

    with existing_database(settings) as dsn, writing(dsn) as writer:
        entries = inventory.read(_with_progress(file), writer.timezones())
        while batch := list(islice(entries, BATCH_LINES)):
            bad = [entry for entry in batch if not isinstance(entry, inventory.Line)]
            lines = [entry for entry in batch if isinstance(entry, inventory.Line)]
            try:
                outcomes = writer.import_lines(lines, dry_run=dry_run) if lines else []
            except RadmeterError:
                done = sum(counts.values()) - counts["refused"]
                click.echo(f"stopped: {done} lines are in. Import the file again to go on.", err=True)
                raise
            refused = [(each.line, each.reason) for each in outcomes if each.outcome == "refused"]
            for number, reason in sorted(bad + refused):
                refuse(number, reason)
            for each in outcomes:
                counts[each.outcome] += each.outcome != "refused"
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "nothing"
    click.echo(f"{'dry run, nothing is changed: ' if dry_run else ''}{sum(counts.values())} lines: {told}")
    if counts["refused"]:
        sys.exit(1)


def _with_progress(file: BinaryIO) -> Iterator[bytes]:
    """Yield the file's lines; show how far it is where a person looks on and the file is long."""
    size = file.seek(0, os.SEEK_END) if file.seekable() else 0
    if size:
        file.seek(0)
    if not sys.stderr.isatty() or size < LONG_FILE_BYTES:
        yield from file
        return
    with click.progressbar(length=size, label="importing", file=sys.stderr) as bar:
        for number, line in enumerate(file, start=1):
            yield line
            if number % 1000 == 0:
                bar.update(file.tell() - bar.pos)
        bar.update(size - bar.pos)
