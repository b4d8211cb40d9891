"""Who still owes something is not erased unless that is said: afterwards nobody knows who owes it."""

import datetime
from typing import Any

import pytest
from support.books import FORMER, LATEST, OLDEST, Books, day
from support.commands import Result, radmeter

from radmeter.billing.months import Month


def noon(month: Month, number: int) -> datetime.datetime:
    return datetime.datetime.combine(day(month, number), datetime.time(12), datetime.UTC)


def run(books: Books, *arguments: str) -> None:
    done = radmeter(books.dsn, *arguments)
    assert done.exit_code == 0, done.errors


def had_then(books: Books, at: datetime.datetime) -> None:
    """Let everything that has been noted until now have happened at an instant."""
    books.connection.execute(
        "UPDATE radmeter.plan_history SET at = %s WHERE at > now() - interval '1 day'", (at,)
    )


def erase(books: Books, *more: str) -> Result:
    return radmeter(books.dsn, "people", "erase", "dan", "--yes", *more)


@pytest.fixture(autouse=True)
def _dan(books: Books) -> None:
    """Dan has a plan that costs nothing."""
    run(books, "billing", "settings", "--currency", "EUR")
    run(books, "plans", "add", "none", "--quota", "unlimited", "--price", "0")
    run(books, "plans", "add", "monthly", "--quota", "unlimited", "--price", "9")
    run(books, "plans", "add", "voucher", "--quota", "unlimited", "--price", "3", "--period", "one-time")
    run(books, "users", "add", "dan", "--plan", "none", "--no-password")
    had_then(books, noon(OLDEST, 1))


def names(books: Books) -> list[Any]:
    return [name for (name,) in books.connection.execute("SELECT username FROM subscribers")]


def test_who_owes_nothing_is_erased(books: Books) -> None:
    assert erase(books).exit_code == 0
    assert names(books) != ["dan"]


@pytest.mark.parametrize("void", [False, True])
def test_a_void_document_keeps_its_user_until_it_is_billed_again(books: Books, void: bool) -> None:
    run(books, "users", "assign", "dan", "--plan", "monthly")
    had_then(books, noon(FORMER, 1))
    run(books, "users", "assign", "dan", "--plan", "none")
    had_then(books, noon(FORMER, 11))
    (number,) = books.closed(FORMER)
    if void:
        books.credit(number, voids=True)
        net = f"{9 * 10 / FORMER.days:.2f}"
        done = erase(books)
        assert done.exit_code == 1
        assert f"no document bills 10 days of plans, {net} EUR without tax yet" in done.errors
        assert names(books) == ["dan"]
        books.close(LATEST)
        assert books.lines(LATEST, user="dan") == [("plan", FORMER.first, None, net)]
    assert erase(books).exit_code == 0
    assert names(books) != ["dan"]


def test_days_of_open_months_and_of_the_running_one_keep_their_user(books: Books) -> None:
    run(books, "users", "assign", "dan", "--plan", "monthly")
    had_then(books, noon(FORMER, 1))
    books.closed(FORMER)
    before = datetime.datetime.now(datetime.UTC).date()
    done = erase(books)
    after = datetime.datetime.now(datetime.UTC).date()
    assert done.exit_code == 1
    # The day on which the plan ends is not his any more.
    assert any(f"{(today - LATEST.first).days} days of plans" in done.errors for today in (before, after))
    assert names(books) == ["dan"]
    done = erase(books, "--unbilled-too")
    assert done.exit_code == 0
    assert "nobody will know who owes it" in done.errors
    assert names(books) != ["dan"]


def test_a_top_up_and_a_one_time_plan_keep_their_user(books: Books) -> None:
    run(books, "users", "top-up", "dan", "1GB", "--price", "5")
    run(books, "users", "assign", "dan", "--also", "voucher")
    done = erase(books)
    assert done.exit_code == 1
    assert "no document bills 1 one-time plan and 1 top-up, 8.00 EUR without tax yet" in done.errors
    # Nobody is billed without a currency.
    books.connection.execute("DELETE FROM radmeter.setting WHERE name = 'billing_currency'")
    assert erase(books).exit_code == 0


def test_what_a_draft_bills_is_billed(books: Books) -> None:
    run(books, "users", "top-up", "dan", "1GB", "--price", "5")
    books.connection.execute("UPDATE top_ups SET added_at = %s", (noon(LATEST, 3),))
    assert erase(books).exit_code == 1
    books.close(LATEST)
    assert erase(books).exit_code == 0
