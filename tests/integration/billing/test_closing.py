"""Closing a month: what counts, when it can be closed, once and as a whole; and what later comes of it."""

import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from support.billing_clock import set_clock
from support.books import FORMER, GB, LATEST, LONG_AGO, OLDEST, Books, day, money
from support.commands import radmeter

from radmeter.billing.months import Month, day_begins
from radmeter.database.views import NotKnown
from radmeter.errors import StoreError

SETTLING = timedelta(hours=24)


def test_a_rate_that_no_command_wrote_is_refused_with_the_name_of_the_tenant(books: Books) -> None:
    books.tenant("junk", terms={"price": "junk"})
    with pytest.raises(
        StoreError, match=r"the rate of the tenant 'junk' from 2020-01-01 on cannot be used: price"
    ):
        books.close(LATEST)


def test_a_month_is_the_routers_local_days_and_both_directions_count(books: Books) -> None:
    books.tenant("acme", tax_rate="19")
    books.router("lobby", "acme")
    books.used("lobby", FORMER.end - timedelta(days=1), 7 * GB)
    books.used("lobby", LATEST.first, GB, down=2 * GB)
    books.used("lobby", LATEST.end - timedelta(days=1), GB)
    books.used("lobby", LATEST.end, 7 * GB)
    books.close(LATEST)
    (found,) = books.documents()
    assert (found["usage_bytes"], found["status"], found["number"]) == (4 * GB, "draft", None)
    assert (found["period_start"], found["period_end"]) == (LATEST.first, LATEST.end)
    assert money([found]) == [("acme", "2.00", "0.38", "2.38")]


def test_only_days_on_which_the_router_was_the_tenants_and_a_rate_held_count(books: Books) -> None:
    books.tenant("acme")
    books.tenant("beta", terms={"price": "1"})
    books.router("lobby", "acme")
    for number in (1, 9, 10, 20, 21):
        books.used("lobby", day(LATEST, number), GB)
    books.assign("lobby", "beta", day(LATEST, 10))
    books.assign("lobby", None, day(LATEST, 21))
    books.close(LATEST)
    assert money(books.documents()) == [("acme", "1.00", "0.00", "1.00"), ("beta", "2.00", "0.00", "2.00")]


def test_days_before_the_first_rate_are_free_until_a_rate_holds_for_them(books: Books) -> None:
    books.tenant("acme")
    books.connection.execute("DELETE FROM radmeter.tenant_rates")
    books.rate("acme", day(FORMER, 15), price="1")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 14), GB)
    books.used("lobby", day(FORMER, 15), GB)
    books.close(FORMER)
    assert money(books.documents()) == [("acme", "1.00", "0.00", "1.00")]
    books.rate("acme", day(FORMER, 1), price="2")
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [("adjustment", FORMER.first, GB, "2.00")]


@pytest.mark.parametrize(
    ("currency", "digits", "price", "net", "tax"),
    [
        ("EUR", 2, "0.0333", "0.04", "0.01"),
        ("JPY", 0, "4.5", "6", "1"),
        ("KWD", 3, "0.0015", "0.002", "0.000"),
        ("CLF", 4, "0.00044", "0.0006", "0.0001"),
    ],
)
def test_amounts_have_the_digits_of_the_currency(
    books: Books, currency: str, digits: int, price: str, net: str, tax: str
) -> None:
    books.tenant("acme", currency=currency, digits=digits, terms={"price": price}, tax_rate="19")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), 1_250_000_000)
    books.close(LATEST)
    ((_, found_net, found_tax, _),) = money(books.documents())
    assert (found_net, found_tax) == (net, tax)


