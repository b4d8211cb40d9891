"""Exports of documents: invoices and credit notes, and their lines."""

from radmeter.billing.exports.columns import Column, money, octets
from radmeter.billing.exports.table import Table

# The tenant of a user's document is the one whose user it is.
_DOCUMENTS = """
    FROM public.invoices AS invoice
    LEFT JOIN radmeter.tenants AS tenant ON tenant.id = coalesce(invoice.tenant_id, invoice.of_tenant_id)"""
_IN_SPAN = "invoice.period_start >= {first} AND invoice.period_start < {end}"
# Drafts have no day of issue.
_ISSUED = """invoice.issued_at >= {first}::timestamp AT TIME ZONE 'UTC'
             AND invoice.issued_at < {end}::timestamp AT TIME ZONE 'UTC' AND invoice.status <> 'draft'"""
_NOTE_ISSUED = """note.issued_at >= {first}::timestamp AT TIME ZONE 'UTC'
      AND note.issued_at < {end}::timestamp AT TIME ZONE 'UTC'"""
_OF_TENANT = "coalesce(invoice.tenant_id, invoice.of_tenant_id) = {tenant}"

INVOICES = Table(
    what="invoices",
    rows="documents whose period begins in these days, drafts and void ones too",
    columns=(
        Column("number", "text", "empty: a draft, or a document that another program wrote"),
        Column("tenant", "text", "who is billed; of a user's document: whose user"),
        Column("period_start", "date", "the first day"),
        Column("period_end", "date", "the first day that is not included"),
        Column("currency", "word", "ISO 4217"),
        octets("usage_bytes", "of its lines, both directions"),
        money("net", "the sum of the lines, in the currency"),
        money("tax", "in the currency"),
        money("gross", "net and tax, in the currency"),
        Column("status", "word", "draft, issued or void"),
        Column("username", "text", "the user who is billed; empty: the tenant is"),
        Column("issuer", "text", "who issues it, as the document has it"),
        Column("issued_at", "time", "UTC"),
        Column("voided_at", "time", "UTC"),
        money("credited", "the gross of its credit notes, in the currency"),
        Column("document_id", "integer", "drafts have no other number"),
    ),
    query=f"""
    SELECT invoice.number, tenant.name AS tenant, invoice.period_start::date AS period_start,
           invoice.period_end::date AS period_end, invoice.currency::text AS currency, invoice.usage_bytes,
           round(invoice.net, coalesce(invoice.digits, scale(invoice.net))) AS net,
           round(invoice.tax, coalesce(invoice.digits, scale(invoice.tax))) AS tax,
           round(invoice.amount::numeric, coalesce(invoice.digits, scale(invoice.amount::numeric))) AS gross,
           invoice.status, invoice.username, invoice.issuer ->> 'name' AS issuer, invoice.issued_at, invoice.voided_at,
           coalesce((SELECT sum(note.amount) FROM public.credit_notes AS note WHERE note.invoice_id = invoice.id),
                    round(0::numeric, coalesce(invoice.digits, 0))) AS credited,
           invoice.id AS document_id
    {_DOCUMENTS}
    WHERE {{when}} AND {{whose}}""",  # noqa: S608 # constants
    when=_IN_SPAN,
    issued=_ISSUED,
    issued_rows="documents that were issued on these days (UTC), whatever their period; void ones too",
    of_tenant=_OF_TENANT,
    order=("tenant", "username", "document_id"),
    sums=("usage_bytes", "net", "tax", "gross", "credited"),
    by_currency=True,
)

LINES = Table(
    what="lines",
    rows="lines of the documents whose period begins in these days, drafts and void ones too",
    columns=(
        Column("number", "text", "of the document; empty: a draft"),
        Column("tenant", "text", "who is billed; of a user's document: whose user"),
        Column("username", "text", "the user who is billed; empty: the tenant is"),
        Column("status", "word", "of the document: draft, issued or void"),
        Column("document_id", "integer", "drafts have no other number"),
        Column("line", "integer", "number of the line in the document"),
        Column("kind", "word", "usage, included, base-fee, share, minimum, maximum, plan, top-up, .."),
        Column(
            "period_start",
            "date",
            "the first day that the line bills; of adjusting lines in an earlier month",
        ),
        Column("period_end", "date", "the first day that is not included"),
        Column("description", "text", "as it stands on the document"),
        Column("arithmetic", "text", "how the amount comes about"),
        octets("usage_bytes", "both directions"),
        Column("quantity", "decimal", "in unit, not rounded", (8, 30)),
        Column("unit", "text", "GB = 10^9 octets, GiB = 2^30 octets, days, .."),
        Column("unit_price", "decimal", "in the currency", (20, 18)),
        Column("currency", "word", "ISO 4217"),
        money("net", "without tax, in the currency"),
        Column("tax_rate", "decimal", "percent", (9, 9)),
        Column("tax_rule", "text", "why it is this rate"),
        Column("adjusts", "boolean", "for a month that was closed before"),
    ),
    query=f"""
    SELECT invoice.number, tenant.name AS tenant, invoice.username, invoice.status, invoice.id AS document_id,
           line.line, line.kind, line.period_start, line.period_end, line.description, line.arithmetic,
           line.usage_bytes, trim_scale(line.quantity) AS quantity, line.unit,
           trim_scale(line.unit_price) AS unit_price, invoice.currency::text AS currency,
           round(line.net, coalesce(invoice.digits, scale(line.net))) AS net,
           trim_scale(line.tax_rate) AS tax_rate, line.tax_rule, line.adjusts
    {_DOCUMENTS}
    JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
    WHERE {{when}} AND {{whose}}""",  # constants
    when=_IN_SPAN,
    issued=_ISSUED,
    issued_rows="lines of the documents that were issued on these days (UTC), whatever their period; void ones too",
    of_tenant=_OF_TENANT,
    order=("tenant", "username", "document_id", "line"),
    sums=("usage_bytes", "net"),
    by_currency=True,
)

