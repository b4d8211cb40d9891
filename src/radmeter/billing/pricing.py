"""What a tenant's month costs: octets, router-days and a share become lines with their arithmetic. Pure.

Everything is exact until the net of a line, which is rounded once. A line with a quantity can be computed again:
net = rounded(quantity x unit_price / per).
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from radmeter.billing.lines import Line, Money, Tax
from radmeter.billing.months import Month
from radmeter.billing.rates import Piece, Rate, Terms, pieces
from radmeter.billing.rounding import exact, from_units, rounded, total
from radmeter.billing.wording import Language


@dataclass(frozen=True, kw_only=True)
class Quantities:
    """What a tenant had in a month.

    Attributes
    ----------
    octets
        Both directions, of all routers together, by day in the routers' zones. A day may stand for all days with the
        same rate. Days without a rate cost nothing.
    router_days
        How many routers were the tenant's, by day; or their sum over days with the same rate, by one of these.
    users_net
        Net of the documents of the tenant's users for the month.
    """

    octets: Mapping[datetime.date, int] = field(default_factory=dict)
    router_days: Mapping[datetime.date, int] = field(default_factory=dict)
    users_net: Decimal = Decimal(0)


class _Units(NamedTuple):
    """Which units of a month a part has. None: from the first one on; without an end."""

    start: Decimal | None
    end: Decimal | None

    def said(self, unit: str, words: Language) -> str:
        """Return it in words."""
        start, end = (None if each is None else words.number(each) for each in self)
        form = "range_first" if start is None else "range_from" if end is None else "range_between"
        return words[form].format(start=start, end=end, unit=unit)


class _Part(NamedTuple):
    """Octets of a piece that have one price. None: they are free (included). `units` None: all of them."""

    octets: int
    price: Decimal | None
    units: _Units | None


def price_month(
    month: Month, rates: Iterable[Rate], quantities: Quantities, tax: Tax, money: Money
) -> list[Line]:
    """Return the lines of a tenant's month, each part of the month by its own rate.

    Parameters
    ----------
    rates
        All rates of the tenant that begin before the end of the month.
    tax
        Of the tenant. Terms that have a tax rate come first.

    Raises
    ------
    ValueError
        A day of the quantities is not in the month.
    """
    for day in (*quantities.octets, *quantities.router_days):
        if day not in month:
            raise ValueError(f"{day} is not in {month}")
    found: list[Line] = []
    for piece in pieces(month, rates):
        octets = _sum(quantities.octets, piece)
        if piece.terms is None:
            found += _without_rate(piece, octets, tax, money)
        else:
            found += _piece_lines(piece, piece.terms, octets, quantities, _tax(piece.terms, tax), money)
    billed = sum(line.usage_bytes or 0 for line in found)
    given = sum(quantities.octets.values())
    if billed != given:
        raise ArithmeticError(f"{month}: the lines have {billed} octets, the routers carried {given}")
    return found


def _sum(by_day: Mapping[datetime.date, int], piece: Piece) -> int:
    return sum(count for day, count in by_day.items() if piece.start <= day < piece.end)


def _tax(terms: Terms, tax: Tax) -> Tax:
    """Return the tax of terms. The tenant's rule goes with the tenant's rate only."""
    if terms.tax_rate is not None:
        return Tax(terms.tax_rate, terms.tax_rule)
    return Tax(tax.rate, terms.tax_rule or tax.rule)


def _without_rate(piece: Piece, octets: int, tax: Tax, money: Money) -> Iterator[Line]:
    if octets:
        yield Line(
            kind="usage",
            period_start=piece.start,
            period_end=piece.end,
            description=money.language["line_no_rate"],
            arithmetic=money.language["how_no_rate"].format(octets=money.language.octets(octets)),
            usage_bytes=octets,
            net=from_units(0, money.digits),
            tax=tax,
        )


def _piece_lines(
    piece: Piece, terms: Terms, octets: int, quantities: Quantities, tax: Tax, money: Money
) -> list[Line]:
    found = [
        *_usage(piece, terms, octets, tax, money),
        *_base_fee(piece, terms, _sum(quantities.router_days, piece), tax, money),
        *_share(piece, terms, quantities.users_net, tax, money),
    ]
    return [*found, *_bounds(piece, terms, total((line.net for line in found), money.digits), tax, money)]


def threshold(piece: Piece, terms: Terms, units: Decimal) -> int:
    """Return the octets at which a number of units of a month is reached in a piece of it.

    A piece has its days' part of the units. An octet that is only partly beyond a threshold is not beyond it.
    """
    octets = Fraction(units) * terms.octets * piece.days / piece.month.days
    return -(-octets.numerator // octets.denominator)


def _parts(piece: Piece, terms: Terms, octets: int) -> Iterator[_Part]:
    """Yield the octets of a piece by their prices. Less than 0 octets belong to the first part."""
    included = threshold(piece, terms, terms.included) if terms.included else 0
    if included:
        yield _Part(min(octets, included), None, _Units(None, terms.included))
        if octets <= included:
            return
    starts = [threshold(piece, terms, tier.start) for tier in terms.steps]
    if terms.tier_mode == "volume":
        reached = max([at for at, start in enumerate(starts) if start <= octets], default=0)
        yield _Part(octets - included, terms.steps[reached].price, _range(terms, reached))
        return
    if octets < 0 and not included:
        yield _Part(octets, terms.steps[0].price, _range(terms, 0))
        return
    position = included
    for at, tier in enumerate(terms.steps):
        end = min(octets, starts[at + 1]) if at + 1 < len(starts) else octets
        if end > position:
            yield _Part(end - position, tier.price, _range(terms, at))
            position = end


def _range(terms: Terms, at: int) -> _Units | None:
    """Return which units a tier has. None: there is only one."""
    if len(terms.steps) == 1:
        return None
    return _Units(terms.steps[at].start, terms.steps[at + 1].start if at + 1 < len(terms.steps) else None)


def _usage(piece: Piece, terms: Terms, octets: int, tax: Tax, money: Money) -> Iterator[Line]:
    words = money.language
    if octets and not terms.steps:
        yield Line(
            kind="usage",
            period_start=piece.start,
            period_end=piece.end,
            description=words["line_usage"],
            arithmetic=words["how_no_price"].format(octets=words.octets(octets), unit=terms.unit),
            usage_bytes=octets,
            quantity=exact(Fraction(octets, terms.octets)),
            unit=terms.unit,
            unit_price=Decimal(0),
            net=from_units(0, money.digits),
            tax=tax,
        )
    if not terms.steps:
        return
    for part in _parts(piece, terms, octets):
        if not part.octets:
            continue
        volume = Fraction(part.octets, terms.octets)
        price = part.price if part.price is not None else Decimal(0)
        amount = volume * Fraction(price)
        units = None if part.units is None else part.units.said(terms.unit, words)
        if part.price is None:
            kind, description = "included", words["line_included"]
        else:
            kind = "usage"
            description = words["line_usage" if units is None else "line_usage_range"].format(range=units)
        yield Line(
            kind=kind,
            period_start=piece.start,
            period_end=piece.end,
            description=description,
            arithmetic=_how(piece, terms, part, units, money),
            usage_bytes=part.octets,
            quantity=exact(volume),
            unit=terms.unit,
            unit_price=price,
            net=rounded(amount, money.digits, money.rounding),
            tax=tax,
        )


def _how(piece: Piece, terms: Terms, part: _Part, units: str | None, money: Money) -> str:
    """Return how the amount of a part comes about."""
    words = money.language
    volume = Fraction(part.octets, terms.octets)
    spoken = words["how_volume"].format(
        octets=words.octets(part.octets),
        per=words.whole(terms.octets),
        volume=words.number(volume),
        unit=terms.unit,
    )
    if part.price is None:
        spoken = words["how_free"].format(volume=spoken)
    else:
        spoken = words["how_price"].format(
            volume=spoken,
            price=money.said(part.price),
            unit=terms.unit,
            result=money.result(volume * Fraction(part.price)),
        )
    if units is None:
        return spoken
    form = "how_range_of_all" if part.price is not None and terms.tier_mode == "volume" else "how_range"
    return words[form].format(range=_prorated(units, piece, words), how=spoken)


def _prorated(what: str, piece: Piece, words: Language) -> str:
    """Return what is a month's with the days of a piece, if that is not the whole month."""
    if piece.days == piece.month.days:
        return what
    return words["how_part"].format(what=what, days=piece.days, month_days=piece.month.days)


