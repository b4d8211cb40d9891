"""`radmeter billing`: closes months, issues documents, credits them, and compares them with their files."""

import shlex
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.billing_export import export
from radmeter.cli.billing_issuers import issuers
from radmeter.cli.billing_statement import statement
from radmeter.cli.common import (
    TEXT,
    Figure,
    confirm,
    emit,
    emit_json,
    existing_database,
    format_option,
    list_options,
    plain,
    reading_database,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.months import CALENDAR_MONTH
from radmeter.config import Settings
from radmeter.errors import RadmeterError
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.billing.issued_files import IssuedFiles
    from radmeter.billing.months import Month

CLOSED_COLUMNS = ("tenant", "username", "currency", "usage_bytes", "net", "tax", "gross", "lines")
SHORT = ("number", "tenant", "username", "period_start", "currency", "gross", "status")
STATUSES = ("draft", "issued", "void")
SETTING_COLUMNS = ("name", "value", "default", "meaning")
SHORT_CREDITS = ("number", "invoice", "tenant", "username", "issued", "currency", "gross", "reason")


class Disagree(RadmeterError):
    """Files and the database do not agree. The lines say about which documents."""


month_argument = click.argument("month", metavar="YYYY-MM", type=CALENDAR_MONTH)
tenant_option = click.option(
    "--tenant",
    "tenants",
    type=TEXT,
    multiple=True,
    metavar="TENANT",
    help="Only this tenant. May be repeated.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
issuer_option = click.option(
    "--issuer", type=TEXT, metavar="ISSUER", help="Whose number it is, if several issuers have given it."
)
reason_option = click.option(
    "--reason", type=TEXT, required=True, metavar="TEXT", help="Why. It stands on the credit note."
)


@group(epilog="Example: radmeter billing close 2026-10 && radmeter billing issue 2026-10")
def billing() -> None:
    """Close months, and issue, credit, print and export documents."""


billing.add_command(export)
billing.add_command(issuers)
billing.add_command(statement)


@billing.command(
    "close",
    epilog="""\b
Examples:
  radmeter billing close 2026-10 --dry-run
  radmeter billing close 2026-10 --yes
""",
)
@month_argument
@tenant_option
@click.option("--dry-run", is_flag=True, help="Do everything, show it, and take it back.")
@yes_option
@format_option
@with_settings("state", "dsn", "billing_directory", "billing_key_file")
def close_month(
    settings: Settings,
    month: "Month",
    tenants: Sequence[str],
    dry_run: bool,
    yes: bool,
    output_format: str,
) -> None:
    """Close the month of all tenants and users, and write what they owe as drafts.

    What counts is frozen then. What comes later for the month is a line of its own in the next document. A month can be
    closed when it has ended in the time zone of each tenant and of each of the tenant's routers, and has settled
    (`radmeter billing settings`). What is closed already is left as it is. But for a tenant that is named, a month is
    closed anew once its document is void, so that a wrong rate is corrected at once. The database role needs
    radmeter_billing.
    """
    from radmeter.billing.closing import close, sums
    from radmeter.billing.documents import spoken
    from radmeter.billing.issuing import refuse_unreconciled
    from radmeter.database.operator import operating

    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        refuse_unreconciled(connection, _files(settings), both=False)
        if not dry_run and not yes:
            preview = close(connection, month, tenants, dry_run=True)
            confirm(
                f"Close {month}: {counted(len(preview.drafts), 'draft')} of {spoken(sums(preview.drafts))}. Go on?",
                yes,
            )
        result = close(connection, month, tenants, dry_run=dry_run)
    rows = [_shown(draft._asdict(), output_format) for draft in result.drafts]
    if output_format == "table":
        for note in result.notes:
            output.say(f"note: {note}", err=True)
        if result.before:
            output.say(
                f"note: {month} was closed before for {counted(len(result.before), 'tenant')}: "
                f"{', '.join(result.before[:5])}{', ..' if len(result.before) > 5 else ''}",
                err=True,
            )
        if result.users_before:
            output.say(f"note: {month} was closed before for users", err=True)
    emit(rows, output_format, columns=CLOSED_COLUMNS)
    if output_format == "table":
        did = "would be closed" if dry_run else "is closed"
        output.say(f"{month} {did}: {counted(len(rows), 'draft')} of {spoken(sums(result.drafts))}")
        if rows and not dry_run:
            output.say(
                f"Look at them: radmeter billing list --period {month}. Then: radmeter billing issue {month}"
            )


@billing.command("discard", epilog="Example: radmeter billing discard 2026-10 --tenant acme")
@month_argument
@tenant_option
@yes_option
@with_settings("state", "dsn")
def discard(settings: Settings, month: "Month", tenants: Sequence[str], yes: bool) -> None:
    """Remove the drafts of a month and open it again, so that it can be closed anew. Issued documents stay."""
    from radmeter.billing import documents
    from radmeter.billing.discarding import discard as remove
    from radmeter.database.operator import operating

    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        found = documents.documents(connection, month=month, tenants=tenants, status="draft")
        worth = documents.spoken(documents.sums(found))
        confirm(f"Discard {counted(len(found), 'draft')} of {worth}, and open {month} again?", yes)
        closes, drafts = remove(connection, month, tenants)
    if not closes:
        output.say(f"{month} is not closed: nothing to do")
    else:
        output.say(
            f"{month} is open again for {counted(closes, 'recipient')}; {counted(drafts, 'draft')} removed"
        )


@billing.command("issue", epilog="Example: radmeter billing issue 2026-10")
@month_argument
@tenant_option
@yes_option
@with_settings("state", "dsn", "billing_directory", "billing_key_file")
def issue(settings: Settings, month: "Month", tenants: Sequence[str], yes: bool) -> None:
    """Issue the drafts of a month: each gets its number, and never changes from then on.

    Each document is also written as signed JSON into the directory of the setting billing_directory, outside of the
    database. Back that up, too, with the key. The database role needs radmeter_billing.
    """
    from radmeter.billing import documents, issuing, overlooked
    from radmeter.database.operator import operating

    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        found = documents.documents(connection, month=month, tenants=tenants, status="draft")
        if not found:
            output.say(f"{month} has no drafts: nothing to do")
            return
        for note in overlooked.nameless_issuers(connection):
            output.say(f"note: {note}", err=True)
        worth = documents.spoken(documents.sums(found))
        confirm(f"Issue {counted(len(found), 'document')} of {worth}? They never change then.", yes)
        issued = issuing.issue(connection, _files(settings), [row["id"] for row in found])
    first, last = issued[0]["number"], issued[-1]["number"]
    numbers = first if len(issued) == 1 else f"{first} to {last}"
    output.say(
        f"issued {counted(len(issued), 'document')} of {documents.spoken(documents.sums(found))}: {numbers}"
    )


@billing.command("list", epilog="Example: radmeter billing list --period 2026-10 --status draft")
@click.option("--period", metavar="YYYY-MM", type=CALENDAR_MONTH, help="Only documents of this month.")
@tenant_option
@click.option("--user", "username", type=TEXT, metavar="USER", help="Only documents of this user.")
@click.option("--status", type=click.Choice(STATUSES), help="Only documents in this state.")
@click.option(
    "--credit-notes", is_flag=True, help="Credit notes instead; --period is the month of their issue."
)
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_documents(
    settings: Settings,
    period: "Month | None",
    tenants: Sequence[str],
    username: str | None,
    status: str | None,
    credit_notes: bool,
    output_format: str,
) -> None:
    """List invoices: number, recipient, period, amounts and state. Drafts have no number, but an id.

    `credited` is what credit notes have given back, with tax. period_end is the first day that is not billed.
    """
    from radmeter.billing import documents
    from radmeter.database.views import reading

    if credit_notes and status is not None:
        raise click.UsageError("--status is of invoices, and --credit-notes have none")
    with reading_database(settings) as dsn, reading(dsn) as connection:
        if credit_notes:
            notes = documents.credit_notes(connection, month=period, tenants=tenants, username=username)
            emit(
                [_exact(note) for note in notes],
                output_format,
                columns=documents.CREDIT_COLUMNS,
                short=SHORT_CREDITS,
            )
            return
        found = documents.documents(
            connection, month=period, tenants=tenants, username=username, status=status
        )
    if output_format == "table":
        found = [{**row, "number": row["number"] or f"#{row['id']}"} for row in found]
    emit([_shown(row, output_format) for row in found], output_format, columns=documents.COLUMNS, short=SHORT)


@billing.command("show", epilog="Example: radmeter billing show 2026-000042")
@click.argument("number", type=TEXT)
@issuer_option
@format_option
@with_settings("state", "dsn", "read_dsn")
def show(settings: Settings, number: str, issuer: str | None, output_format: str) -> None:
    """Show the invoice NUMBER with its lines, their arithmetic, its tax and its credit notes. A draft is named #ID.

    NUMBER may be that of a credit note.
    """
    from radmeter.billing import documents
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        notes = documents.credit_notes(connection, number=number, issuer=issuer)
        if notes and not documents.documents(connection, number=number, issuer=issuer):
            _show_credit_notes(notes, output_format)
            return
        found = documents.whole(connection, documents.find(connection, number, issuer))
    if output_format == "json":
        emit_json(plain(_exact(found)))
        return
    if output_format == "csv":
        emit([_exact(line) for line in found["lines"]], output_format, columns=documents.LINE_COLUMNS)
        return
    for text in _head(found):
        output.say(text)
    for line in found["lines"]:
        output.say(
            "",
            f"{line['line']}. {line['description']}, {line['period_start']} to {line['period_end']}"
            + (" (adjustment)" if line["adjusts"] else ""),
            f"   {line['arithmetic']}",
            f"   net {_money(line['net'], found)}, tax {line['tax_rate']} %"
            + (f" ({line['tax_rule']})" if line["tax_rule"] else ""),
        )
    output.say("")
    for tax in found["taxes"] or ():
        rule = f" ({tax['rule']})" if tax["rule"] else ""
        output.say(f"tax {tax['rate']} %{rule} of {tax['net']}: {tax['tax']} {found['currency']}")
    output.say(
        f"net {_money(found['net'], found)}, tax {_money(found['tax'], found)}, total {_money(found['gross'], found)}"
    )
    for note in found["credit_notes"]:
        voids = ", voids the invoice" if note["voids"] else ""
        output.say(f"credit note {note['number']}: {_money(note['gross'], found)}{voids}: {note['reason']}")


@billing.command(
    "credit",
    epilog="""\b
Examples:
  radmeter billing credit 2026-000042 --amount 10 --reason "outage"
  radmeter billing credit 2026-000042 --line 2 --line 3:1.50 --reason "rate"
  radmeter billing credit 2026-000042 --all --reason "goodwill"
""",
)
@click.argument("number", type=TEXT)
@issuer_option
@click.option("--amount", metavar="AMOUNT", help="A net amount, spread over the lines.")
@click.option(
    "--line",
    "lines",
    metavar="N[:AMOUNT]",
    multiple=True,
    help="A line, or a net amount of it. May be repeated.",
)
@click.option("--all", "all_", is_flag=True, help="All that is left.")
@reason_option
@yes_option
@with_settings("state", "dsn", "billing_directory", "billing_key_file")
def credit(
    settings: Settings,
    number: str,
    issuer: str | None,
    amount: str | None,
    lines: Sequence[str],
    all_: bool,
    reason: str,
    yes: bool,
) -> None:
    """Give a part of the issued invoice NUMBER back, or all that is left of it, by a credit note.

    Its octets stay billed: `radmeter billing void` also takes these back. Credit notes never exceed the invoice.
    Amounts are without tax.
    """
    from radmeter.billing.credit import credit_all, credit_amount, credit_lines

    if (amount is not None) + bool(lines) + all_ != 1:
        raise click.UsageError("give one of --amount, --line and --all")
    wanted = None if amount is None else _amount(amount, "--amount")
    by_line = _lines(lines)

    def make(invoice: Any, money: Any) -> Any:
        if all_:
            return credit_all(invoice, money)
        if wanted is not None:
            return credit_amount(invoice, wanted, money)
        return credit_lines(invoice, by_line, money)

    _credit(settings, number, issuer, make, reason, yes, voids=False)


@billing.command("void", epilog='Example: radmeter billing void 2026-000042 --reason "wrong tenant"')
@click.argument("number", type=TEXT)
@issuer_option
@reason_option
@yes_option
@with_settings("state", "dsn", "billing_directory", "billing_key_file")
def void(settings: Settings, number: str, issuer: str | None, reason: str, yes: bool) -> None:
    """Take the issued invoice NUMBER back by a credit note of all that is left. The next close bills its octets again.

    For a tenant's invoice, `radmeter billing close YYYY-MM --tenant TENANT` closes its month anew, with the rates of
    now. The invoice keeps its number, and is void. If nothing is left of it, the credit note is of 0.
    """
    from radmeter.billing.credit import void_all

    _credit(settings, number, issuer, void_all, reason, yes, voids=True)


@billing.command("reconcile", epilog="Example: radmeter billing reconcile --dry-run")
@click.option("--dry-run", is_flag=True, help="Only compare.")
@yes_option
@with_settings("state", "dsn", "billing_directory", "billing_key_file")
def reconcile(settings: Settings, dry_run: bool, yes: bool) -> None:
    """Compare the issued documents in the directory with the database, and bring each what it lacks.

    Run it after the database was restored from a dump: documents that were issued since then are taken back from their
    signed files, so that no number is given twice. Files that are missing are written again.

    To take documents back, the database role needs radmeter_owner.
    """
    from radmeter.billing import origin, reconciling
    from radmeter.database.operator import operating

    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        result = reconciling.reconcile(connection, _files(settings), dry_run=True)
        moved = origin.has_moved(origin.origin(connection), settings.billing_directory)
        if not dry_run and (result.restored or result.written or moved):
            if moved:
                output.say(
                    f"note: {settings.billing_directory} was last used by a database of the same identity in another "
                    "place. Go on only if this one replaces it, and that one is not used any more.",
                    err=True,
                )
            confirm(
                f"Restore {counted(len(result.restored), 'document')} from files into the database, and write "
                f"{counted(len(result.written), 'missing file')}?",
                yes,
            )
            result = reconciling.reconcile(connection, _files(settings))
    would = "would be " if dry_run else ""
    output.say(
        f"{counted(result.same, 'document')} are the same in {settings.billing_directory} and in the database"
    )
    for numbers, what in ((result.restored, "restored"), (result.written, "written as a file")):
        for number in numbers:
            output.say(f"{number} {would}{what}")
    if result.faults:
        raise Disagree(f"{counted(len(result.faults), 'document')} could not be reconciled:", *result.faults)


@billing.command("settings", epilog="Example: radmeter billing settings --rounding half-even")
@click.option("--currency", type=TEXT, metavar="CODE", help="Of users who belong to no tenant (ISO 4217).")
@click.option(
    "--rounding", type=click.Choice(["half-up", "half-even"]), help="How a line is rounded to the currency."
)
@click.option(
    "--settling-hours", type=TEXT, metavar="HOURS", help="From the end of a month until it can be closed."
)
@click.option(
    "--tax", type=click.Choice(["sum", "line"]), help="Where tax is rounded: for each rate, or each line."
)
@click.option("--users-tax-rate", type=TEXT, metavar="PERCENT", help="Tax on what users pay.")
@click.option("--users-tax-rule", type=TEXT, metavar="TEXT", help="Why it is this rate, for their documents.")
@click.option("--zero", type=click.Choice(["skip", "draft"]), help="What becomes of documents about nothing.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def show_settings(settings: Settings, output_format: str, **given: str | None) -> None:
    """Show the settings of billing, or set those that are given. Documents that are there stay as they are."""
    from radmeter.billing import settings as billing_settings
    from radmeter.billing.currencies import currency
    from radmeter.database.operator import operating
    from radmeter.database.views import reading

    changes = {name: value for name, value in given.items() if value is not None}
    if "currency" in changes:
        changes["currency"] = currency(changes["currency"]).code
    if changes:
        with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as writing:
            for name, value in changes.items():
                changed = billing_settings.set_setting(writing, name, value)
                output.say(f"{name}: {value}" + ("" if changed else ", as before"))
        return
    with reading_database(settings) as dsn, reading(dsn) as connection:
        rows = billing_settings.settings(connection)
    emit(rows, output_format, columns=SETTING_COLUMNS)


def _credit(
    settings: Settings, number: str, issuer: str | None, make: Any, reason: str, yes: bool, *, voids: bool
) -> None:
    from radmeter.billing import documents, issuing
    from radmeter.database.operator import operating

    if not reason.strip() or not reason.isprintable():
        raise click.UsageError("--reason is a line of text: it stands on the credit note")
    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        found = documents.find(connection, number, issuer)
        invoice, money, _ = issuing.creditable(connection, found["id"])
        preview = make(invoice, money)
        amount = f"{preview.gross:f} {money.currency} ({preview.net:f} and {preview.tax:f} tax)"
        what = "Void" if voids else "Credit"
        confirm(f"{what} {number}: a credit note of {amount}. It never changes then. Go on?", yes)
        note = issuing.credit(connection, _files(settings), found["id"], make, reason, voids=voids)
    output.say(f"credit note {note} of {number}: {amount}" + (f". {number} is void" if voids else ""))
    if voids and found["username"] is None:
        month, tenant = f"{found['period_start']:%Y-%m}", shlex.quote(found["tenant"])
        output.say(
            f"The next close bills it again. For a new document of {month}: "
            f"radmeter billing close {month} --tenant {tenant}"
        )


def _show_credit_notes(notes: Sequence[Mapping[str, Any]], output_format: str) -> None:
    """Show the credit notes of a number: several issuers may have given it."""
    from radmeter.billing.documents import CREDIT_COLUMNS

    if output_format == "json":
        emit_json(plain([_exact(note) for note in notes]) if len(notes) > 1 else plain(_exact(notes[0])))
        return
    if output_format == "csv":
        emit([_exact(note) for note in notes], output_format, columns=CREDIT_COLUMNS)
        return
    for note in notes:
        recipient = note["username"] if note["username"] is not None else (note["tenant"] or "-")
        output.say(
            f"{note['number']}, credit note of {note['invoice']}, for {recipient}",
            f"issued {times.shown(note['issued_at'])} by {note['issuer']}",
            f"reason: {note['reason']}" + (" (voids the invoice)" if note["voids"] else ""),
        )
        for tax in note["taxes"] or ():
            rule = f" ({tax['rule']})" if tax.get("rule") else ""
            output.say(f"tax {tax['rate']} %{rule} of {tax['net']}: {tax['tax']} {note['currency']}")
        output.say(
            f"net {_money(note['net'], note)}, tax {_money(note['tax'], note)}, total {_money(note['gross'], note)}"
        )


def _files(settings: Settings) -> "IssuedFiles":
    from radmeter.billing.issued_files import IssuedFiles

    return IssuedFiles(settings.billing_directory, settings.billing_key_file)


def _amount(text: str, option: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not amount or len(text) > 30:
        raise click.UsageError(f"{option}: {text!r} is not an amount, such as 12.50")
    return amount


def _lines(texts: Sequence[str]) -> dict[int, Decimal | None]:
    found: dict[int, Decimal | None] = {}
    for text in texts:
        number, colon, amount = text.partition(":")
        if not number.isascii() or not number.isdigit() or len(number) > 6 or int(number) in found:
            raise click.UsageError(
                f"--line: {text!r} is not a line: write its number once, such as 2 or 2:1.50"
            )
        found[int(number)] = _amount(amount, "--line") if colon else None
    return found


def _head(found: Mapping[str, Any]) -> list[str]:
    name = found["number"] or f"draft #{found['id']}"
    recipient = found["username"] if found["username"] is not None else (found["tenant"] or "-")
    rows = [
        f"{name}, {found['status']}, for {recipient}",
        f"{found['period_start']} to {found['period_end']} (not included)",
    ]
    if found["issued_at"] is not None:
        issuer = found["issuer"].get("legal_name") or found["issuer"].get("name", "-")
        rows.append(f"issued {times.shown(found['issued_at'])} by {issuer}")
    return rows


def _money(amount: Decimal | None, found: Mapping[str, Any]) -> str:
    return "-" if amount is None else f"{amount:,f} {found['currency'] or ''}".strip()


def _exact(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose amounts keep all digits of the currency: 12.00 is not 12."""
    return {name: _exact_value(value) for name, value in row.items()}


def _shown(row: Mapping[str, Any], output_format: str) -> dict[str, Any]:
    """Return such a row for a list. In a table octets are exact, too: GiB beside a price per GB would mislead."""
    found = _exact(row)
    if output_format == "table" and found["usage_bytes"] is not None:
        found["usage_bytes"] = Figure(f"{found['usage_bytes']:,}")
    return found


def _exact_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return Figure(f"{value:f}")
    if isinstance(value, Mapping):
        return _exact(value)
    if isinstance(value, list | tuple):
        return [_exact_value(inner) for inner in value]
    return value
