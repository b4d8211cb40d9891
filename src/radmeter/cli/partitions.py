"""`radmeter partitions`: months of sessions are listed, made ahead, split off, archived into files and restored."""

import datetime
import shutil
import time
from pathlib import Path

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    Row,
    confirm,
    emit,
    existing_database,
    list_options,
    on_disk,
    reading_database,
    require_extra,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.months import MONTH, Months
from radmeter.cli.partitions_split import split
from radmeter.config import Settings
from radmeter.database.connection import Connection
from radmeter.progress import progress
from radmeter.units import counted, disk_size, duration, verb

# A month so far from the others is probably a slip of the pen.
FAR = datetime.timedelta(days=800)
COLUMNS = ("name", "kind", "first_day", "end_day", "rows_estimate", "bytes_total", "last_autovacuum", "file")
SHORT = COLUMNS[:6]

# A late packet of an archived session does not find the session. It then counts as a session of its own.
LATE_DAYS = 8


@group(epilog="Example: radmeter partitions list")
def partitions() -> None:
    """List months of sessions, make them, archive old ones into Parquet files, and restore them."""


partitions.add_command(split)


@partitions.command(
    "list",
    epilog="""\b
Examples:
  radmeter partitions list
  radmeter partitions list --format json

\b
Exit codes:
  0  done
  1  failed
  2  wrong options or settings
""",
)
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(settings: Settings, output_format: str) -> None:
    """List the partitions of radacct, oldest first, with the archived ones.

    Months and days are in UTC. The end day is the first day after the partition. The kinds are open (sessions that have
    not stopped), current, ahead, past, legacy (before the first month of radmeter's own), archived. The number of rows
    is PostgreSQL's estimate, the size includes the indexes. For a file both are exact.
    """
    from radmeter.database.connection import connect
    from radmeter.partitions.months import partitions as read

    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        times.use_zone(connection)
        rows: list[Row] = [each._asdict() for each in read(connection)]
    short = (*SHORT, "file") if any(row["file"] for row in rows) else SHORT
    emit(on_disk(rows, "bytes_total", output_format), output_format, columns=COLUMNS, short=short)


@partitions.command(
    "ensure",
    epilog="""\b
Examples:
  radmeter partitions ensure
  radmeter partitions ensure --months 12
  radmeter partitions ensure 2024-03 2024-04
  radmeter partitions ensure 2024-03..2025-08

\b
Exit codes:
  0  all partitions exist
  1  failed
  2  wrong options or settings
""",
)
@click.argument("spans", type=Months(), nargs=-1, metavar="[MONTH|FIRST..LAST]...")
@click.option("--months", "ahead", type=click.IntRange(0, 120), help="This month and as many after it.")
@with_settings("state", "dsn")
def ensure(settings: Settings, spans: tuple[tuple[datetime.datetime, ...], ...], ahead: int | None) -> None:
    """Make missing partitions: of the months given, or of this month and the next 3, as the jobs do.

    The partition of the open sessions is attached again if somebody has detached or dropped it.
    """
    months = [month for span in spans for month in span]
    from radmeter.database.connection import connect
    from radmeter.partitions.months import MONTHS_AHEAD, ensure_partitions, first_month
    from radmeter.partitions.months import ensure as make
    from radmeter.partitions.open_sessions import ensure_open

    if months and ahead is not None:
        raise click.UsageError("give either months or --months")
    with existing_database(settings) as dsn, connect(dsn) as connection:
        first = first_month(connection)
        for month in months:
            if first is not None and month < first - FAR:
                output.say(f"{month:%Y-%m} is far before the first partition, {first:%Y-%m}", err=True)
            elif month > datetime.datetime.now(datetime.UTC) + FAR:
                output.say(f"{month:%Y-%m} is far ahead", err=True)
        made = sum(make(connection, month) for month in months)
        if ensure_open(connection):
            output.say("radacct_open, the partition of the open sessions, is attached again")
        if not months:
            made = ensure_partitions(connection, MONTHS_AHEAD if ahead is None else ahead)
    output.say(f"{counted(made, 'partition')} made" if made else "nothing to do: all partitions exist")


@partitions.command(
    "archive",
    epilog="""\b
Examples:
  radmeter partitions archive --before 2026-01 --to /srv/archive --dry-run
  radmeter partitions archive --before 2026-01 --to /srv/archive --yes

\b
Exit codes:
  0    done, or nothing to archive
  1    failed: the reason is on standard error, and nothing is lost
  2    wrong options or settings
  130  interrupted; run it again and it goes on
""",
)
@click.option(
    "--before",
    type=MONTH,
    required=True,
    metavar="MONTH",
    help="Archive the partitions that end at the beginning of this month or earlier, YYYY-MM.",
)
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The directory for the files, on this machine.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@with_settings("state", "dsn")
def archive(settings: Settings, before: datetime.datetime, directory: Path, yes: bool, dry_run: bool) -> None:
    """Archive old months of radacct: write each into a Parquet file, verify the file, then detach and drop the month.

    The oldest month comes first. This month and the open sessions are never archived. The file is written under another
    name, made durable, and read back from the disk. The number of sessions and a checksum of all values are compared.
    If a session changed meanwhile, the file is written again. Packets are counted meanwhile: detaching locks radacct
    for milliseconds, and waits for that lock 50 ms at a time.

    Counters and invoices stay as they are. `radmeter verify` does not judge days with archived sessions.
    """
    require_extra("pyarrow", "archive")
    from radmeter.database.operator import connect_as_operator
    from radmeter.partitions import archive as archiving
    from radmeter.partitions.archive_obstacles import obstacles
    from radmeter.partitions.parquet_file import ArchiveError

    _check_directory(directory)
    directory = directory.resolve()
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        found = archiving.candidates(connection, before.date())
        left = archiving.unfinished(connection)
        if not found and not left:
            output.say(f"nothing to archive: no partition ends at or before {before:%Y-%m}")
            _name_split(connection, before)
            return
        hindered = [f"{each.name}: {why}" for each in found for why in obstacles(connection, each)]
        if hindered:
            raise ArchiveError(
                "nothing was archived. " + "; ".join(hindered) + ". Then run this command again"
            )
        _show_plan(found, left, directory)
        _name_split(connection, before)
        if dry_run:
            return
        confirm("Archive them?", yes)
        with archiving.alone(connection):
            archiving.finish(connection, _say, progress)
            for each in found:
                began = time.monotonic()
                record = archiving.archive(connection, each, directory, progress, _say)
                output.say(
                    f"{record.name}: {counted(record.session_rows, 'session')} in {record.file}, "
                    f"{disk_size(record.file_bytes)} (was {disk_size(each.bytes_total)}), verified and dropped "
                    f"in {duration(time.monotonic() - began)}"
                )


