"""Reads the documents of a month, of many tenants at once.

The queries read plain tables only, so that a tenant's login gets its own rows (row-level security).
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from radmeter.billing.months import Month
from radmeter.billing.statements.document import (
    Credit,
    DayUsage,
    Document,
    Line,
    RouterUsage,
    Statement,
    utc_day,
)
from radmeter.billing.tenants import ids
from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row
from radmeter.errors import StoreError

TENANTS = """
SELECT tenant.id, tenant.name FROM radmeter.tenants AS tenant
WHERE EXISTS (SELECT FROM public.invoices AS document
              WHERE document.tenant_id = tenant.id
                AND document.period_start >= %(first)s AND document.period_start < %(next)s)
ORDER BY tenant.name, tenant.id"""
DOCUMENTS = """
SELECT document.*, tenant.name AS tenant, tenant.language
FROM public.invoices AS document JOIN radmeter.tenants AS tenant ON tenant.id = document.tenant_id
WHERE document.tenant_id = ANY(%(tenants)s) AND document.period_start >= %(first)s AND document.period_start < %(next)s
ORDER BY document.tenant_id, document.id"""
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

HOW_TO_CLOSE = "`radmeter billing close {period}` makes them"


class DoesNotAddUp(StoreError):
    """The sums of a document are not those of its lines. It was changed by hand, or the database is damaged."""


def tenants_with_documents(connection: Connection, period: Month) -> list[tuple[int, str]]:
    """Return the tenants that have documents of a month, by name."""
    found = views.rows(connection, TENANTS, {"first": period.first, "next": period.end})
    return [(row["id"], row["name"]) for row in found]


def read_statement(connection: Connection, period: Month, name: str) -> Statement:
    """Return the statement of one tenant.

    Raises
    ------
    NotKnown
        There is no such tenant, or it has no document of the month.
    DoesNotAddUp
        A document is not the sum of its lines.
    """
    found = read_statements(connection, period, list(ids(connection, [name]).values()))
    if not found:
        raise NotKnown(f"tenant {name!r} has no documents of {period}: {HOW_TO_CLOSE.format(period=period)}")
    return found[0]


def read_statements(connection: Connection, period: Month, tenants: Sequence[int]) -> list[Statement]:
    """Return the statements of tenants, in the order of `tenants`. One without documents has none."""
    documents = views.rows(
        connection, DOCUMENTS, {"tenants": list(tenants), "first": period.first, "next": period.end}
    )
    asked = {"documents": [row["id"] for row in documents]}
    parts = {
        query: _grouped(views.rows(connection, query, asked)) for query in (LINES, CREDITS, DAYS, ROUTERS)
    }
    of_tenant: defaultdict[int, list[Row]] = defaultdict(list)
    for row in documents:
        of_tenant[row["tenant_id"]].append(row)
    found = []
    for tenant in tenants:
        rows = of_tenant.get(tenant)
        if not rows:
            continue
        made = [_document(row, *(parts[query].get(row["id"], []) for query in parts)) for row in rows]
        found.append(
            Statement(
                tenant_id=tenant,
                tenant=rows[0]["tenant"],
                # That of the latest document, as it was copied; else the tenant's of today.
                language=str(made[-1].terms.get("language") or rows[0]["language"]),
                period=period.first,
                documents=made,
            )
        )
    return found


def _grouped(rows: Sequence[Row]) -> dict[int, list[Row]]:
    grouped: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["invoice_id"]].append(row)
    return grouped


def _document(
    row: Row, lines: Sequence[Row], credits: Sequence[Row], days: Sequence[Row], routers: Sequence[Row]
) -> Document:
    document = Document(
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
        recipient=row["recipient"] or {"name": row["tenant"]},
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
    _check(document)
    return document


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
    sums = [("net", document.net, sum((line.net for line in document.lines), Decimal(0)))]
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
