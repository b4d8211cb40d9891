"""Numbers and amounts of money as a language writes them, and its words. Pure. Dates are ISO 8601 in all languages.

Everything that people read has amounts from here: documents, statements, lists, questions and errors. Files for
programs have plain decimals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from radmeter.billing.rounding import Rounding, exact, rounded
from radmeter.billing.words.english import ENGLISH as ENGLISH_WORDS
from radmeter.billing.words.german import GERMAN as GERMAN_WORDS

# Decimals of a fraction before it is cut. The amount itself is not computed from the text.
SHOWN = 12


@dataclass(frozen=True, eq=False)
class Language:
    """A language: its code, its words, and what separates thousands and the decimals of a number."""

    code: str
    words: Mapping[str, str]
    thousands: str
    point: str

    def __getitem__(self, word: str) -> str:
        """Return a word, or a sentence with places."""
        return self.words[word]

    def whole(self, number: int) -> str:
        """Return a whole number, such as ``1,234``."""
        return f"{number:,}".replace(",", self.thousands)

    def number(self, number: Fraction | Decimal | int, least: int = 0) -> str:
        """Return a number with at least so many decimals. Nothing is rounded.

        A decimal has all its digits. A fraction with more than 12 decimals is cut, and ``..`` says so.
        """
        cut = ""
        if isinstance(number, Fraction):
            decimal = _ended(number)
            cut = "" if Fraction(decimal) == number else ".."
        else:
            decimal = Decimal(number)
        # As text: computing with a Decimal rounds it to 28 digits.
        whole, _, decimals = f"{decimal.copy_abs():f}".partition(".")
        decimals = decimals if cut else decimals.rstrip("0").ljust(least, "0")
        sign = "-" if number < 0 else ""
        return f"{sign}{self.whole(int(whole))}{self.point if decimals else ''}{decimals}{cut}"

    def octets(self, count: int) -> str:
        """Return octets: ``1,000,000,000 octets``."""
        return f"{self.whole(count)} {self['octet' if abs(count) == 1 else 'octets']}"

    def money(self, amount: Fraction | Decimal | int, currency: str, digits: int | None = None) -> str:
        """Return an amount with its currency: ``1,234.50 EUR``. `digits` are the currency's; None: as it has them."""
        if digits is None:
            exponent = amount.as_tuple().exponent if isinstance(amount, Decimal) else 0
            digits = max(0, -exponent) if isinstance(exponent, int) else 0
        return f"{self.number(amount, digits)} {currency}".strip()

    def result(self, amount: Fraction, currency: str, digits: int, rounding: Rounding) -> str:
        """Return an amount, and what it is rounded to if that is another one."""
        net = rounded(amount, digits, rounding)
        if net == amount:
            return self.money(net, currency, digits)
        return self["rounded"].format(
            amount=self.money(amount, currency, digits),
            rounding=self[f"rounded-{rounding}"],
            net=self.money(net, currency, digits),
        )


def _ended(number: Fraction) -> Decimal:
    """Return a fraction as a decimal; one with more than 12 decimals cut there."""
    try:
        decimal = exact(number)
        exponent = decimal.as_tuple().exponent
        if isinstance(exponent, int) and -exponent <= SHOWN:
            return decimal
    except ValueError:
        pass
    figures = str(abs(number.numerator) * 10**SHOWN // number.denominator)
    return Decimal((int(number < 0), tuple(map(int, figures)), -SHOWN))


ENGLISH = Language("en", ENGLISH_WORDS, ",", ".")
GERMAN = Language("de", GERMAN_WORDS, ".", ",")
LANGUAGES = {language.code: language for language in (ENGLISH, GERMAN)}


def sums(amounts: Mapping[str, Decimal]) -> str:
    """Return amounts by currency in English: ``1,234.50 EUR and 900 JPY``. They are never added up."""
    return " and ".join(ENGLISH.money(amount, code) for code, amount in amounts.items()) or "nothing"


def language_of(code: str) -> tuple[Language, bool]:
    """Return a language, and whether it is the one that was asked for; if not, English. ``de-AT`` is ``de``."""
    found = LANGUAGES.get(code.replace("_", "-").split("-")[0].lower())
    return (ENGLISH, False) if found is None else (found, True)
