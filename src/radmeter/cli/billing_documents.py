"""`radmeter billing list|show`: invoices and credit notes, and one of them with its lines."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.billing_common import exact, issuer_option, listed, tenants_option
from radmeter.cli.common import (
    TEXT,
    emit,
    emit_json,
    format_option,
    list_options,
    plain,
    reading_database,
    with_settings,
)
from radmeter.cli.months import CALENDAR_MONTH
from radmeter.config import Settings

if TYPE_CHECKING:
    from radmeter.billing.months import Month

SHORT = ("number", "tenant", "username", "period_start", "currency", "gross", "credited", "status")
SHORT_CREDITS = ("number", "invoice", "tenant", "username", "issued", "currency", "gross", "reason")
STATUSES = ("draft", "issued", "void")


@click.command("list", epilog="Example: radmeter billing list --period 2026-10 --status draft")
@click.option("--period", metavar="MONTH", type=CALENDAR_MONTH, help="Only documents of this month.")
@tenants_option
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
                [exact(note) for note in notes],
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
    emit([listed(row, output_format) for row in found], output_format, columns=documents.COLUMNS, short=SHORT)


@click.command("show", epilog="Example: radmeter billing show 2026-000042")
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
        emit_json(plain(exact(found)))
        return
    if output_format == "csv":
        emit([exact(line) for line in found["lines"]], output_format, columns=documents.LINE_COLUMNS)
        return
    for text in _head(found):
        output.say(text)
    for line in found["lines"]:
        output.say(
            "",
            f"{line['line']}. {line['description']}, {line['period_start']} to {line['period_end']}"
            + (" (adjustment)" if line["adjusts"] else ""),
            f"   {line['arithmetic']}",
            f"   net {said(line['net'], found)}, tax {line['tax_rate']} %"
            + (f" ({line['tax_rule']})" if line["tax_rule"] else ""),
        )
    output.say("")
    for tax in found["taxes"] or ():
        rule = f" ({tax['rule']})" if tax["rule"] else ""
        output.say(
            f"tax {tax['rate']} %{rule} of {said(Decimal(tax['net']), found)}: {said(Decimal(tax['tax']), found)}"
        )
    output.say(
        f"net {said(found['net'], found)}, tax {said(found['tax'], found)}, total {said(found['gross'], found)}"
    )
    for note in found["credit_notes"]:
        voids = ", voids the invoice" if note["voids"] else ""
        output.say(f"credit note {note['number']}: {said(note['gross'], found)}{voids}: {note['reason']}")


def _show_credit_notes(notes: Sequence[Mapping[str, Any]], output_format: str) -> None:
    """Show the credit notes of a number: several issuers may have given it."""
    from radmeter.billing.documents import CREDIT_COLUMNS

    if output_format == "json":
        emit_json(plain([exact(note) for note in notes]) if len(notes) > 1 else plain(exact(notes[0])))
        return
    if output_format == "csv":
        emit([exact(note) for note in notes], output_format, columns=CREDIT_COLUMNS)
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
            output.say(
                f"tax {tax['rate']} %{rule} of {said(Decimal(tax['net']), note)}: {said(Decimal(tax['tax']), note)}"
            )
        output.say(
            f"net {said(note['net'], note)}, tax {said(note['tax'], note)}, total {said(note['gross'], note)}"
        )


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


def _tax(tax: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    rule = f" ({tax['rule']})" if tax.get("rule") else ""
    net, amount = (said(Decimal(tax[name]), document) for name in ("net", "tax"))
    return f"tax {tax['rate']} %{rule} of {net}: {amount}"


def said(amount: Decimal | None, document: Mapping[str, Any]) -> str:
    """Return an amount of a document; a dash if it has none."""
    from radmeter.billing.wording import ENGLISH

    return (
        "-" if amount is None else ENGLISH.money(amount, document["currency"] or "", document.get("digits"))
    )
