"""Writes priced documents into the database as drafts, many at a time."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from radmeter.billing.lines import Line, Money, Totals
from radmeter.billing.rates import Rate, canonical
from radmeter.billing.wording import ENGLISH
from radmeter.database.connection import Connection
from radmeter.errors import StoreError

# About a megabyte of JSON at a time.
DOCUMENTS = 500
# Amounts are below it: a check of invoices.
LARGEST = Decimal(10**16)


class Draft(NamedTuple):
    """A document that is to be written.

    `id` is the draft of a tenant, which has frozen the octets. None: a new draft of a user.
    """

    id: int | None
    close_id: int
    username: str | None
    of_tenant_id: int | None
    money: Money
    issuer_id: int
    recipient: Mapping[str, Any]
    issuer: Mapping[str, Any]
    terms: Mapping[str, Any]
    lines: Sequence[Line]
    totals: Totals


def document_terms(
    *, language: str, timezone: str, money: Money, rates: Iterable[Rate] = ()
) -> dict[str, Any]:
    """Return what a document says about how it was made."""
    return {
        "language": language,
        "timezone": timezone,
        "rounding": str(money.rounding),
        "tax": str(money.tax),
        "rates": [{"from": rate.from_day.isoformat(), **canonical(rate.terms)} for rate in rates],
    }


def write(connection: Connection, drafts: Iterable[Draft]) -> int:
    """Write drafts with their lines. Return how many lines.

    Raises
    ------
    StoreError
        A document comes to more than the tables take, by a price or a volume that nobody can have meant.
    """
    written = 0
    for some in _chunks(drafts):
        text = json.dumps([_document(each) for each in some], ensure_ascii=False)
        ((count,),) = connection.execute("SELECT radmeter.write_drafts(%s)", (text,)).fetchall()
        written += count
    return written


def _chunks(drafts: Iterable[Draft]) -> Iterator[list[Draft]]:
    every = iter(drafts)
    while some := list(islice(every, DOCUMENTS)):
        yield some


def _document(draft: Draft) -> dict[str, Any]:
    if abs(draft.totals.gross) >= LARGEST:
        amount = ENGLISH.money(draft.totals.gross, draft.money.currency, draft.money.digits)
        whose = "user" if draft.username is not None else "tenant"
        raise StoreError(
            f"the {whose} {draft.recipient['name']!r} would pay {amount}, which "
            "no document can have: look at the price and the octets"
        )
    return {
        "id": draft.id,
        "close_id": draft.close_id,
        "username": draft.username,
        "of_tenant_id": draft.of_tenant_id,
        "currency": draft.money.currency,
        "digits": draft.money.digits,
        "issuer_id": draft.issuer_id,
        "usage_bytes": draft.totals.usage_bytes,
        "net": text(draft.totals.net),
        "tax": text(draft.totals.tax),
        "taxes": [
            {
                "rate": text(each.tax.rate),
                "rule": each.tax.rule,
                "net": text(each.net),
                "tax": text(each.amount),
            }
            for each in draft.totals.taxes
        ],
        "recipient": dict(draft.recipient),
        "issuer": dict(draft.issuer),
        "terms": dict(draft.terms),
        "lines": [_line(line) for line in draft.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "period_start": line.period_start.isoformat(),
        "period_end": line.period_end.isoformat(),
        "description": line.description,
        "arithmetic": line.arithmetic,
        "usage_bytes": line.usage_bytes,
        "quantity": text(line.quantity),
        "unit": line.unit,
        "unit_price": text(line.unit_price),
        "net": text(line.net),
        "tax_rate": text(line.tax.rate),
        "tax_rule": line.tax.rule,
        "plan_id": line.plan_id,
        "top_up_id": line.top_up_id,
        "adjusts": line.adjusts,
        "detail": {
            **({} if line.per == 1 else {"per": line.per}),
            **({} if line.given is None else {"given": line.given.id, "given_at": line.given.at.isoformat()}),
        },
    }


def text(amount: Decimal | None) -> str | None:
    """Return an amount as text without an exponent, so that JSON keeps each digit."""
    return None if amount is None else f"{amount:f}"