@pytest.mark.parametrize(
    ("tenant_zone", "router_zone", "last"),
    [
        ("UTC", "UTC", "UTC"),
        ("Pacific/Kiritimati", "Etc/GMT+12", "Etc/GMT+12"),
        ("Etc/GMT+12", "Pacific/Kiritimati", "Etc/GMT+12"),
        ("America/New_York", "Pacific/Kiritimati", "America/New_York"),
        # The clocks change on the last days of the month, or midnight is left out on its last night.
        ("Europe/Berlin", "America/Santiago", "America/Santiago"),
    ],
)
def test_it_can_be_closed_when_it_has_ended_everywhere_and_has_settled(
    books: Books, tenant_zone: str, router_zone: str, last: str
) -> None:
    # In March of last year clocks changed in many zones.
    month = Month(LATEST.first.replace(year=LATEST.first.year - 1, month=3))
    books.tenant("acme", timezone=tenant_zone)
    books.router("lobby", "acme", timezone=router_zone)
    books.used("lobby", day(month, 31), GB)
    ends = max(day_begins(month.end, ZoneInfo(zone)) for zone in (tenant_zone, router_zone))
    assert ends == day_begins(month.end, ZoneInfo(last))
    set_clock(books.connection, ends + SETTLING - timedelta(seconds=1))
    late = f"{month} cannot be closed yet: for the tenant 'acme' it ends in the zone {last},"
    with pytest.raises(StoreError, match=re.escape(late)):
        books.close(month, "acme")
    set_clock(books.connection, ends + SETTLING)
    assert len(books.close(month, "acme").drafts) == 1


def test_a_router_that_was_the_tenants_on_one_day_only_is_waited_for_as_well(books: Books) -> None:
    books.tenant("acme")
    books.tenant("beta")
    books.router("lobby", "acme", timezone="Etc/GMT+12")
    books.assign("lobby", "beta", day(LATEST, 2))
    books.assign("lobby", None, LATEST.end)
    set_clock(books.connection, day_begins(LATEST.end, ZoneInfo("UTC")) + SETTLING)
    for name in ("acme", "beta"):
        with pytest.raises(StoreError, match=r"the zone Etc/GMT\+12"):
            books.close(LATEST, name)
    assert books.close(LATEST.previous, "beta").tenants == 1


def test_users_wait_for_the_zones_of_all_plans(books: Books) -> None:
    books.connection.execute("INSERT INTO plans (name, timezone) VALUES ('far', 'Etc/GMT+12')")
    set_clock(books.connection, day_begins(LATEST.end, ZoneInfo("UTC")) + SETTLING)
    with pytest.raises(StoreError, match=r"for users it ends in the zone Etc/GMT\+12"):
        books.close(LATEST)


def test_the_settling_time_is_a_setting(books: Books) -> None:
    books.connection.execute("SELECT radmeter.set_billing_setting('settling_hours', '0')")
    set_clock(books.connection, datetime(LATEST.end.year, LATEST.end.month, 1, tzinfo=UTC))
    assert not books.close(LATEST).drafts


def test_a_dry_run_finds_the_same_and_leaves_nothing(books: Books) -> None:
    _two_tenants(books)
    before = books.everything()
    dry = books.close(LATEST, dry_run=True)
    assert books.everything() == before
    assert books.close(LATEST) == dry
    assert len(dry.drafts) == 2


def test_what_is_closed_is_left_and_said(books: Books) -> None:
    _two_tenants(books)
    assert [each.tenant for each in books.close(LATEST, "acme").drafts] == ["acme"]
    books.used("lobby", day(LATEST, 2), 5 * GB)
    after = books.close(LATEST)
    assert [each.tenant for each in after.drafts] == ["beta"]
    assert (after.before, after.users_before) == (["acme"], False)
    before = books.everything()
    again = books.close(LATEST)
    assert (again.drafts, again.before, again.users_before) == ([], ["acme", "beta"], True)
    assert books.everything() == before


def test_two_at_once_close_it_once(books: Books) -> None:
    _two_tenants(books)
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        found = pool.starmap(_close, [(books.dsn, str(books.files.directory.parent))] * 2)
    assert sorted(found) == [0, 2]
    assert len(books.documents()) == 2


def _close(dsn: str, directory: str) -> int:
    return len(Books(dsn, Path(directory)).close(LATEST).drafts)


@pytest.mark.parametrize("statement", range(1, 30))
def test_a_close_that_is_killed_leaves_nothing_or_all(books: Books, statement: int) -> None:
    _two_tenants(books)
    nothing = books.everything()
    if _killed_at(statement, lambda: books.close(LATEST)):
        assert books.everything() == nothing
    else:
        assert len(books.documents()) == 2
    books.close(LATEST)
    assert len(books.documents()) == 2
    assert sum(books.billed().values()) == 5 * GB


