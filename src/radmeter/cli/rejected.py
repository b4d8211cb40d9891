"""`radmeter rejected`: the packets that could not be counted."""

import datetime
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    confirm,
    emit,
    existing_database,
    format_option,
    list_options,
    reading_database,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.since import Since
from radmeter.config import Settings
from radmeter.packet import attributes as a
from radmeter.units import counted, verb

COLUMNS = (
    "id",
    "rejected_at",
    "received_at",
    "node",
    "client_ip",
    "status",
    "username",
    "session_id",
    "reason",
)
SHORT = ("id", "received_at", "username", "reason")
ATTRIBUTES = ("id", "number", "name", "value")
HEAD = ("id", "node", "seq", "client_ip", "received_at", "rejected_at", "reason")
MANY = 1000
LARGEST_ID = 2**63 - 1
ID = click.IntRange(1, LARGEST_ID)


def filters(command: Any) -> Any:
    """Add the options that select packets."""
    for option in (
        click.option(
            "--since",
            type=Since(),
            metavar="TIME|SPAN",
            help="Only packets set aside since then, such as 7d.",
        ),
        click.option("--node", type=TEXT, help="Only packets of this node's journal."),
        click.option(
            "--reason", type=TEXT, help="Only packets with this text in the reason, upper or lower case."
        ),
    ):
        command = option(command)
    return command


@group(epilog="Example: radmeter rejected list --since 1d")
def rejected() -> None:
    """Show packets that could not be counted, count them again, or give them up.

    A packet that cannot be parsed or that the database refuses is set aside with the reason. It never holds up the
    others. Retry it after an upgrade of radmeter that can read it.
    """


@rejected.command("list", epilog="Example: radmeter rejected list --reason octets --since 7d")
@filters
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="How many.")
@click.option("--before", type=ID, metavar="ID", help="Go on before this id.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(
    settings: Settings,
    reason: str | None,
    node: str | None,
    since: datetime.datetime | None,
    limit: int,
    before: int | None,
    output_format: str,
) -> None:
    """List the packets that were set aside, the latest first."""
    from radmeter.database.connection import connect
    from radmeter.ingest.rejected import Filter, page

    which = Filter(reason=reason, node=node, since=since)
    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        times.use_zone(connection)
        packets, more = page(connection, which, before=before, limit=limit)
    rows = [
        {
            **packet._asdict(),
            "status": packet.attribute(a.ACCT_STATUS_TYPE),
            "username": packet.attribute(a.USER_NAME),
            "session_id": packet.attribute(a.ACCT_SESSION_ID),
        }
        for packet in packets
    ]
    if not rows and output_format == "table":
        output.say(
            "no packet is set aside"
            if which == Filter() and before is None
            else "no such packet is set aside",
            err=True,
        )
        return
    emit(rows, output_format, columns=COLUMNS, short=SHORT)
    if more:
        output.say(f"There are more: go on with --before {packets[-1].id}", err=True)


@rejected.command("show", epilog="Example: radmeter rejected show 17")
@click.argument("ids", metavar="ID...", type=ID, nargs=-1, required=True)
@format_option
@with_settings("state", "dsn", "read_dsn")
def show(settings: Settings, ids: tuple[int, ...], output_format: str) -> None:
    """Show packets with all their attributes."""
    from radmeter.database.connection import connect
    from radmeter.ingest.rejected import by_id

    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        packets = by_id(connection, ids)
    if output_format != "table":
        rows = [
            {"id": packet.id, "number": number, "name": name, "value": value}
            for packet in packets
            for number, (name, value) in enumerate(packet.attributes or [("", packet.pairs)], start=1)
        ]
        emit(rows, output_format, columns=ATTRIBUTES)
        return
    for index, packet in enumerate(packets):
        if index:
            output.say()
        for field in HEAD:
            output.say(f"{field.replace('_', ' ') + ':':<13}{getattr(packet, field)}")
        output.say()
        for name, value in packet.attributes or [("(no list of attributes)", packet.pairs)]:
            output.say(f"    {name} = {value}")


