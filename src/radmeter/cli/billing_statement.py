"""`radmeter billing statement`: documents as PDF or HTML, for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from radmeter import output
from radmeter.cli.billing_common import issuer_option
from radmeter.cli.common import TEXT, reading_database, require_directory, require_extra, with_settings
from radmeter.cli.months import CALENDAR_MONTH
from radmeter.config import Settings
from radmeter.durable_files import write_durably
from radmeter.errors import RadmeterError
from radmeter.printable import one_line
from radmeter.progress import progress
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.billing.months import Month
    from radmeter.billing.statements.document import Statement
    from radmeter.billing.statements.finding import Wanted
    from radmeter.database.connection import Connection

KINDS = ("pdf", "html")
# As in statements.finding, which loads slowly.
WHOSE = ("tenants", "users", "credit-notes")
# So many files' documents are in memory at a time.
AT_A_TIME = 100
# What damaged values of a document raise: text where a number should be, or a key that is not there.
DAMAGED = (ArithmeticError, LookupError, TypeError, ValueError)
# More names in a message help nobody.
MOST_NAMED = 10


@click.command(
    "statement",
    epilog="""\b
Examples:
  radmeter billing statement --period 2026-10 --tenant acme -o acme.pdf
  radmeter billing statement --number 2026-000042 -o invoice.pdf
  radmeter billing statement --number CN-2026-000003 -o credit.html
  radmeter billing statement --period 2026-10 --all -o statements/

\b
Exit codes:
  0  written
  1  failed; with --all, the other files are written
  2  wrong options or settings