CREDIT_NOTES = Table(
    what="credit-notes",
    rows="credit notes that were issued on these days (UTC)",
    columns=(
        Column("number", "text", "of the credit note"),
        Column("invoice", "text", "the number of the invoice that it credits"),
        Column("tenant", "text", "whose invoice; of a user's invoice: whose user"),
        Column("username", "text", "the user whose invoice it is; empty: the tenant's"),
        Column("issued", "date", "the day in UTC"),
        Column("currency", "word", "ISO 4217"),
        money("net", "given back, in the currency"),
        money("tax", "given back, in the currency"),
        money("gross", "net and tax, in the currency"),
        Column("reason", "text", "as it stands on the credit note"),
        Column("voids", "boolean", "the invoice is void since"),
        Column("issuer", "text", "who issues it, as the document has it"),
        Column("issued_at", "time", "UTC"),
        Column("credit_note_id", "integer", ""),
        Column("document_id", "integer", "of the invoice"),
    ),
    query=f"""
    SELECT note.number, invoice.number AS invoice, tenant.name AS tenant, invoice.username,
           (note.issued_at AT TIME ZONE 'UTC')::date AS issued, note.currency::text AS currency,
           round(note.net, note.digits) AS net, round(note.tax, note.digits) AS tax,
           round(note.amount, note.digits) AS gross, note.reason, note.voids, note.issuer ->> 'name' AS issuer,
           note.issued_at, note.id AS credit_note_id, invoice.id AS document_id
    {_DOCUMENTS}
    JOIN public.credit_notes AS note ON note.invoice_id = invoice.id
    WHERE {{when}} AND {{whose}}""",  # constants
    when=_NOTE_ISSUED,
    issued=_NOTE_ISSUED,
    issued_rows="credit notes that were issued on these days (UTC)",
    of_tenant=_OF_TENANT,
    order=("issued_at", "credit_note_id"),
    sums=("net", "tax", "gross"),
    by_currency=True,
)

CREDIT_NOTE_LINES = Table(
    what="credit-note-lines",
    rows="lines of the credit notes that were issued on these days (UTC)",
    columns=(
        Column("number", "text", "of the credit note"),
        Column("invoice", "text", "the number of the invoice that it credits"),
        Column("tenant", "text", "whose invoice; of a user's invoice: whose user"),
        Column("username", "text", "the user whose invoice it is; empty: the tenant's"),
        Column("issued", "date", "the day in UTC"),
        Column("line", "integer", "number of the line in the credit note"),
        Column(
            "invoice_line", "integer", "number of the line of the invoice that it gives back, or a part of it"
        ),
        Column("kind", "word", "of the line of the invoice: usage, included, base-fee, .."),
        Column("period_start", "date", "the first day that the line of the invoice bills"),
        Column("period_end", "date", "the first day that is not included"),
        Column("description", "text", "as it stands on the invoice"),
        Column("currency", "word", "ISO 4217"),
        money("net", "given back, without tax, in the currency"),
        Column("tax_rate", "decimal", "percent", (9, 9)),
        Column("tax_rule", "text", "why it is this rate"),
        Column("credit_note_id", "integer", ""),
        Column("document_id", "integer", "of the invoice"),
    ),
    query=f"""
    SELECT note.number, invoice.number AS invoice, tenant.name AS tenant, invoice.username,
           (note.issued_at AT TIME ZONE 'UTC')::date AS issued, given.line, given.invoice_line, billed.kind,
           billed.period_start, billed.period_end, given.description, note.currency::text AS currency,
           round(given.net, note.digits) AS net, trim_scale(given.tax_rate) AS tax_rate, given.tax_rule,
           note.id AS credit_note_id, invoice.id AS document_id, note.issued_at
    {_DOCUMENTS}
    JOIN public.credit_notes AS note ON note.invoice_id = invoice.id
    JOIN public.credit_note_lines AS given ON given.credit_note_id = note.id
    LEFT JOIN public.invoice_lines AS billed ON billed.invoice_id = invoice.id AND billed.line = given.invoice_line
    WHERE {{when}} AND {{whose}}""",  # constants
    when=_NOTE_ISSUED,
    issued=_NOTE_ISSUED,
    issued_rows="lines of the credit notes that were issued on these days (UTC)",
    of_tenant=_OF_TENANT,
    order=("issued_at", "credit_note_id", "line"),
    sums=("net",),
    by_currency=True,
)