def _killed_at(statement: int, work: Callable[[], object]) -> bool:
    """Run work in a process that kills itself before its statement of a number. Return whether it came to it."""
    process = os.fork()
    if process == 0:
        seen = 0
        execute: Any = psycopg.Cursor.execute

        def counting(self: object, *args: object, **kwargs: object) -> object:
            nonlocal seen
            seen += 1
            if seen == statement:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(self, *args, **kwargs)

        psycopg.Cursor.execute = counting  # type: ignore[method-assign, assignment]
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


def test_late_octets_become_a_line_with_their_own_period(books: Books) -> None:
    books.tenant("acme", tax_rate="19")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 5), 2 * GB)
    (number,) = books.closed(FORMER)
    before = books.everything()
    books.used("lobby", day(FORMER, 5), 3 * GB)
    books.used("lobby", day(LATEST, 5), GB)
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [
        ("usage", LATEST.first, GB, "0.50"),
        ("adjustment", FORMER.first, 3 * GB, "1.50"),
    ]
    assert [row for row in books.everything() if row in before] == before
    assert books.documents(number=number)[0]["usage_bytes"] == 2 * GB
    assert sum(books.billed().values()) == 6 * GB


def test_counters_that_shrink_are_given_back(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 5), 9 * GB)
    books.closed(FORMER)
    books.used("lobby", day(FORMER, 5), -4 * GB)
    result = books.close(LATEST)
    assert books.lines(LATEST, "acme") == [("adjustment", FORMER.first, -4 * GB, "-2.00")]
    assert [(str(each.gross), each.usage_bytes) for each in result.drafts] == [("-2.00", -4 * GB)]
    assert sum(books.billed().values()) == 5 * GB


def test_a_merge_moves_the_octets_of_a_closed_month(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.router("pool", "acme")
    books.used("lobby", day(FORMER, 5), 2 * GB)
    books.closed(FORMER)
    done = radmeter(books.dsn, "routers", "merge", "lobby", "pool", "--yes")
    assert done.exit_code == 0, done.errors
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == []
    assert books.billed() == {("acme", "pool", day(FORMER, 5)): 2 * GB}


def test_octets_that_move_between_days_of_a_closed_month_are_seen(books: Books) -> None:
    """Sums of the month stay the same, also by direction and weighted by days: only the days themselves tell."""
    books.tenant("acme", terms={"price": "1"})
    books.rate("acme", day(FORMER, 11), price="3")
    books.router("lobby", "acme")
    for number in range(8, 13):
        books.used("lobby", day(FORMER, number), 10 * GB)
    books.closed(FORMER)
    for number, octets in ((8, -GB), (9, GB), (10, GB), (11, -GB)):
        books.used("lobby", day(FORMER, number), octets)
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [("adjustment", FORMER.first, 0, "-2.00")]
    assert books.billed()["acme", "lobby", day(FORMER, 11)] == 9 * GB


def test_octets_that_a_hash_does_not_tell_apart_are_seen(books: Books) -> None:
    """hashint8extended folds 64 bits into 32: 10 octets and these have the same hash."""
    late = 2**32 + 1
    ((same,),) = books.connection.execute(
        "SELECT hashint8extended(10, 7) = hashint8extended(10 + %s::bigint, 7)", (late,)
    ).fetchall()
    assert same
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 8), 10)
    books.closed(FORMER)
    books.used("lobby", day(FORMER, 8), late)
    books.close(LATEST)
    assert books.billed()["acme", "lobby", day(FORMER, 8)] == 10 + late


