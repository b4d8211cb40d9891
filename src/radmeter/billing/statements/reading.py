"""Reads documents for statements, many at once: invoices and credit notes by their ids.

The queries read plain tables only, so that a tenant's login gets its own rows (row-level security).
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from radmeter.billing.statements.document import (
    Credit,
    DayUsage,
    Document,
    Line,
    RouterUsage,
    Statement,
    utc_day,
)
from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.errors import StoreError

# The tenant of a user's document is the one whose user it is.
INVOICES = """
SELECT document.*, tenant.name AS tenant, tenant.language
FROM public.invoices AS document
LEFT JOIN radmeter.tenants AS tenant ON tenant.id = coalesce(document.tenant_id, document.of_tenant_id)
WHERE document.id = ANY(%(documents)s) ORDER BY document.id"""
# What it is about comes from its invoice: whose it is, the month, and the language.
CREDIT_NOTES = """
SELECT note.*, invoice.number AS invoice, invoice.username, invoice.period_start, invoice.period_end, invoice.terms,
       tenant.name AS tenant, tenant.language
FROM public.credit_notes AS note JOIN public.invoices AS invoice ON invoice.id = note.invoice_id
LEFT JOIN radmeter.tenants AS tenant ON tenant.id = coalesce(invoice.tenant_id, invoice.of_tenant_id)
WHERE note.id = ANY(%(documents)s) ORDER BY note.id"""
CREDITED = """
SELECT given.credit_note_id AS invoice_id, given.line, given.description, given.net, given.tax_rate, given.tax_rule,
       billed.kind, billed.period_start, billed.period_end, billed.adjusts
FROM public.credit_note_lines AS given JOIN public.credit_notes AS note ON note.id = given.credit_note_id
JOIN public.invoice_lines AS billed ON billed.invoice_id = note.invoice_id AND billed.line = given.invoice_line
WHERE given.credit_note_id = ANY(%(documents)s) ORDER BY given.credit_note_id, given.line"""
LINES = """
SELECT * FROM public.invoice_lines WHERE invoice_id = ANY(%(documents)s) ORDER BY invoice_id, line"""
CREDITS = """
SELECT * FROM public.credit_notes WHERE invoice_id = ANY(%(documents)s) ORDER BY invoice_id, number_year, sequence"""
DAYS = """
SELECT invoice_id, usage_date, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out
FROM public.invoice_usage WHERE invoice_id = ANY(%(documents)s)
GROUP BY invoice_id, usage_date ORDER BY invoice_id, usage_date"""
ROUTERS = """
SELECT usage.invoice_id, usage.router_id, router.name, router.mac::text AS mac, router.timezone,
       date_trunc('month', usage.usage_date::timestamp)::date AS month, count(*) AS days,
       sum(usage.bytes_in) AS bytes_in, sum(usage.bytes_out) AS bytes_out
FROM public.invoice_usage AS usage LEFT JOIN (
    SELECT id, mac, timezone,
           -- A discovered router is named by its MAC, but may send a name.
           CASE WHEN status = 'discovered' THEN coalesce(nullif(nas_identifier, ''), name) ELSE name END AS name
    FROM radmeter.router_list) AS router ON router.id = usage.router_id
