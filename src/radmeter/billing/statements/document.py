"""What a statement is made of: a tenant's documents of a month, as the database has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a document. `quantity` is not rounded; `net` is, to the currency. `period_end` is not billed."""

    number: int
    kind: str
    period_start: date
    period_end: date
    description: str
    arithmetic: str
    usage_bytes: int | None
    quantity: Decimal | None
    unit: str | None
    unit_price: Decimal | None
    per: int
    """For how many of the unit the price is: a month's fee has as many as the month has days."""
    net: Decimal
    tax_rate: Decimal
    tax_rule: str | None
    adjusts: bool


@dataclass(frozen=True, kw_only=True)
class Credit:
    """A credit note to the document."""

    number: str
    issued_on: date
    net: Decimal
    tax: Decimal
    amount: Decimal
    reason: str
    voids: bool


@dataclass(frozen=True, kw_only=True)
class DayUsage:
    """The octets of all routers on a day, each day in its router's time zone."""

    day: date
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, kw_only=True)
class RouterUsage:
    """The octets that a document bills of a router, of one month."""

    router_id: int
    name: str
    mac: str | None
    timezone: str
    month: date
    days: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, kw_only=True)
class Document:
    """An invoice with what belongs to it. `period_end` is the first day that is not billed."""

    id: int
    status: str
    number: str | None
    period_start: date
    period_end: date
    currency: str
    digits: int
    issued_on: date | None
    voided_on: date | None
    usage_bytes: int | None
    net: Decimal
    tax: Decimal
    amount: Decimal
    taxes: Sequence[Mapping[str, Any]]
    recipient: Mapping[str, Any]
    issuer: Mapping[str, Any]
    terms: Mapping[str, Any]
    lines: Sequence[Line]
    credits: Sequence[Credit]
    days: Sequence[DayUsage]
    routers: Sequence[RouterUsage]

    @property
    def name(self) -> str:
        """The number, or what stands for it in messages."""
        return self.number or f"draft {self.id}"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A tenant's documents of a month. `made_of` is the latest day that any of them names: the date of the file."""

    tenant_id: int
    tenant: str
    language: str
    period: date
    documents: Sequence[Document]

    @property
    def dated(self) -> date:
        """The latest day that a document names. A file that is made again is of the same day."""
        days = [self.period]
        for document in self.documents:
            days += [document.period_end, *(each.issued_on for each in document.credits)]
            days += [day for day in (document.issued_on, document.voided_on) if day is not None]
        return max(days)


def utc_day(moment: datetime | None) -> date | None:
    """Return the day of a moment in UTC."""
    from datetime import UTC

    return None if moment is None else moment.astimezone(UTC).date()
