"""What users' plans and top-ups cost: by days, by price, once."""

import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given as random
from hypothesis import settings
from hypothesis import strategies as st

from radmeter.billing.lines import Given, Line, Money, Tax
from radmeter.billing.months import Month, day_begins, month, months
from radmeter.billing.user_plans import (
    Change,
    Plan,
    Price,
    TopUp,
    given,
    given_line,
    held,
    plan_lines,
    top_up_line,
)

EUR = Money(currency="EUR", digits=2)
TAX = Tax(Decimal(20))
VIENNA = ZoneInfo("Europe/Vienna")
OCTOBER = month("2026-10")


def price(
    since: datetime.datetime | None,
    amount: Decimal | str | int,
    *,
    period: str = "monthly",
    zone: ZoneInfo = VIENNA,
) -> Price:
    return Price(since, Decimal(amount), period, zone)


ALWAYS = (price(None, "31.00"),)


def at(text: str, zone: ZoneInfo = VIENNA) -> datetime.datetime:
    """Return the instant of a local time."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(datetime.UTC)


def got(text: str, *, main: bool = True, zone: ZoneInfo = VIENNA) -> Change:
    return Change(at(text, zone), True, main)


def lost(text: str, *, main: bool = True, zone: ZoneInfo = VIENNA) -> Change:
    return Change(at(text, zone), False, main)


def plan(
    *changes: Change, period: str = "monthly", prices: tuple[Price, ...] = ALWAYS, zone: ZoneInfo = VIENNA
) -> Plan:
    return Plan(
        id=7,
        name="Gold",
        changes=changes,
        prices=[each._replace(period=period, zone=zone) for each in prices],
    )


def costs(of: Plan, wanted: Month = OCTOBER) -> list[tuple[int, int, str]]:
    """Return days and net of each line."""
    return [
        (line.period_start.day, (line.period_end - line.period_start).days, str(line.net))
        for line in sorted(everything(of, wanted, None), key=lambda each: each.period_start)
    ]


def everything(of: Plan, wanted: Month, tenant: int | None) -> list[Line]:
    """Return the lines of a plan's days, and of a one-time plan that was given."""
    return [
        *plan_lines(of, wanted, tenant, TAX, EUR),
        *(given_line(of, part, TAX, EUR) for part in given(of, [wanted]) if part.tenant == tenant),
    ]


def test_a_plan_that_is_held_all_month_costs_its_price() -> None:
    (line,) = plan_lines(plan(got("2026-05-05")), OCTOBER, None, TAX, EUR)
    assert (line.kind, line.plan_id, line.description, str(line.net)) == ("plan", 7, "Plan Gold", "31.00")
    assert line.arithmetic == "31.00 EUR per month x 31 of 31 days = 31.00 EUR"
    assert (line.quantity, line.unit, line.unit_price, line.per) == (Decimal(31), "day", Decimal("31.00"), 31)
    assert (line.period_start, line.period_end) == (OCTOBER.first, OCTOBER.end)


def test_a_month_is_prorated_by_its_real_days() -> None:
    assert costs(plan(got("2026-10-12T15:00"))) == [(12, 20, "20.00")]
    assert costs(plan(got("2026-02-12")), month("2026-02")) == [(12, 17, "18.82")]
    assert costs(plan(got("2028-02-12")), month("2028-02")) == [(12, 18, "19.24")]


def test_a_day_belongs_to_the_plan_that_is_held_at_its_end() -> None:
    assert costs(plan(got("2026-10-12T23:59:59"))) == [(12, 20, "20.00")]
    assert costs(plan(got("2026-10-12T00:00"))) == [(12, 20, "20.00")]
    assert costs(plan(got("2026-10-01"), lost("2026-10-12T00:00"))) == [(1, 11, "11.00")]
    assert costs(plan(got("2026-10-01"), lost("2026-10-12T23:59"))) == [(1, 11, "11.00")]
    assert costs(plan(got("2026-10-05T09:00"), lost("2026-10-05T10:00"))) == []


def test_a_change_of_plans_divides_the_month() -> None:
    changed = "2026-10-12T10:00"
    assert costs(plan(got("2026-01-01"), lost(changed))) == [(1, 11, "11.00")]
    assert costs(plan(got(changed))) == [(12, 20, "20.00")]


def test_days_are_those_of_the_plans_zone() -> None:
    kiritimati = ZoneInfo("Pacific/Kiritimati")
    change = Change(datetime.datetime(2026, 10, 11, 11, tzinfo=datetime.UTC), True, True)
    assert costs(plan(change, zone=kiritimati)) == [(12, 20, "20.00")]
    assert costs(plan(change, zone=ZoneInfo("America/Los_Angeles"))) == [(11, 21, "21.00")]


