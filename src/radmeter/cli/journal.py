"""`radmeter journal`: the journal's segments, what is missing of it, and what can be saved."""

import contextlib
import re
import shlex
import sys
import textwrap
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from radmeter import output
from radmeter.cli.common import (
    TEXT,
    cell,
    emit,
    existing_database,
    format_option,
    reading_database,
    with_settings,
)
from radmeter.config import Settings
from radmeter.errors import JournalError, StoreError
from radmeter.units import counted, span, verb

SEGMENTS = (
    "segment",
    "state",
    "first_seq",
    "shipped",
    "waiting",
    "bytes_on_disk",
    "first_packet_at",
    "last_packet_at",
    "file",
)
# What fits into 80 columns.
FEW = ("state", "first_seq", "shipped", "waiting", "bytes_on_disk", "last_packet_at")
RESULTS = ("file", "segment", "shipped", "counted_before", "lost", "lost_numbers", "problem")
PLACE = click.Path(path_type=Path)


@click.group(epilog="Example: radmeter journal status")
def journal() -> None:
    """Show the journal's segments, acknowledge what is missing, and save damaged or orphaned segments."""


@journal.command(epilog="Example: radmeter journal status --format json")
@click.option("--all", "all_", is_flag=True, help="In the table, list the kept segments, too.")
@format_option
@with_settings("state", "dsn", "journal", "kept_hours", "kept_bytes")
def status(settings: Settings, all_: bool, output_format: str) -> None:
    """Show each segment of this machine's journal: where it is, and how much of it the database has.

    \b
    open      radiusd writes it, or not all of it is shipped
    again     it was shipped, and the database lacks it: it is shipped again
    kept      all of it is shipped. It is kept in case the database is restored
    damaged   what can be read of it is shipped
    left out  packets in it were left out because of a limit
    unknown   it cannot be read: see `radmeter journal salvage`

    The last line says how far back the kept segments reach: the database can be restored from any backup that was
    made since then, and no packet is lost. json and csv list all segments.

    The database role needs radmeter_reader. Exit code 1 if the journal or the database cannot be read; the other one
    is shown.
    """
    from radmeter.database.connection import connect
    from radmeter.ingest import journal_state
    from radmeter.ingest.incidents import incidents as read

    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    waiting: list[dict[str, Any]] = []
    try:
        rows = journal_state.segments(settings.journal)
    except JournalError as error:
        problems.append(f"journal: {error}")
    try:
        with existing_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
            journal_state.add_progress(rows, connection)
            waiting = [row for row in read(connection) if row["settled_at"] is None]
    except StoreError as error:
        problems.append(f"database: {error}")
    if not problems or rows:
        with contextlib.suppress(JournalError):
            lines = journal_state.summary(settings, rows)
    if output_format != "table":
        emit(rows, output_format, columns=SEGMENTS)
    else:
        shown = [row for row in rows if all_ or row["state"] != "kept"]
        if shown:
            emit(shown, output_format, columns=FEW)
        if lines:
            output.say(*lines)
        unread = [row["path"] for row in rows if row["state"] == "unknown"]
        unsaved = any(row["kind"] == "damaged" and row["segment"] is None for row in waiting)
        if unread and (unsaved or problems):
            command = " ".join(["radmeter journal salvage", *(shlex.quote(str(path)) for path in unread[:3])])
            output.say(f"{counted(len(unread), 'segment')} cannot be read: {command}")
        if waiting:
            many = counted(len(waiting), "incident")
            output.say(
                f"{many} {verb(len(waiting), 'waits', 'wait')} for somebody: radmeter journal incidents"
            )
    for problem in problems:
        output.say(f"problem: {problem}", err=True)
    if problems:
        sys.exit(1)


@journal.command(epilog="Example: radmeter journal incidents --all --format csv")
@click.option(
    "--all", "all_", is_flag=True, help="Also those that are acknowledged, and those that ended long ago."
)
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


@journal.command(epilog="Example: radmeter journal acknowledge 3 4 --reason 'disk died, ticket 812'")
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


accept_option = click.option(
    "--accept-database",
    metavar="ID",
    type=click.UUID,
    help="Ship to the database with this identity, although the journal has shipped to another.",
)
node_option = click.option("--node", type=TEXT, help="The journal's name, if the segments do not say it.")
uncounted_option = click.option(
    "--uncounted",
    is_flag=True,
    help="Nothing is counted yet of segments whose identity cannot be found out. Without it they are left alone.",
)


@journal.command(
    epilog="""\b
Examples:
  radmeter journal salvage /var/lib/radmeter/journal/damaged
  radmeter journal salvage --uncounted --node radius1-1f0c9a3e /mnt/disk
"""
)
@click.argument("places", nargs=-1, required=True, type=PLACE, metavar="PATH...")
@node_option
@uncounted_option
@accept_option
@format_option
@with_settings("state", "dsn")
def salvage(
    settings: Settings,
    places: tuple[Path, ...],
    node: str | None,
    uncounted: bool,
    accept_database: uuid.UUID | None,
    output_format: str,
) -> None:
    """Ship what can be read of damaged or orphaned segments, and list what cannot.

    PATH is a segment or a directory of segments. Nothing is counted twice: the database knows each segment by its
    identity. No file is changed or deleted. It may be interrupted and run again.

    Run it as a user who may read the files, with the database role of `radmeter ship`. The shipper may run meanwhile if
    PATH is in the folders damaged, shipped or left-out of its journal. Exit code 1 if something is lost or left alone.
    """
    _ship(settings, places, output_format, node=node, uncounted=uncounted, accepted=accept_database)


