"""A closed month whose octets changed: what it would cost now, less what was billed for it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from radmeter.billing.lines import Line, Money, Tax
from radmeter.billing.months import Month
from radmeter.billing.rates import Terms
from radmeter.billing.rounding import total


class Billed(NamedTuple):
    """What documents have billed for a month under one tax: lines of documents that are not void, credits not counted.

    A credit gives money back. What was billed stays billed, or the next document would take the money again.
    """

    net: Decimal
    usage_bytes: int


def tax_for(billed: Mapping[Tax, Billed], tax: Tax, terms: Iterable[Terms] = ()) -> Tax:
    """Return the tax of an adjustment: the one with which its month was billed, if that was one, else the recipient's.

    `terms` are those of the month. Of several taxes, what terms have of their own was not the recipient's.
    """
    if len(billed) == 1:
        return next(iter(billed))
    own = list(terms)
    rates = {Tax(each.tax_rate, each.tax_rule) for each in own if each.tax_rate is not None}
    rules = {each.tax_rule for each in own if each.tax_rate is None and each.tax_rule}
    left = [each for each in billed if each not in rates]
    plain = [each for each in left if each.rule not in rules] or left
    return plain[0] if len(plain) == 1 else tax


def adjust(month: Month, now: Sequence[Line], billed: Mapping[Tax, Billed], money: Money) -> list[Line]:
    """Return lines that bring what was billed for a month to what it costs now, in octets and in money.

    One line for each tax, and none where nothing changed. If nothing was billed for the month, it is the month's own
    lines. Once they are billed, there is nothing more to adjust.

    Parameters
    ----------
    now
        The lines of the whole month, by the rates of that month, from what the routers' days say now.
    billed
        What documents have billed for it until now.
    """
    if not billed:
        return [replace(line, adjusts=True) for line in now]
    found = []
    for tax in sorted({*billed, *(line.tax for line in now)}, key=lambda each: (each.rate, each.rule or "")):
        before = billed.get(tax, Billed(Decimal(0), 0))
        after = _sum((line for line in now if line.tax == tax), money)
        net = total([after.net, before.net.copy_negate()], money.digits)
        octets = after.usage_bytes - before.usage_bytes
        if net or octets:
            found.append(_line(month, tax, Billed(net, octets), before, after, money))
    return found


def _sum(lines: Iterable[Line], money: Money) -> Billed:
    every = list(lines)
    return Billed(
        total((line.net for line in every), money.digits), sum(line.usage_bytes or 0 for line in every)
    )


def _line(month: Month, tax: Tax, change: Billed, before: Billed, after: Billed, money: Money) -> Line:
    words = money.language
    return Line(
        kind="adjustment",
        period_start=month.first,
        period_end=month.end,
        description=words["line_adjustment"].format(month=month),
        arithmetic=words["how_fewer" if change.usage_bytes < 0 else "how_more"].format(
            month=month,
            octets=words.octets(abs(change.usage_bytes)),
            after=words.whole(after.usage_bytes),
            cost=money.said(after.net),
            before=words.whole(before.usage_bytes),
            billed=money.said(before.net),
            change=money.said(change.net),
        ),
        usage_bytes=change.usage_bytes,
        net=change.net,
        tax=tax,
        adjusts=True,
    )