def test_the_third_month_finds_what_changed_in_the_first(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    for month in (OLDEST, FORMER, LATEST):
        books.used("lobby", day(month, 1), GB)
    books.close(OLDEST)
    books.used("lobby", day(OLDEST, 1), GB)
    books.close(FORMER)
    books.used("lobby", day(OLDEST, 1), GB)
    books.close(LATEST)
    assert books.lines(LATEST, "acme")[1:] == [("adjustment", OLDEST.first, GB, "0.50")]
    assert sum(books.billed().values()) == 5 * GB


def test_a_month_that_is_closed_late_has_its_own_octets_only(books: Books) -> None:
    """Closed after a later month: what that one has billed of it by then is not billed again."""
    books.tenant("acme")
    books.tenant("beta")
    books.router("lobby", "acme")
    books.used("lobby", day(OLDEST, 1), GB)
    books.close(OLDEST, "beta")
    books.close(FORMER)
    books.close(LATEST)
    books.close(OLDEST)
    assert books.lines(OLDEST, "acme") == [("usage", OLDEST.first, GB, "0.50")]
    assert sum(books.billed().values()) == GB


def test_a_month_that_is_opened_again_gets_what_later_documents_have_not_billed(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(OLDEST, 1), 2 * GB)
    books.close(OLDEST)
    books.used("lobby", day(OLDEST, 1), GB)
    books.close(FORMER)
    books.discard(OLDEST)
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == []
    books.close(OLDEST)
    assert books.lines(OLDEST, "acme") == [("adjustment", OLDEST.first, 2 * GB, "1.00")]
    assert sum(books.billed().values()) == 3 * GB


def test_an_assignment_that_is_changed_afterwards_moves_octets_between_tenants(books: Books) -> None:
    books.tenant("acme")
    books.tenant("beta", terms={"price": "2"})
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 5), 2 * GB)
    books.used("lobby", day(FORMER, 20), 3 * GB)
    books.closed(FORMER)
    books.assign("lobby", "beta", day(FORMER, 10))
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [("adjustment", FORMER.first, -3 * GB, "-1.50")]
    assert books.lines(LATEST, "beta") == [("usage", FORMER.first, 3 * GB, "6.00")]
    assert sum(books.billed().values()) == 5 * GB


def test_late_octets_are_priced_as_if_they_had_been_there(books: Books) -> None:
    """Included volume, tiers, minimum and maximum hold for the whole month."""
    terms = {
        "price": "1",
        "included": "10",
        "tiers": [{"from": "20", "price": "0.5"}],
        "minimum": "3",
        "maximum": "11",
    }
    books.tenant("acme", terms=terms)
    books.tenant("other", terms=terms)
    for name in ("acme", "other"):
        books.router(f"of {name}", name)
    books.used("of acme", day(OLDEST, 5), 4 * GB)
    books.closed(OLDEST)
    books.used("of acme", day(OLDEST, 6), 14 * GB)
    books.closed(FORMER)
    books.used("of acme", day(OLDEST, 7), 50 * GB)
    books.used("of other", day(OLDEST, 7), 68 * GB)
    books.close(LATEST)
    nets = [
        [net for *_, net in books.lines(month, "acme") if _[1] == OLDEST.first]
        for month in (OLDEST, FORMER, LATEST)
    ]
    # 4 GB cost the minimum of 3; 18 GB cost 8; 68 GB cost 10 + 24 and so the maximum of 11.
    assert nets == [["0.00", "3.00"], ["5.00"], ["3.00"]]


def test_a_month_with_usage_is_not_left_out(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(OLDEST, 1), GB)
    books.close(OLDEST)
    books.used("lobby", day(FORMER, 1), GB)
    with pytest.raises(
        StoreError, match=f"{FORMER} is to be billed and is not closed: run `radmeter billing close {FORMER}`"
    ):
        books.close(LATEST)
    books.close(FORMER)
    assert len(books.close(LATEST).drafts) == 0


def test_a_close_warns_of_an_earlier_month_before_the_first_closed_one(books: Books) -> None:
    books.tenant("acme")
    books.tenant("other")
    books.router("lobby", "acme")
    for month in (FORMER, LATEST):
        books.used("lobby", day(month, 1), GB)
    warning = (
        f"warning: {FORMER} has usage to bill and is open, and {LATEST} does not bill it: run `radmeter billing close "
        f"{FORMER}`, too"
    )
    # Before it asks, and once; the others have nothing open.
    asked = radmeter(books.dsn, "billing", "close", str(LATEST))
    assert asked.errors.count(warning) == 1
    assert books.documents() == []
    for tenant, times in (("other", 0), ("acme", 1)):
        done = radmeter(books.dsn, "billing", "close", str(LATEST), "--tenant", tenant, "--yes")
        assert done.exit_code == 0
        assert done.errors.count(warning) == times, tenant
    books.discard(LATEST)
    books.close(FORMER)
    assert warning not in radmeter(books.dsn, "billing", "close", str(LATEST), "--yes").errors


def test_a_month_without_usage_may_be_left_out(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(OLDEST, 1), GB)
    books.close(OLDEST)
    books.used("lobby", day(LATEST, 1), GB)
    assert len(books.close(LATEST).drafts) == 1