@journal.command(
    epilog="""\b
Examples:
  radmeter journal adopt /mnt/dead-host/var/lib/radmeter/journal
  radmeter journal adopt --format json /mnt/backup/journal
"""
)
@click.argument("directory", type=PLACE)
@node_option
@uncounted_option
@accept_option
@format_option
@with_settings("state", "dsn")
def adopt(
    settings: Settings,
    directory: Path,
    node: str | None,
    uncounted: bool,
    accept_database: uuid.UUID | None,
    output_format: str,
) -> None:
    """Ship the journal of another machine: all that the database lacks of it, also from its kept segments.

    Its radiusd and its shipper must not run. Nothing is counted twice, and no file is changed or deleted, so the
    directory may be a backup, or a disk that is mounted read-only. It may be interrupted and run again.

    Run it as a user who may read the files, with the database role that shipped the journal or a member of that role.
    Exit code 1 if something is lost or left alone.
    """
    if directory.exists() and not directory.is_dir():
        raise click.UsageError(
            f"{directory} is a file: name a journal's directory, or use `radmeter journal salvage`"
        )
    _ship(
        settings,
        (directory,),
        output_format,
        node=node,
        uncounted=uncounted,
        accepted=accept_database,
        whole=True,
    )


def _ship(
    settings: Settings,
    places: Sequence[Path],
    output_format: str,
    *,
    node: str | None,
    uncounted: bool,
    accepted: uuid.UUID | None,
    whole: bool = False,
) -> None:
    """Ship segments and say what became of each. `whole`: the places are journals, of which nothing may be missing."""
    from radmeter.ingest import database_of_journal, orphans
    from radmeter.ingest.folders import journal_of
    from radmeter.ingest.holders import refuse_if_in_use
    from radmeter.ingest.orphan_identity import Surroundings
    from radmeter.ingest.orphan_result import Result
    from radmeter.ingest.store import Store
    from radmeter.progress import progress

    found = {place: orphans.segment_files(place) for place in places}
    for paths in found.values():
        for directory in sorted({journal_of(path) for path in paths if whole or _is_unshipped(path)}):
            refuse_if_in_use(directory)
    results: list[Result] = []
    missing: list[str] = []
    try:
        with existing_database(settings) as dsn, contextlib.closing(Store(dsn)) as store:
            every = [path for paths in found.values() for path in paths]
            for top in sorted({journal_of(path) for path in every}):
                database_of_journal.check_unshipped(
                    top, store.database_id(), None if accepted is None else str(accepted)
                )
            with progress("shipping", orphans.packets_in(every), "packets") as bar:
                for paths in found.values():
                    for each in orphans.ship(store, paths, node, bar.advance, uncounted=uncounted):
                        results.append(each)  # what was done is told if it is interrupted
            if whole:
                for paths in found.values():
                    top = journal_of(paths[0])
                    name = Surroundings(paths, node, uncounted=uncounted).node(top)
                    if name is not None:
                        missing += orphans.missing(store, top, name)
    except (StoreError, JournalError):
        if results:
            _tell(results, missing, output_format)
            output.say("not all is done: run the same command again. Nothing is counted twice", err=True)
        raise
    except KeyboardInterrupt:
        _tell(results, missing, output_format)
        output.say("interrupted: run the same command again. Nothing is counted twice", err=True)
        sys.exit(130)
    _tell(results, missing, output_format)
    if missing or any(each.lost or each.refused for each in results):
        sys.exit(1)


def _is_unshipped(path: Path) -> bool:
    """Tell whether a shipper of the journal would ship this segment."""
    from radmeter.plugin.journal import files

    return path.absolute().parent.name not in (files.SHIPPED, files.DAMAGED, files.LEFT_OUT)


def _tell(results: Sequence[Any], missing: Sequence[str], output_format: str) -> None:
    """Print what became of segments: in the table those of which something was shipped or lost, and the sums."""
    from radmeter.ingest.orphan_result import described, summary

    if output_format != "table":
        emit([_row(each) for each in results], output_format, columns=RESULTS)
    else:
        for each in results:
            if each.counted or each.lost or each.refused:
                output.say(summary(each))
                for loss in each.lost:
                    output.say(f"  lost: {described(loss)}")
        lost = [each.lost_packets for each in results]
        output.say(
            f"{counted(len(results), 'segment')}: {counted(sum(each.counted for each in results), 'packet')} shipped, "
            f"{sum(each.had for each in results):,} counted before, "
            f"{sum(each or 0 for each in lost):,} lost" + (" and more" if None in lost else "")
        )
    for each in missing:
        output.say(f"missing: {each}", err=output_format != "table")


def _row(result: Any) -> dict[str, Any]:
    from radmeter.ingest.orphan_result import described

    return {
        "file": str(result.path),
        "segment": result.segment,
        "shipped": result.counted,
        "counted_before": result.had,
        "lost": result.lost_packets,
        "lost_numbers": "; ".join(map(described, result.lost)) or None,
        "problem": result.refused,
    }
