"""`radmeter billing settings`: what it takes, and that documents keep what they were made with."""

import pytest
from support.books import GB, LATEST, Books, day
from support.commands import radmeter


def test_it_shows_and_sets(books: Books) -> None:
    shown = radmeter(books.dsn, "billing", "settings", "--format", "json").json()
    assert {row["name"]: row["value"] for row in shown} == {
        "currency": None,
        "rounding": "half-up",
        "settling_hours": "24",
        "tax": "sum",
        "users_tax_rate": "0",
        "users_tax_rule": None,
        "zero": "skip",
    }
    done = radmeter(books.dsn, "billing", "settings", "--currency", "eur", "--rounding", "half-even")
    assert done.output == "currency: EUR\nrounding: half-even\n"
    assert radmeter(books.dsn, "billing", "settings", "--rounding", "half-even").output.endswith(
        ", as before\n"
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--currency", "XAU"),
        ("--currency", "EURO"),
        ("--settling-hours", "-1"),
        ("--settling-hours", "9999"),
        ("--users-tax-rate", "101"),
        ("--users-tax-rate", "1e1"),
        ("--users-tax-rule", ""),
    ],
)
def test_it_refuses(books: Books, option: str, value: str) -> None:
    done = radmeter(books.dsn, "billing", "settings", option, value)
    assert done.exit_code in (1, 2)
    assert "Traceback" not in done.errors
    assert done.errors.strip()


@pytest.mark.parametrize(("rounding", "net"), [("half-up", "0.03"), ("half-even", "0.02")])
def test_a_document_keeps_the_rounding_that_it_was_made_with(books: Books, rounding: str, net: str) -> None:
    books.connection.execute("SELECT radmeter.set_billing_setting('rounding', %s)", (rounding,))
    books.tenant("acme", terms={"price": "0.025"})
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 1), GB)
    (number,) = books.closed(LATEST)
    books.connection.execute("SELECT radmeter.set_billing_setting('rounding', 'half-up')")
    (found,) = books.documents(number=number)
    assert str(found["net"]) == net
    ((terms,),) = books.connection.execute("SELECT terms FROM invoices").fetchall()
    assert terms["rounding"] == rounding


@pytest.mark.parametrize(("mode", "tax"), [("sum", "0.01"), ("line", "0.02")])
def test_tax_is_rounded_once_or_by_line(books: Books, mode: str, tax: str) -> None:
    books.connection.execute("SELECT radmeter.set_billing_setting('tax', %s)", (mode,))
    books.tenant("acme", terms={"price": "0.03"}, tax_rate="20")
    books.rate("acme", day(LATEST, 16), price="0.03", tax_rate="20", tax_rule=None)
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 1), GB)
    books.used("lobby", day(LATEST, 16), GB)
    books.close(LATEST)
    assert str(books.documents()[0]["tax"]) == tax
