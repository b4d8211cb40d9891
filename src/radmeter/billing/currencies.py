"""Currencies and their digits after the point, from the list of ISO 4217 itself. Pure."""

from functools import cache
from typing import NamedTuple

from radmeter.errors import ConfigurationError

# What the tables hold: CLF has the most, 4.
MOST_DIGITS = 4


class UnknownCurrency(ConfigurationError):
    """A text is not a currency in which can be billed. The message has a remedy."""


class Currency(NamedTuple):
    """A currency: its code, its digits after the point (JPY 0, EUR 2, KWD 3, CLF 4) and its English name."""

    code: str
    digits: int
    name: str


@cache
def _listed() -> dict[str, tuple[str, str]]:
    """Return name and digits as the standard writes them, by code."""
    # Imported here: the package reads its list when it is imported, and few commands need it.
    import iso4217

    # Territories without a currency are in the list under None.
    return {
        str(code): (str(entry["CcyNm"]), str(entry["CcyMnrUnts"]))
        for code, entry in iso4217.raw_table.items()
        if code
    }


def currency(text: str) -> Currency:
    """Return a currency by its code. Small letters are taken as well.

    Raises
    ------
    UnknownCurrency
        No such code is in the list, or the standard gives it no digits, as to gold (XAU) and to tests (XTS).
    """
    code = text.strip().upper()
    if code not in _listed():
        raise UnknownCurrency(f"{text!r} is not a currency of ISO 4217: write its three letters, such as EUR")
    name, digits = _listed()[code]
    if not digits.isascii() or not digits.isdigit() or int(digits) > MOST_DIGITS:
        raise UnknownCurrency(
            f"{code} ({name}) has no digits in ISO 4217, so no amount can be rounded to it: choose another currency"
        )
    return Currency(code, int(digits), name)


def currencies() -> list[Currency]:
    """Return all currencies in which can be billed, in the order of their codes."""
    found = []
    for code in sorted(_listed()):
        try:
            found.append(currency(code))
        except UnknownCurrency:
            continue
    return found
