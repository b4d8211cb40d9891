"""What holds for every month, every rate and every currency."""

import datetime
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from radmeter.billing.currencies import currencies
from radmeter.billing.lines import Line, Money, Tax, TaxMode, tax_of, totals
from radmeter.billing.months import Month
from radmeter.billing.pricing import Quantities, price_month
from radmeter.billing.rates import Rate, Terms, pieces, terms
from radmeter.billing.rounding import Rounding, rounded

NO_TAX = Tax(Decimal(0))
MONTHS = st.dates(datetime.date(2000, 1, 1), datetime.date(2060, 1, 1)).map(Month.of)
AMOUNTS = st.decimals(min_value=0, max_value=5000, places=6)
PERCENTS = st.decimals(min_value=0, max_value=100, places=3)
OCTETS = st.integers(0, 2 * 10**15) | st.integers(0, 2000).map(lambda count: count * 10**9)
MONEY = st.builds(
    lambda currency, rounding, tax: Money(
        currency=currency.code, digits=currency.digits, rounding=rounding, tax=tax
    ),
    st.sampled_from(currencies()),
    st.sampled_from(Rounding),
    st.sampled_from(TaxMode),
)


@st.composite
def some_terms(draw: st.DrawFn, mode: str | None = None) -> Terms:
    """Return any terms that an operator may give. With a mode, they have a price, and no minimum nor maximum."""
    given: dict[str, Any] = {"unit": draw(st.sampled_from(["GB", "GiB"]))}
    bounds = mode is None
    if mode or draw(st.booleans()):
        given["price"] = str(draw(AMOUNTS))
        starts = draw(st.sets(st.decimals(min_value=1, max_value=1000, places=3), max_size=4))
        given["tiers"] = [{"from": str(start), "price": str(draw(AMOUNTS))} for start in starts]
        given["tier_mode"] = mode or draw(st.sampled_from(["graduated", "volume"]))
        if draw(st.booleans()):
            given["included"] = str(draw(st.decimals(min_value=0, max_value=1000, places=4)))
    for key in ("base_fee", *(("minimum",) if bounds else ())):
        if draw(st.booleans()):
            given[key] = str(draw(AMOUNTS))
    if bounds and draw(st.booleans()):
        given["maximum"] = str(draw(AMOUNTS) + Decimal(given.get("minimum", "0")))
    for key in ("share", "tax_rate"):
        if draw(st.booleans()):
            given[key] = str(draw(PERCENTS))
    return terms(given)


@st.composite
def rates_of(draw: st.DrawFn, month: Month) -> list[Rate]:
    """Return rates that begin before, in and after a month."""
    days = draw(st.sets(st.integers(-5, 35), max_size=4))
    return [Rate(month.first + datetime.timedelta(days=each), draw(some_terms())) for each in days]


@st.composite
def quantities_of(draw: st.DrawFn, month: Month) -> Quantities:
    days = st.integers(0, month.days - 1).map(lambda each: month.first + datetime.timedelta(days=each))
    return Quantities(
        octets=draw(st.dictionaries(days, OCTETS, max_size=6)),
        router_days=draw(st.dictionaries(days, st.integers(0, 1000), max_size=6)),
        users_net=draw(st.decimals(min_value=-100, max_value=10**6, places=0)),
    )


@given(data=st.data(), month=MONTHS, money=MONEY, tax=st.builds(Tax, PERCENTS))
def test_a_document_adds_up(data: st.DataObject, month: Month, money: Money, tax: Tax) -> None:
    quantities = data.draw(quantities_of(month))
    lines = price_month(month, data.draw(rates_of(month)), quantities, tax, money)
    found = totals(lines, money)
    # Octets are conserved.
    assert found.usage_bytes == sum(quantities.octets.values())
    # The document is the sum of its lines.
    assert Fraction(found.net) == sum(Fraction(line.net) for line in lines)
    assert Fraction(found.gross) == Fraction(found.net) + Fraction(found.tax)
    assert Fraction(found.net) == sum(Fraction(each.net) for each in found.taxes)
    assert Fraction(found.tax) == sum(Fraction(each.amount) for each in found.taxes)
    for each in found.taxes:
        of_rate = [line for line in lines if line.tax == each.tax]
        assert Fraction(each.net) == sum(Fraction(line.net) for line in of_rate)
        if money.tax is TaxMode.SUM:
            assert each.amount == tax_of(each.net, each.tax, money)
        else:
            assert Fraction(each.amount) == sum(
                Fraction(tax_of(line.net, line.tax, money)) for line in of_rate
            )
    for line in lines:
        # Every amount has the digits of the currency.
        assert -int(line.net.as_tuple().exponent) == money.digits
        assert month.first <= line.period_start < line.period_end <= month.end
        # A reader computes the line again from what it shows.
        if line.quantity is not None and line.unit_price is not None:
            amount = Fraction(line.quantity) * Fraction(line.unit_price) / line.per
            assert rounded(amount, money.digits, money.rounding) == line.net
        else:
            assert line.kind in ("minimum", "maximum") or line.description == "Usage on days without a rate"
        if line.usage_bytes is not None and line.quantity is not None:
            assert Fraction(line.quantity) * {"GB": 10**9, "GiB": 2**30}[str(line.unit)] == line.usage_bytes


