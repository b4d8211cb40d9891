"""The rules of money for tenants, written a second time from docs/architecture.md, in whole numbers.

Amounts are in the smallest unit of the currency. Only half-up, and no share.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

DAY = datetime.timedelta(days=1)
UNITS = {"GB": 10**9, "GiB": 2**30}


class ModelRate(NamedTuple):
    """A rate: its first day, and terms as `radmeter tenants rate` keeps them."""

    from_day: datetime.date
    terms: Mapping[str, Any]


def month_net(
    first: datetime.date,
    rates: Iterable[ModelRate],
    octets: Mapping[datetime.date, int],
    routers: Mapping[datetime.date, int],
    digits: int,
) -> int:
    """Return what a month costs without tax.

    Parameters
    ----------
    octets, routers
        Octets of both directions, and how many routers the tenant had, by day.
    """
    length = len(days_of(first))
    terms_from = {rate.from_day: rate.terms for rate in rates}
    parts: dict[datetime.date, list[datetime.date]] = {}
    for day in days_of(first):
        begun = [from_day for from_day in terms_from if from_day <= day]
        if begun:
            parts.setdefault(max(begun), []).append(day)
    return sum(
        _part(
            terms_from[from_day],
            len(days),
            length,
            sum(octets.get(day, 0) for day in days),
            sum(routers.get(day, 0) for day in days),
            digits,
        )
        for from_day, days in parts.items()
    )


def days_of(first: datetime.date) -> list[datetime.date]:
    """Return the days of a month."""
    found = [first]
    while (found[-1] + DAY).month == first.month:
        found.append(found[-1] + DAY)
    return found


def _part(
    terms: Mapping[str, Any], days: int, length: int, octets: int, router_days: int, digits: int
) -> int:
    unit = UNITS[terms.get("unit", "GB")]
    steps = _steps(terms, unit, days, length)
    free = _threshold(terms.get("included", "0"), unit, days, length)
    net = 0
    if terms.get("tier_mode") == "volume":
        price = [price for start, price in steps if start <= octets][-1]
        net += _amount(max(octets - free, 0) * price[0], unit * price[1], digits)
    else:
        ends = [start for start, _ in steps[1:]] + [max(octets, steps[-1][0] if steps else 0)]
        for (start, price), end in zip(steps, ends, strict=True):
            within = max(0, min(octets, end) - max(start, free))
            net += _amount(within * price[0], unit * price[1], digits)
    if "base_fee" in terms:
        over, under = _decimal(terms["base_fee"])
        net += _amount(over * router_days, under * length, digits)
    for name, better in (("minimum", max), ("maximum", min)):
        if name in terms:
            over, under = _decimal(terms[name])
            net = better(net, _amount(over * days, under * length, digits))
    return net


def _steps(terms: Mapping[str, Any], unit: int, days: int, length: int) -> list[tuple[int, tuple[int, int]]]:
    tiers: Sequence[Mapping[str, str]] = terms.get("tiers", ())
    first = [{"from": "0", "price": terms["price"]}] if "price" in terms else []
    return [
        (_threshold(each["from"], unit, days, length), _decimal(each["price"])) for each in (*first, *tiers)
    ]


def _threshold(units: str, unit: int, days: int, length: int) -> int:
    over, under = _decimal(units)
    return -(-over * unit * days // (under * length))


def _decimal(text: str) -> tuple[int, int]:
    """Return a decimal as numerator and denominator."""
    whole, _, decimals = text.partition(".")
    return int(whole + decimals), 10 ** len(decimals)


def _amount(over: int, under: int, digits: int) -> int:
    """Return a quotient, at least 0, in the smallest unit, half up."""
    smallest: int = 10**digits
    return (2 * over * smallest + under) // (2 * under)
