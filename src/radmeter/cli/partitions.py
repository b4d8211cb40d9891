"""`radmeter partitions`: months of sessions, made ahead, taken out into files, brought back."""

import datetime
import shutil
import time
from pathlib import Path

import click

from radmeter.cli.common import Row, confirm, emit, existing_database, format_option, with_settings
from radmeter.config import Settings
from radmeter.progress import progress
from radmeter.units import amount, duration, human_bytes

MONTH = click.DateTime(["%Y-%m"])
COLUMNS = ("name", "kind", "first_day", "end_day", "rows_estimate", "bytes_total", "last_autovacuum", "file")

# A session that is archived is not there for a late packet, which then counts as a session of its own.
LATE_DAYS = 8


@click.group()
def partitions() -> None:
    """Months of sessions: list them, make them ahead, take old ones out into Parquet files, bring them back."""


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
@format_option
@with_settings("state", "dsn")
def list_(settings: Settings, output_format: str) -> None:
    """List the partitions of radacct, oldest first, with those that were taken out into files.

    Days are of UTC, in which the months are; the end day is the first that is not in the partition. The kind: open
    (sessions that have not stopped), current, ahead, past, legacy (before the first month of radmeter's own), archived.
    Rows are PostgreSQL's estimate, the size is with the indexes; for a file both are exact.
    """
    from radmeter.database.connection import connect
    from radmeter.partitions.months import partitions as read

    with existing_database(settings) as dsn, connect(dsn) as connection:
        rows: list[Row] = [each._asdict() for each in read(connection)]
    columns = COLUMNS if output_format != "table" or any(row["file"] for row in rows) else COLUMNS[:-1]
    emit(rows, output_format, columns=columns)


@partitions.command(
    "ensure",
    epilog="""\b
Examples:
  radmeter partitions ensure
  radmeter partitions ensure --months 12
  radmeter partitions ensure 2024-03 2024-04

\b
Exit codes:
  0  they are there
  1  failed
  2  wrong options or settings
""",
)
@click.argument("months", type=MONTH, nargs=-1, metavar="[MONTH]...")
@click.option("--months", "ahead", type=click.IntRange(0, 120), help="This month and so many more.")
@with_settings("state", "dsn")
def ensure(settings: Settings, months: tuple[datetime.datetime, ...], ahead: int | None) -> None:
    """Make partitions that are missing: of the months given, or of this one and the next ones (3, as the jobs do)."""
    from radmeter.database.connection import connect
    from radmeter.partitions.months import MONTHS_AHEAD, ensure_partitions
    from radmeter.partitions.months import ensure as make

    if months and ahead is not None:
        raise click.UsageError("give months, or --months, not both")
    with existing_database(settings) as dsn, connect(dsn) as connection:
        made = sum(make(connection, month.replace(tzinfo=datetime.UTC)) for month in months)
        if not months:
            made = ensure_partitions(connection, MONTHS_AHEAD if ahead is None else ahead)
    click.echo(
        f"{made} {'partition' if made == 1 else 'partitions'} made" if made else "nothing to do: all there"
    )


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
  130  interrupted: run it again, it goes on
""",
)
@click.option(
    "--before",
    type=MONTH,
    required=True,
    metavar="MONTH",
    help="Partitions that end at it or before, YYYY-MM.",
)
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the files go, on this machine.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@with_settings("state", "dsn")
def archive(settings: Settings, before: datetime.datetime, directory: Path, yes: bool, dry_run: bool) -> None:
    """Take old months out of radacct: each into a Parquet file, verified, then detached and dropped.

    Oldest first; never this month, never the open sessions. The file is written under another name, made durable,
    read back from the disk and compared by its number of sessions and a checksum of all values; a session that changed
    meanwhile has it written anew. Packets are taken in all the while: detaching locks radacct for milliseconds, and
    waits for that lock 50 ms at a time.

    Counters and invoices stay as they are. `radmeter verify` does not judge days whose sessions are not all there.
    """
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
            click.echo(f"nothing to archive: no partition ends at or before {before:%Y-%m}")
            return
        hindered = [f"{each.name}: {why}" for each in found for why in obstacles(connection, each)]
        if hindered:
            raise ArchiveError(
                "nothing was archived. " + "; ".join(hindered) + ". Then run this command again"
            )
        _show_plan(found, left, directory)
        if dry_run:
            return
        confirm("Take them out of radacct?", yes)
        with archiving.alone(connection):
            archiving.finish(connection, _say, progress)
            for each in found:
                began = time.monotonic()
                record = archiving.archive(connection, each, directory, progress, _say)
                click.echo(
                    f"{record.name}: {amount(record.session_rows)} sessions in {record.file}, "
                    f"{human_bytes(record.file_bytes)} (was {human_bytes(each.bytes_total)}), verified and dropped "
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
  0    done, or restored before
  1    failed: the reason is on standard error, and nothing is changed
  2    wrong options or settings
  130  interrupted: run it again, it goes on
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def restore(settings: Settings, file: Path, yes: bool) -> None:
    """Bring the sessions of a file back into radacct. No counter moves: they have had this usage all the time.

    The file is read through first: a damaged one, or another database's, is refused. It is loaded into a table of its
    own, compared with what was archived, indexed as it was, and attached; where late packets made the month again,
    the sessions that are not there yet are added to it.
    """
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
                    f"{file} has columns that radacct has not: {', '.join(gone)}. Add them "
                    "(ALTER TABLE public.radacct ADD COLUMN ..), then run this command again"
                )
            beside = restoring.neighbours(connection, record)
            if record.state == "restored" and any(each.around for each in beside):
                click.echo(f"{file.name} is restored already: its sessions are in {beside[0].name}")
                return
            restoring.verify(file, record, progress)
            late = (
                f"; {', '.join(each.name for each in beside)}, made since, is joined with it"
                if beside
                else ""
            )
            click.echo(
                f"{file.name}: {amount(record.session_rows)} sessions of {record.name}, whole and undamaged{late}"
            )
            confirm("Bring them back into radacct?", yes)
            with alone(connection):
                began = time.monotonic()
                done = restoring.restore(connection, file, record, progress, _say)
    except UnfitFile as error:
        raise ArchiveError(f"{file} {error}. Nothing was changed") from error
    there = f", {amount(done.already_there)} were there already" if done.already_there else ""
    click.echo(
        f"{done.partition}: {amount(done.added)} sessions are back{there}, in {duration(time.monotonic() - began)}"
    )


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        why = "is not a directory" if directory.exists() else f"is not there: mkdir -p {directory}"
        raise click.BadParameter(f"{directory} {why}", param_hint="--to")


def _show_plan(found: list, left: list[str], directory: Path) -> None:  # type: ignore[type-arg]
    if left:
        click.echo(f"Detached by a run that was interrupted, to be dropped: {', '.join(left)}")
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
    emit(rows, "table", columns=tuple(rows[0]), title=f"To be written to {directory}, verified, and dropped:")
    free = shutil.disk_usage(directory).free
    click.echo(f"{human_bytes(free)} are free there. The files take a fraction of the tables' size.")
    newest = found[-1]
    if newest.to_at > datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=LATE_DAYS):
        click.echo(
            f"{newest.name} ended less than {LATE_DAYS} days ago: a late packet of one of its sessions would not find"
            " it, and count as a session of its own."
        )


def _say(text: str) -> None:
    click.echo(text, err=True)
