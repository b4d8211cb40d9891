"""What a user, a plan or a tenant is now changes nothing of days before: those have what was then."""

import datetime
from typing import Any

import pytest
from support.books import FORMER, LATEST, OLDEST, Books, day, money
from support.commands import radmeter
from support.servers import Connection

from radmeter.billing.months import Month
from radmeter.errors import StoreError


@pytest.fixture(autouse=True)
def _currency(books: Books) -> None:
    run(books, "billing", "settings", "--currency", "EUR")


def run(books: Books, *arguments: str) -> str:
    done = radmeter(books.dsn, *arguments)
    assert done.exit_code == 0, done.errors
    return done.output


def noon(month: Month, number: int) -> datetime.datetime:
    return datetime.datetime.combine(day(month, number), datetime.time(12), datetime.UTC)


def earlier(books: Books, at: datetime.datetime, table: str = "plan_history") -> None:
    """Let everything that has been noted until now have happened at an instant."""
    books.connection.execute(
        f"UPDATE radmeter.{table} SET at = %s WHERE isfinite(at) AND at > now() - interval '1 day'".encode(),
        (at,),
    )


def user(books: Books, name: str, plan: str, *, tenant: str | None = None, also: str | None = None) -> None:
    """Make a user who has a plan since the first day of the oldest month."""
    more = (*(("--tenant", tenant) if tenant else ()), *(("--also", also) if also else ()))
    run(books, "users", "add", name, "--plan", plan, "--no-password", *more)
    earlier(books, noon(OLDEST, 1))


def plan(books: Books, name: str, price: str, *more: str) -> None:
    run(books, "plans", "add", name, "--quota", "unlimited", "--price", price, *more)


def top_up(books: Books, name: str, price: str, at: datetime.datetime) -> None:
    run(books, "users", "top-up", name, "1GB", "--price", price)
    books.connection.execute("UPDATE top_ups SET added_at = %s WHERE username = %s", (at, name))


def documents(books: Books, **which: Any) -> list[tuple[Any, ...]]:
    return [
        (row["username"] or "", row["tenant"], row["issuer"], row["currency"], str(row["net"]))
        for row in books.documents(**which)
    ]


def test_a_removed_user_pays_as_the_user_of_the_tenant_that_he_was(books: Books) -> None:
    books.issuer("two")
    books.tenant("tok", currency="JPY", digits=0, terms={"share": "50"}, issuer="two")
    plan(books, "gold", "3000")
    user(books, "cid", "gold", tenant="tok")
    top_up(books, "cid", "500", noon(LATEST, 7))
    run(books, "users", "remove", "cid", "--yes")
    books.close(LATEST)
    assert documents(books) == [
        ("", "tok", "two", "JPY", "1750"),
        ("cid", "tok", "two", "JPY", "3500"),
    ]


def test_an_erased_user_pays_as_the_user_of_the_tenant_that_he_was(books: Books) -> None:
    books.tenant("tok", currency="JPY", digits=0, terms={"share": "50"})
    plan(books, "gold", "3000")
    user(books, "cid", "gold", tenant="tok")
    top_up(books, "cid", "500", noon(LATEST, 7))
    run(books, "people", "erase", "cid", "--yes", "--unbilled-too")
    run(books, "users", "remove", erased(books.connection), "--yes")
    books.close(LATEST)
    assert documents(books) == [
        ("", "tok", "default", "JPY", "1750"),
        (erased(books.connection), "tok", "default", "JPY", "3500"),
    ]


def erased(connection: Connection) -> str:
    ((name,),) = connection.execute(
        "SELECT DISTINCT username FROM radmeter.plan_history WHERE username LIKE 'erased-%'"
    ).fetchall()
    return str(name)


def test_a_user_who_becomes_another_tenants_has_a_document_of_each(books: Books) -> None:
    books.tenant("tok", currency="JPY", digits=0, terms={"share": "50"})
    books.tenant("wien", terms={"share": "10"})
    days = LATEST.days
    plan(books, "gold", f"{days * 10}")
    plan(books, "extra", f"{days}")
    plan(books, "voucher", "7", "--period", "one-time")
    user(books, "cid", "gold", tenant="tok", also="extra")
    run(books, "users", "assign", "cid", "--also", "voucher")
    earlier(books, noon(LATEST, 2))
    top_up(books, "cid", "5", noon(LATEST, 10))
    run(books, "users", "set", "cid", "--tenant", "wien")
    earlier(books, noon(LATEST, 11))
    books.close(LATEST)
    left = days - 10
    assert documents(books) == [
        ("", "tok", "default", "JPY", "61"),
        ("", "wien", "default", "EUR", f"{left * 11 / 10:.2f}"),
        ("cid", "tok", "default", "JPY", "122"),
        ("cid", "wien", "default", "EUR", f"{left * 11}.00"),
    ]