@pytest.mark.parametrize("names", [(), ("acme",)])
@pytest.mark.parametrize("terms", [{"price": "1"}, {"base_fee": "5"}])
def test_a_month_that_was_discarded_is_closed_before_later_ones(
    books: Books, terms: dict[str, str], names: tuple[str, ...]
) -> None:
    books.tenant("acme", terms=terms)
    books.tenant("other")
    books.router("lobby", "acme")
    for month in (OLDEST.previous, OLDEST, FORMER):
        if "price" in terms:
            books.used("lobby", day(month, 1), GB)
        books.close(month)
    books.issue(FORMER)
    books.discard(OLDEST, *names)
    message = f"{OLDEST} is to be billed and is not closed: run `radmeter billing close {OLDEST}`"
    for some in ((), ("acme",)):
        with pytest.raises(StoreError, match=message):
            books.close(LATEST, *some)
    # It does not concern a tenant who had nothing.
    books.close(LATEST, "other")
    before = books.lines(FORMER, "acme")
    assert len(books.close(OLDEST).drafts) == 1
    assert books.lines(FORMER, "acme") == before
    books.close(LATEST)


def test_an_absurd_price_is_refused_by_the_name_of_its_tenant(books: Books) -> None:
    for name, price in (("acme", "1"), ("beta", "999999999999")):
        books.tenant(name, terms={"price": price})
        books.router(f"of {name}", name)
        books.used(f"of {name}", day(LATEST, 3), 10**14)
    with pytest.raises(StoreError, match=r"the tenant 'beta' would pay 99,999,999,999,900,000\.00 EUR"):
        books.close(LATEST)
    books.rate("beta", LONG_AGO, price="1")
    assert len(books.close(LATEST).drafts) == 2


def test_the_base_fee_is_prorated_by_the_days_of_the_real_month(books: Books) -> None:
    books.tenant("acme", terms={"base_fee": "30"})
    books.router("lobby", "acme")
    books.router("pool")
    books.assign("pool", "acme", day(LATEST, 11))
    books.close(LATEST)
    days = LATEST.days + (LATEST.days - 10)
    ((_, net, _, _),) = money(books.documents())
    assert net == f"{30 * days / LATEST.days:.2f}"


@pytest.mark.parametrize(("zero", "expected"), [("skip", []), ("draft", [("acme", "0.00", "0.00", "0.00")])])
def test_documents_about_nothing(books: Books, zero: str, expected: list[tuple[str, ...]]) -> None:
    books.connection.execute("SELECT radmeter.set_billing_setting('zero', %s)", (zero,))
    books.tenant("acme")
    books.router("lobby", "acme")
    books.close(LATEST)
    assert money(books.documents()) == expected
    assert books.close(LATEST).before == ["acme"]


def test_included_octets_are_billed_once_though_they_cost_nothing(books: Books) -> None:
    books.tenant("acme", terms={"price": "1", "included": "10"})
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 1), GB)
    books.close(FORMER)
    books.close(LATEST)
    assert books.lines(FORMER, "acme") == [("included", FORMER.first, GB, "0.00")]
    assert books.lines(LATEST, "acme") == []


def test_who_has_no_currency_is_not_billed(books: Books) -> None:
    books.tenant("acme")
    books.connection.execute("UPDATE radmeter.tenants SET currency = NULL, digits = NULL")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 1), GB)
    assert not books.close(LATEST, dry_run=True).drafts
    with pytest.raises(StoreError, match="the tenant 'acme' has no currency"):
        books.close(LATEST, "acme")
    with pytest.raises(NotKnown, match="there is no tenant 'nobody'"):
        books.close(LATEST, "nobody")


def test_a_tenant_who_comes_later_gets_his_days_of_a_closed_month(books: Books) -> None:
    """Once a month is closed for all, nobody has to close it again for a tenant who had nothing in it then."""
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 5), GB)
    books.close(FORMER)
    books.tenant("beta")
    books.assign("lobby", "beta", day(FORMER, 1))
    books.close(LATEST)
    assert books.lines(LATEST, "beta") == [("usage", FORMER.first, GB, "0.50")]
    assert sum(books.billed().values()) == GB


