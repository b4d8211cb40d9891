"""A line of a document, its tax, and the totals of lines. Pure."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from radmeter.billing.rounding import Rounding, rounded, total
from radmeter.billing.wording import ENGLISH, Language


class TaxMode(StrEnum):
    """Where the tax is rounded."""

    SUM = "sum"
    """Once for each rate, of the sum of the nets of its lines (EN 16931, BR-CO-17)."""
    LINE = "line"
    """For each line; the tax of a rate is the sum of that."""


class Tax(NamedTuple):
    """A rate of tax in percent, and why it is that. Lines of the same rate and rule are taxed together."""

    rate: Decimal
    rule: str | None = None


class Given(NamedTuple):
    """A user got a one-time plan: the row of radmeter.plan_history, and its instant. A document bills it once."""

    id: int
    at: datetime.datetime


@dataclass(frozen=True, kw_only=True)
class Money:
    """The currency of a document, its digits after the point, how it is rounded, and in which language it is said."""

    currency: str
    digits: int
    rounding: Rounding = Rounding.HALF_UP
    tax: TaxMode = TaxMode.SUM
    language: Language = ENGLISH

    def said(self, amount: Fraction | Decimal | int) -> str:
        """Return an amount in words."""
        return self.language.money(amount, self.currency, self.digits)

    def result(self, amount: Fraction) -> str:
        """Return an amount in words, and what it is rounded to if that is another one."""
        return self.language.result(amount, self.currency, self.digits, self.rounding)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a document.

    Attributes
    ----------
    kind
        ``usage``, ``included``, ``base-fee``, ``share``, ``minimum``, ``maximum``, ``plan``, ``top-up`` or
        ``adjustment``.
    period_start, period_end
        The days that it bills. The end is the first day that is not billed.
    usage_bytes
        Octets that it bills, both directions. None: it bills none.
    quantity, unit, unit_price, per
        net is quantity x unit_price / per, rounded. The quantity is exact. None: the line has no quantity.
    net
        Without tax, with the digits of the currency.
    given
        It is the price of a one-time plan, for this event.
    adjusts
        It is for a month that was closed before.
    """

    kind: str
    period_start: datetime.date
    period_end: datetime.date
    description: str
    arithmetic: str
    net: Decimal
    tax: Tax
    usage_bytes: int | None = None
    quantity: Decimal | None = None
    unit: str | None = None
    unit_price: Decimal | None = None
    per: int = 1
    plan_id: int | None = None
    top_up_id: int | None = None
    given: Given | None = None
    adjusts: bool = False


class TaxTotal(NamedTuple):
    """What the lines of one tax come to."""

    tax: Tax
    net: Decimal
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a document comes to: gross = net + tax, and net and tax are the sums of `taxes`."""

    net: Decimal
    tax: Decimal
    gross: Decimal
    usage_bytes: int
    taxes: tuple[TaxTotal, ...]


def tax_of(net: Decimal, tax: Tax, money: Money) -> Decimal:
    """Return the tax of a net amount, rounded."""
    return rounded(Fraction(net) * Fraction(tax.rate) / 100, money.digits, money.rounding)


def totals(lines: Iterable[Line], money: Money) -> Totals:
    """Return what lines come to, with the tax of each rate in the order of rates and rules."""
    nets: dict[Tax, list[Decimal]] = {}
    octets = 0
    for line in lines:
        nets.setdefault(line.tax, []).append(line.net)
        octets += line.usage_bytes or 0
    taxes = []
    for tax in sorted(nets, key=lambda each: (each.rate, each.rule or "")):
        net = total(nets[tax], money.digits)
        if money.tax is TaxMode.SUM:
            amount = tax_of(net, tax, money)
        else:
            amount = total((tax_of(each, tax, money) for each in nets[tax]), money.digits)
        taxes.append(TaxTotal(tax, net, amount))
    net = total((each.net for each in taxes), money.digits)
    tax_sum = total((each.amount for each in taxes), money.digits)
    return Totals(
        net=net,
        tax=tax_sum,
        gross=total([net, tax_sum], money.digits),
        usage_bytes=octets,
        taxes=tuple(taxes),
    )