def test_a_one_time_plan_is_paid_by_the_user_of_a_tenant_that_gave_it(books: Books) -> None:
    books.tenant("tok", currency="JPY", digits=0, terms={"share": "50"})
    plan(books, "voucher", "700", "--period", "one-time")
    run(books, "users", "add", "cid", "--plan", "voucher", "--no-password", "--tenant", "tok")
    earlier(books, noon(LATEST, 5))
    books.connection.execute("UPDATE subscribers SET quota_start = quota_start - 3")
    run(books, "users", "assign", "cid", "--renew")
    earlier(books, noon(LATEST, 8))
    books.close(LATEST)
    assert documents(books) == [
        ("", "tok", "default", "JPY", "700"),
        ("cid", "tok", "default", "JPY", "1400"),
    ]


def test_a_list_that_changes_plan_and_tenant_notes_whose_user_it_was(books: Books, tmp_path: Any) -> None:
    books.tenant("tok", terms={"share": "50"})
    plan(books, "gold", "10")
    plan(books, "gray", "5")
    user(books, "cid", "gold", also="gray")
    users = tmp_path / "users.csv"
    users.write_text("username,plan,tenant\ncid,gray,tok\n")
    run(books, "users", "import", str(users))
    assert books.connection.execute(
        """SELECT plan.name, held, main, history.tenant_id FROM radmeter.plan_history AS history
           JOIN plans AS plan ON plan.id = plan_id
           WHERE history.at > now() - interval '1 day' AND held"""
    ).fetchall()[-1] == ("gray", True, True, books.tenants["tok"])


def test_a_void_month_is_billed_again_to_whose_user_it_was(books: Books) -> None:
    books.tenant("tok", currency="JPY", digits=0, terms={"share": "50"})
    books.tenant("wien", terms={"share": "10"})
    plan(books, "gold", "3000")
    user(books, "cid", "gold", tenant="tok")
    books.close(FORMER)
    books.issue(FORMER)
    ((number,),) = [(row["number"],) for row in books.documents(username="cid")]
    books.credit(number, voids=True)
    run(books, "users", "set", "cid", "--tenant", "wien")
    earlier(books, noon(LATEST, 1))
    books.close(LATEST)
    assert [row for row in documents(books, month=LATEST) if row[0]] == [
        ("cid", "tok", "default", "JPY", "3000"),
        ("cid", "wien", "default", "EUR", "3000.00"),
    ]
    assert [line[:2] for line in books.lines(LATEST, user="cid")] == [
        ("plan", FORMER.first),
        ("plan", LATEST.first),
    ]


def test_a_plan_that_changes_its_period_has_the_price_of_then(books: Books) -> None:
    plan(books, "daily", "10", "--period", "daily")
    user(books, "dan", "daily")
    before = books.close(LATEST, dry_run=True).drafts
    assert [str(draft.net) for draft in before] == [f"{10 * LATEST.days}.00"]
    run(books, "plans", "set", "daily", "--period", "monthly", "--price", "300")
    assert books.close(LATEST, dry_run=True).drafts == before
    earlier(books, noon(LATEST, 11), "plan_prices")
    books.close(LATEST)
    assert books.lines(LATEST, user="dan") == [
        ("plan", LATEST.first, None, "100.00"),
        ("plan", day(LATEST, 11), None, f"{300 * (LATEST.days - 10) / LATEST.days:.2f}"),
    ]


def test_the_period_alone_is_noted_too(books: Books) -> None:
    plan(books, "daily", "10", "--period", "daily")
    user(books, "dan", "daily")
    run(books, "plans", "set", "daily", "--period", "weekly")
    run(books, "plans", "set", "daily", "--quota", "1GB")
    assert books.connection.execute(
        "SELECT quota_type, price::text, isfinite(at) FROM radmeter.plan_prices ORDER BY at"
    ).fetchall() == [("daily", "10", False), ("weekly", "10", True)]
    (draft,) = books.close(LATEST).drafts
    assert str(draft.net) == f"{10 * LATEST.days}.00"


def test_a_plan_that_changes_its_zone_or_goes_moves_no_day_before(books: Books) -> None:
    plan(books, "far", f"{LATEST.days}", "--timezone", "Pacific/Kiritimati")
    plan(books, "other", "0")
    user(books, "dan", "far")
    # It is the 4th there.
    top_up(books, "dan", "5", noon(LATEST, 3))
    run(books, "users", "assign", "dan", "--plan", "other")
    earlier(books, noon(LATEST, 10))
    run(books, "plans", "set", "far", "--timezone", "America/Los_Angeles")
    wanted = [("plan", LATEST.first, None, "10.00"), ("top-up", day(LATEST, 4), None, "5.00")]
    books.connection.execute("DELETE FROM plans WHERE name = 'far'")
    books.close(LATEST)
    assert books.lines(LATEST, user="dan") == wanted
    assert books.connection.execute(
        "SELECT description FROM invoice_lines WHERE kind = 'plan'"
    ).fetchall() == [("Plan #1",)]


