"""`radmeter billing credit|void`: gives issued invoices back, in part or as a whole."""

import shlex
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from radmeter import output
from radmeter.cli.billing_common import issued_files, issuer_option, yes_option
from radmeter.cli.common import TEXT, confirm, existing_database, with_settings
from radmeter.config import Settings

reason_option = click.option(
    "--reason", type=TEXT, required=True, metavar="TEXT", help="Why. It stands on the credit note."
)


@click.command(
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


@click.command("void", epilog='Example: radmeter billing void 2026-000042 --reason "wrong tenant"')
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
        amount = f"{money.said(preview.gross)} ({money.said(preview.net)} and {money.said(preview.tax)} tax)"
        what = "Void" if voids else "Credit"
        confirm(f"{what} {number}: a credit note of {amount}. It never changes then. Go on?", yes)
        note = issuing.credit(connection, issued_files(settings), found["id"], make, reason, voids=voids)
    output.say(f"credit note {note} of {number}: {amount}" + (f". {number} is void" if voids else ""))
    if voids and found["username"] is None:
        month, tenant = f"{found['period_start']:%Y-%m}", shlex.quote(found["tenant"])
        output.say(
            f"The next close bills it again. For a new document of {month}: "
            f"radmeter billing close {month} --tenant {tenant}"
        )


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
