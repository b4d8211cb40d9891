"""Numbers, money and words of documents: every digit, in the way of each language; the same words in all."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest

from radmeter.billing.rounding import Rounding
from radmeter.billing.wording import ENGLISH, GERMAN, LANGUAGES, language_of, sums


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
        (Fraction(10**20, 3), 0, "33,333,333,333,333,333,333.333333333333.."),
        (1234, 2, "1,234.00"),
    ],
)
def test_a_number(value: Fraction | Decimal, least: int, text: str) -> None:
    assert ENGLISH.number(value, least) == text


def test_octets_and_money() -> None:
    assert ENGLISH.octets(1) == "1 octet"
    assert ENGLISH.octets(-1234) == "-1,234 octets"
    assert GERMAN.octets(1) == "1 Oktett"
    assert GERMAN.octets(1234) == "1.234 Oktette"
    assert ENGLISH.money(Decimal("5"), "JPY", 0) == "5 JPY"
    assert ENGLISH.money(Decimal("1234.5"), "KWD", 3) == "1,234.500 KWD"
    assert GERMAN.money(Decimal("-1234.5"), "EUR", 2) == "-1.234,50 EUR"


def test_an_amount_without_known_digits_has_those_that_it_has() -> None:
    assert ENGLISH.money(Decimal("12.00"), "EUR") == "12.00 EUR"
    assert ENGLISH.money(Decimal("1200"), "JPY") == "1,200 JPY"


def test_sums_of_currencies_stay_apart() -> None:
    assert sums({"EUR": Decimal("1234.50"), "JPY": Decimal(900)}) == "1,234.50 EUR and 900 JPY"
    assert sums({}) == "nothing"


def test_a_result_says_whether_it_was_rounded() -> None:
    eighth = Fraction(1, 8)
    assert ENGLISH.result(Fraction(5, 2), "EUR", 2, Rounding.HALF_UP) == "2.50 EUR"
    assert ENGLISH.result(eighth, "EUR", 2, Rounding.HALF_UP) == "0.125 EUR, rounded half up: 0.13 EUR"
    assert ENGLISH.result(eighth, "EUR", 2, Rounding.HALF_EVEN) == "0.125 EUR, rounded half even: 0.12 EUR"
    assert GERMAN.result(eighth, "EUR", 2, Rounding.HALF_UP) == "0,125 EUR, kaufmännisch gerundet: 0,13 EUR"
    assert (
        GERMAN.result(eighth, "EUR", 2, Rounding.HALF_EVEN)
        == "0,125 EUR, zur geraden Ziffer gerundet: 0,12 EUR"
    )


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
