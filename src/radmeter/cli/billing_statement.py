"""`radmeter billing statement`: a tenant's documents of a month as PDF or HTML."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from radmeter import output
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

KINDS = ("pdf", "html")
# So many tenants' documents are in memory at a time.
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
  radmeter billing statement --period 2026-10 --tenant acme -o acme.html
  radmeter billing statement --period 2026-10 --all -o statements/

\b
Exit codes:
  0  written
  1  failed; with --all, the other tenants' files are written
  2  wrong options or settings
""",
)
@click.option(
    "--period", type=CALENDAR_MONTH, metavar="MONTH", required=True, help="The month, such as 2026-10."
)
@click.option("--tenant", type=TEXT, metavar="NAME", help="The tenant.")
@click.option("--all", "every", is_flag=True, help="All tenants with documents of the month, a file each.")
@click.option(
    "--as",
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
    period: "Month",
    tenant: str | None,
    every: bool,
    kind: str | None,
    target: Path,
) -> None:
    """Write a tenant's documents of a month as PDF or HTML: for people, with a chart, the routers and all lines.

    It has what the documents have: their text was copied at the close, and only the names of routers are of now. A
    draft and a void document are marked. A document that is not the sum of its lines is refused.

    The PDF is PDF/A-3 with the lines attached as CSV; it needs radmeter[billing]. The same documents give the same
    bytes on the same machine. The language is the tenant's: en or de, else en.
    """
    if every == (tenant is not None):
        raise click.UsageError("name a tenant with --tenant, or take all with --all")
    kind = _kind(kind, target, every)
    if not every:
        require_directory(target)
    if kind == "pdf":
        require_extra("typst", "billing")
    from radmeter.billing.statements import reading
    from radmeter.database import views

    with reading_database(settings) as dsn, views.reading(dsn) as connection:
        if tenant is not None:
            found = reading.read_statement(connection, period, tenant)
            write_durably(target, _made(found, kind))
            output.say(f"{_said(found)}: {target}")
            return
        tenants = reading.tenants_with_documents(connection, period)
        if not tenants:
            raise views.NotKnown(
                f"no tenant has documents of {period}: {reading.HOW_TO_CLOSE.format(period=period)}"
            )
        target.mkdir(parents=True, exist_ok=True)
        _write_all(
            tenants,
            lambda some: reading.read_statements(connection, period, some),
            kind,
            target,
        )


def _kind(kind: str | None, target: Path, every: bool) -> str:
    suffix = target.suffix.removeprefix(".").lower()
    if every:
        return kind or "pdf"
    if kind is not None and suffix in KINDS and kind != suffix:
        raise click.UsageError(f"{str(target)!r} is named .{suffix}, and --as is {kind}: change one of them")
    if kind is None and suffix not in KINDS:
        raise click.UsageError(f"{str(target)!r} is neither .pdf nor .html: say which with --as")
    return kind or suffix


def _write_all(
    tenants: list[tuple[int, str]],
    read: Callable[[list[int]], "list[Statement]"],
    kind: str,
    directory: Path,
) -> None:
    from radmeter.billing.statements.files import file_name
    from radmeter.billing.statements.reading import DoesNotAddUp

    faults, written = [], 0
    with progress("writing statements", len(tenants), "tenants") as bar:
        for begin in range(0, len(tenants), AT_A_TIME):
            some = [number for number, _ in tenants[begin : begin + AT_A_TIME]]
            try:
                statements = {each.tenant_id: each for each in read(some)}
            except (DoesNotAddUp, *DAMAGED):
                # One by one: the others are written.
                statements = {}
            for number, tenant in tenants[begin : begin + AT_A_TIME]:
                try:
                    found = statements.get(number) or read([number])[0]
                    name = file_name(found.period, found.tenant_id, found.tenant, f".{kind}")
                    write_durably(directory / name, _made(found, kind))
                    written += 1
                except OSError:
                    raise
                except RadmeterError as error:
                    faults.append(str(error))
                except DAMAGED as error:
                    faults.append(
                        f"the documents of tenant {tenant!r} have a value that cannot be shown "
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
    from radmeter.billing.statements.words import language_of

    language, known = language_of(found.language)
    if not known:
        output.say(
            f"note: statements are not written in {found.language!r}, the language of tenant {found.tenant!r}: "
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
            f"note: no font on this machine has {symbols}: the statement of {found.tenant!r} has the numbers instead",
            err=True,
        )
    return made.content


def _said(found: "Statement") -> str:
    documents = ", ".join(
        f"{each.name} ({each.status}, {each.amount:f} {each.currency})"
        if each.number
        else f"{each.name} ({each.amount:f} {each.currency})"
        for each in found.documents
    )
    return f"{found.tenant}: {documents}"
