"""`radmeter journal`: the journal's segments, what is missing of it, and what can be saved."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from radmeter import output
from radmeter.cli.common import (
    TEXT,
    emit,
    existing_database,
    format_option,
    with_settings,
)
from radmeter.config import Settings
from radmeter.errors import JournalError, StoreError, WrongDatabase
from radmeter.units import counted, verb

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
INCIDENTS = ("id", "kind", "node", "records", "from_at", "to_at", "found_at", "detail")
EXISTING = click.Path(exists=True, path_type=Path)


@click.group(epilog="Example: radmeter journal status")
def journal() -> None:
    """Show the journal's segments, acknowledge what is missing, and save damaged or orphaned segments."""


@journal.command(epilog="Example: radmeter journal status --format json")
@format_option
@with_settings("state", "dsn", "journal")
def status(settings: Settings, output_format: str) -> None:
    """Show each segment of this machine's journal: where it is, and how much of it the database has.

    \b
    open      radiusd writes it, or it is not wholly shipped
    again     it was shipped, and the database lacks it: it is shipped again
    kept      it is shipped, and kept in case the database is restored (RADMETER_KEPT_HOURS, RADMETER_KEPT_BYTES)
    damaged   what can be read of it is shipped
    left out  packets in it were left out because of a limit (radmeter rejected left-out)
    unknown   its identity cannot be read (radmeter journal salvage)

    Exit code 1 if the journal or the database cannot be reached; the other one is shown.
    """
    from radmeter.database.connection import connect
    from radmeter.ingest import journal_state
    from radmeter.ingest.incidents import incidents as read

    problems, progress, waiting = [], None, []
    try:
        with existing_database(settings) as dsn, connect(dsn) as connection:
            progress = journal_state.progress(connection, settings.journal)
            waiting = read(connection)
    except StoreError as error:
        problems.append(f"database: {error}")
    rows: list[dict[str, Any]] = []
    try:
        rows = journal_state.segments(settings.journal, progress)
    except JournalError as error:
        problems.append(f"journal: {error}")
    emit(rows, output_format, columns=SEGMENTS)
    if output_format == "table":
        output.say(*journal_state.summary(settings, rows))
        if waiting:
            output.say(
                f"{counted(len(waiting), 'incident')} {verb(len(waiting), 'waits', 'wait')} for somebody: "
                "`radmeter journal incidents`"
            )
    for problem in problems:
        output.say(f"problem: {problem}", err=True)
    if problems:
        sys.exit(1)


@journal.command(epilog="Example: radmeter journal incidents --all --format csv")
@click.option("--all", "all_", is_flag=True, help="Those that are acknowledged, too.")
@format_option
@with_settings("state", "dsn")
def incidents(settings: Settings, all_: bool, output_format: str) -> None:
    """List what the shippers found, the latest first.

    \b
    rewound   the database lacked packets that it had counted; they are shipped again from kept segments
    missing   packets were acknowledged and are not counted, and nothing has them any more
    damaged   records of a segment cannot be read
    forked    two machines went on with the same segment
    copied    two journals have the same name
    shorter   a segment has fewer records than the database counted of it (normal after a power cut)
    """
    from radmeter.database.connection import connect
    from radmeter.ingest.incidents import COLUMNS
    from radmeter.ingest.incidents import incidents as read

    with existing_database(settings) as dsn, connect(dsn) as connection:
        rows = read(connection, all_=all_)
    emit(rows, output_format, columns=INCIDENTS if output_format == "table" and not all_ else COLUMNS)


@journal.command(
    epilog="Example: radmeter journal acknowledge 3 4 --reason 'disk of node b died, ticket 812'"
)
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**63 - 1), metavar="[ID]...")
@click.option("--all", "all_", is_flag=True, help="All that are shown by `radmeter journal incidents`.")
@click.option("--reason", type=TEXT, required=True, help="Why it is all right. It is kept in the audit log.")
@with_settings("state", "dsn")
def acknowledge(settings: Settings, ids: tuple[int, ...], all_: bool, reason: str) -> None:
    """Note that you have seen incidents. `radmeter doctor` is then no longer red because of them."""
    from radmeter.database.connection import connect
    from radmeter.ingest.incidents import acknowledge as run
    from radmeter.ingest.incidents import incidents as read

    if not ids and not all_:
        raise click.UsageError("name incidents by their ids, or give --all")
    if not reason.strip():
        raise click.UsageError("--reason is empty: say why it is all right")
    with existing_database(settings) as dsn, connect(dsn) as connection:
        chosen = [row["id"] for row in read(connection)] if all_ else list(ids)
        run(connection, chosen, reason)
    output.say(f"{counted(len(chosen), 'incident')} acknowledged")


@journal.command(epilog="Example: radmeter journal salvage /var/lib/radmeter/journal/damaged")
@click.argument("places", nargs=-1, required=True, type=EXISTING, metavar="PATH...")
@click.option("--node", type=TEXT, help="The journal's name, if the segments do not say it.")
@with_settings("state", "dsn", "journal")
def salvage(settings: Settings, places: tuple[Path, ...], node: str | None) -> None:
    """Ship what can be read of damaged or orphaned segments, and list what cannot.

    PATH is a segment or a directory of segments. Nothing is counted twice: the database knows each segment by its
    identity. No file is changed or deleted. Exit code 1 if something is lost.
    """
    _ship(settings, places, node, None)


@journal.command(epilog="Example: radmeter journal adopt /mnt/disk-of-dead-host/var/lib/radmeter/journal")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--accept-database",
    metavar="ID",
    type=click.UUID,
    help="Ship to the database with this identity, although that journal has shipped to another.",
)
@with_settings("state", "dsn", "journal")
def adopt(settings: Settings, directory: Path, accept_database: Any) -> None:
    """Ship the journal of another machine: all that the database lacks of it, also from its kept segments.

    Its radiusd and its shipper must not run. Nothing is counted twice, and no file is changed or deleted, so the
    directory may be a backup, or a disk that is mounted read-only. Exit code 1 if something is lost.
    """
    from radmeter.plugin.journal.reader import JournalReader

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(PermissionError):
            try:
                stack.enter_context(JournalReader(directory).lock())
            except JournalError as error:
                if "Read-only" not in str(error):
                    raise
        _ship(settings, (directory,), None, accept_database)


def _ship(settings: Settings, places: tuple[Path, ...], node: str | None, accepted: Any) -> None:
    from radmeter.ingest import database_of_journal, orphans
    from radmeter.ingest.store import Store
    from radmeter.plugin.journal.files import read_node

    lost = False
    with existing_database(settings) as dsn, contextlib.closing(Store(dsn)) as store:
        for place in places:
            paths = orphans.segment_files(place)
            top = orphans.journal_of(paths[0])
            known, identity = database_of_journal.remembered(top), store.database_id()
            if known not in (None, identity) and str(accepted) != identity:
                raise WrongDatabase(
                    f"the journal {top} has shipped to the database {known}, and the database in use is {identity}. If "
                    f"it shall get all that is there, give `radmeter journal adopt --accept-database {identity}`"
                )
            name = node or read_node(top) or read_node(settings.journal) or "orphans"
            for result in orphans.ship(store, paths, name):
                lost = lost or bool(result.lost) or result.refused is not None
                output.say(orphans.summary(result))
                for loss in result.lost:
                    output.say(f"  lost: {orphans.described(loss)}")
    if lost:
        sys.exit(1)
