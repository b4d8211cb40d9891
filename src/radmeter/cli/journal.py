"""`radmeter journal`: the journal's segments, and how much of each the database has."""

import contextlib
import shlex
import sys
from typing import Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import emit, existing_database, list_options, on_disk, with_settings
from radmeter.cli.groups import group
from radmeter.cli.journal_incidents import acknowledge, incidents
from radmeter.cli.journal_orphans import adopt, salvage
from radmeter.config import Settings
from radmeter.errors import JournalError, StoreError
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
# What fits into 80 columns.
FEW = ("state", "first_seq", "shipped", "waiting", "bytes_on_disk", "last_packet_at")


@group(epilog="Example: radmeter journal status")
def journal() -> None:
    """Show the journal's segments, acknowledge what is missing, and save damaged or orphaned segments."""


@journal.command(epilog="Example: radmeter journal status --format json")
@click.option("--all", "all_", is_flag=True, help="In the table, list the kept segments, too.")
@list_options
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
            times.use_zone(connection)
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
            emit(on_disk(shown, "bytes_on_disk", output_format), output_format, columns=SEGMENTS, short=FEW)
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


for command in (incidents, acknowledge, salvage, adopt):
    journal.add_command(command)
