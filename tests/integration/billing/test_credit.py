"""Credit notes add up to their invoice exactly and never exceed it; a void invoice is billed again."""

import multiprocessing
from pathlib import Path

import psycopg
import pytest
from support.books import FORMER, GB, LATEST, LONG_AGO, OLDEST, Books, day, money
from support.commands import radmeter

from radmeter.errors import ConfigurationError, StoreError


def place(books: Books) -> dict[str, str]:
    return {
        "RADMETER_BILLING_DIRECTORY": str(books.files.directory),
        "RADMETER_BILLING_KEY_FILE": str(books.files.key_file),
    }


def of_four_lines(books: Books) -> str:
    """Issue 68.33 + 68.33 + 57.50 + 85.00 at 20 %: 334.99, or 335.00 if tax is rounded by line."""
    books.tenant("acme", terms={"price": "1"}, tax_rate="20")
    books.router("lobby", "acme")
    for first, price, octets in ((1, "68.33", 1), (8, "68.33", 1), (15, "57.50", 1), (22, "85", 1)):
        books.rate("acme", day(LATEST, first), price=price)
        books.used("lobby", day(LATEST, first), octets * GB)
    (number,) = books.closed(LATEST)
    assert money(books.documents()) == [("acme", "279.16", "55.83", "334.99")]
    return number


def notes(books: Books) -> list[tuple[str, str, str]]:
    return books.connection.execute(
        "SELECT net::text, tax::text, amount::text FROM credit_notes ORDER BY id"
    ).fetchall()


def test_credits_by_line_add_up_to_the_invoice(books: Books) -> None:
    number = of_four_lines(books)
    for line in range(1, 5):
        done = radmeter(
            books.dsn,
            "billing",
            "credit",
            number,
            "--line",
            str(line),
            "--reason",
            "outage",
            "--yes",
            **place(books),
        )
        assert done.exit_code == 0, done.errors
    assert notes(books) == [
        ("68.33", "13.67", "82.00"),
        ("68.33", "13.67", "82.00"),
        ("57.50", "11.50", "69.00"),
        # By itself its tax would be 17.00.
        ("85.00", "16.99", "101.99"),
    ]
    (found,) = books.documents()
    assert (found["credited"], found["status"]) == (found["gross"], "issued")
    with pytest.raises(ConfigurationError, match="nothing is left"):
        books.credit(number)


def test_a_part_and_then_all_that_is_left(books: Books) -> None:
    number = of_four_lines(books)
    books.credit(number, "100.01")
    books.credit(number)
    assert sum(float(gross) for *_, gross in notes(books)) == pytest.approx(334.99)
    assert books.documents()[0]["credited"] == books.documents()[0]["gross"]


def test_more_than_is_left_is_refused(books: Books) -> None:
    number = of_four_lines(books)
    books.credit(number, "200")
    before = books.everything()
    with pytest.raises(ConfigurationError, match=r"79\.16 EUR"):
        books.credit(number, "79.17")
    assert books.everything() == before


@pytest.mark.parametrize(
    ("net", "tax", "line_net", "rate"),
    [
        ("280.00", "0", "280.00", "20"),  # more net
        ("1.00", "56", "1.00", "20"),  # more tax
        ("1.00", "0", "1.00", "7"),  # a tax that the invoice does not have
        ("-1.00", "0", "-1.00", "20"),  # the other sign
    ],
)
def test_the_database_itself_refuses_more_than_is_left(
    books: Books, net: str, tax: str, line_net: str, rate: str
) -> None:
    of_four_lines(books)
    import json

    note = {
        "invoice_id": books.documents()[0]["id"],
        "net": net,
        "tax": tax,
        "taxes": [],
        "reason": "r",
        "lines": [
            {"invoice_line": 1, "description": "d", "net": line_net, "tax_rate": rate, "tax_rule": None}
        ],
    }
    with pytest.raises(psycopg.Error) as caught:
        books.connection.execute("SELECT radmeter.add_credit_note(%s)", (json.dumps(note),))
    assert caught.value.sqlstate == "RM001"
    assert notes(books) == []


