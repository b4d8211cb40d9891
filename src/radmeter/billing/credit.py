"""Credits of an issued invoice: parts of it that add up to it exactly, whatever was rounded on the way. Pure.

The tax of a credit is rounded by itself. The credit that completes a tax rate takes what is left of the invoice's tax.
So 68.33 + 68.33 + 57.50 + 85.00 at 20 %, invoiced with 334.99, are credited with 334.99 and not with 335.00.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from radmeter.billing.lines import Money, Tax, TaxMode, TaxTotal, tax_of
from radmeter.billing.rounding import from_units, rounded, total, units
from radmeter.billing.wording import ENGLISH
from radmeter.errors import ConfigurationError


class BadCredit(ConfigurationError):
    """A credit that the invoice does not allow. The message has a remedy."""


class CreditedLine(NamedTuple):
    """A line of an invoice, or what a credit gives back of it."""

    line: int
    net: Decimal
    tax: Tax


@dataclass(frozen=True, kw_only=True)
class Credit:
    """What a credit note gives back. All amounts have the sign of the invoice."""

    lines: tuple[CreditedLine, ...]
    taxes: tuple[TaxTotal, ...]
    net: Decimal
    tax: Decimal
    gross: Decimal
    completes: bool
    """Nothing is left of the invoice after it."""


@dataclass(frozen=True, kw_only=True)
class Invoice:
    """An issued invoice with what was credited of it until now.

    Attributes
    ----------
    lines, taxes
        As they were issued.
    credited, credited_taxes
        Those of all its credit notes together, in any order.
    """

    number: str
    lines: Sequence[CreditedLine]
    taxes: Sequence[TaxTotal]
    credited: Sequence[CreditedLine] = ()
    credited_taxes: Sequence[TaxTotal] = ()

    def rest(self, digits: int) -> dict[int, Decimal]:
        """Return what is left of the net of each line."""
        given: dict[int, list[Decimal]] = {}
        for each in self.credited:
            given.setdefault(each.line, []).append(each.net.copy_negate())
        return {each.line: total([each.net, *given.get(each.line, ())], digits) for each in self.lines}

    def rest_of_taxes(self, digits: int) -> dict[Tax, TaxTotal]:
        """Return what is left of the net and the tax of each tax."""
        found = {}
        for each in self.taxes:
            given = [other for other in self.credited_taxes if other.tax == each.tax]
            found[each.tax] = TaxTotal(
                each.tax,
                total([each.net, *(other.net.copy_negate() for other in given)], digits),
                total([each.amount, *(other.amount.copy_negate() for other in given)], digits),
            )
        return found


def credit_all(invoice: Invoice, money: Money) -> Credit:
    """Return a credit of all that is left.

    Raises
    ------
    BadCredit
        Nothing is left.
    """
    rest = invoice.rest(money.digits)
    lines = [each._replace(net=rest[each.line]) for each in invoice.lines if rest[each.line]]
    left = invoice.rest_of_taxes(money.digits)
    if not lines and not any(each.net or each.amount for each in left.values()):
        raise BadCredit(f"nothing is left of {invoice.number}: it is credited in full")
    return _credit(
        lines,
        [each for each in left.values() if each.net or each.amount or _has(lines, each.tax)],
        money,
        True,
    )


def void_all(invoice: Invoice, money: Money) -> Credit:
    """Return what takes an invoice back: a credit of all that is left, or of 0 if nothing is."""
    try:
        return credit_all(invoice, money)
    except BadCredit:
        return _credit((), (), money, True)


def credit_lines(invoice: Invoice, amounts: Mapping[int, Decimal | None], money: Money) -> Credit:
    """Return a credit of lines of an invoice, each with a net amount. None: all that is left of the line.

    Raises
    ------
    BadCredit
        There is no such line, or less than that is left of it, of its tax rate or of the invoice.
    """
    rest = invoice.rest(money.digits)
    found = []
    for number, amount in sorted(amounts.items()):
        if number not in rest:
            raise BadCredit(
                f"{invoice.number} has no line {number}: its lines are 1 to {max(rest, default=0)}"
            )
        left = rest[number]
        wanted = left if amount is None else _whole(amount, money)
        if not left:
            raise BadCredit(f"nothing is left of line {number} of {invoice.number}: it is credited in full")
        if not wanted or (wanted > 0) != (left > 0) or abs(wanted) > abs(left):
            raise BadCredit(
                f"{_said(left, money)} is left of line {number} of {invoice.number}: {_said(wanted, money)} cannot be "
                "credited of it"
            )
        (line,) = (each for each in invoice.lines if each.line == number)
        found.append(line._replace(net=wanted))
    if not found:
        raise BadCredit(f"no line of {invoice.number} is named: say which")
    return _checked(invoice, found, money)


def credit_amount(invoice: Invoice, amount: Decimal, money: Money) -> Credit:
    """Return a credit of a net amount, spread over what is left of the lines in proportion.

    Raises
    ------
    BadCredit
        So much is not left, or the amount is finer than the currency.
    """
    rest = invoice.rest(money.digits)
    left = total(rest.values(), money.digits)
    wanted = _whole(amount, money)
    if not wanted or (wanted > 0) != (left > 0) or abs(wanted) > abs(left):
        raise BadCredit(
            f"{_said(left, money)} without tax is left of {invoice.number}: {_said(wanted, money)} cannot be credited"
        )
    part = Fraction(wanted) / Fraction(left)
    found, so_far, before = [], Fraction(0), 0
    for line in invoice.lines:
        # The sum is rounded, not each part: so the parts add up, and none is more than what is left of its line.
        so_far += Fraction(rest[line.line]) * part
        after = units(so_far, money.digits, money.rounding)
        if after != before:
            found.append(line._replace(net=from_units(after - before, money.digits)))
        before = after
    return _checked(invoice, found, money)


def _checked(invoice: Invoice, lines: Sequence[CreditedLine], money: Money) -> Credit:
    """Return the credit of lines, if no tax rate and no total gets beyond what is left."""
    left = invoice.rest_of_taxes(money.digits)
    taxes = []
    for tax, rest in left.items():
        if not _has(lines, tax):
            continue
        net = total((each.net for each in lines if each.tax == tax), money.digits)
        if not _within(net, rest.net):
            raise BadCredit(
                f"{_said(rest.net, money)} is left of what {invoice.number} taxes at {ENGLISH.number(tax.rate)} %: "
                f"{_said(net, money)} cannot be credited of it"
            )
        if net == rest.net:
            # The last one takes the difference.
            taxes.append(TaxTotal(tax, net, rest.amount))
            continue
        if money.tax is TaxMode.SUM:
            amount = tax_of(net, tax, money)
        else:
            amount = total((tax_of(each.net, tax, money) for each in lines if each.tax == tax), money.digits)
        taxes.append(
            TaxTotal(tax, net, amount if _within(amount, rest.amount) else _nearest(amount, rest.amount))
        )
    made = _credit(lines, taxes, money, False)
    rests = (
        ("net", made.net, total((each.net for each in left.values()), money.digits)),
        ("gross", made.gross, total((each for rest in left.values() for each in rest[1:]), money.digits)),
    )
    for name, wanted, there in rests:
        if not _within(wanted, there):
            raise BadCredit(
                f"{_said(there, money)} {name} is left of {invoice.number}: {_said(wanted, money)} cannot be credited"
            )
    everything = invoice.rest(money.digits)
    for each in lines:
        everything[each.line] = total([everything[each.line], each.net.copy_negate()], money.digits)
    return _credit(lines, taxes, money, not any(everything.values()))


def _credit(
    lines: Iterable[CreditedLine], taxes: Iterable[TaxTotal], money: Money, completes: bool
) -> Credit:
    every = tuple(taxes)
    net = total((each.net for each in every), money.digits)
    tax = total((each.amount for each in every), money.digits)
    return Credit(
        lines=tuple(lines),
        taxes=every,
        net=net,
        tax=tax,
        gross=total([net, tax], money.digits),
        completes=completes,
    )


def _has(lines: Iterable[CreditedLine], tax: Tax) -> bool:
    return any(each.tax == tax for each in lines)


def _within(amount: Decimal, rest: Decimal) -> bool:
    """Say whether an amount is between 0 and what is left."""
    return min(rest, Decimal(0)) <= amount <= max(rest, Decimal(0))


def _nearest(amount: Decimal, rest: Decimal) -> Decimal:
    """Return what comes nearest to an amount between 0 and what is left."""
    return max(min(rest, rest - rest), min(amount, max(rest, rest - rest)))


def _whole(amount: Decimal, money: Money) -> Decimal:
    found = rounded(amount, money.digits, money.rounding)
    if found != amount:
        raise BadCredit(
            f"{ENGLISH.number(amount)} {money.currency} is finer than the currency: it has {money.digits} digits"
        )
    return found


def _said(amount: Decimal, money: Money) -> str:
    return ENGLISH.money(amount, money.currency, money.digits)
