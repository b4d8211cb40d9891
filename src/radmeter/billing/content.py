"""Documents as they stand in the files of the directory: all of them, so that they can be restored from there."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

from radmeter.billing.issued_files import FORMAT, Key
from radmeter.billing.origin import origin
from radmeter.database.connection import Connection
from radmeter.database.views import Row, rows

# A document of 100 routers has 3,100 rows of octets.
TOGETHER = 100

KEYS = """
SELECT 'invoice' AS kind, issuer_id, number_year, sequence, id FROM public.invoices
WHERE close_id IS NOT NULL AND status <> 'draft'
UNION ALL SELECT 'credit_note', issuer_id, number_year, sequence, id FROM public.credit_notes"""
INVOICES = """
SELECT invoice.id, invoice.username, invoice.tenant_id, invoice.of_tenant_id, invoice.period_start,
       invoice.period_end, invoice.currency, invoice.digits, invoice.issuer_id, invoice.number_year, invoice.sequence,
       invoice.number, invoice.usage_bytes, invoice.net, invoice.tax, invoice.amount AS gross, invoice.taxes,
       invoice.recipient, invoice.issuer, invoice.terms, invoice.issued_at, invoice.issued_by,
       json_build_object('closed_at', closed.closed_at, 'closed_by', closed.closed_by, 'snapshot', closed.snapshot,
                         'settings', closed.settings - 'restored') AS close
FROM public.invoices AS invoice JOIN radmeter.billing_close AS closed ON closed.id = invoice.close_id
WHERE invoice.id = ANY (%(ids)s)"""
LINES = """
SELECT invoice_id, line, kind, period_start, period_end, description, arithmetic, usage_bytes, quantity, unit,
       unit_price, net, tax_rate, tax_rule, plan_id, top_up_id, adjusts, detail
FROM public.invoice_lines WHERE invoice_id = ANY (%(ids)s) ORDER BY invoice_id, line"""
USAGE = """
SELECT invoice_id, router_id, usage_date::text, bytes_in, bytes_out
FROM public.invoice_usage WHERE invoice_id = ANY (%(ids)s) ORDER BY invoice_id, router_id, usage_date"""
# Who has an id of the document, to see after a restore whether somebody else has it by then. They may be renamed later.
KNOWN = """
SELECT invoice.id AS invoice_id, known.*
FROM public.invoices AS invoice
CROSS JOIN LATERAL (
    SELECT 'issuer' AS kind, issuer.id, issuer.name, NULL AS mac, issuer.created_at AS at, issuer.number_format,
           issuer.credit_format, issuer.yearly
    FROM radmeter.issuers AS issuer WHERE issuer.id = invoice.issuer_id
    UNION ALL
    SELECT 'tenant', tenant.id, tenant.name, NULL, tenant.created_at, NULL, NULL, NULL
    FROM radmeter.tenants AS tenant WHERE tenant.id IN (invoice.tenant_id, invoice.of_tenant_id)
    UNION ALL
    SELECT 'router', router.id, router.name, router.mac::text, router.created_at, NULL, NULL, NULL
    FROM public.routers AS router
    WHERE router.id IN (SELECT usage.router_id FROM public.invoice_usage AS usage WHERE usage.invoice_id = invoice.id)
    UNION ALL
    SELECT 'plan', plan.id, plan.name, NULL, NULL, NULL, NULL, NULL
    FROM public.plans AS plan
    WHERE plan.id IN (SELECT line.plan_id FROM public.invoice_lines AS line WHERE line.invoice_id = invoice.id)
    UNION ALL
    SELECT 'top-up', top_up.id, top_up.username, NULL, top_up.added_at, NULL, NULL, NULL
    FROM public.top_ups AS top_up
    WHERE top_up.id IN (SELECT line.top_up_id FROM public.invoice_lines AS line WHERE line.invoice_id = invoice.id)
) AS known
WHERE invoice.id = ANY (%(ids)s) ORDER BY invoice.id, known.kind, known.id"""
NOTES = """
SELECT note.id, note.issuer_id, note.number_year, note.sequence, note.number, note.currency, note.digits, note.net,
       note.tax, note.amount AS gross, note.taxes, note.reason, note.voids, note.recipient, note.issuer,
       note.issued_at, note.issued_by, invoice.number AS invoice_number, invoice.number_year AS invoice_year,
       invoice.sequence AS invoice_sequence,
       -- A note that voids an invoice of 0 has no lines.
       (SELECT coalesce(json_agg(json_build_object('line', line.line, 'invoice_line', line.invoice_line,
                                          'description', line.description, 'net', line.net::text,
                                          'tax_rate', line.tax_rate::text, 'tax_rule', line.tax_rule)
                        ORDER BY line.line), '[]')
        FROM public.credit_note_lines AS line WHERE line.credit_note_id = note.id) AS lines
FROM public.credit_notes AS note JOIN public.invoices AS invoice ON invoice.id = note.invoice_id
WHERE note.id = ANY (%(ids)s)"""


def keys(connection: Connection) -> dict[Key, int]:
    """Return the documents that the database has issued, with their ids."""
    return {
        Key(row["kind"], row["issuer_id"], row["number_year"], row["sequence"]): row["id"]
        for row in rows(connection, KEYS)
    }


def invoices(connection: Connection, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield issued invoices in the order of `ids`."""
    database = origin(connection)._asdict()
    for begin in range(0, len(ids), TOGETHER):
        values = {"ids": list(ids[begin : begin + TOGETHER])}
        found = {row["id"]: row for row in rows(connection, INVOICES, values)}
        lines: dict[int, list[Row]] = defaultdict(list)
        for row in rows(connection, LINES, values):
            lines[row.pop("invoice_id")].append(row)
        known: dict[int, list[Row]] = defaultdict(list)
        for row in rows(connection, KNOWN, values):
            known[row.pop("invoice_id")].append(row)
        usage = {
            invoice: [list(each[1:]) for each in some]
            for invoice, some in groupby(connection.execute(USAGE, values), lambda row: row[0])
        }
        for document_id in values["ids"]:
            row = found[document_id]
            yield {
                "format": FORMAT,
                "database": database,
                "kind": "invoice",
                **_plain(row),
                "lines": [_plain(line) for line in lines[document_id]],
                "usage": usage.get(document_id, []),
                "known": [
                    {name: value for name, value in _plain(each).items() if value is not None}
                    for each in known[document_id]
                ],
            }


def credit_notes(connection: Connection, ids: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield credit notes in the order of their ids."""
    database = origin(connection)._asdict()
    found = rows(connection, NOTES, {"ids": list(ids)})
    for row in sorted(found, key=lambda each: int(each["id"])):
        yield {"format": FORMAT, "database": database, "kind": "credit_note", **_plain(row)}


def _plain(row: Row) -> dict[str, Any]:
    """Return a row as JSON holds it: decimals are text with all their digits, times are in UTC."""
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value
