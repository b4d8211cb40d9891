"""Rounds exact amounts to the digits of a currency, once. Pure."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction


class Rounding(StrEnum):
    """What becomes of an amount in the middle between two.

    Both treat less than 0 as more than 0 with the sign changed: what is given back is what was taken.
    """

    HALF_UP = "half-up"
    """Away from 0: 0.125 becomes 0.13, and -0.125 becomes -0.13."""
    HALF_EVEN = "half-even"
    """To the even neighbour: 0.125 becomes 0.12, and 0.135 becomes 0.14."""


def units(amount: Fraction | Decimal | int, digits: int, rounding: Rounding) -> int:
    """Return an amount in the smallest units of a currency with so many digits, rounded."""
    exact = Fraction(amount) * _power(digits)
    whole, rest = divmod(abs(exact.numerator), exact.denominator)
    twice = 2 * rest - exact.denominator
    if twice > 0 or (twice == 0 and (rounding is Rounding.HALF_UP or whole % 2 == 1)):
        whole += 1
    return -whole if exact < 0 else whole


def _power(digits: int) -> int:
    power: int = 10**digits
    return power


def from_units(count: int, digits: int) -> Decimal:
    """Return smallest units as an amount with all its digits: 1250 with 2 digits is 12.50."""
    # Not by scaleb(), which rounds to the 28 figures of the context.
    return Decimal((int(count < 0), tuple(int(figure) for figure in str(abs(count))), -digits))


def rounded(amount: Fraction | Decimal | int, digits: int, rounding: Rounding) -> Decimal:
    """Return an amount rounded to so many digits, all of them written."""
    return from_units(units(amount, digits, rounding), digits)


def total(amounts: Iterable[Decimal], digits: int) -> Decimal:
    """Return the sum of amounts that are already rounded. It is exact, however large.

    Raises
    ------
    ValueError
        An amount is finer than the digits: nothing is cut off, as it would be of an amount in another currency.
    """
    return from_units(sum(_whole(each, digits) for each in amounts), digits)


def _whole(amount: Decimal, digits: int) -> int:
    count = Fraction(amount) * _power(digits)
    if count.denominator != 1:
        raise ValueError(f"{amount} has more than {digits} digits after the point")
    return count.numerator


def exact(value: Fraction | int) -> Decimal:
    """Return a number as a decimal without rounding it.

    Raises
    ------
    ValueError
        It has no end as a decimal, such as 1/3.
    """
    number = Fraction(value)
    rest, twos, fives = number.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        raise ValueError(f"{number} has no end as a decimal")
    digits = max(twos, fives)
    return from_units(int(number * 10**digits), digits)


def plain(value: Decimal) -> str:
    """Return a decimal as text without an exponent and without zeros at its end: 0.50 is 0.5, 1E+2 is 100."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