def test_two_credits_at_once_do_not_exceed_the_invoice(books: Books) -> None:
    number = of_four_lines(books)
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        done = pool.starmap(_credit, [(books.dsn, str(books.files.directory.parent), number)] * 2)
    assert sorted(done) == [False, True]
    assert len(notes(books)) == 1


def _credit(dsn: str, directory: str, number: str) -> bool:
    try:
        Books(dsn, Path(directory)).credit(number, "200")
    except ConfigurationError:
        return False
    return True


def test_a_void_invoice_keeps_its_number_and_is_billed_again(books: Books) -> None:
    books.tenant("acme", tax_rate="19")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 3), 4 * GB)
    books.used("lobby", day(LATEST, 3), GB)
    (number,) = books.closed(FORMER)
    books.credit(number, "0.50")
    note = books.credit(number, voids=True)
    assert notes(books) == [("0.50", "0.10", "0.60"), ("1.50", "0.28", "1.78")]
    assert note.startswith("CN-")
    (void,) = books.documents()
    assert (void["number"], void["status"], void["voided_at"] is None) == (number, "void", False)
    books.rate("acme", FORMER.first, price="1")
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [
        ("usage", LATEST.first, GB, "1.00"),
        ("usage", FORMER.first, 4 * GB, "4.00"),
    ]
    assert sum(books.billed().values()) == 5 * GB


def test_a_void_base_fee_is_billed_again_without_octets(books: Books) -> None:
    books.tenant("acme", terms={"base_fee": "10"})
    books.router("lobby", "acme")
    (number,) = books.closed(FORMER)
    books.credit(number, voids=True)
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [
        ("base-fee", LATEST.first, None, "10.00"),
        ("base-fee", FORMER.first, None, "10.00"),
    ]
    again = books.issue(LATEST)
    assert len(again) == 1


def test_an_adjustment_that_is_void_is_billed_again(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(OLDEST, 3), 4 * GB)
    books.closed(OLDEST)
    books.used("lobby", day(OLDEST, 3), 2 * GB)
    (number,) = books.closed(FORMER)
    books.credit(number, voids=True)
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [("adjustment", OLDEST.first, 2 * GB, "1.00")]


def test_what_is_below_zero_is_taken_back_by_a_note_below_zero(books: Books) -> None:
    books.tenant("acme", tax_rate="19")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 3), 4 * GB)
    books.closed(FORMER)
    books.used("lobby", day(FORMER, 3), -3 * GB)
    (number,) = books.closed(LATEST)
    assert money(books.documents(number=number)) == [("acme", "-1.50", "-0.29", "-1.79")]
    books.credit(number, "-1")
    books.credit(number)
    assert notes(books) == [("-1.00", "-0.19", "-1.19"), ("-0.50", "-0.10", "-0.60")]


@pytest.mark.parametrize(("currency", "digits", "part"), [("JPY", 0, "1"), ("KWD", 3, "0.001")])
def test_the_smallest_unit_can_be_credited_and_no_finer(
    books: Books, currency: str, digits: int, part: str
) -> None:
    books.tenant("acme", currency=currency, digits=digits, terms={"price": "7.123"}, tax_rate="5")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), 3 * GB)
    (number,) = books.closed(LATEST)
    with pytest.raises(ConfigurationError, match="is finer than the currency"):
        books.credit(number, f"{part}{'.5' if '.' not in part else '5'}")
    for _ in range(3):
        books.credit(number, part)
    books.credit(number)
    (found,) = books.documents()
    assert found["credited"] == found["gross"]


def test_a_draft_and_a_void_document_cannot_be_credited(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), 4 * GB)
    books.close(LATEST)
    (draft,) = books.documents()
    with pytest.raises(StoreError, match="was not issued"):
        books.credit(f"#{draft['id']}", "1")
    (number,) = books.issue(LATEST)
    books.credit(number, voids=True)
    for voids in (True, False):
        with pytest.raises(StoreError, match=f"{number} is void already"):
            books.credit(number, voids=voids)


