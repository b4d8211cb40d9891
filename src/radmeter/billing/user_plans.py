"""What a user's plans and top-ups cost in a month. Pure.

A day belongs to the plans that the user holds at its end, in the plan's zone, and has the price of then.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from radmeter.billing import wording
from radmeter.billing.lines import Line, Money, Tax
from radmeter.billing.months import DAY, Month, day_begins
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


def price_at(prices: Iterable[Price], instant: datetime.datetime) -> Decimal:
    """Return the price of a plan at an instant. Before its first price, the plan costs nothing."""
    known = [price for price in prices if price.at is None or price.at <= instant]
    if not known:
        return Decimal(0)
    return max(known, key=lambda price: (price.at is not None, price.at or instant)).price


def held(plan: Plan, month: Month) -> list[Held]:
    """Return the days of a month on which a plan is held, one entry for each uninterrupted price, in order."""
    found: list[Held] = []
    day = month.first
    while day < month.end:
        end = day_begins(day + DAY, plan.zone)
        if _is_held(plan.changes, end):
            # The last instant of the day: a price that begins at midnight is that of the next day.
            price = price_at(plan.prices, end - datetime.timedelta(microseconds=1))
            if found and found[-1].end == day and found[-1].price == price:
                found[-1] = found[-1]._replace(end=day + DAY)
            else:
                found.append(Held(day, day + DAY, price))
        day += DAY
    return found


def given(plan: Plan, month: Month) -> list[Held]:
    """Return the days of a month on which the user got a plan that he did not hold, with the price of then."""
    found = []
    holding = {True: False, False: False}
    for change in plan.changes:
        before = any(holding.values())
        holding[change.main] = change.held
        day = change.at.astimezone(plan.zone).date()
        if not before and change.held and day in month:
            found.append(Held(day, day + DAY, price_at(plan.prices, change.at)))
    return found


def _is_held(changes: Iterable[Change], before: datetime.datetime) -> bool:
    holding = {True: False, False: False}
    for change in changes:
        if change.at < before:
            holding[change.main] = change.held
    return any(holding.values())


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
