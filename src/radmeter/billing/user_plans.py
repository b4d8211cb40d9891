"""What a user's plans and top-ups cost in a month. Pure.

A day belongs to the plans that the user holds at its end, in the plan's zone, and has the price of then.
"""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from radmeter.billing import wording
from radmeter.billing.lines import Line, Money, Tax
from radmeter.billing.months import DAY, Month
from radmeter.billing.rounding import rounded

DAYS_OF_A_WEEK = 7


class Change(NamedTuple):
    """A user got a plan, or lost it: a row of radmeter.plan_history.

    A plan can be held as the main one and as a further one at once. It is held while either is.
    """

    at: datetime.datetime
    held: bool
    main: bool


class Price(NamedTuple):
    """What a plan costs since an instant. None: since ever."""

    at: datetime.datetime | None
    price: Decimal


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan that a user has or had.

    Attributes
    ----------
    period
        ``daily``, ``weekly``, ``monthly`` or ``one-time``: what the price is for.
    changes
        When the user got and lost it, in their order, from the first time on.
    prices
        All its prices.
    """

    id: int
    name: str
    period: str
    zone: ZoneInfo
    changes: Sequence[Change]
    prices: Sequence[Price]


class Held(NamedTuple):
    """Days on which a plan is held at one price, without a break. The end is the first day that is not."""

    start: datetime.date
    end: datetime.date
    price: Decimal


@dataclass(frozen=True, kw_only=True)
class TopUp:
    """A top-up with a price."""

    id: int
    day: datetime.date
    description: str
    price: Decimal


def price_on(plan: Plan, day: datetime.date) -> Decimal:
    """Return the price of a plan at the end of a day. Before its first price, a plan costs nothing."""
    found = Decimal(0)
    for price in sorted(plan.prices, key=lambda each: (each.at is not None, each.at)):
        if price.at is None or _day(price.at, plan.zone) <= day:
            found = price.price
    return found


def held(plan: Plan, month: Month) -> list[Held]:
    """Return the days of a month on which a plan is held, one entry for each uninterrupted price, in order."""
    turns = {_day(change.at, plan.zone) for change in plan.changes}
    turns |= {_day(price.at, plan.zone) for price in plan.prices if price.at is not None}
    starts = sorted({month.first, *(day for day in turns if day in month)})
    found: list[Held] = []
    for start, end in zip(starts, [*starts[1:], month.end], strict=True):
        if not _is_held(plan, start):
            continue
        price = price_on(plan, start)
        if found and found[-1].end == start and found[-1].price == price:
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(Held(start, end, price))
    return found


def given(plan: Plan, month: Month) -> list[Held]:
    """Return the days of a month on which the user got a plan that he did not hold, with the price of then."""
    found = []
    holding = {True: False, False: False}
    for change in plan.changes:
        before = any(holding.values())
        holding[change.main] = change.held
        day = _day(change.at, plan.zone)
        if not before and change.held and day in month:
            found.append(Held(day, day + DAY, price_on(plan, day)))
    return found


def _is_held(plan: Plan, day: datetime.date) -> bool:
    """Say whether a plan is held at the end of a day."""
    holding = {True: False, False: False}
    for change in plan.changes:
        if _day(change.at, plan.zone) <= day:
            holding[change.main] = change.held
    return any(holding.values())


def _day(instant: datetime.datetime, zone: ZoneInfo) -> datetime.date:
    return instant.astimezone(zone).date()


def plan_lines(plan: Plan, month: Month, tax: Tax, money: Money) -> Iterator[Line]:
    """Yield what a plan costs in a month: monthly by days of the real month, daily by days, weekly by sevenths.

    A one-time plan costs its whole price in the month in which it was given. What costs nothing has no line.
    """
    once = plan.period == "one-time"
    for part in given(plan, month) if once else held(plan, month):
        if part.price:
            yield _line(plan, part, month, tax, money)


def _line(plan: Plan, part: Held, month: Month, tax: Tax, money: Money) -> Line:
    days = (part.end - part.start).days
    quantity, per, unit = {
        "monthly": (days, month.days, "day"),
        "weekly": (days, DAYS_OF_A_WEEK, "day"),
        "daily": (days, 1, "day"),
        "one-time": (1, 1, "plan"),
    }[plan.period]
    amount = Fraction(part.price) * quantity / per
    price = wording.money(part.price, money.currency, money.digits)
    span = {
        "monthly": f"per month x {days} of {month.days} days",
        "weekly": f"per week x {days} / {DAYS_OF_A_WEEK} days",
        "daily": f"per day x {days} {'day' if days == 1 else 'days'}",
        "one-time": "once",
    }[plan.period]
    return Line(
        kind="plan",
        period_start=part.start,
        period_end=part.end,
        description=f"Plan {plan.name}",
        arithmetic=f"{price} {span} = {wording.result(amount, money.currency, money.digits, money.rounding)}",
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
    return Line(
        kind="top-up",
        period_start=top_up.day,
        period_end=top_up.day + DAY,
        description=f"Top-up {top_up.description}",
        arithmetic=f"1 top-up x {wording.result(amount, money.currency, money.digits, money.rounding)}",
        quantity=Decimal(1),
        unit="top-up",
        unit_price=top_up.price,
        net=rounded(amount, money.digits, money.rounding),
        tax=tax,
        top_up_id=top_up.id,
        adjusts=adjusts,
    )