@pytest.mark.parametrize("price", ["0", "0.50"])
def test_a_document_of_which_nothing_is_left_can_be_void_and_its_octets_are_billed_again(
    books: Books, price: str
) -> None:
    books.tenant("acme", terms={"price": price}, tax_rate="19")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 3), 4 * GB)
    (number,) = books.closed(FORMER)
    if price != "0":
        books.credit(number)
    books.rate("acme", LONG_AGO, price="1")
    wrong = ("--reason", "price was wrong", "--yes")
    done = radmeter(books.dsn, "billing", "void", number, *wrong, **place(books))
    assert done.exit_code == 0, done.errors
    assert notes(books)[-1] == ("0.00", "0.00", "0.00")
    assert [row["status"] for row in books.documents()] == ["void"]
    same = books.reconcile()
    assert (same.restored, same.written, same.faults) == ([], [], [])
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [("usage", FORMER.first, 4 * GB, "4.00")]


def test_a_wrong_rate_is_corrected_in_its_own_month(books: Books) -> None:
    books.tenant("acme", tax_rate="19")
    books.tenant("beta")
    for name in ("acme", "beta"):
        books.router(f"of {name}", name)
        for month in (OLDEST, FORMER):
            books.used(f"of {name}", day(month, 3), 4 * GB)
    books.closed(OLDEST)
    # acme's document of this month also adjusts the one before.
    books.used("of acme", day(OLDEST, 4), GB)
    number, other = books.closed(FORMER)
    assert books.close(FORMER, "acme").before == ["acme"]
    done = radmeter(books.dsn, "billing", "void", number, "--reason", "rate", "--yes", **place(books))
    close = ("billing", "close", str(FORMER), "--tenant", "acme")
    assert f"radmeter {' '.join(close)}" in done.output
    books.rate("acme", FORMER.first, price="1")
    # Who names nobody wants to go on where a close has stopped.
    assert books.close(FORMER).before == ["acme", "beta"]
    done = radmeter(books.dsn, *close, "--yes", **place(books))
    assert done.exit_code == 0, done.errors
    expected = [("usage", FORMER.first, 4 * GB, "4.00"), ("adjustment", OLDEST.first, GB, "0.50")]
    assert books.lines(FORMER, "acme") == expected
    assert books.close(FORMER, "acme").before == ["acme"]
    # A draft of it is discarded and made anew as any other.
    books.discard(FORMER, "acme")
    assert books.lines(FORMER, "acme") == []
    books.close(FORMER, "acme")
    (again,) = books.issue(FORMER)
    assert books.lines(FORMER, "acme") == expected
    assert [(row["number"], row["status"], str(row["gross"])) for row in books.documents(month=FORMER)] == [
        (number, "void", "2.98"),
        (again, "issued", "5.36"),
        (other, "issued", "2.00"),
    ]
    assert books.close(LATEST).drafts == []
    assert sum(books.billed().values()) == 17 * GB
    # And once more.
    books.credit(again, voids=True)
    books.rate("acme", FORMER.first, price="2")
    books.close(FORMER, "acme")
    assert books.lines(FORMER, "acme")[0] == ("usage", FORMER.first, 4 * GB, "8.00")


def test_a_month_that_a_later_document_bills_again_is_not_billed_twice(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 3), 4 * GB)
    (number,) = books.closed(FORMER)
    books.credit(number, voids=True)
    books.closed(LATEST)
    assert books.lines(LATEST, "acme") == [("usage", FORMER.first, 4 * GB, "2.00")]
    assert books.close(FORMER, "acme").drafts == []
    assert sum(books.billed().values()) == 4 * GB


def test_sql_closes_no_month_twice(books: Books) -> None:
    acme = books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), GB)
    freeze = "SELECT radmeter.freeze_usage(%s, %s, '{}')"
    for work in (books.close, books.issue):
        work(LATEST)
        with pytest.raises(psycopg.Error, match="is closed already for one of the tenants") as caught:
            books.connection.execute(freeze, (LATEST.first, [acme]))
        assert caught.value.sqlstate == "RM001"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--amount", "x"),
        ("--amount", "NaN"),
        ("--amount", "0"),
        ("--line", "one"),
        ("--line", "1", "--line", "1:2"),
        ("--amount", "1", "--all"),
        (),
    ],
)
def test_mistakes_of_the_command(books: Books, arguments: tuple[str, ...]) -> None:
    done = radmeter(books.dsn, "billing", "credit", "1", *arguments, "--reason", "r", "--yes")
    assert done.exit_code == 2
    assert "Traceback" not in done.errors
