"""Numbers of statements: every digit, in the way of each language; and the same words in all languages."""

import re
from decimal import Decimal

import pytest

from radmeter.billing.statements.words import LANGUAGES, language_of


@pytest.mark.parametrize(
    ("number", "digits", "english", "german"),
    [
        ("1234567.5", 2, "1,234,567.50", "1.234.567,50"),
        ("0.0371", 2, "0.0371", "0,0371"),
        ("0.5000", 2, "0.50", "0,50"),
        ("5", 0, "5", "5"),
        ("1000", 0, "1,000", "1.000"),
        ("1E+3", 2, "1,000.00", "1.000,00"),
        ("-0.00", 2, "0.00", "0,00"),
        ("-0.01", 2, "-0.01", "-0,01"),
        ("9007199254740993.123456789012345678", 2, "9,007,199,254,740,993.123456789012345678", None),
        ("0.000000001", 0, "0.000000001", "0,000000001"),
        # 1 octet and 5,000,000,001 octets in GiB: 30 decimals.
        ("0.000000000931322574615478515625", 0, "0.000000000931322574615478515625", None),
        (
            "4.656612873077392578125931322574615478515625",
            0,
            "4.656612873077392578125931322574615478515625",
            None,
        ),
    ],
)
def test_a_number_has_all_its_digits(number: str, digits: int, english: str, german: str | None) -> None:
    assert LANGUAGES["en"].number(Decimal(number), digits) == english
    if german is not None:
        assert LANGUAGES["de"].number(Decimal(number), digits) == german


def test_every_language_has_every_word_and_its_places() -> None:
    wanted = LANGUAGES["en"].words
    for language in LANGUAGES.values():
        assert language.words.keys() == wanted.keys()
        for name, words in language.words.items():
            assert sorted(re.findall(r"{\w+}", words)) == sorted(re.findall(r"{\w+}", wanted[name])), name


@pytest.mark.parametrize(
    ("code", "found", "known"),
    [
        ("de", "de", True),
        ("de-AT", "de", True),
        ("DE_ch", "de", True),
        ("en", "en", True),
        ("fr", "en", False),
        ("", "en", False),
    ],
)
def test_a_language_that_is_not_known_is_english(code: str, found: str, known: bool) -> None:
    assert (language_of(code)[0].code, language_of(code)[1]) == (found, known)
