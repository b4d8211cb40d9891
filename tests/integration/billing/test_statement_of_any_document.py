"""`radmeter billing statement` of users' invoices and credit notes, and in the language of who is billed."""

import datetime
import html
import re
from pathlib import Path

import pytest
from support import pdf
from support.books import GB, LATEST, LONG_AGO, Books, day
from support.commands import Result, radmeter

TIERS = {
    "price": "0.5005",
    "tiers": [{"from": "1000", "price": "0.40"}],
    "included": "10",
    "base_fee": "4.99",
    "share": "12.5",
    "minimum": "5000",
}


def shown(path: Path) -> str:
    """Return the text of a file in one line."""
    if path.suffix == ".pdf":
        return " ".join(pdf.text_of(path).split())
    body = re.sub(r"(?s)<style>.*?</style>", "", path.read_text())
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def statement(books: Books, target: Path, *which: str) -> Result:
    return radmeter(books.dsn, "billing", "statement", *which, "-o", target)


@pytest.fixture
def month(books: Books) -> Books:
    """A month of a German and an English tenant, each with a user who has a plan and a top-up."""
    for name, language, legal in (
        ("wien", "de-AT", "Wiener Gastgeber GmbH"),
        ("leeds", "en", "Leeds Hosts Ltd"),
    ):
        books.tenant(name, tax_rate="20", terms=TIERS)
        books.connection.execute(
            "UPDATE radmeter.tenants SET language = %s, legal_name = %s, tax_rule = 'VAT 20 %%' WHERE name = %s",
            (language, legal, name),
        )
        for number in range(6):
            books.router(f"{name} {number}", name)
            for on in range(1, 29):
                books.used(f"{name} {number}", day(LATEST, on), on * number * GB + 7, down=GB)
    books.connection.execute(
        "ALTER TABLE plans DISABLE TRIGGER USER; ALTER TABLE subscribers DISABLE TRIGGER USER"
    )
    books.connection.execute(
        """INSERT INTO plans (id, name, price, quota_type) VALUES (77, 'Gold', 1234.5, 'monthly');
           INSERT INTO radmeter.plan_prices (plan_id, at, price, quota_type, timezone)
           VALUES (77, '-infinity', 1234.5, 'monthly', 'UTC');
           INSERT INTO subscribers (username, plan_id, tenant_id)
           SELECT 'guest of ' || name, 77, id FROM radmeter.tenants"""
    )
    books.connection.execute(
        """INSERT INTO radmeter.plan_history (username, plan_id, at, held, main, tenant_id)
           SELECT username, plan_id, %s, true, true, tenant_id FROM subscribers""",
        (datetime.datetime.combine(LONG_AGO, datetime.time(12), datetime.UTC),),
    )
    books.connection.execute(
        "INSERT INTO top_ups (username, bytes, added_at, price) SELECT username, 5000000000, %s, 2.5 FROM subscribers",
        (datetime.datetime.combine(day(LATEST, 5), datetime.time(12), datetime.UTC),),
    )
    books.closed(LATEST)
    return books