@given(data=st.data(), month=MONTHS, money=MONEY)
def test_a_minimum_and_a_maximum_hold(data: st.DataObject, month: Month, money: Money) -> None:
    rate = data.draw(some_terms())
    lines = price_month(month, [Rate(month.first, rate)], data.draw(quantities_of(month)), NO_TAX, money)
    net = totals(lines, money).net
    if rate.minimum is not None:
        assert net >= rounded(rate.minimum, money.digits, money.rounding)
    if rate.maximum is not None:
        assert net <= rounded(rate.maximum, money.digits, money.rounding)


@given(data=st.data(), month=MONTHS, money=MONEY)
def test_days_or_their_sums_are_the_same(data: st.DataObject, month: Month, money: Money) -> None:
    """One day may stand for all days with the same rate."""
    rates, by_day = data.draw(rates_of(month)), data.draw(quantities_of(month))
    parts = pieces(month, rates)

    def gathered(counts: Any) -> dict[datetime.date, int]:
        return {
            part.start: sum(count for day, count in counts.items() if part.start <= day < part.end)
            for part in parts
        }

    by_piece = Quantities(
        octets=gathered(by_day.octets), router_days=gathered(by_day.router_days), users_net=by_day.users_net
    )
    assert price_month(month, rates, by_day, NO_TAX, money) == price_month(
        month, rates, by_piece, NO_TAX, money
    )


def exact_usage(rate: Terms, octets: int) -> Fraction:
    """Return what usage costs in a month of 31 days before it is rounded."""
    month = Month(datetime.date(2026, 10, 1))
    lines = price_month(
        month,
        [Rate(month.first, rate)],
        Quantities(octets={month.first: octets}),
        NO_TAX,
        Money(currency="EUR", digits=2),
    )
    return sum(
        (Fraction(line.quantity or 0) * Fraction(line.unit_price or 0) for line in lines if line.usage_bytes),
        Fraction(0),
    )


@given(rate=some_terms("graduated"), octets=OCTETS, more=st.integers(1, 10**12))
def test_graduated_prices_are_monotone_and_continuous(rate: Terms, octets: int, more: int) -> None:
    before, after, next_octet = (exact_usage(rate, each) for each in (octets, octets + more, octets + 1))
    highest = max([Fraction(tier.price) for tier in rate.steps], default=Fraction(0)) / rate.octets
    assert before <= after <= before + highest * more
    assert before <= next_octet <= before + highest


@given(rate=some_terms("volume"), octets=OCTETS)
def test_volume_prices_jump_only_where_a_tier_begins(rate: Terms, octets: int) -> None:
    free = math.ceil(Fraction(rate.included or 0) * rate.octets)
    beyond = max(octets - free, 0)
    reached = max(
        (tier for tier in rate.steps if Fraction(tier.start) * rate.octets <= octets), default=rate.steps[0]
    )
    assert exact_usage(rate, octets) == Fraction(beyond, rate.octets) * Fraction(reached.price)


@given(
    month=MONTHS,
    money=MONEY,
    cuts=st.sets(st.integers(1, 27), max_size=5),
    fee=AMOUNTS,
    share=PERCENTS,
    routers=st.integers(1, 2000),
    users_net=st.integers(0, 10**6),
)
def test_parts_of_a_month_add_up_to_it(
    month: Month, money: Money, cuts: set[int], fee: Decimal, share: Decimal, routers: int, users_net: int
) -> None:
    """A rate that is given again on some days costs the same, but for half a unit where a line is rounded."""
    rate = terms({"base_fee": str(fee), "share": str(share)})
    days = [month.first + datetime.timedelta(days=each) for each in range(month.days)]
    quantities = Quantities(router_days=dict.fromkeys(days, routers), users_net=Decimal(users_net))
    rates = [Rate(month.first + datetime.timedelta(days=each), rate) for each in {0, *cuts}]
    parts = price_month(month, rates, quantities, NO_TAX, money)
    whole = price_month(month, [Rate(month.first, rate)], quantities, NO_TAX, money)
    for kind, amount in (
        ("base-fee", Fraction(fee) * routers),
        ("share", Fraction(users_net) * Fraction(share) / 100),
    ):
        assert sum(_exact(line) for line in parts if line.kind == kind) == amount
        assert sum(_exact(line) for line in whole if line.kind == kind) == amount
    half = Fraction(1, 2 * 10**money.digits)
    difference = Fraction(totals(parts, money).net) - Fraction(totals(whole, money).net)
    assert abs(difference) <= half * (len(parts) + len(whole))


def _exact(line: Line) -> Fraction:
    assert line.quantity is not None
    assert line.unit_price is not None
    return Fraction(line.quantity) * Fraction(line.unit_price) / line.per
