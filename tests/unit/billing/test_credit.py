"""Credits add up to their invoice exactly, and never to more."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radmeter.billing.credit import (
    BadCredit,
    Credit,
    CreditedLine,
    Invoice,
    credit_all,
    credit_amount,
    credit_lines,
)
from radmeter.billing.currencies import currencies
from radmeter.billing.lines import Money, Tax, TaxMode, TaxTotal, tax_of
from radmeter.billing.rounding import Rounding, from_units, total

EUR = Money(currency="EUR", digits=2)
VAT = Tax(Decimal(20))
REDUCED = Tax(Decimal(10))


def invoice(*lines: tuple[str, Tax], money: Money = EUR) -> Invoice:
    every = [CreditedLine(at, Decimal(net), tax) for at, (net, tax) in enumerate(lines, start=1)]
    taxes = []
    for tax in sorted({tax for _, tax in lines}, key=lambda each: each.rate):
        nets = [each.net for each in every if each.tax == tax]
        net = total(nets, money.digits)
        by_line = total((tax_of(each, tax, money) for each in nets), money.digits)
        taxes.append(TaxTotal(tax, net, tax_of(net, tax, money) if money.tax is TaxMode.SUM else by_line))
    return Invoice(number="2026-000001", lines=every, taxes=taxes)


def after(of: Invoice, credit: Credit) -> Invoice:
    return replace(
        of, credited=[*of.credited, *credit.lines], credited_taxes=[*of.credited_taxes, *credit.taxes]
    )


FOUR = [("68.33", VAT), ("68.33", VAT), ("57.50", VAT), ("85.00", VAT)]


def test_the_last_credit_takes_the_difference() -> None:
    rest, grosses = invoice(*FOUR), []
    for line in (1, 2, 3, 4):
        credit = credit_lines(rest, {line: None}, EUR)
        grosses.append(str(credit.gross))
        assert credit.completes == (line == 4)
        rest = after(rest, credit)
    assert grosses == ["82.00", "82.00", "69.00", "101.99"]
    assert sum(Decimal(each) for each in grosses) == Decimal("334.99")


def test_the_difference_may_be_more_tax_as_well() -> None:
    # 20 % of 0.02 is nothing, 20 % of 0.04 is a cent.
    rest = invoice(("0.02", VAT), ("0.02", VAT))
    first = credit_lines(rest, {1: None}, EUR)
    second = credit_lines(after(rest, first), {2: None}, EUR)
    assert (str(first.tax), str(second.tax), second.completes) == ("0.00", "0.01", True)


@pytest.mark.parametrize("order", [(4, 3, 2, 1), (2, 4, 1, 3)])
def test_it_does_in_any_order(order: tuple[int, ...]) -> None:
    rest, gross = invoice(*FOUR), Decimal(0)
    for line in order:
        credit = credit_lines(rest, {line: None}, EUR)
        gross, rest = gross + credit.gross, after(rest, credit)
    assert gross == Decimal("334.99")


def test_amounts_that_add_up_to_the_net_add_up_to_the_gross() -> None:
    rest, gross = invoice(*FOUR), Decimal(0)
    for amount in ("68.33", "68.33", "57.50", "85.00"):
        credit = credit_amount(rest, Decimal(amount), EUR)
        assert credit.net == Decimal(amount)
        gross, rest = gross + credit.gross, after(rest, credit)
    assert gross == Decimal("334.99")
    assert credit.completes


def test_all_at_once() -> None:
    credit = credit_all(invoice(*FOUR), EUR)
    assert (str(credit.net), str(credit.tax), str(credit.gross), credit.completes) == (
        "279.16",
        "55.83",
        "334.99",
        True,
    )
    assert [(each.line, str(each.net)) for each in credit.lines] == [
        (1, "68.33"),
        (2, "68.33"),
        (3, "57.50"),
        (4, "85.00"),
    ]


def test_all_that_is_left() -> None:
    rest = invoice(*FOUR)
    rest = after(rest, credit_lines(rest, {1: None, 3: Decimal("7.50")}, EUR))
    credit = credit_all(rest, EUR)
    assert [(each.line, str(each.net)) for each in credit.lines] == [(2, "68.33"), (3, "50.00"), (4, "85.00")]
    assert str(credit.net) == "203.33"
    with pytest.raises(BadCredit, match="nothing is left of 2026-000001: it is credited in full"):
        credit_all(after(rest, credit), EUR)


def test_a_part_of_a_line() -> None:
    credit = credit_lines(invoice(("10.00", VAT), ("5.00", REDUCED)), {2: Decimal("0.99")}, EUR)
    assert credit.lines == (CreditedLine(2, Decimal("0.99"), REDUCED),)
    assert credit.taxes == (TaxTotal(REDUCED, Decimal("0.99"), Decimal("0.10")),)
    assert (str(credit.gross), credit.completes) == ("1.09", False)


def test_an_amount_is_spread_in_proportion() -> None:
    credit = credit_amount(invoice(("10.00", VAT), ("5.00", REDUCED), ("-3.00", VAT)), Decimal("6.00"), EUR)
    assert [(each.line, str(each.net)) for each in credit.lines] == [(1, "5.00"), (2, "2.50"), (3, "-1.50")]
    assert [(each.tax, str(each.net), str(each.amount)) for each in credit.taxes] == [
        (REDUCED, "2.50", "0.25"),
        (VAT, "3.50", "0.70"),
    ]


def test_cents_that_cannot_be_divided() -> None:
    credit = credit_amount(invoice(*[("0.01", VAT)] * 3), Decimal("0.01"), EUR)
    assert str(credit.net) == "0.01"
    assert len(credit.lines) == 1


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({5: None}, "2026-000001 has no line 5: its lines are 1 to 4"),
        (
            {1: Decimal("68.34")},
            "68.33 EUR is left of line 1 of 2026-000001: 68.34 EUR cannot be credited of it",
        ),
        ({1: Decimal("-1")}, "-1.00 EUR cannot be credited of it"),
        ({1: Decimal("0")}, "0.00 EUR cannot be credited of it"),
        ({1: Decimal("0.005")}, "0.005 EUR is finer than the currency: it has 2 digits"),
        ({}, "no line of 2026-000001 is named"),
    ],
)
def test_lines_that_cannot_be_credited(wanted: dict[int, Decimal | None], message: str) -> None:
    with pytest.raises(BadCredit, match=message):
        credit_lines(invoice(*FOUR), wanted, EUR)


def test_a_line_is_credited_once() -> None:
    rest = invoice(*FOUR)
    rest = after(rest, credit_lines(rest, {1: None}, EUR))
    with pytest.raises(BadCredit, match="nothing is left of line 1 of 2026-000001"):
        credit_lines(rest, {1: None}, EUR)


@pytest.mark.parametrize("amount", ["279.17", "0", "-1", "0.001"])
def test_more_than_the_invoice_cannot_be_credited(amount: str) -> None:
    with pytest.raises(BadCredit, match=r"cannot be credited|finer than the currency"):
        credit_amount(invoice(*FOUR), Decimal(amount), EUR)


def test_a_line_is_not_credited_beyond_its_tax_rate() -> None:
    """An invoice that goes down to a maximum has less to give back than its first line says."""
    of = invoice(("150.00", VAT), ("-50.00", VAT), ("7.00", REDUCED))
    with pytest.raises(
        BadCredit, match=r"100.00 EUR is left of what 2026-000001 taxes at 20 %: 150.00 EUR cannot"
    ):
        credit_lines(of, {1: None}, EUR)
    credit = credit_lines(of, {1: None, 2: None}, EUR)
    assert (str(credit.net), str(credit.tax)) == ("100.00", "20.00")


def test_nor_beyond_the_whole() -> None:
    of = invoice(("100.00", VAT), ("-50.00", REDUCED))
    with pytest.raises(
        BadCredit, match=r"50.00 EUR net is left of 2026-000001: 100.00 EUR cannot be credited"
    ):
        credit_lines(of, {1: None}, EUR)


def test_a_credit_balance_is_given_back_as_it_is() -> None:
    credit = credit_all(invoice(("-10.00", VAT)), EUR)
    assert (str(credit.net), str(credit.tax), str(credit.gross)) == ("-10.00", "-2.00", "-12.00")


def test_tiny_credits_never_take_more_tax_than_there_is() -> None:
    """The tax of 0.03 at 20 % is 0.006, rounded to 0.01: ten of them would have 0.10 of 0.06."""
    rest, tax = invoice(("0.30", VAT)), Decimal(0)
    for _ in range(10):
        credit = credit_lines(rest, {1: Decimal("0.03")}, EUR)
        assert credit.tax >= 0
        tax, rest = tax + credit.tax, after(rest, credit)
    assert tax == Decimal("0.06")
    assert credit.completes


MONEY = st.builds(
    lambda currency, rounding, tax: Money(
        currency=currency.code, digits=currency.digits, rounding=rounding, tax=tax
    ),
    st.sampled_from(currencies()),
    st.sampled_from(Rounding),
    st.sampled_from(TaxMode),
)


@given(data=st.data(), money=MONEY, discounts=st.booleans())
def test_credits_add_up_to_the_invoice(data: st.DataObject, money: Money, discounts: bool) -> None:
    """Whatever is credited by line, by amount, or as a whole, in any order: nothing is left, and it was never more."""
    amounts = st.integers(-300 if discounts else 1, 10**6).filter(bool)
    nets = data.draw(st.lists(amounts, min_size=1, max_size=8))
    taxes = data.draw(
        st.lists(st.sampled_from([VAT, REDUCED, Tax(Decimal("8.875")), Tax(Decimal(0))]), min_size=8)
    )
    of = invoice(
        *((str(from_units(net, money.digits)), tax) for net, tax in zip(nets, taxes, strict=False)),
        money=money,
    )
    rest = of
    credits: list[Credit] = []
    for _ in range(data.draw(st.integers(0, 6))):
        try:
            credit = data.draw(st.sampled_from([by_line, by_amount]))(data, rest, money)
        except BadCredit:
            continue
        credits.append(credit)
        rest = after(rest, credit)
        for each in rest.rest_of_taxes(money.digits).values():
            issued = next(one for one in of.taxes if one.tax == each.tax)
            for left, whole in ((each.net, issued.net), (each.amount, issued.amount)):
                assert min(whole, Decimal(0)) <= left <= max(whole, Decimal(0))
    if not (credits and credits[-1].completes):
        try:
            credits.append(credit_all(rest, money))
        except BadCredit:
            assert not any(rest.rest(money.digits).values())
    for each in of.taxes:
        given_back = [one for credit in credits for one in credit.taxes if one.tax == each.tax]
        assert sum(Fraction(one.net) for one in given_back) == Fraction(each.net)
        assert sum(Fraction(one.amount) for one in given_back) == Fraction(each.amount)
    assert sum(Fraction(each.gross) for each in credits) == sum(
        Fraction(one) for each in of.taxes for one in each[1:]
    )
    for credit in credits:
        assert Fraction(credit.net) == sum(Fraction(line.net) for line in credit.lines)
        assert Fraction(credit.gross) == Fraction(credit.net) + Fraction(credit.tax)


def by_line(data: st.DataObject, rest: Invoice, money: Money) -> Credit:
    line = data.draw(st.sampled_from(rest.lines)).line
    left = rest.rest(money.digits)[line]
    most = int(Fraction(left) * 10**money.digits)
    wanted = (
        None
        if data.draw(st.booleans())
        else from_units(data.draw(st.integers(min(most, 0), max(most, 0))), money.digits)
    )
    return credit_lines(rest, {line: wanted}, money)


def by_amount(data: st.DataObject, rest: Invoice, money: Money) -> Credit:
    left = int(sum(Fraction(each) for each in rest.rest(money.digits).values()) * 10**money.digits)
    return credit_amount(
        rest, from_units(data.draw(st.integers(min(left, 0), max(left, 0))), money.digits), money
    )