def number_of(books: Books, who: str) -> str:
    (row,) = [
        each
        for each in books.documents()
        if who in (each["username"] or each["tenant"])
        and (each["username"] is not None) == who.startswith("guest")
    ]
    return str(row["number"])


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_the_arithmetic_is_in_the_language_of_the_document(month: Books, tmp_path: Path, kind: str) -> None:
    for tenant in ("wien", "leeds"):
        done = statement(month, tmp_path / f"{tenant}.{kind}", "--period", str(LATEST), "--tenant", tenant)
        assert done.exit_code == 0, done.errors
    german, english = (shown(tmp_path / f"{tenant}.{kind}") for tenant in ("wien", "leeds"))
    octets = "990.000.000.000 Oktette / 1.000.000.000 = 990 GB x 0,5005 EUR je GB = 495,495 EUR"
    for text in (
        f"ab 0 bis 1.000 GB: {octets}, kaufmännisch gerundet: 495,50 EUR",
        "die ersten 10 GB: 10.000.000.000 Oktette / 1.000.000.000 = 10 GB: nichts zu zahlen",
        "ab 1.000 GB: ",
        "Enthaltenes Volumen",
        f"{6 * LATEST.days} Router-Tage x 4,99 EUR je Router und Monat / {LATEST.days} Tage = 29,94 EUR",
        "12,5 % von 1.237,00 EUR, dem Netto dessen, was Nutzern für",
        "mindestens 5.000,00 EUR = 5.000,00 EUR; abzüglich der Positionen davor",
        f"{6 * LATEST.days} Router-Tage",
    ):
        assert text in german
    assert not re.search(r"\b(octets|per|rounded|of routers|days|nothing to pay|minimum|the)\b", german)
    for text in (
        "from 0 to 1,000 GB: 990,000,000,000 octets / 1,000,000,000 = 990 GB x 0.5005 EUR per GB = 495.495 EUR, "
        "rounded half up: 495.50 EUR",
        "12.5 % of 1,237.00 EUR, the net of what users are billed for",
    ):
        assert text in english


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_an_invoice_of_a_user(month: Books, tmp_path: Path, kind: str) -> None:
    number = number_of(month, "guest of wien")
    done = statement(month, tmp_path / f"guest.{kind}", "--number", number)
    assert done.exit_code == 0, done.errors
    assert done.output.startswith(f"guest of wien: {number} (issued, 1,237.00 EUR): ")
    text = shown(tmp_path / f"guest.{kind}")
    for part in (
        f"Rechnung {number}",
        "Nutzer guest of wien",
        "Mandant wien",
        "Tarif Gold",
        f"1.234,50 EUR je Monat x {LATEST.days} von {LATEST.days} Tagen = 1.234,50 EUR",
        "Aufladung 5.000.000.000 Oktette",
        "1 Aufladung x 2,50 EUR",
        "1.237,00",
    ):
        assert part in text


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_a_credit_note(month: Books, tmp_path: Path, kind: str) -> None:
    invoice = number_of(month, "wien")
    note = month.credit(invoice, "100")
    done = statement(month, tmp_path / f"note.{kind}", "--number", note)
    assert done.exit_code == 0, done.errors
    text = shown(tmp_path / f"note.{kind}")
    for part in (f"Gutschrift {note}", f"Zur Rechnung {invoice}", "Grund a reason", "Netto 100,00 EUR",
                 "Steuer 20,00 EUR", "Gesamtbetrag 120,00 EUR",
                 "Wiener Gastgeber GmbH", "VAT 20 %", "Grundgebühr der Router"):  # fmt: skip
        assert part in text
    assert "hebt die Rechnung" not in text
    void = month.credit(number_of(month, "guest of leeds"), voids=True)
    assert statement(month, tmp_path / f"void.{kind}", "--number", void).exit_code == 0
    text = shown(tmp_path / f"void.{kind}")
    for part in (
        f"Credit note {void}",
        "This credit note cancels the invoice",
        "Total 1,237.00 EUR",
        "User guest of leeds",
    ):
        assert part in text


def test_all_of_a_month_into_a_directory(month: Books, tmp_path: Path) -> None:
    month.credit(number_of(month, "wien"), "100")
    for what, kinds in (
        ((), {"invoice": 2, "tenant": 2}),
        (("--what", "users"), {"invoice": 2}),
        (("--what", "tenants"), {"tenant": 2}),
    ):
        into = tmp_path / f"all{len(what)}{''.join(what)}"
        done = statement(month, into, "--period", str(LATEST), "--all", "--format", "html", *what)
        assert done.exit_code == 0, done.errors
        names = [path.stem for path in into.iterdir()]
        of_users = sum("-invoice" in name for name in names)
        assert {"invoice": of_users, "tenant": len(names) - of_users} == {"invoice": 0, "tenant": 0} | kinds
    # Credit notes belong to the month in which they were issued.
    today = datetime.datetime.now(datetime.UTC)
    done = statement(month, tmp_path / "now", "--period", f"{today:%Y-%m}", "--all", "--format", "html")
    assert done.output == f"1 statement in {tmp_path / 'now'}\n"
    assert "Gutschrift" in shown(next((tmp_path / "now").iterdir()))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--number", "1", "--period", "2026-10"),
        ("--number", "1", "--tenant", "acme"),
        ("--tenant", "acme"),
        ("--period", "2026-10", "--tenant", "acme", "--what", "users"),
        ("--period", "2026-10", "--tenant", "acme", "--issuer", "default"),
        (),
    ],
)
def test_options_that_do_not_go_together(books: Books, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert statement(books, tmp_path / "x.pdf", *arguments).exit_code == 2


def test_a_number_that_is_not_there(books: Books, tmp_path: Path) -> None:
    done = statement(books, tmp_path / "x.pdf", "--number", "2026-7")
    assert "there is no invoice '2026-7': `radmeter billing list` lists them" in done.errors
