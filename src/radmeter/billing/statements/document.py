"""What a statement is made of: documents of a tenant or a user, as the database has them."""

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
    """An invoice with what belongs to it, or a credit note. `period_end` is the first day that is not billed.

    `credits_invoice` is the number of the invoice that a credit note gives back, else None; `reason` and `voids` are
    the credit note's.
    """

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
    credits_invoice: str | None = None
    reason: str = ""
    voids: bool = False

    @property
    def name(self) -> str:
        """The number, or what stands for it in messages."""
        return self.number or f"draft {self.id}"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Documents of a tenant or a user, as a file: all of a tenant's month, or one.

    `tenant` is the tenant, or whose user it is. `username` is None for a tenant's documents.
    """

    tenant: str
    language: str
    period: date
    documents: Sequence[Document]
    username: str | None = None

    @property
    def whose(self) -> str:
        """The name of who is billed."""
        return self.tenant if self.username is None else self.username

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