def test_the_tax_of_a_void_month_that_was_billed_again_stays(books: Books) -> None:
    run(books, "billing", "settings", "--users-tax-rate", "19")
    plan(books, "gold", "30")
    user(books, "bob", "gold")
    (number,) = books.closed(OLDEST)
    books.credit(number, voids=True)
    books.closed(FORMER)
    run(books, "billing", "settings", "--users-tax-rate", "20")
    books.close(LATEST)
    assert money(books.documents(month=FORMER)) == [("bob", "60.00", "11.40", "71.40")]
    assert money(books.documents(month=LATEST)) == [("bob", "30.00", "6.00", "36.00")]
    assert books.lines(LATEST, user="bob") == [("plan", LATEST.first, None, "30.00")]


def test_the_tax_of_an_adjustment_is_that_of_its_month_though_a_rate_has_its_own(books: Books) -> None:
    books.tenant("acme", tax_rate="19", terms={"price": "1"})
    books.rate("acme", day(FORMER, 11), price="1", tax_rate="7")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 3), 10**10)
    books.used("lobby", day(FORMER, 20), 10**10)
    books.closed(FORMER)
    books.connection.execute("UPDATE radmeter.tenants SET tax_rate = 20")
    books.used("lobby", day(FORMER, 20), 10**9)
    books.close(LATEST)
    assert money(books.documents(month=LATEST)) == [("acme", "1.00", "0.07", "1.07")]


def test_a_top_up_of_a_removed_user_is_billed_again_after_a_void(books: Books) -> None:
    plan(books, "free", "0")
    for name in ("eve", "fay"):
        user(books, name, "free")
        top_up(books, name, "9.90", noon(FORMER, 3))
    numbers = books.closed(FORMER)
    run(books, "users", "remove", "eve", "--yes")
    for number in numbers:
        books.credit(number, voids=True)
    books.close(LATEST)
    for name in ("eve", "fay"):
        assert books.lines(LATEST, user=name) == [("top-up", day(FORMER, 3), None, "9.90")]


def test_what_is_not_known_any_more_of_an_erased_user_is_not_taken_back(books: Books) -> None:
    """The history has a pseudonym, documents keep the name."""
    plan(books, "gold", "30")
    user(books, "bob", "gold")
    (number,) = books.closed(OLDEST)
    books.credit(number, voids=True)
    books.closed(FORMER)
    run(books, "people", "erase", "bob", "--yes", "--unbilled-too")
    books.close(LATEST)
    assert [(row[0], row[4]) for row in documents(books, month=LATEST)] == [
        (erased(books.connection), "30.00")
    ]


def test_a_void_month_that_was_billed_again_is_not_adjusted_in_another_currency(books: Books) -> None:
    plan(books, "gold", "9.90")
    user(books, "bob", "gold")
    (number,) = books.closed(OLDEST)
    books.credit(number, voids=True)
    books.closed(FORMER)
    assert money(books.documents(month=FORMER)) == [("bob", "19.80", "0.00", "19.80")]
    run(books, "billing", "settings", "--currency", "JPY")
    books.close(LATEST)
    assert books.lines(LATEST, user="bob") == [("plan", LATEST.first, None, "10")]


def test_a_one_time_plan_that_becomes_a_further_one_is_not_billed_again(books: Books) -> None:
    plan(books, "base", "0")
    plan(books, "voucher", "20", "--period", "one-time")
    user(books, "bob", "voucher")
    run(books, "users", "assign", "bob", "--plan", "base", "--also", "voucher")
    # In their order, within a moment, as they were.
    books.connection.execute(
        "UPDATE radmeter.plan_history SET at = %s + (at - now()) WHERE at > now() - interval '1 day'",
        (noon(LATEST, 5),),
    )
    books.closed(OLDEST)
    books.closed(FORMER)
    books.close(LATEST)
    assert money(books.documents()) == [("bob", "20.00", "0.00", "20.00")]