def test_a_break_is_not_charged() -> None:
    assert costs(plan(got("2026-10-01"), lost("2026-10-06"), got("2026-10-30"))) == [
        (1, 5, "5.00"),
        (30, 2, "2.00"),
    ]


def test_a_plan_that_is_the_main_one_and_a_further_one_is_charged_once() -> None:
    both = plan(
        got("2026-10-01"), got("2026-10-10", main=False), lost("2026-10-20"), lost("2026-10-25", main=False)
    )
    assert costs(both) == [(1, 24, "24.00")]


def test_a_new_price_has_a_line_of_its_own() -> None:
    prices = (*ALWAYS, price(at("2026-10-11T08:00"), "62.00"))
    assert costs(plan(got("2026-01-01"), prices=prices)) == [(1, 10, "10.00"), (11, 21, "42.00")]


def test_a_price_that_is_given_again_makes_no_line() -> None:
    prices = (*ALWAYS, price(at("2026-10-11T08:00"), "31.0"))
    assert costs(plan(got("2026-01-01"), prices=prices)) == [(1, 31, "31.00")]


def test_a_day_has_the_period_that_the_price_of_then_was_for() -> None:
    prices = [price(None, 10, period="daily"), price(at("2026-10-11T08:00"), 310)]
    of = Plan(id=7, name="Gold", changes=[got("2026-01-01")], prices=prices)
    assert costs(of, month("2026-09")) == [(1, 30, "300.00")]
    assert costs(of) == [(1, 10, "100.00"), (11, 21, "210.00")]
    assert costs(of, month("2026-11")) == [(1, 30, "310.00")]


def test_the_same_amount_for_another_period_has_a_line_of_its_own() -> None:
    prices = [price(None, 31), price(at("2026-10-11T08:00"), 31, period="weekly")]
    of = Plan(id=7, name="Gold", changes=[got("2026-01-01")], prices=prices)
    assert costs(of) == [(1, 10, "10.00"), (11, 21, "93.00")]


def test_a_plan_that_becomes_one_time_costs_its_days_so_far_and_the_other_way_round() -> None:
    once = price(at("2026-10-11T08:00"), 5, period="one-time")
    of = Plan(id=7, name="Gold", changes=[got("2026-10-05")], prices=[*ALWAYS, once])
    assert costs(of) == [(5, 6, "6.00")]
    assert costs(Plan(id=7, name="Gold", changes=[got("2026-10-12")], prices=[*ALWAYS, once])) == [
        (12, 1, "5.00")
    ]
    first = price(None, 5, period="one-time")
    monthly = price(at("2026-10-11T08:00"), 31)
    of = Plan(id=7, name="Gold", changes=[got("2026-10-05")], prices=[first, monthly])
    assert costs(of) == [(5, 1, "5.00"), (11, 21, "21.00")]


def test_a_zone_that_changes_later_moves_no_day_before() -> None:
    kiritimati = ZoneInfo("Pacific/Kiritimati")
    changes = [got("2026-10-12T20:00"), lost("2026-10-20T20:00"), got("2026-10-26T20:00")]
    moved = price(at("2026-10-24T08:00"), "31.00", zone=kiritimati)
    assert costs(Plan(id=7, name="Gold", changes=changes, prices=[*ALWAYS, moved])) == [
        (12, 8, "8.00"),
        (27, 5, "5.00"),
    ]


def test_a_day_belongs_to_the_tenant_whose_user_it_is_at_its_end() -> None:
    changes = [got("2026-10-05")._replace(tenant=1), got("2026-10-12T10:00")._replace(tenant=2)]
    of = Plan(id=7, name="Gold", changes=[*changes, lost("2026-10-20")], prices=ALWAYS)
    assert [(part.start.day, part.end.day, part.tenant) for part in held(of, OCTOBER)] == [
        (5, 12, 1),
        (12, 20, 2),
    ]
    assert [str(line.net) for line in plan_lines(of, OCTOBER, 2, TAX, EUR)] == ["8.00"]
    once = Plan(id=7, name="Gold", changes=changes, prices=[price(None, 5, period="one-time")])
    assert everything(once, OCTOBER, 2) == []
    assert [str(line.net) for line in everything(once, OCTOBER, 1)] == ["5.00"]


def test_what_costs_nothing_has_no_line() -> None:
    prices = (price(None, 0), price(at("2026-10-11"), "31.00"))
    assert costs(plan(got("2026-01-01"), prices=prices)) == [(11, 21, "21.00")]
    assert costs(plan(got("2026-01-01"), prices=())) == []


def test_daily_and_weekly_prices() -> None:
    daily = plan(got("2026-10-29"), period="daily", prices=(price(None, "1.10"),))
    (line,) = plan_lines(daily, OCTOBER, None, TAX, EUR)
    assert (str(line.net), line.arithmetic) == ("3.30", "1.10 EUR per day x 3 days = 3.30 EUR")
    weekly = plan(got("2026-01-01"), period="weekly", prices=(price(None, "7.00"),))
    (line,) = plan_lines(weekly, OCTOBER, None, TAX, EUR)
    assert (str(line.net), line.arithmetic) == ("31.00", "7.00 EUR per week x 31 / 7 days = 31.00 EUR")


