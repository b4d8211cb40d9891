"""`radmeter journal incidents|acknowledge`: what the shippers found, and that somebody has seen it."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    cell,
    emit,
    existing_database,
    format_option,
    reading_database,
    utc_option,
    with_settings,
)
from radmeter.config import Settings
from radmeter.units import counted, span


@click.command(epilog="Example: radmeter journal incidents --all --format csv")
@click.option(
    "--all", "all_", is_flag=True, help="Also those that are acknowledged, and those that ended long ago."
)
@utc_option
@format_option
@with_settings("state", "dsn", "read_dsn")
def incidents(settings: Settings, all_: bool, output_format: str) -> None:
    """List what the shippers found, the latest first.

    \b
    rewound   the database lacked packets that it had counted: shipped again
    missing   packets were acknowledged and are not counted, and are not here
    damaged   records of a segment cannot be read
    forked    two machines went on with the same segment
    copied    two journals have the same name
    shorter   a segment has fewer records than were counted (after a power cut)

    An incident that ended by itself is shown for seven days. The database role needs radmeter_reader.
    """
    from radmeter.database.connection import connect
    from radmeter.ingest.incidents import COLUMNS
    from radmeter.ingest.incidents import incidents as read

    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        times.use_zone(connection)
        rows = read(connection, all_=all_)
    if output_format != "table":
        emit(rows, output_format, columns=COLUMNS)
        return
    if not rows:
        output.say("no incidents" if all_ else "no incident waits for anybody")
        return
    for index, row in enumerate(rows):
        output.say(*([""] if index else []), *_described(row))
    waiting = [row for row in rows if row["acknowledged_at"] is None and row["settled_at"] is None]
    if waiting:
        output.say("")
        if any(row["kind"] == "missing" for row in waiting):
            output.say("if you find a missing segment: radmeter journal salvage FILE")
        numbers = " ".join(map(str, sorted(row["id"] for row in waiting)[:5]))
        output.say(f"acknowledge: radmeter journal acknowledge {numbers} --reason 'WHAT HAPPENED, TICKET'")


def _described(row: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that show an incident to people."""
    yield f"#{row['id']} {row['kind']}, node {row['node']}, found {cell('', row['found_at'])}"
    many = "packets" if row["records"] is None else counted(row["records"], "packet")
    facts = [many + (" (how many is not known)" if row["records"] is None else "")]
    if row["from_at"] or row["to_at"]:
        times = [
            f"{word} {cell('', row[name])}"
            for word, name in (("from", "from_at"), ("to", "to_at"))
            if row[name]
        ]
        facts.append(f"received {' '.join(times)}")
    if row["first_seq"] is not None:
        facts.append(span("number", row["first_seq"], row["last_seq"]))
    yield from _wrapped(", ".join(facts))
    yield from _wrapped(row["detail"])
    if row["settled_at"]:
        yield from _wrapped(f"ended {cell('', row['settled_at'])}")
    if row["acknowledged_at"]:
        at = cell("", row["acknowledged_at"])
        yield from _wrapped(f"acknowledged {at} by {row['acknowledged_by']}: {row['reason']}")


def _wrapped(text: str) -> list[str]:
    """Return text in lines that fit the screen. A command in it stays on one line, so that it can be pasted."""
    width = max(40, output.console().width)
    whole = re.sub("`[^`]+`", lambda command: command[0].replace(" ", "\xa0"), text)
    lines = textwrap.wrap(
        whole,
        width,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\xa0", " ") for line in lines]


@click.command(epilog="Example: radmeter journal acknowledge 3 4 --reason 'disk died, ticket 812'")
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**63 - 1), metavar="[ID]...")
@click.option("--all", "all_", is_flag=True, help="All that `radmeter journal incidents` shows.")
@click.option("--reason", type=TEXT, required=True, help="Why it is all right. The audit log keeps it.")
@with_settings("state", "dsn")
def acknowledge(settings: Settings, ids: tuple[int, ...], all_: bool, reason: str) -> None:
    """Note that you have seen incidents. `radmeter doctor` is then no longer red because of them.

    All or none are acknowledged. The database role needs radmeter_noc.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.ingest.incidents import acknowledge as run
    from radmeter.ingest.incidents import incidents as read

    if bool(ids) == all_:
        raise click.UsageError("name incidents by their ids, or give --all")
    if not reason.strip():
        raise click.UsageError("--reason is empty: say why it is all right")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        chosen = (
            [row["id"] for row in read(connection, role="radmeter_noc")] if all_ else list(dict.fromkeys(ids))
        )
        run(connection, chosen, reason)
    output.say(f"{counted(len(chosen), 'incident')} acknowledged")