def test_a_one_time_plan_is_billed_once_though_the_zone_of_its_days_changes(books: Books) -> None:
    plan(books, "voucher", "20", "--period", "one-time")
    # The day before is the last one of a month in Honolulu, and the day after it the first one in Kiritimati.
    begin = datetime.datetime.combine(LATEST.first, datetime.time(5), datetime.UTC)
    for name, at in (("early", begin - datetime.timedelta(hours=14)), ("late", begin)):
        run(books, "users", "add", name, "--plan", "voucher", "--no-password")
        earlier(books, at)

    def zone(name: str) -> None:
        books.connection.execute("UPDATE radmeter.plan_prices SET timezone = %s", (name,))

    zone("Pacific/Kiritimati")
    books.closed(OLDEST)
    zone("Pacific/Honolulu")
    books.closed(FORMER)
    zone("Pacific/Kiritimati")
    books.closed(LATEST)
    assert sorted(money(books.documents())) == [
        ("early", "20.00", "0.00", "20.00"),
        ("late", "20.00", "0.00", "20.00"),
    ]


def test_a_document_with_plans_of_an_erased_user_is_credited_not_void(books: Books) -> None:
    plan(books, "gold", "31")
    plan(books, "free", "0")
    user(books, "al", "gold")
    user(books, "bo", "free")
    top_up(books, "bo", "5", noon(OLDEST, 3))
    books.closed(OLDEST)
    als, bos = (books.documents(username=name)[0]["number"] for name in ("al", "bo"))
    for name in ("al", "bo"):
        run(books, "people", "erase", name, "--yes", "--unbilled-too")
    with pytest.raises(
        StoreError, match=rf"{als} cannot become void: .* radmeter billing credit {als} --all"
    ):
        books.credit(als, voids=True)
    books.credit(als)
    books.credit(bos, voids=True)


def test_the_zone_of_the_installation_moves_no_day_before(books: Books) -> None:
    plan(books, "small", f"{LATEST.days}")
    plan(books, "none", "0")
    user(books, "dan", "small")
    # It is the 11th already where the sun rises first.
    top_up(books, "dan", "5", noon(LATEST, 10))
    run(books, "users", "assign", "dan", "--plan", "none")
    earlier(books, noon(LATEST, 10))
    before = books.close(LATEST, dry_run=True).drafts
    zone = "UPDATE radmeter.setting SET value = 'Pacific/Kiritimati' WHERE name = 'timezone'"
    books.connection.execute(zone.encode())
    assert books.close(LATEST, dry_run=True).drafts == before
    books.close(LATEST)
    assert books.lines(LATEST, user="dan") == [
        ("plan", LATEST.first, None, "9.00"),
        ("top-up", day(LATEST, 10), None, "5.00"),
    ]
    # Days from now on are those of the new zone, also of a plan that is made now.
    plan(books, "new", "1")
    assert books.connection.execute(
        """SELECT name, array_agg(prices.timezone ORDER BY at)
           FROM radmeter.plan_prices AS prices JOIN plans ON plans.id = plan_id GROUP BY 1 ORDER BY 1"""
    ).fetchall() == [
        ("new", ["Pacific/Kiritimati"]),
        ("none", ["UTC", "Pacific/Kiritimati"]),
        ("small", ["UTC", "Pacific/Kiritimati"]),
    ]


@pytest.mark.parametrize("further", [False, True])
def test_a_user_who_is_renamed_in_sql_does_not_pay_a_one_time_plan_twice(books: Books, further: bool) -> None:
    plan(books, "voucher", "3", "--period", "one-time")
    plan(books, "monthly", f"{LATEST.days}")
    if further:
        user(books, "dan", "monthly", also="voucher")
    else:
        user(books, "dan", "voucher", also="monthly")
    books.closed(OLDEST)
    assert books.lines(OLDEST, user="dan")[-1] == ("plan", OLDEST.first, None, "3.00")
    books.connection.execute("UPDATE subscribers SET username = 'daniel' WHERE username = 'dan'")
    earlier(books, noon(LATEST, 11))
    books.closed(FORMER)
    assert [row["username"] for row in books.documents(month=FORMER)] == ["dan"]
    books.close(LATEST)
    assert books.lines(LATEST, user="dan") == [("plan", LATEST.first, None, "10.00")]
    assert books.lines(LATEST, user="daniel") == [("plan", day(LATEST, 11), None, f"{LATEST.days - 10}.00")]


def test_a_user_who_is_renamed_and_gets_another_plan_at_once_was_given_it(books: Books) -> None:
    for name in ("voucher", "gift"):
        plan(books, name, "3", "--period", "one-time")
    user(books, "dan", "voucher")
    books.closed(OLDEST)
    books.closed(FORMER)
    books.connection.execute(
        """UPDATE subscribers SET username = 'daniel', plan_id = (SELECT id FROM plans WHERE name = 'gift')
           WHERE username = 'dan'"""
    )
    earlier(books, noon(LATEST, 11))
    books.close(LATEST)
    assert books.lines(LATEST, user="daniel") == [("plan", day(LATEST, 11), None, "3.00")]