def test_a_one_time_plan_costs_its_price_when_it_is_given() -> None:
    once = plan(
        got("2026-10-12"),
        lost("2026-11-03"),
        got("2026-11-20"),
        got("2026-11-25", main=False),
        period="one-time",
    )
    assert costs(once) == [(12, 1, "31.00")]
    assert costs(once, month("2026-11")) == [
        (20, 1, "31.00")
    ]  # given again; the same day's further one is no second
    assert costs(once, month("2026-09")) == costs(once, month("2026-12")) == []
    assert [each.start.day for each in given(once, [OCTOBER])] == [12]


def test_a_one_time_plan_that_one_transaction_moves_is_not_given_again() -> None:
    moved = at("2026-10-12T10:00")
    changes = [
        got("2026-09-01"),
        lost("2026-10-12T10:00")._replace(together=moved),
        got("2026-10-12T10:01", main=False)._replace(together=moved),
    ]
    assert costs(plan(*changes, period="one-time")) == []
    by_themselves = [change._replace(together=None) for change in changes]
    assert costs(plan(*by_themselves, period="one-time")) == [(12, 1, "31.00")]


def test_an_event_that_is_billed_is_not_billed_again_on_another_day() -> None:
    once = plan(got("2026-10-01T01:00")._replace(id=4), period="one-time", prices=ALWAYS)
    september = month("2026-09")
    elsewhere = plan(*once.changes, period="one-time", prices=ALWAYS, zone=ZoneInfo("Pacific/Honolulu"))
    (part,) = given(once, [OCTOBER])
    assert part.given == Given(4, once.changes[0].at)
    assert [each.start for each in given(elsewhere, [september, OCTOBER])] == [datetime.date(2026, 9, 30)]
    assert given(elsewhere, [september, OCTOBER], {part.given}) == []


def test_a_top_up_costs_its_price() -> None:
    top_up = TopUp(id=3, day=datetime.date(2026, 9, 30), octets=10_000_000_000, price=Decimal("4.9990"))
    line = top_up_line(top_up, TAX, EUR, adjusts=True)
    assert (line.kind, line.top_up_id, line.description, str(line.net)) == (
        "top-up",
        3,
        "Top-up 10,000,000,000 octets",
        "5.00",
    )
    assert line.arithmetic == "1 top-up x 4.999 EUR, rounded half up: 5.00 EUR"
    assert (line.period_start.day, line.period_end.day, line.adjusts) == (30, 1, True)


@pytest.mark.parametrize("zone", ["Europe/Vienna", "Pacific/Kiritimati", "America/St_Johns", "UTC"])
@settings(deadline=None)  # the machine may be busy
@random(data=st.data())
def test_every_day_is_charged_once_to_whoever_is_held_at_its_end(zone: str, data: st.DataObject) -> None:
    place = ZoneInfo(zone)
    begin = day_begins(datetime.date(2026, 1, 1), place)
    minutes = sorted(data.draw(st.sets(st.integers(0, 400 * 1440), max_size=12)))
    instants = [begin + datetime.timedelta(minutes=each) for each in minutes]
    changes = [Change(each, data.draw(st.booleans()), data.draw(st.booleans())) for each in instants]
    prices = [
        *ALWAYS,
        *(
            price(begin + datetime.timedelta(minutes=each), each % 5)
            for each in sorted(data.draw(st.sets(st.integers(0, 400 * 1440), max_size=4)))
        ),
    ]
    of = plan(*changes, prices=tuple(prices), zone=place)
    for each in months(month("2026-01"), month("2026-12")):
        expected = Fraction(0)
        for offset in range(each.days):
            last = day_begins(each.first + datetime.timedelta(days=offset + 1), place) - datetime.timedelta(
                microseconds=1
            )
            holding = {change.main: change.held for change in changes if change.at <= last}
            if any(holding.values()):
                newest = max(
                    (one for one in prices[1:] if one.at and one.at <= last), default=prices[0], key=_instant
                )
                expected += Fraction(newest.price) / each.days
        parts = held(of, each)
        assert (
            sum(Fraction(part.price) * (part.end - part.start).days / each.days for part in parts) == expected
        )
        assert all(before.end <= after.start for before, after in pairwise(parts))
        for line in plan_lines(of, each, None, TAX, EUR):
            amount = Fraction(line.quantity or 0) * Fraction(line.unit_price or 0) / line.per
            assert abs(amount - Fraction(line.net)) <= Fraction(1, 200)


def _instant(price: Price) -> datetime.datetime:
    assert price.at is not None
    return price.at
