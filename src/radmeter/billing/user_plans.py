"""What a user's plans and top-ups cost in a month. Pure.

A day belongs to the plans that the user holds at its end, in the plan's zone, and to the tenant whose user he is then.
It has the price of then, for the period of then: what a plan or a user becomes later changes no day before.
"""

import datetime
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from radmeter.billing.lines import Given, Line, Money, Tax
from radmeter.billing.months import DAY, Month
from radmeter.billing.rounding import rounded

DAYS_OF_A_WEEK = 7


class Change(NamedTuple):
    """A user got a plan, or lost it: a row of radmeter.plan_history.

    A plan can be held as the main one and as a further one at once. It is held while either is. `tenant`: whose user it
    is from then on, if the plan was got. Changes with the same `together` are one change. `renamed`: the user had it
    before, under another name.
    """

    at: datetime.datetime
    held: bool
    main: bool
    tenant: int | None = None
    together: datetime.datetime | None = None
    id: int = 0
    renamed: bool = False


class Price(NamedTuple):
    """What a plan costs since an instant (None: since ever), and for which period; in which zone its days are.

    `period` is ``daily``, ``weekly``, ``monthly`` or ``one-time``.
    """

    at: datetime.datetime | None
    price: Decimal
    period: str
    zone: ZoneInfo


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan that a user has or had.

    Attributes
    ----------
    changes
        When the user got and lost it, in their order, from the first time on.
    prices
        All its prices, in their order.
    """

    id: int
    name: str
    changes: Sequence[Change]
    prices: Sequence[Price]


class Held(NamedTuple):
    """Days on which a plan is held at one price by a user of one tenant, without a break.

    The end is the first day that is not.
    """

    start: datetime.date
    end: datetime.date
    price: Decimal
    period: str
    tenant: int | None
    given: Given | None = None


@dataclass(frozen=True, kw_only=True)
class TopUp:
    """A top-up with a price. `tenant`: whose user it was when it was added."""

    id: int
    day: datetime.date
    octets: int
    price: Decimal
    tenant: int | None = None


def price_on(plan: Plan, day: datetime.date) -> Price | None:
    """Return what a plan costs at the end of a day. None: nothing, it has no price yet."""
    found = None
    for price in plan.prices:
        if price.at is None or _day(price.at, price.zone) <= day:
            found = price
    return found


def held(plan: Plan, month: Month) -> list[Held]:
    """Return the days of a month on which a plan is held, one entry for each uninterrupted price, in order."""
    turns = {_day_of(plan, change.at) for change in plan.changes}
    turns |= {_day(price.at, price.zone) for price in plan.prices if price.at is not None}
    starts = sorted({month.first, *(day for day in turns if day in month)})
    found: list[Held] = []
    for start, end in zip(starts, [*starts[1:], month.end], strict=True):
        holds, tenant = _held_by(plan, start)
        price = price_on(plan, start)
        if not holds or price is None:
            continue
        part = Held(start, end, price.price, price.period, tenant)
        if found and found[-1].end == start and _same(found[-1], part):
            part = part._replace(start=found.pop().start)
        found.append(part)
    return found


def given(plan: Plan, wanted: Collection[Month], billed: Collection[Given] = ()) -> list[Held]:
    """Return the days on which the user got a plan that is a one-time one, and that he did not hold, with the price.

    It is the event that is billed once, whichever day it has by the zone of then.

    Parameters
    ----------
    wanted
        Months that are closed.
    billed
        What documents bill.
    """
    found = []
    holding = {True: False, False: False}
    for _, changes in groupby(enumerate(plan.changes), key=_one_change):
        before = any(holding.values())
        got = None
        for _, change in changes:
            holding[change.main] = change.held
            got = change if change.held else got
            before = before or change.renamed
        if before or not any(holding.values()) or got is None:
            continue
        event = Given(got.id, got.at)
        day = _day_of(plan, got.at)
        if event in billed or Month.of(day) not in wanted:
            continue
        price = price_on(plan, day)
        if price is not None and price.price and price.period == "one-time":
            tenant = _held_by(plan, day)[1]
            found.append(Held(day, day + DAY, price.price, price.period, tenant, event))
    return found


def _one_change(numbered: tuple[int, Change]) -> object:
    number, change = numbered
    return number if change.together is None else change.together


def _same(one: Held, other: Held) -> bool:
    return (one.price, one.period, one.tenant) == (other.price, other.period, other.tenant)


def _held_by(plan: Plan, day: datetime.date) -> tuple[bool, int | None]:
    """Say whether a plan is held at the end of a day, and by whose user."""
    holding = {True: False, False: False}
    tenant = None
    for change in plan.changes:
        if _day_of(plan, change.at) <= day:
            holding[change.main] = change.held
            if change.held:
                tenant = change.tenant
    return any(holding.values()), tenant


def _day_of(plan: Plan, instant: datetime.datetime) -> datetime.date:
    """Return the day of an instant in the zone that the plan had then."""
    zone = plan.prices[0].zone if plan.prices else datetime.UTC
    for price in plan.prices:
        if price.at is None or price.at <= instant:
            zone = price.zone
    return _day(instant, zone)


def _day(instant: datetime.datetime, zone: datetime.tzinfo) -> datetime.date:
    return instant.astimezone(zone).date()


def plan_lines(plan: Plan, month: Month, tenant: int | None, tax: Tax, money: Money) -> Iterator[Line]:
    """Yield what a plan costs the users of a tenant in a month: monthly by days of the real month, weekly by sevenths.

    What costs nothing has no line. A one-time plan has none here: it costs its whole price when it is given.
    """
    for part in held(plan, month):
        if part.price and part.tenant == tenant and part.period != "one-time":
            yield _line(plan, part, month, tax, money)


def given_line(plan: Plan, part: Held, tax: Tax, money: Money, *, adjusts: bool = False) -> Line:
    """Return the line of a one-time plan: its whole price, on the day on which it was given."""
    return replace(_line(plan, part, Month.of(part.start), tax, money), given=part.given, adjusts=adjusts)


def _line(plan: Plan, part: Held, month: Month, tax: Tax, money: Money) -> Line:
    days = (part.end - part.start).days
    quantity, per, unit = {
        "monthly": (days, month.days, "day"),
        "weekly": (days, DAYS_OF_A_WEEK, "day"),
        "daily": (days, 1, "day"),
        "one-time": (1, 1, "plan"),
    }[part.period]
    amount = Fraction(part.price) * quantity / per
    words = money.language
    spoken = {
        "price": money.said(part.price),
        "days": days,
        "month_days": month.days,
        "week_days": DAYS_OF_A_WEEK,
        "result": money.result(amount),
    }
    if part.period == "daily":
        spoken["days"] = words["one_day"] if days == 1 else words["many_days"].format(count=days)
    return Line(
        kind="plan",
        period_start=part.start,
        period_end=part.end,
        description=words["line_plan"].format(name=plan.name),
        arithmetic=words[f"how_{part.period}"].format(**spoken),
        quantity=Decimal(quantity),
        unit=unit,
        unit_price=part.price,
        per=per,
        net=rounded(amount, money.digits, money.rounding),
        tax=tax,
        plan_id=plan.id,
    )


def top_up_line(top_up: TopUp, tax: Tax, money: Money, *, adjusts: bool = False) -> Line:
    """Return the line of a top-up: its whole price, on the day on which it was added."""
    amount = Fraction(top_up.price)
    words = money.language
    return Line(
        kind="top-up",
        period_start=top_up.day,
        period_end=top_up.day + DAY,
        description=words["line_top_up"].format(octets=words.octets(top_up.octets)),
        arithmetic=words["how_top_up"].format(result=money.result(amount)),
        quantity=Decimal(1),
        unit="top-up",
        unit_price=top_up.price,
        net=rounded(amount, money.digits, money.rounding),
        tax=tax,
        top_up_id=top_up.id,
        adjusts=adjusts,
    )