def _base_fee(piece: Piece, terms: Terms, router_days: int, tax: Tax, money: Money) -> Iterator[Line]:
    if not terms.base_fee or not router_days:
        return
    words = money.language
    amount = Fraction(terms.base_fee) * router_days / piece.month.days
    yield Line(
        kind="base-fee",
        period_start=piece.start,
        period_end=piece.end,
        description=words["line_base_fee"],
        arithmetic=words["how_base_fee"].format(
            days=words["how_router_day"]
            if router_days == 1
            else words["how_router_days"].format(count=words.whole(router_days)),
            fee=money.said(terms.base_fee),
            month_days=piece.month.days,
            result=money.result(amount),
        ),
        quantity=Decimal(router_days),
        unit="router-day",
        unit_price=terms.base_fee,
        per=piece.month.days,
        net=rounded(amount, money.digits, money.rounding),
        tax=tax,
    )


def _share(piece: Piece, terms: Terms, users_net: Decimal, tax: Tax, money: Money) -> Iterator[Line]:
    if not terms.share or not users_net:
        return
    words = money.language
    amount = Fraction(users_net) * Fraction(terms.share) / 100 * piece.days / piece.month.days
    whole = piece.days == piece.month.days
    yield Line(
        kind="share",
        period_start=piece.start,
        period_end=piece.end,
        description=words["line_share"],
        arithmetic=words["how_equals"].format(
            what=_prorated(
                words["how_share"].format(
                    percent=words.number(terms.share), users_net=money.said(users_net), month=piece.month
                ),
                piece,
                words,
            ),
            result=money.result(amount),
        ),
        quantity=exact(Fraction(users_net) * (1 if whole else piece.days)),
        unit=money.currency,
        unit_price=terms.share,
        per=100 * (1 if whole else piece.month.days),
        net=rounded(amount, money.digits, money.rounding),
        tax=tax,
    )


def _bounds(piece: Piece, terms: Terms, before: Decimal, tax: Tax, money: Money) -> Iterator[Line]:
    words = money.language
    for kind, bound in (("minimum", terms.minimum), ("maximum", terms.maximum)):
        if bound is None:
            continue
        amount = Fraction(bound) * piece.days / piece.month.days
        wanted = rounded(amount, money.digits, money.rounding)
        if not (before < wanted if kind == "minimum" else before > wanted):
            continue
        spoken = words["how_equals"].format(
            what=_prorated(money.said(bound), piece, words), result=money.result(amount)
        )
        yield Line(
            kind=kind,
            period_start=piece.start,
            period_end=piece.end,
            description=words[f"line_{kind}"],
            arithmetic=words[f"how_{kind}"].format(bound=spoken, before=money.said(before)),
            net=total([wanted, before.copy_negate()], money.digits),
            tax=tax,
        )
