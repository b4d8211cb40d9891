"""Plans and top-ups of users in a closed month: days, prices, currencies, late ones, void ones."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from support.books import FORMER, GB, LATEST, OLDEST, Books, day, money

from radmeter.billing import user_closing
from radmeter.billing.months import Month
from radmeter.errors import StoreError


@pytest.fixture(autouse=True)
def _currency(books: Books) -> None:
    books.connection.execute("SELECT radmeter.set_billing_setting('currency', 'EUR')")
    # Plans cost what they cost from the first day on, and users have theirs since then.
    books.connection.execute(
        "ALTER TABLE plans DISABLE TRIGGER USER; ALTER TABLE subscribers DISABLE TRIGGER USER"
    )


def plan(books: Books, name: str, price: str, *, period: str = "monthly", zone: str | None = None) -> int:
    ((made,),) = books.connection.execute(
        "INSERT INTO plans (name, price, quota_type, timezone) VALUES (%s, %s, %s, %s) RETURNING id",
        (name, price, period, zone),
    ).fetchall()
    books.connection.execute("DELETE FROM radmeter.plan_prices WHERE plan_id = %s", (made,))
    books.connection.execute(
        """INSERT INTO radmeter.plan_prices (plan_id, at, price, quota_type, timezone)
           VALUES (%s, '-infinity', %s, %s, %s)""",
        (made, price, period, zone),
    )
    return int(made)


def user(books: Books, name: str, plan_id: int, *, tenant: str | None = None) -> None:
    books.connection.execute(
        "INSERT INTO subscribers (username, plan_id, tenant_id) VALUES (%s, %s, %s)",
        (name, plan_id, None if tenant is None else books.tenants[tenant]),
    )
    books.connection.execute("DELETE FROM radmeter.plan_history WHERE username = %s", (name,))


def got(books: Books, name: str, plan_id: int, at: datetime.datetime, *, held: bool = True) -> None:
    books.connection.execute(
        """INSERT INTO radmeter.plan_history (username, plan_id, at, held, main, tenant_id)
           SELECT %s, %s, %s, %s, true, (SELECT tenant_id FROM subscribers WHERE username = %s)""",
        (name, plan_id, at, held, name),
    )


def noon(month: Month, number: int) -> datetime.datetime:
    return datetime.datetime.combine(day(month, number), datetime.time(12), datetime.UTC)


def top_up(books: Books, name: str, at: datetime.datetime, price: str | None) -> None:
    books.connection.execute(
        "INSERT INTO top_ups (username, bytes, added_at, price) VALUES (%s, %s, %s, %s)",
        (name, GB, at, price),
    )


def test_a_plan_costs_its_days_and_a_change_is_prorated(books: Books) -> None:
    small, large = plan(books, "small", "31"), plan(books, "large", "62")
    user(books, "alice", large)
    got(books, "alice", small, noon(OLDEST, 1))
    got(books, "alice", small, noon(LATEST, 11), held=False)
    got(books, "alice", large, noon(LATEST, 11))
    books.close(LATEST)
    days = LATEST.days
    assert books.lines(LATEST, user="alice") == [
        ("plan", LATEST.first, None, f"{31 * 10 / days:.2f}"),
        ("plan", day(LATEST, 11), None, f"{62 * (days - 10) / days:.2f}"),
    ]


def test_users_of_a_tenant_pay_in_its_currency_and_the_tenant_has_a_share(books: Books) -> None:
    books.tenant("acme", currency="JPY", digits=0, terms={"share": "30"})
    monthly = plan(books, "monthly", "1000")
    user(books, "alice", monthly, tenant="acme")
    user(books, "bob", monthly)
    for name in ("alice", "bob"):
        got(books, name, monthly, noon(OLDEST, 1))
    with pytest.raises(StoreError, match=r"'acme' has a share .* without --tenant"):
        books.close(LATEST, "acme")
    books.close(LATEST)
    assert sorted(money(books.documents())) == [
        ("acme", "300", "0", "300"),
        ("alice", "1000", "0", "1000"),
        ("bob", "1000.00", "0.00", "1000.00"),
    ]


def test_users_without_a_currency_are_not_billed_and_that_is_said(books: Books) -> None:
    books.connection.execute("DELETE FROM radmeter.setting WHERE name = 'billing_currency'")
    monthly, free = plan(books, "monthly", "10"), plan(books, "free", "0")
    for name, held in (("alice", monthly), ("bob", free)):
        user(books, name, held)
        got(books, name, held, noon(OLDEST, 1))
    result = books.close(LATEST)
    assert result.drafts == []
    assert [note.partition(" cannot")[0] for note in result.notes] == ["1 user with prices"]


def test_what_users_pay_is_taxed_by_the_settings(books: Books) -> None:
    books.connection.execute("SELECT radmeter.set_billing_setting('users_tax_rate', '19')")
    books.connection.execute("SELECT radmeter.set_billing_setting('users_tax_rule', 'VAT')")
    monthly = plan(books, "monthly", "10")
    user(books, "alice", monthly)
    got(books, "alice", monthly, noon(OLDEST, 1))
    books.close(LATEST)
    assert money(books.documents()) == [("alice", "10.00", "1.90", "11.90")]


def test_a_top_up_is_billed_once_in_the_month_of_its_day_in_the_zone_of_the_plan(books: Books) -> None:
    far = plan(books, "far", "0", zone="Pacific/Kiritimati")
    user(books, "alice", far)
    got(books, "alice", far, noon(OLDEST, 1))
    # It is the 1st there already.
    last_evening = datetime.datetime.combine(LATEST.first, datetime.time(), ZoneInfo("Pacific/Kiritimati"))
    top_up(books, "alice", last_evening, "5")
    top_up(books, "alice", last_evening, None)
    assert books.close(FORMER).drafts == []
    books.close(LATEST)
    assert books.lines(LATEST, user="alice") == [("top-up", LATEST.first, None, "5.00")]


def test_a_late_top_up_comes_with_its_own_day(books: Books) -> None:
    user(books, "alice", plan(books, "free", "0"))
    books.close(FORMER)
    top_up(books, "alice", noon(FORMER, 3), "5")
    books.close(LATEST)
    assert books.lines(LATEST, user="alice") == [("top-up", day(FORMER, 3), None, "5.00")]


def test_a_void_document_of_a_user_is_billed_again(books: Books) -> None:
    monthly = plan(books, "monthly", "10")
    user(books, "alice", monthly)
    got(books, "alice", monthly, noon(OLDEST, 1))
    top_up(books, "alice", noon(FORMER, 3), "5")
    (number,) = books.closed(FORMER)
    books.credit(number, voids=True)
    books.close(LATEST)
    assert books.lines(LATEST, user="alice") == [
        ("plan", LATEST.first, None, "10.00"),
        ("top-up", day(FORMER, 3), None, "5.00"),
        ("plan", FORMER.first, None, "10.00"),
    ]


def shares(books: Books) -> int:
    """Give acme a share of 50 percent, and alice a plan of 30.00 a month."""
    books.tenant("acme", terms={"share": "50"})
    monthly = plan(books, "monthly", "30")
    user(books, "alice", monthly, tenant="acme")
    got(books, "alice", monthly, noon(OLDEST, 1))
    return monthly


def test_a_void_document_of_a_user_leaves_the_tenants_share_as_it_was(books: Books) -> None:
    shares(books)
    (alices,) = [name for name in books.closed(FORMER) if books.documents(number=name)[0]["username"]]
    books.credit(alices, voids=True)
    books.close(LATEST)
    assert books.lines(LATEST, user="alice") == [
        ("plan", LATEST.first, None, "30.00"),
        ("plan", FORMER.first, None, "30.00"),
    ]
    # It had 15.00 of the month before, and these are right again.
    assert books.lines(LATEST, "acme") == [("share", LATEST.first, None, "15.00")]


def test_what_a_user_is_not_billed_again_is_taken_from_the_tenants_share(books: Books) -> None:
    shares(books)
    (alices,) = [name for name in books.closed(FORMER) if books.documents(number=name)[0]["username"]]
    books.credit(alices, voids=True)
    # The day before was the last one with the plan after all.
    books.connection.execute("DELETE FROM radmeter.plan_history")
    assert "acme" in [draft.tenant for draft in books.close(LATEST).drafts]
    assert books.lines(LATEST, "acme") == [("adjustment", FORMER.first, 0, "-15.00")]


def test_a_late_top_up_is_shared_in_its_own_month_once(books: Books) -> None:
    shares(books)
    books.closed(OLDEST)
    top_up(books, "alice", noon(OLDEST, 3), "10")
    books.closed(FORMER)
    assert books.lines(FORMER, "acme") == [
        ("share", FORMER.first, None, "15.00"),
        ("adjustment", OLDEST.first, 0, "5.00"),
    ]
    books.closed(LATEST)
    assert books.lines(LATEST, "acme") == [("share", LATEST.first, None, "15.00")]


@pytest.mark.parametrize("what", ["plan", "top-up"])
def test_a_month_is_not_left_out_for_users(books: Books, what: str) -> None:
    held = plan(books, "some", "30" if what == "plan" else "0")
    user(books, "alice", held)
    got(books, "alice", held, noon(OLDEST, 1))
    if what == "top-up":
        top_up(books, "alice", noon(FORMER, 3), "5")
    for month in (OLDEST, FORMER, LATEST):
        books.close(month)
    books.discard(FORMER)
    books.discard(LATEST)
    with pytest.raises(StoreError, match=f"{FORMER} is to be billed and is not closed"):
        books.close(LATEST)
    books.close(FORMER)
    books.close(LATEST)


def test_drafts_beside_a_void_document_of_a_user_are_issued(books: Books) -> None:
    books.tenant("acme")
    monthly = plan(books, "monthly", "10")
    for name, tenant in (("alice", "acme"), ("bob", None)):
        user(books, name, monthly, tenant=tenant)
        got(books, name, monthly, noon(OLDEST, 1))
    books.close(LATEST)
    # With acme's documents those of its users are issued.
    (number,) = books.issue(LATEST, "acme")
    books.credit(number, voids=True)
    with pytest.raises(StoreError, match=f"{number} .* is void and of a user.* drafts can be issued"):
        books.discard(LATEST)
    (others,) = books.issue(LATEST)
    books.credit(others, voids=True)
    # acme itself has no octets, so its month has no document: it is opened.
    assert books.discard(LATEST) == (1, 0)
    with pytest.raises(StoreError, match=f"({number}|{others}) .* is void .*the next close of a later month"):
        books.discard(LATEST)


def test_a_close_does_not_read_all_lines_to_find_one_time_plans(books: Books) -> None:
    with books.connection.transaction():
        books.connection.execute("SET LOCAL enable_seqscan = off")
        steps = books.connection.execute(f"EXPLAIN {user_closing.GIVEN}".encode()).fetchall()
    assert "invoice_lines_given_idx" in str(steps)
