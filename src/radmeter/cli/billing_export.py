"""`radmeter billing export`: documents, their lines, counters and sessions as files for other programs."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from radmeter import output
from radmeter.cli.common import TEXT, reading_database, require_directory, require_extra, with_settings
from radmeter.cli.months import CALENDAR_MONTH, DAY
from radmeter.config import Settings
from radmeter.interruption import Interruption
from radmeter.progress import progress
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.billing.months import Month

WHAT = (
    "invoices",
    "lines",
    "credit-notes",
    "credit-note-lines",
    "router-days",
    "user-periods",
    "sessions",
)
# What has a day of issue.
DOCUMENTS = WHAT[:4]
FORMATS = ("csv", "jsonl", "parquet", "xlsx")
# The package that a format needs, and the extra that brings it.
PACKAGES = {"parquet": ("pyarrow", "archive"), "xlsx": ("xlsxwriter", "billing")}
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}


class Delimiter(click.Choice[str]):
    """What separates the values of CSV, by its name or as it is."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the character."""
        names = {char: name for name, char in DELIMITERS.items()}
        return DELIMITERS[super().convert(names.get(value, value), param, ctx)]


@click.command(
    "export",
    epilog="""\b
Examples:
  radmeter billing export --period 2026-10 --what invoices --format xlsx \\
      -o invoices.xlsx
  radmeter billing export --period 2026-10 --tenant acme --what sessions \\
      --format csv -o acme.csv
  radmeter billing export --period 2026-10 --what lines --format csv \\
      --delimiter semicolon --decimal-comma --bom -o lines.csv
  radmeter billing export --period 2026-11 --what invoices --by issue \\
      --format csv -o issued.csv
  radmeter billing export --from 2026-10-01 --to 2026-12-31 \\
      --what router-days --format jsonl -o - | gzip >days.jsonl.gz

\b
Exit codes:
  0    exported
  1    failed: the reason is on standard error, and the file is as it was
  2    wrong options or settings
  130  interrupted: the file is as it was
""",
)
@click.option("--period", type=CALENDAR_MONTH, metavar="MONTH", help="The month, such as 2026-10.")
@click.option("--from", "first", type=DAY, metavar="DAY", help="The first day.  [default: of the month]")
@click.option("--to", "last", type=DAY, metavar="DAY", help="The last day.  [default: of the month]")
@click.option("--tenant", type=TEXT, metavar="TENANT", help="Only what is this tenant's, by name or number.")
@click.option("--what", type=click.Choice(WHAT), metavar="WHAT", required=True, help="Which rows: see above.")
@click.option(
    "--by",
    type=click.Choice(["period", "issue"]),
    help="Of documents: period takes those whose period begins on the days, issue those issued on them (UTC).  "
    "[default: period; credit notes are always by issue]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="jsonl is a JSON object a line.  [default: by the name of FILE; csv with another name and with -]",
)
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The file, replaced if there is one; - is standard output.",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the manifest goes.  [default: the name of the file with .manifest.json; none with -]",
)
@click.option(
    "--delimiter",
    type=Delimiter(list(DELIMITERS)),
    help="With csv: what separates values.  [default: comma; semicolon with --decimal-comma]",
)
@click.option("--decimal-comma", is_flag=True, help="With csv: 12,50 and not 12.50.")
@click.option(
    "--bom", is_flag=True, help="With csv: begin with a byte order mark, by which Excel knows UTF-8."
)
@click.option(
    "--raw",
    is_flag=True,
    help="With csv: text as it is, also where a spreadsheet would run it, such as =1+1. For programs.",
)
@with_settings("state", "dsn", "read_dsn", "archive_directory")
def export(
    settings: Settings,
    period: "Month | None",
    first: datetime.datetime | None,
    last: datetime.datetime | None,
    tenant: str | None,
    what: str,
    by: str | None,
    form: str | None,
    file: Path,
    manifest: Path | None,
    delimiter: str | None,
    decimal_comma: bool,
    bom: bool,
    raw: bool,
) -> None:
    """Export documents, their lines, routers' days, users' quota periods or sessions, for an accountant's programs.

    Everything is read from one snapshot, streamed, and in a fixed order: the same data give the same bytes, in each
    format. The file appears when it is whole. A manifest beside it has the number of rows, the sums by currency, the
    SHA-256, and what each column means.

    \b
    invoices           documents that begin in the month, drafts and void ones
                       too; with --by issue those issued in it (UTC)
    lines              their lines, with the arithmetic
    credit-notes       those issued in the month (UTC)
    credit-note-lines  their lines
    router-days        what routers counted, by day, and whose they were
    user-periods       quota periods of users that begin in the month
    sessions           those online in the month, with the octets of its days

    It only reads, and may read from a standby. A month that is not closed, or by issue not over, may still
    change: a note says so.
    """
    is_stdout = str(file) == "-"
    form = _format(form, file)
    if form != "csv" and (delimiter or decimal_comma or bom or raw):
        raise click.UsageError("--delimiter, --decimal-comma, --bom and --raw go with --format csv")
    if by == "issue" and what not in DOCUMENTS:
        raise click.UsageError(f"--by issue is of documents: {what} have no day of issue")
    if by == "period" and what.startswith("credit-note"):
        raise click.UsageError("credit notes have no period: they are always by issue")
    delimiter = delimiter or (";" if decimal_comma else ",")
    if decimal_comma and delimiter == ",":
        raise click.UsageError("--decimal-comma needs another delimiter than the comma")
    days = _days(period, first, last)
    if form in PACKAGES:
        require_extra(*PACKAGES[form])
    if not is_stdout:
        require_directory(file)
    if manifest is not None:
        require_directory(manifest)
    if is_stdout and form in PACKAGES and output.is_terminal():
        raise click.UsageError(f"{form} is not for a terminal: give a file, or lead the output elsewhere")
    # Imported here because psycopg loads slowly.
    from radmeter.billing.exports.export import TABLES, Asked, export
    from radmeter.billing.exports.source import Style
    from radmeter.billing.exports.target import FileTarget, OutputTarget
    from radmeter.database.deadline import patient
    from radmeter.database.views import reading

    target = OutputTarget(manifest) if is_stdout else FileTarget(file, manifest)
    with (
        Interruption() as interruption,
        interruption.may_break(),
        target,
        reading_database(settings) as dsn,
        reading(dsn, patient()) as connection,  # a large export is sorted before its first row comes
    ):
        done = export(
            connection,
            TABLES[what],
            Asked(
                first=days[0],
                last=days[1],
                tenant=tenant,
                by_issue=by == "issue" or what.startswith("credit-note"),
            ),
            Style(format=form, delimiter=delimiter, decimal_comma=decimal_comma, bom=bom, raw=raw),
            target,
            None if is_stdout else file.name,
            progress,
            settings.archive_directory,
        )
    if done.open_months:
        output.say(f"note: not closed yet, so it may change: {', '.join(done.open_months)}", err=True)
    if not is_stdout:
        output.say(f"{counted(done.manifest.rows, 'row')} in {file}")


def _format(form: str | None, file: Path) -> str:
    """Return the format. A file whose name says another one would be opened by a program that cannot read it."""
    named = file.suffix.removeprefix(".").lower()
    if form is not None and named in FORMATS and form != named:
        raise click.UsageError(f"{str(file)!r} is named .{named}, and --format is {form}: change one of them")
    return form or (named if named in FORMATS else "csv")


def _days(
    period: "Month | None", first: datetime.datetime | None, last: datetime.datetime | None
) -> tuple[datetime.date, datetime.date]:
    """Return the first and the last day."""
    begin = None if first is None else first.date()
    end = None if last is None else last.date()
    if period is not None:
        begin, end = begin or period.first, end or period.end - datetime.timedelta(days=1)
        if begin not in period or end not in period:
            raise click.UsageError(f"--from and --to are days of {period}, or go without --period")
    if begin is None or end is None:
        raise click.UsageError("give --period, or --from and --to")
    if end < begin:
        raise click.UsageError("--to is before --from")
    if end.year == 9999:
        raise click.BadParameter("there is no year after it", param_hint="--to")
    return begin, end