WHERE usage.invoice_id = ANY(%(documents)s)
GROUP BY usage.invoice_id, usage.router_id, router.name, router.mac, router.timezone, 6
ORDER BY usage.invoice_id, router.name, usage.router_id, 6"""


class DoesNotAddUp(StoreError):
    """The sums of a document are not those of its lines. It was changed by hand, or the database is damaged."""


def read_invoices(connection: Connection, ids: Sequence[int]) -> dict[int, Statement]:
    """Return invoices by id, a statement each.

    Raises
    ------
    DoesNotAddUp
        A document is not the sum of its lines.
    """
    documents = views.rows(connection, INVOICES, {"documents": list(ids)})
    parts = {
        query: _grouped(views.rows(connection, query, {"documents": list(ids)}))
        for query in (LINES, CREDITS, DAYS, ROUTERS)
    }
    return {
        row["id"]: _statement(row, _invoice(row, *(parts[query].get(row["id"], []) for query in parts)))
        for row in documents
    }


def read_credit_notes(connection: Connection, ids: Sequence[int]) -> dict[int, Statement]:
    """Return credit notes by id, a statement each. Raises DoesNotAddUp."""
    documents = views.rows(connection, CREDIT_NOTES, {"documents": list(ids)})
    lines = _grouped(views.rows(connection, CREDITED, {"documents": list(ids)}))
    return {row["id"]: _statement(row, _credit_note(row, lines.get(row["id"], []))) for row in documents}


def together(statements: Sequence[Statement]) -> Statement:
    """Return statements of one tenant as one, in the language of the latest."""
    last = statements[-1]
    return Statement(
        tenant=last.tenant,
        language=last.language,
        period=last.period,
        documents=[document for each in statements for document in each.documents],
    )


def _statement(row: Row, document: Document) -> Statement:
    _check(document)
    return Statement(
        tenant=row["tenant"] or "",
        username=row["username"],
        # As it was copied; else the tenant's of today.
        language=str(document.terms.get("language") or row["language"] or ""),
        period=document.period_start.replace(day=1),
        documents=[document],
    )


def _grouped(rows: Sequence[Row]) -> dict[int, list[Row]]:
    grouped: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["invoice_id"]].append(row)
    return grouped


def _invoice(
    row: Row, lines: Sequence[Row], credits: Sequence[Row], days: Sequence[Row], routers: Sequence[Row]
) -> Document:
    return Document(
        id=row["id"],
        status=row["status"],
        number=row["number"],
        period_start=row["period_start"],
        period_end=row["period_end"],
        currency=row["currency"],
        digits=_digits(row),
        issued_on=utc_day(row["issued_at"]) if row["status"] != "draft" else None,
        voided_on=utc_day(row["voided_at"]),
        usage_bytes=row["usage_bytes"],
        net=_amount(row["net"], row["amount"]),
        tax=_amount(row["tax"], Decimal(0)),
        amount=row["amount"],
        taxes=row["taxes"] or [],
        recipient=row["recipient"] or {"name": row["tenant"] or row["username"]},
        issuer=row["issuer"] or {},
        terms=row["terms"] or {},
        lines=[_line(each) for each in lines],
        credits=[
            Credit(
                number=each["number"],
                issued_on=_known(utc_day(each["issued_at"])),
                net=each["net"],
                tax=each["tax"],
                amount=each["amount"],
                reason=each["reason"],
                voids=each["voids"],
            )
            for each in credits
        ],
        days=[
            DayUsage(day=each["usage_date"], bytes_in=int(each["bytes_in"]), bytes_out=int(each["bytes_out"]))
            for each in days
        ],
        routers=[
            RouterUsage(
                router_id=each["router_id"],
                name=each["name"] or "",
                mac=each["mac"],
                timezone=each["timezone"] or "",
                month=each["month"],
                days=each["days"],
                bytes_in=int(each["bytes_in"]),
                bytes_out=int(each["bytes_out"]),
            )
            for each in routers
        ],
    )


def _credit_note(row: Row, lines: Sequence[Row]) -> Document:
    return Document(
        id=row["id"],
        status="issued",
        number=row["number"],
        period_start=row["period_start"],
        period_end=row["period_end"],
        currency=row["currency"],
        digits=row["digits"],
        issued_on=utc_day(row["issued_at"]),
        voided_on=None,
        usage_bytes=None,
        net=row["net"],
        tax=row["tax"],
        amount=row["amount"],
        taxes=row["taxes"],
        recipient=row["recipient"],
        issuer=row["issuer"],
        terms=row["terms"] or {},
        lines=[
            _line(
                {
                    **each,
                    "arithmetic": "",
                    "usage_bytes": None,
                    "quantity": None,
                    "unit": None,
                    "unit_price": None,
                    "detail": {},
                }
            )
            for each in lines
        ],
        credits=[],
        days=[],
        routers=[],
        credits_invoice=row["invoice"] or f"#{row['invoice_id']}",
        reason=row["reason"],
        voids=row["voids"],
    )


def _line(row: Row) -> Line:
    return Line(
        number=row["line"],
        kind=row["kind"],
        period_start=row["period_start"],
        period_end=row["period_end"],
        description=row["description"],
        arithmetic=row["arithmetic"],
        usage_bytes=row["usage_bytes"],
        quantity=row["quantity"],
        unit=row["unit"],
        unit_price=row["unit_price"],
        per=int(row["detail"].get("per", 1)),
        net=row["net"],
        tax_rate=row["tax_rate"],
        tax_rule=row["tax_rule"],
        adjusts=row["adjusts"],
    )


def _digits(row: Row) -> int:
    if row["digits"] is not None:
        return int(row["digits"])
    exponent = row["amount"].as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _amount(value: Any, otherwise: Decimal) -> Decimal:
    return otherwise if value is None else value


def _known(day: date | None) -> date:
    assert day is not None
    return day


def _check(document: Document) -> None:
    """Compare the sums of a document with its parts, so that no file shows a total that its lines do not have."""
    faults = []
    sums = []
    if document.lines or document.credits_invoice is None:
        sums.append(("net", document.net, sum((line.net for line in document.lines), Decimal(0))))
    if document.taxes:
        sums.append(("tax", document.tax, sum((Decimal(each["tax"]) for each in document.taxes), Decimal(0))))
    if document.usage_bytes is not None:
        used = sum(day.bytes_in + day.bytes_out for day in document.days)
        sums.append(("usage_bytes", Decimal(document.usage_bytes), Decimal(used)))
    for name, stated, summed in sums:
        if stated != summed:
            faults.append(f"{name} is {stated}, its parts have {summed}")
    if document.net + document.tax != document.amount:
        faults.append(f"net {document.net} and tax {document.tax} are not {document.amount}")
    if faults:
        raise DoesNotAddUp(
            f"document {document.name} does not add up: {'; '.join(faults)}. "
            "`radmeter billing reconcile` compares it with the document as it was issued"
        )
