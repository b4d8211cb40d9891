"""Amounts are rounded once, exactly, to the digits of their currency."""

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radmeter.billing.currencies import currencies
from radmeter.billing.rounding import Rounding, exact, from_units, plain, rounded, total, units

UP, EVEN = Rounding.HALF_UP, Rounding.HALF_EVEN
AMOUNTS = st.fractions(min_value=-(10**16), max_value=10**16)


@pytest.mark.parametrize(
    ("amount", "digits", "half_up", "half_even"),
    [
        ("0.125", 2, "0.13", "0.12"),
        ("0.135", 2, "0.14", "0.14"),
        ("-0.125", 2, "-0.13", "-0.12"),
        ("0.1250000000000000000000000000000000001", 2, "0.13", "0.13"),
        ("0.1249999999999999999999999999999999999", 2, "0.12", "0.12"),
        ("0.5", 0, "1", "0"),
        ("1.5", 0, "2", "2"),
        ("-0.5", 0, "-1", "0"),
        ("4.5", 0, "5", "4"),
        ("1.0005", 3, "1.001", "1.000"),
        ("0.00005", 4, "0.0001", "0.0000"),
        ("12.5", 2, "12.50", "12.50"),
        ("9999999999999999.995", 2, "10000000000000000.00", "10000000000000000.00"),
    ],
)
def test_an_amount_in_the_middle(amount: str, digits: int, half_up: str, half_even: str) -> None:
    assert str(rounded(Decimal(amount), digits, UP)) == half_up
    assert str(rounded(Decimal(amount), digits, EVEN)) == half_even


def test_a_third_has_no_middle() -> None:
    assert str(rounded(Fraction(1, 3), 2, UP)) == "0.33"
    assert str(rounded(Fraction(-2, 3), 2, UP)) == "-0.67"


@given(amount=st.decimals(min_value=-(10**12), max_value=10**12, places=9), digits=st.integers(0, 4))
def test_it_is_what_decimal_does(amount: Decimal, digits: int) -> None:
    with localcontext() as context:
        context.prec = 60
        for rule, name in ((UP, ROUND_HALF_UP), (EVEN, ROUND_HALF_EVEN)):
            assert rounded(amount, digits, rule) == amount.quantize(Decimal(1).scaleb(-digits), rounding=name)


@given(amount=AMOUNTS, digits=st.integers(0, 4), rule=st.sampled_from(Rounding))
def test_what_is_given_back_is_what_was_taken(amount: Fraction, digits: int, rule: Rounding) -> None:
    assert units(-amount, digits, rule) == -units(amount, digits, rule)


@given(amount=AMOUNTS, rule=st.sampled_from(Rounding), currency=st.sampled_from(currencies()))
def test_it_is_off_by_half_a_unit_at_most_in_every_currency(
    amount: Fraction, rule: Rounding, currency: tuple[str, int, str]
) -> None:
    net = rounded(amount, currency[1], rule)
    assert abs(Fraction(net) - amount) * 10 ** currency[1] * 2 <= 1
    assert -int(net.as_tuple().exponent) == currency[1]
    assert rounded(net, currency[1], rule) == net


@given(parts=st.lists(st.integers(-(10**20), 10**20)), digits=st.integers(0, 4))
def test_a_sum_is_exact_however_large(parts: list[int], digits: int) -> None:
    assert total([from_units(each, digits) for each in parts], digits) == from_units(sum(parts), digits)


@given(octets=st.integers(-(2**63), 2**63 - 1), unit=st.sampled_from([10**9, 2**30]))
def test_a_volume_is_exact(octets: int, unit: int) -> None:
    assert Fraction(exact(Fraction(octets, unit))) * unit == octets


def test_a_third_is_no_decimal() -> None:
    with pytest.raises(ValueError, match="1/3 has no end"):
        exact(Fraction(1, 3))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.50", "0.5"),
        ("1E+2", "100"),
        ("100", "100"),
        ("-0.0", "0"),
        ("0E-9", "0"),
        ("-1.20", "-1.2"),
        ("7.000", "7"),
    ],
)
def test_a_number_has_one_text(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


def test_a_sum_cuts_nothing_off() -> None:
    assert str(total([Decimal("9.00"), Decimal("1E+1")], 0)) == "19"
    with pytest.raises(ValueError, match=r"9\.90 has more than 0 digits"):
        total([Decimal(10), Decimal("9.90")], 0)
