"""Estimates what will have been used at the end of a period. Pure: integers and fractions.

The method, in words: what is used so far is exact. Each day that is left is expected to be the mean of the same weekday
in the last weeks. The range is twice the standard deviation around it, as if each day were independent of the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import isqrt

ONE_DAY = timedelta(days=1)
WEEKS = 8
# Two of each weekday.
FEWEST_DAYS = 14
METHOD = (
    "This is an estimate: it knows of no holidays, guests or faults.",
    "It is what is used so far, plus for each day that is left the mean of the same weekday in the last {weeks} weeks "
    "({days} days of history).",
    "The range is twice the standard deviation of these days, as if they were independent.",
)


class TooLittleHistory(ValueError):
    """There are too few days to guess from. The argument is how many there are."""

    def __init__(self, days: int) -> None:
        super().__init__(days)
        self.days = days


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is used so far (exact), and what is expected at the end of the period, with its range."""

    used: int
    expected: int
    low: int
    high: int
    days_left: int
    """Today included."""
    days_of_history: int


def forecast(
    days: Mapping[date, int], *, first: date, end: date, today: date, known_from: date | None = None
) -> Forecast:
    """Return the forecast of a period.

    Parameters
    ----------
    days
        The octets of each day with usage, of the period and of the `WEEKS` weeks before today.
    first, end
        The period: its first day, and the first day after it.
    today
        The day that goes on. It is within the period.
    known_from
        Days before it are not known.

    Raises
    ------
    TooLittleHistory
        There are fewer than `FEWEST_DAYS` whole days since the first usage.
    """
    begin = today - timedelta(weeks=WEEKS)
    used_days = [day for day, octets in days.items() if octets and begin <= day < today]
    since = max(min(used_days, default=today), begin, known_from or begin)
    history = [since + number * ONE_DAY for number in range((today - since).days)]
    if len(history) < FEWEST_DAYS:
        raise TooLittleHistory(len(history))
    means: dict[int, Fraction] = {}
    variances: dict[int, Fraction] = {}
    for weekday in range(7):
        values = [days.get(day, 0) for day in history if day.weekday() == weekday]
        mean = means[weekday] = Fraction(sum(values), len(values))
        variances[weekday] = sum(((value - mean) ** 2 for value in values), Fraction(0)) / (len(values) - 1)
    used = sum(octets for day, octets in days.items() if first <= day <= today)
    left = [today + number * ONE_DAY for number in range((end - today).days)]
    more = sum((means[day.weekday()] for day in left[1:]), Fraction(0))
    # Of today, what is not used yet.
    more += max(means[today.weekday()] - days.get(today, 0), Fraction(0))
    variance = sum((variances[day.weekday()] for day in left), Fraction(0))
    spread = isqrt(int(4 * variance))
    expected = used + round(more)
    return Forecast(
        used=used,
        expected=expected,
        low=max(used, expected - spread),
        high=expected + spread,
        days_left=len(left),
        days_of_history=len(history),
    )
