"""Currencies of ISO 4217 and their digits."""

import subprocess
import sys

import pytest

from radmeter.billing.currencies import MOST_DIGITS, UnknownCurrency, currencies, currency


@pytest.mark.parametrize(
    ("code", "digits"),
    # IQD has 3 in the standard; lists made from what people use say 0.
    [
        ("EUR", 2),
        ("USD", 2),
        ("JPY", 0),
        ("KWD", 3),
        ("TND", 3),
        ("BHD", 3),
        ("CLF", 4),
        ("UYW", 4),
        ("IQD", 3),
        ("MGA", 2),
    ],
)
def test_a_currency_has_the_digits_of_the_standard(code: str, digits: int) -> None:
    assert (currency(code).code, currency(code).digits) == (code, digits)


def test_small_letters_are_taken() -> None:
    assert currency(" eur ").code == "EUR"
    assert currency("eur").name == "Euro"


@pytest.mark.parametrize("text", ["", "EURO", "EU", "XYZ", "€", "E R", "None", "978"])
def test_what_is_not_in_the_list_is_refused(text: str) -> None:
    with pytest.raises(
        UnknownCurrency, match="is not a currency of ISO 4217: write its three letters, such as EUR"
    ):
        currency(text)


@pytest.mark.parametrize("code", ["XAU", "XAG", "XDR", "XTS", "XXX"])
def test_a_currency_without_digits_is_refused(code: str) -> None:
    with pytest.raises(UnknownCurrency, match=rf"{code} \(.+\) has no digits in ISO 4217"):
        currency(code)


def test_all_others_can_be_billed() -> None:
    found = currencies()
    assert len(found) > 150
    assert [each.code for each in found] == sorted(each.code for each in found)
    assert {each.digits for each in found} == {0, 2, 3, 4}
    assert max(each.digits for each in found) == MOST_DIGITS
    assert all(currency(each.code) == each for each in found)


def test_the_list_is_read_only_when_it_is_needed() -> None:
    code = "import radmeter.billing.currencies, sys; sys.exit('iso4217' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], timeout=60, check=False).returncode == 0
