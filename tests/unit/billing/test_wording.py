"""Numbers in the arithmetic of a line."""

from decimal import Decimal
from fractions import Fraction

import pytest

from radmeter.billing.rounding import Rounding
from radmeter.billing.wording import money, number, octets, result


@pytest.mark.parametrize(
    ("value", "least", "text"),
    [
        (Decimal("0.5"), 2, "0.50"),
        (Decimal("0.4567"), 2, "0.4567"),
        (Decimal("100"), 0, "100"),
        (Decimal("-3.1"), 2, "-3.10"),
        (Fraction(1, 3), 2, "0.333333333333.."),
        (Fraction(-2, 3), 2, "-0.666666666666.."),
        (Fraction(1, 2**30), 0, "0.000000000931.."),
        (Fraction(123456789012, 10**9), 0, "123.456789012"),
        (Fraction(10**20, 3), 0, "33333333333333333333.333333333333.."),
    ],
)
def test_a_number(value: Fraction | Decimal, least: int, text: str) -> None:
    assert number(value, least) == text


def test_octets_and_money() -> None:
    assert octets(1) == "1 octet"
    assert octets(-1234) == "-1,234 octets"
    assert money(Decimal("5"), "JPY", 0) == "5 JPY"
    assert money(Decimal("5"), "KWD", 3) == "5.000 KWD"


def test_a_result_says_whether_it_was_rounded() -> None:
    assert result(Fraction(5, 2), "EUR", 2, Rounding.HALF_UP) == "2.50 EUR"
    assert result(Fraction(1, 8), "EUR", 2, Rounding.HALF_UP) == "0.125 EUR, rounded half up: 0.13 EUR"
    assert result(Fraction(1, 8), "EUR", 2, Rounding.HALF_EVEN) == "0.125 EUR, rounded half even: 0.12 EUR"