@partitions.command(
    "restore",
    epilog="""\b
Examples:
  radmeter partitions restore /srv/archive/radacct_2025_11.parquet
  radmeter partitions restore /srv/archive/radacct_2025_11.parquet --yes

\b
Exit codes:
  0    done, or already restored
  1    failed: the reason is on standard error, and nothing is changed
  2    wrong options or settings
  130  interrupted; run it again and it goes on
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def restore(settings: Settings, file: Path, yes: bool) -> None:
    """Bring the sessions of a file back into radacct. No counter changes: the counters kept this usage.

    The whole file is read first. A damaged file, or one of another database, is refused. It is loaded into a table of
    its own, compared with what was archived, indexed as before, and attached. If late packets made the month again,
    the missing sessions are added to it.
    """
    require_extra("pyarrow", "archive")
    from radmeter.database.operator import connect_as_operator
    from radmeter.partitions import restore as restoring
    from radmeter.partitions.archive import alone
    from radmeter.partitions.parquet_file import ArchiveError
    from radmeter.partitions.parquet_rows import UnfitFile

    file = file.absolute()
    try:
        with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
            record = restoring.record_of(connection, file)
            if gone := restoring.misfits(connection, record):
                raise ArchiveError(
                    f"{file} has columns that radacct does not have: {', '.join(gone)}. Add them "
                    "(ALTER TABLE public.radacct ADD COLUMN ..), then run this command again"
                )
            beside = restoring.neighbours(connection, record)
            if record.state == "restored" and any(each.around for each in beside):
                output.say(f"{file.name} is restored already: its sessions are in {beside[0].name}")
                return
            restoring.verify(file, record, progress)
            late = (
                f"; {', '.join(each.name for each in beside)}, made since, will be joined with it"
                if beside
                else ""
            )
            output.say(
                f"{file.name}: {counted(record.session_rows, 'session')} of {record.name}, complete and undamaged{late}"
            )
            confirm("Restore them?", yes)
            with alone(connection):
                began = time.monotonic()
                done = restoring.restore(connection, file, record, progress, _say)
    except UnfitFile as error:
        raise ArchiveError(f"{file} {error}. Nothing was changed") from error
    there = (
        f", {counted(done.already_there, 'session')} {verb(done.already_there, 'was', 'were')} there already"
        if done.already_there
        else ""
    )
    output.say(
        f"{done.partition}: {counted(done.added, 'session')} {verb(done.added)} back{there}, "
        f"in {duration(time.monotonic() - began)}"
    )


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        why = "is not a directory" if directory.exists() else f"does not exist: mkdir -p {directory}"
        raise click.BadParameter(f"{directory} {why}", param_hint="--to")


def _show_plan(found: list, left: list[str], directory: Path) -> None:  # type: ignore[type-arg]
    if left:
        output.say(f"Detached by an interrupted run, will be dropped: {', '.join(left)}")
    if not found:
        return
    rows = [
        {
            "name": each.name,
            "from": "the beginning" if each.from_at == "-infinity" else each.from_at[:10],
            "to": each.to_at.astimezone(datetime.UTC).date(),
            "rows_estimate": each.rows_estimate,
            "bytes_total": each.bytes_total,
        }
        for each in found
    ]
    emit(
        on_disk(rows, "bytes_total", "table"),
        "table",
        columns=tuple(rows[0]),
        title=f"These will be written to {directory}, verified, and dropped:",
    )
    free = shutil.disk_usage(directory).free
    output.say(f"{disk_size(free)} are free there. The files take a fraction of the tables' size.")
    newest = found[-1]
    if newest.to_at > datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=LATE_DAYS):
        output.say(
            f"{newest.name} ended less than {LATE_DAYS} days ago: if a late packet of one of its sessions comes,"
            " it will not find the session and will count as a new one."
        )


def _name_split(connection: Connection, before: datetime.datetime) -> None:
    """Name the command that makes months of a partition with older sessions, which cannot be archived as it is."""
    from radmeter.partitions.split_plan import reaching_over

    for name in reaching_over(connection, before):
        output.say(
            f"{name} has older sessions, too, and goes on to a later month. `radmeter partitions split {name}` makes "
            "months of it, which can be archived"
        )


def _say(text: str) -> None:
    output.say(text, err=True)
