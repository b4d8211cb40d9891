"""A month of billing: its days, and the instant at which it has ended in a time zone. Pure."""

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self
from zoneinfo import ZoneInfo

from radmeter.errors import ConfigurationError

DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)


class BadMonth(ConfigurationError):
    """A text is not a month. The message has a remedy."""


@dataclass(frozen=True, order=True)
class Month:
    """A month of the calendar.

    Attributes
    ----------
    first
        Its first day.
    """

    first: datetime.date

    def __post_init__(self) -> None:
        """Refuse another day than the first, and the year 9999, which has no next one."""
        if self.first.day != 1 or self.first.year >= datetime.MAXYEAR:
            raise ValueError(f"{self.first} is not the first day of a month before {datetime.MAXYEAR}")

    @classmethod
    def of(cls, day: datetime.date) -> Self:
        """Return the month in which a day is."""
        return cls(day.replace(day=1))

    @property
    def end(self) -> datetime.date:
        """The first day after the month."""
        return (self.first + 31 * DAY).replace(day=1)

    @property
    def days(self) -> int:
        """How many days the month has: 28 to 31."""
        return (self.end - self.first).days

    @property
    def next(self) -> "Month":
        """The month after it."""
        return Month(self.end)

    @property
    def previous(self) -> "Month":
        """The month before it."""
        return Month.of(self.first - DAY)

    def __contains__(self, day: datetime.date) -> bool:
        """Say whether a day is in the month."""
        return self.first <= day < self.end

    def __str__(self) -> str:
        """Return the month as people write it: ``2026-10``."""
        return f"{self.first:%Y-%m}"

    def ends_at(self, zone: ZoneInfo) -> datetime.datetime:
        """Return the instant, in UTC, at which the month has ended in a zone."""
        return day_begins(self.end, zone)

    def ended(self, zones: Iterable[ZoneInfo], now: datetime.datetime, settling: datetime.timedelta) -> bool:
        """Say whether the month has ended in all the zones, and the settling time since then is over as well."""
        return all(now >= self.ends_at(zone) + settling for zone in zones)


def month(text: str) -> Month:
    """Return the month that a text such as ``2026-10`` names.

    Raises
    ------
    BadMonth
        The text is not a month.
    """
    if not re.fullmatch("[0-9]{4}-[0-9]{2}", text):
        raise BadMonth(f"{text!r} is not a month: write YYYY-MM, such as 2026-10")
    year, number = int(text[:4]), int(text[5:])
    if not 1 <= number <= 12:
        raise BadMonth(f"{text!r} is not a month: the number of a month is from 01 to 12")
    if not datetime.MINYEAR < year < datetime.MAXYEAR:
        raise BadMonth(f"{text!r} is not a month that can be billed: the year is from 0002 to 9998")
    return Month(datetime.date(year, number, 1))


def months(first: Month, last: Month) -> Iterator[Month]:
    """Yield the months from one to another, both included."""
    while first <= last:
        yield first
        first = first.next


def day_begins(day: datetime.date, zone: ZoneInfo) -> datetime.datetime:
    """Return the first instant of a local day, in UTC. Not every day begins at 00:00, and some zones left out a day.

    Where midnight comes twice it is the first one, as in radmeter.day_begins.
    """
    # fold=0: the first of two. An hour that is left out is read with the offset of before, so it is not too early.
    found = datetime.datetime.combine(day, datetime.time(), zone).astimezone(datetime.UTC)
    if found.astimezone(zone).replace(tzinfo=None) == datetime.datetime.combine(day, datetime.time()):
        return found
    # Midnight is left out: the day begins where the clock jumps, which may be before that.
    before = found - 2 * DAY
    while found - before > SECOND:
        middle = before + (found - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).date() < day:
            before = middle
        else:
            found = middle
    return found