@rejected.command(
    "retry",
    epilog="""\b
Examples:
  radmeter rejected retry 17 18
  radmeter rejected retry --all --since 7d
""",
)
@click.argument("ids", metavar="[ID]...", type=ID, nargs=-1)
@click.option(
    "--all", "everything", is_flag=True, help="All rejected packets, or all that match the filters."
)
@filters
@with_settings("state", "dsn")
def retry(
    settings: Settings,
    ids: tuple[int, ...],
    everything: bool,
    reason: str | None,
    node: str | None,
    since: datetime.datetime | None,
) -> None:
    """Parse packets again and count those that can be counted now, each exactly once. The others stay, with the reason.

    A packet counts at the time of its arrival. Exit code 1 if any packet stays.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.ingest import rejected

    which = rejected.Filter(reason=reason, node=node, since=since)
    filtered = any(which.values.values())
    if bool(ids) == everything or (ids and filtered):
        raise click.UsageError(
            "name packets by their ids, or give --all, perhaps with --reason, --node or --since"
        )
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        wanted = (
            rejected.ids(connection, which)
            if everything
            else [each.id for each in rejected.by_id(connection, ids)]
        )
        ingested = left = 0
        with _progress(len(wanted)) as advance:
            for good, bad in rejected.retry(connection, wanted):
                ingested, left = ingested + good, left + bad
                advance(good + bad)
    output.say(f"{counted(ingested, 'packet')} counted, {left} {verb(left, 'stays', 'stay')}")
    if left:
        sys.exit(1)


@rejected.command(
    "drop",
    epilog="""\b
Examples:
  radmeter rejected drop 17
  radmeter rejected drop --reason Tunnel --yes
""",
)
@click.argument("ids", metavar="[ID]...", type=ID, nargs=-1)
@filters
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def drop(
    settings: Settings,
    ids: tuple[int, ...],
    reason: str | None,
    node: str | None,
    since: datetime.datetime | None,
    yes: bool,
) -> None:
    """Give packets up: they will never be counted. It asks first. audit_log keeps which packets they were."""
    from radmeter.database.operator import connect_as_operator
    from radmeter.ingest import rejected

    which = rejected.Filter(reason=reason, node=node, since=since)
    filtered = any(which.values.values())
    if bool(ids) == filtered:
        raise click.UsageError("name packets by their ids, or by --reason, --node or --since")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        wanted = list(ids) if ids else rejected.ids(connection, which)
        if ids:
            rejected.by_id(connection, ids)
        if wanted:
            confirm(f"Give up {counted(len(wanted), 'packet')}? What is given up is never counted.", yes)
        dropped = rejected.drop(connection, wanted) if wanted else 0
    output.say(f"{counted(dropped, 'packet')} dropped")


@rejected.command("left-out", epilog="Example: radmeter rejected left-out --format json")
@list_options
@with_settings("state", "dsn", "journal")
def left_out(settings: Settings, output_format: str) -> None:
    """List what was left out because of a limit: rejected packets, and rows about counters that restarted.

    There is a row for each node, client and hour. The numbers of its packets lie from first_seq to last_seq. Other
    packets, which were counted or kept, have numbers between them. SEGMENTS are the files of this machine's journal
    that still hold them. `radmeter rejected salvage` reads those.
    """
    from radmeter.database.connection import connect
    from radmeter.ingest.salvage import NAMES
    from radmeter.ingest.salvage import left_out as read

    with existing_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        times.use_zone(connection)
        rows = read(connection, settings.journal)
    shorten = output_format == "table"
    rows = [{**row, "segments": _segments(row["segments"], shorten=shorten)} for row in rows]
    emit(rows, output_format, columns=(*NAMES, "segments"))


def _segments(names: list[str] | None, *, shorten: bool) -> str | None:
    if not names:
        return None if names is None else "gone"
    return f"{names[0]} and {len(names) - 1} more" if shorten and names[1:] else " ".join(names)


@rejected.command("salvage", epilog="Example: radmeter rejected salvage --journal /var/lib/radmeter/journal")
@with_settings("state", "dsn", "journal")
def salvage(settings: Settings) -> None:
    """Keep the rejected packets that were left out because of a limit and are still in this machine's journal.

    `radmeter rejected list` then shows them. Each is kept once, and no limit applies. Run it as the user and the
    database role of `radmeter ship`. Run it before an upgrade: it takes only packets that this version cannot parse.
    Exit code 1 if a segment cannot be read.
    """
    from radmeter.database.connection import connect
    from radmeter.ingest.salvage import salvage as run

    damaged: list[str] = []
    with existing_database(settings) as dsn, connect(dsn) as connection:
        taken = sum(run(connection, settings.journal, damaged.append))
    output.say(f"{counted(taken, 'packet')} salvaged")
    for message in damaged:
        output.say(f"cannot be read: {message}", err=True)
    if damaged:
        sys.exit(1)


@contextmanager
def _progress(packets: int) -> Iterator[Callable[[int], None]]:
    """Show how many packets are done, if there are many."""
    if packets < MANY:
        yield lambda count: None
        return
    from radmeter.progress import progress

    with progress("retrying", packets, "packets") as bar:
        yield bar.advance
