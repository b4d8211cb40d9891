"""A closed month whose octets changed: the difference to what was billed, once."""

import datetime
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from radmeter.billing.adjusting import Billed, adjust, tax_for
from radmeter.billing.lines import Line, Money, Tax, totals
from radmeter.billing.months import month
from radmeter.billing.pricing import Quantities, price_month
from radmeter.billing.rates import Rate, Terms, terms
from radmeter.billing.rounding import total

GB = 10**9
EUR = Money(currency="EUR", digits=2)
TAX = Tax(Decimal(20))
SEPTEMBER = month("2026-09")
TIERED = terms(
    {
        "price": "0.50",
        "tiers": [{"from": "100", "price": "0.40"}],
        "included": "10",
        "minimum": "20",
        "maximum": "100",
    }
)


def now(octets: int, rate: Terms = TIERED, tax: Tax = TAX, money: Money = EUR) -> list[Line]:
    rates = [Rate(datetime.date(2026, 1, 1), rate)]
    return price_month(SEPTEMBER, rates, Quantities(octets={SEPTEMBER.first: octets}), tax, money)


def billed(lines: Sequence[Line], money: Money = EUR) -> dict[Tax, Billed]:
    """Return what lines of documents come to, as the database does."""
    return {
        tax: Billed(
            total((line.net for line in lines if line.tax == tax), money.digits),
            sum(line.usage_bytes or 0 for line in lines if line.tax == tax),
        )
        for tax in {line.tax for line in lines}
    }


def test_late_octets_are_a_line_with_their_month() -> None:
    before = now(50 * GB)
    assert adjust(SEPTEMBER, now(60 * GB), billed(before), EUR) == [
        Line(
            kind="adjustment",
            period_start=datetime.date(2026, 9, 1),
            period_end=datetime.date(2026, 10, 1),
            description="Adjustment of 2026-09",
            arithmetic="2026-09 has 10,000,000,000 octets more than were billed: 60,000,000,000 cost 25.00 EUR, less "
            "50,000,000,000 billed at 20.00 EUR = 5.00 EUR",
            usage_bytes=10 * GB,
            net=Decimal("5.00"),
            tax=TAX,
            adjusts=True,
        )
    ]


def test_octets_that_were_too_many_are_given_back() -> None:
    (line,) = adjust(SEPTEMBER, now(60 * GB), billed(now(90 * GB)), EUR)
    assert (line.usage_bytes, str(line.net)) == (-30 * GB, "-15.00")
    assert "30,000,000,000 octets fewer" in line.arithmetic


def test_tiers_and_bounds_stay_right() -> None:
    # 10 free, 90 at 0.50, 20 at 0.40: the next GB costs what the next GB of that month cost.
    (line,) = adjust(SEPTEMBER, now(120 * GB), billed(now(99 * GB)), EUR)
    assert str(line.net) == "8.50"
    # Below the minimum nothing changes but the octets.
    (line,) = adjust(SEPTEMBER, now(20 * GB), billed(now(12 * GB)), EUR)
    assert (line.usage_bytes, str(line.net)) == (8 * GB, "0.00")
    # Nor beyond the maximum.
    (line,) = adjust(SEPTEMBER, now(900 * GB), billed(now(800 * GB)), EUR)
    assert (line.usage_bytes, str(line.net)) == (100 * GB, "0.00")


def test_what_did_not_change_has_no_line() -> None:
    assert adjust(SEPTEMBER, now(50 * GB), billed(now(50 * GB)), EUR) == []


def test_a_month_that_was_never_billed_has_its_own_lines() -> None:
    found = adjust(SEPTEMBER, now(50 * GB), {}, EUR)
    assert [line.kind for line in found] == ["included", "usage"]
    assert all(line.adjusts for line in found)
    assert totals(found, EUR) == totals(now(50 * GB), EUR)


def test_a_router_that_was_somebody_elses_takes_everything_back() -> None:
    """The tenant had the month's octets by mistake: an assignment was corrected afterwards."""
    (line,) = adjust(
        SEPTEMBER, now(0, terms({"price": "0.50"})), billed(now(50 * GB, terms({"price": "0.50"}))), EUR
    )
    assert (line.usage_bytes, str(line.net)) == (-50 * GB, "-25.00")


def test_each_tax_has_a_line() -> None:
    other = Tax(Decimal(7), "reduced")
    found = adjust(SEPTEMBER, now(50 * GB, tax=other), billed(now(50 * GB)), EUR)
    assert [(line.tax, line.usage_bytes, str(line.net)) for line in found] == [
        (other, 50 * GB, "20.00"),
        (TAX, -50 * GB, "-20.00"),
    ]


def test_an_adjustment_has_the_tax_of_its_month() -> None:
    other = Tax(Decimal(7))
    assert tax_for(billed(now(50 * GB)), other) == TAX
    assert tax_for({}, other) == other
    assert tax_for({TAX: Billed(Decimal(1), 1), other: Billed(Decimal(1), 1)}, other) == other


def test_the_tax_that_a_rate_has_of_its_own_does_not_hide_that_of_the_month() -> None:
    """Part of the month had a rate with a tax of its own; the tenant's tax is another one since."""
    own, later = Tax(Decimal(7)), Tax(Decimal(21))
    before = {TAX: Billed(Decimal(1), 1), own: Billed(Decimal(1), 1)}
    assert tax_for(before, later, [terms({"price": "1"}), terms({"price": "1", "tax_rate": "7"})]) == TAX
    ruled = {TAX: Billed(Decimal(1), 1), TAX._replace(rule="reverse"): Billed(Decimal(1), 1)}
    assert tax_for(ruled, later, [terms({"price": "1", "tax_rule": "reverse"})]) == TAX


OCTETS = st.integers(0, 10**13)


@given(
    versions=st.lists(OCTETS, min_size=1, max_size=6),
    taxes=st.lists(st.sampled_from([TAX, Tax(Decimal(7))]), min_size=6),
)
def test_all_documents_together_have_what_the_month_costs_now(versions: list[int], taxes: list[Tax]) -> None:
    documents: list[Line] = []
    for octets, tax in zip(versions, taxes, strict=False):
        lines = now(octets, tax=tax)
        added = adjust(SEPTEMBER, lines, billed(documents), EUR)
        documents += added
        found, wanted = billed(documents), billed(lines)
        assert sum(each.usage_bytes for each in found.values()) == octets
        assert sum(Fraction(each.net) for each in found.values()) == sum(
            Fraction(each.net) for each in wanted.values()
        )
        for tax_total in found:
            assert found[tax_total] == wanted.get(tax_total, Billed(Decimal("0.00"), 0))
        # Twice is once.
        assert adjust(SEPTEMBER, lines, billed(documents), EUR) == []