""",
)
@click.option("--period", type=CALENDAR_MONTH, metavar="MONTH", help="The month, such as 2026-10.")
@click.option("--tenant", type=TEXT, metavar="TENANT", help="The tenant, by name or number.")
@click.option(
    "--number", type=TEXT, metavar="NUMBER", help="Only this invoice or credit note; a draft is named #ID."
)
@issuer_option
@click.option("--all", "every", is_flag=True, help="All documents of the month, into a directory: see below.")
@click.option(
    "--what",
    "whose",
    type=click.Choice(WHOSE),
    multiple=True,
    help="With --all: only these. May be repeated.  [default: all three]",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(KINDS),
    help="The kind of file.  [default: by the name of FILE; with --all pdf]",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    required=True,
    help="The file; with --all the directory, which is made. A file that is there is replaced.",
)
@with_settings("state", "dsn", "read_dsn")
def statement(
    settings: Settings,
    period: "Month | None",
    tenant: str | None,
    number: str | None,
    issuer: str | None,
    every: bool,
    whose: Sequence[str],
    kind: str | None,
    target: Path,
) -> None:
    """Write documents as PDF or HTML: for people, with a chart of the days, the routers and all lines.

    A tenant's documents of a month are one file. With --number it is an invoice of a tenant or a user, or a credit
    note. With --all it is a file for each tenant, for each invoice of a user, and for each credit note that was issued
    in the month (UTC).

    A file has what the documents have: their text was copied at the close, and only the names of routers are of now. A
    draft and a void document are marked. A document that is not the sum of its lines is refused.

    The PDF is PDF/A-3 with the lines attached as CSV; it needs radmeter[billing]. The same documents give the same
    bytes on the same machine. The language is the tenant's: en or de, else en.
    """
    if every + (tenant is not None) + (number is not None) != 1:
        raise click.UsageError(
            "name a tenant with --tenant, a document with --number, or take all of a month with --all"
        )
    if (period is None) is (number is None):
        raise click.UsageError(
            "--tenant and --all go with --period" if period is None else "--number goes without --period"
        )
    if whose and not every:
        raise click.UsageError("--what goes with --all")
    if issuer is not None and number is None:
        raise click.UsageError("--issuer goes with --number")
    kind = _kind(kind, target, every)
    if not every:
        require_directory(target)
    if kind == "pdf":
        require_extra("typst", "billing")
    from radmeter.billing.statements import finding
    from radmeter.database import views

    with reading_database(settings) as dsn, views.reading(dsn) as connection:
        if period is None:
            assert number is not None
            one = finding.of_number(connection, number, issuer)
        elif tenant is not None:
            one = finding.of_tenant(connection, period, tenant)
        else:
            _write_all(connection, finding.of_month(connection, period, whose or WHOSE), kind, target)
            return
        (found,) = finding.read_files(connection, [one])
        write_durably(target, _made(found, kind))
        output.say(f"{_said(found)}: {target}")


def _kind(kind: str | None, target: Path, every: bool) -> str:
    suffix = target.suffix.removeprefix(".").lower()
    if every:
        return kind or "pdf"
    if kind is not None and suffix in KINDS and kind != suffix:
        raise click.UsageError(
            f"{str(target)!r} is named .{suffix}, and --format is {kind}: change one of them"
        )
    if kind is None and suffix not in KINDS:
        raise click.UsageError(f"{str(target)!r} is neither .pdf nor .html: say which with --format")
    return kind or suffix


def _write_all(connection: "Connection", wanted: "Sequence[Wanted]", kind: str, directory: Path) -> None:
    from radmeter.billing.statements.finding import read_files
    from radmeter.billing.statements.reading import DoesNotAddUp

    directory.mkdir(parents=True, exist_ok=True)
    faults, written = [], 0
    with progress("writing statements", len(wanted), "files") as bar:
        for begin in range(0, len(wanted), AT_A_TIME):
            some = wanted[begin : begin + AT_A_TIME]
            try:
                statements: Sequence[Statement | None] = read_files(connection, some)
            except (DoesNotAddUp, *DAMAGED):
                # One by one: the others are written.
                statements = [None] * len(some)
            for each, made in zip(some, statements, strict=True):
                try:
                    found = made or read_files(connection, [each])[0]
                    write_durably(directory / f"{each.name}.{kind}", _made(found, kind))
                    written += 1
                except OSError:
                    raise
                except RadmeterError as error:
                    faults.append(str(error))
                except DAMAGED as error:
                    faults.append(
                        f"the documents of {each.whose} have a value that cannot be shown "
                        f"({type(error).__name__}: {one_line(str(error))}): `radmeter billing reconcile` compares them "
                        "with the documents as they were issued"
                    )
                bar.advance()
    output.say(f"{counted(written, 'statement')} in {directory}")
    if faults:
        more = len(faults) - MOST_NAMED
        raise RadmeterError(
            f"{counted(len(faults), 'statement')} could not be written:",
            *(f"  {fault}" for fault in faults[:MOST_NAMED]),
            *([f"  and {more} more"] if more > 0 else []),
        )


def _made(found: "Statement", kind: str) -> bytes:
    """Return the file, and say what is not as the tenant would have it."""
    from radmeter.billing.statements.layout import lay_out
    from radmeter.billing.wording import language_of

    language, known = language_of(found.language)
    if not known:
        output.say(
            f"note: statements are not written in {found.language!r}, the language of {_owner(found)}: "
            "this one is in English",
            err=True,
        )
    if kind == "html":
        from radmeter.billing.statements.html import as_html

        return as_html(lay_out(found, language))
    from radmeter.billing.statements.lines_csv import as_csv
    from radmeter.billing.statements.pdf import as_pdf

    made = as_pdf(lay_out(found, language, attached=True), as_csv(found))
    if made.written_out:
        symbols = ", ".join(f"U+{ord(each):04X}" for each in made.written_out)
        output.say(
            f"note: no font on this machine has {symbols}: the statement of {found.whose!r} has the numbers instead",
            err=True,
        )
    return made.content


def _owner(found: "Statement") -> str:
    return f"tenant {found.tenant!r}" if found.username is None else f"user {found.username!r}"


def _said(found: "Statement") -> str:
    from radmeter.billing.wording import ENGLISH

    documents = ", ".join(
        f"{each.name} ({each.status + ', ' if each.number else ''}"
        f"{ENGLISH.money(each.amount, each.currency, each.digits)})"
        for each in found.documents
    )
    return f"{found.whose}: {documents}"
