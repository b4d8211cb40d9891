"""Numbers as they stand in the arithmetic of a line. Pure."""

from decimal import Decimal
from fractions import Fraction

from radmeter.billing.rounding import Rounding, exact, plain, rounded

# Decimals of a number in words before it is cut. The amount itself is not computed from the text.
SHOWN = 12


def number(value: Fraction | Decimal | int, least: int = 0) -> str:
    """Return a number with at least so many decimals. One with more than 12 is cut, and ``..`` says so."""
    wanted = Fraction(value)
    try:
        whole, _, decimals = plain(exact(wanted)).partition(".")
    except ValueError:
        decimals = "0" * (SHOWN + 1)
    if len(decimals) <= SHOWN:
        decimals = decimals.ljust(least, "0")
        return f"{whole}.{decimals}" if decimals else whole
    scaled = abs(wanted.numerator) * 10**SHOWN // wanted.denominator
    figures = str(scaled).rjust(SHOWN + 1, "0")
    return f"{'-' if wanted < 0 else ''}{figures[:-SHOWN]}.{figures[-SHOWN:]}.."


def octets(count: int) -> str:
    """Return octets with separators: ``1,000,000,000 octets``."""
    return f"{count:,} {'octet' if abs(count) == 1 else 'octets'}"


def money(amount: Fraction | Decimal | int, currency: str, digits: int) -> str:
    """Return an amount with its currency: ``12.50 EUR``."""
    return f"{number(amount, digits)} {currency}"


def result(amount: Fraction, currency: str, digits: int, rounding: Rounding) -> str:
    """Return an amount, and what it is rounded to if that is another one."""
    net = rounded(amount, digits, rounding)
    if net == amount:
        return money(net, currency, digits)
    return f"{money(amount, currency, digits)}, rounded {rounding.replace('-', ' ')}: {money(net, currency, digits)}"