def test_discarding_opens_the_month_again(books: Books) -> None:
    _two_tenants(books)
    empty = books.everything()
    first = books.close(LATEST)
    assert books.discard(LATEST, "acme") == (1, 1)
    assert [each.tenant for each in books.close(LATEST).drafts] == ["acme"]
    assert books.discard(LATEST) == (3, 2)
    assert books.everything() == empty
    assert books.close(LATEST) == first
    with pytest.raises(NotKnown, match="there is no tenant 'nobody'"):
        books.discard(LATEST, "nobody")


def test_a_void_document_does_not_keep_the_drafts_of_others(books: Books) -> None:
    _two_tenants(books)
    books.close(LATEST)
    (number,) = books.issue(LATEST, "acme")
    with pytest.raises(StoreError, match=f"{number} of this month is issued.*void.*close {LATEST}"):
        books.discard(LATEST)
    books.credit(number, voids=True)
    # No draft of acme is there, and `void` cannot be what is to be done: it is done.
    with pytest.raises(
        StoreError, match=f"{number} .* is void .*radmeter billing close {LATEST} --tenant acme"
    ):
        books.discard(LATEST, "acme")
    assert books.discard(LATEST) == (2, 1)
    assert [each.tenant for each in books.close(LATEST).drafts] == ["beta"]
    assert [each.tenant for each in books.close(LATEST, "acme").drafts] == ["acme"]
    assert books.discard(LATEST, "acme") == (1, 1)


def test_rates_that_change_within_the_month_price_their_own_days(books: Books) -> None:
    books.tenant("acme", terms={"price": "1"})
    books.rate("acme", day(LATEST, 16), price="2")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 15), GB)
    books.used("lobby", day(LATEST, 16), GB)
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [
        ("usage", LATEST.first, GB, "1.00"),
        ("usage", day(LATEST, 16), GB, "2.00"),
    ]


def test_the_document_keeps_what_the_tenant_was_then(books: Books) -> None:
    books.tenant("acme", tax_rate="19")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 15), GB)
    books.close(LATEST)
    books.connection.execute("UPDATE radmeter.tenants SET name = 'other', tax_rate = 7, address = 'moved'")
    row = books.connection.execute("SELECT recipient, taxes, terms FROM invoices").fetchone()
    assert row is not None
    recipient, taxes, terms = row
    assert (recipient["name"], recipient["address"], recipient["tax_rate"]) == ("acme", None, "19")
    assert taxes == [{"rate": "19", "rule": None, "net": "0.50", "tax": "0.10"}]
    assert terms["rates"] == [{"from": LONG_AGO.isoformat(), "unit": "GB", "price": "0.5"}]


def _two_tenants(books: Books) -> None:
    for name, octets in (("acme", 2 * GB), ("beta", 3 * GB)):
        books.tenant(name)
        books.router("lobby" if name == "acme" else "pool", name)
        books.used("lobby" if name == "acme" else "pool", day(LATEST, 2), octets)


def test_the_first_rate_stays_while_documents_have_billed_days_by_it(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 3), GB)
    books.closed(FORMER)
    remove = "SELECT radmeter.set_tenant_rate('acme', %s, NULL)"
    first = books.connection.execute("SELECT from_day FROM radmeter.tenant_rates").fetchall()[0]
    books.rate("acme", day(LATEST, 15), price="2")
    with pytest.raises(psycopg.Error, match='are billed by the first rate of "acme"') as refused:
        books.connection.execute(remove, first)
    assert refused.value.sqlstate == "RM001"
    assert books.connection.execute("SELECT count(*) FROM radmeter.tenant_rates").fetchone() == (2,)
    books.credit(books.documents()[0]["number"], voids=True)
    books.connection.execute(remove, first)
    assert books.connection.execute("SELECT count(*) FROM radmeter.tenant_rates").fetchone() == (1,)


def test_a_day_that_two_documents_bill_alike_and_is_gone_is_taken_back(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(OLDEST, 3), GB)
    books.closed(OLDEST)
    books.used("lobby", day(OLDEST, 3), GB)
    books.closed(FORMER)
    # A repair found that nothing was there.
    books.used("lobby", day(OLDEST, 3), -2 * GB)
    books.close(LATEST)
    assert books.lines(LATEST, "acme") == [("adjustment", OLDEST.first, -2 * GB, "-1.00")]
