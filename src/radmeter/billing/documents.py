"""Reads documents: lists of invoices and credit notes, one with its lines, and what a command of money is about."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from radmeter.billing.months import Month
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row, rows
from radmeter.routers.tenants import ids

COLUMNS = (
    "number",
    "tenant",
    "period_start",
    "period_end",
    "currency",
    "usage_bytes",
    "net",
    "tax",
    "gross",
    "status",
    "username",
    "credited",
    "issued_at",
    "voided_at",
    "issuer",
    "id",
)
LINE_COLUMNS = (
    "line",
    "kind",
    "period_start",
    "period_end",
    "description",
    "arithmetic",
    "usage_bytes",
    "quantity",
    "unit",
    "unit_price",
    "net",
    "tax_rate",
    "tax_rule",
    "adjusts",
)
CREDIT_COLUMNS = (
    "number",
    "invoice",
    "tenant",
    "username",
    "issued",
    "currency",
    "net",
    "tax",
    "gross",
    "reason",
    "voids",
    "issued_at",
    "issuer",
    "id",
)

# Also what others wrote into the table, without a number.
LIST = """
SELECT invoice.id, invoice.number, coalesce(tenant.name, '') AS tenant, invoice.username, invoice.period_start,
       invoice.period_end, invoice.currency, coalesce(invoice.usage_bytes, 0) AS usage_bytes,
       invoice.net, invoice.tax, invoice.amount AS gross, invoice.status,
       round(coalesce((SELECT sum(note.amount) FROM public.credit_notes AS note WHERE note.invoice_id = invoice.id), 0),
             coalesce(invoice.digits, 0)::integer)
           AS credited,
       invoice.issued_at, invoice.voided_at, issuer.name AS issuer, invoice.issuer_id, invoice.close_id,
       invoice.digits
FROM public.invoices AS invoice
LEFT JOIN radmeter.tenants AS tenant ON tenant.id = coalesce(invoice.tenant_id, invoice.of_tenant_id)
LEFT JOIN radmeter.issuers AS issuer ON issuer.id = invoice.issuer_id
WHERE (%(period)s::date IS NULL OR invoice.period_start = %(period)s)
  AND (%(tenants)s::bigint[] IS NULL OR tenant.id = ANY (%(tenants)s))
  AND (%(username)s::text IS NULL OR invoice.username = %(username)s)
  AND (%(status)s::text IS NULL OR invoice.status = %(status)s)
  AND (%(number)s::text IS NULL OR invoice.number = %(number)s)
  AND (%(id)s::bigint IS NULL OR invoice.id = %(id)s)
  AND (%(issuer)s::text IS NULL OR issuer.name = %(issuer)s)
ORDER BY invoice.period_start, invoice.username NULLS FIRST, tenant.name, invoice.id"""
LINES = """
SELECT line, kind, period_start, period_end, description, arithmetic, usage_bytes, quantity, unit, unit_price, net,
       tax_rate, tax_rule, adjusts, plan_id, top_up_id, detail
FROM public.invoice_lines WHERE invoice_id = %(id)s ORDER BY line"""
NOTES = """
SELECT id, number, issued_at, net, tax, amount AS gross, reason, voids, currency
FROM public.credit_notes WHERE invoice_id = %(id)s ORDER BY id"""
CREDITS = """
SELECT note.id, note.number, invoice.number AS invoice, coalesce(tenant.name, '') AS tenant, invoice.username,
       (note.issued_at AT TIME ZONE 'UTC')::date AS issued, note.currency, note.net, note.tax, note.amount AS gross,
       note.reason, note.voids, note.issued_at, issuer.name AS issuer, note.invoice_id, note.taxes, note.digits
FROM public.credit_notes AS note JOIN public.invoices AS invoice ON invoice.id = note.invoice_id
LEFT JOIN radmeter.tenants AS tenant ON tenant.id = coalesce(invoice.tenant_id, invoice.of_tenant_id)
LEFT JOIN radmeter.issuers AS issuer ON issuer.id = note.issuer_id
WHERE (%(first)s::date IS NULL OR note.issued_at >= %(first)s::timestamp AT TIME ZONE 'UTC'
       AND note.issued_at < (%(first)s::timestamp + interval '1 month') AT TIME ZONE 'UTC')
  AND (%(tenants)s::bigint[] IS NULL OR tenant.id = ANY (%(tenants)s))
  AND (%(username)s::text IS NULL OR invoice.username = %(username)s)
  AND (%(number)s::text IS NULL OR note.number = %(number)s)
  AND (%(issuer)s::text IS NULL OR issuer.name = %(issuer)s)
ORDER BY note.issued_at, note.id"""
DETAIL = "SELECT taxes, recipient, issuer, terms FROM public.invoices WHERE id = %(id)s"
OF_USER = "SELECT id FROM public.invoices WHERE username = %(username)s LIMIT 1"


def documents(
    connection: Connection,
    *,
    month: Month | None = None,
    tenants: Sequence[str] = (),
    username: str | None = None,
    status: str | None = None,
    number: str | None = None,
    document_id: int | None = None,
    issuer: str | None = None,
) -> list[Row]:
    """Return invoices in the order of their months: tenants first, by name, then users.

    Raises
    ------
    NotKnown
        There is no tenant of a name or number, or no invoice for the user.
    """
    found = rows(
        connection,
        LIST,
        {
            "period": None if month is None else month.first,
            "tenants": ids(connection, tenants) if tenants else None,
            "username": username,
            "status": status,
            "number": number,
            "id": document_id,
            "issuer": issuer,
        },
    )
    if username is not None and not found and not rows(connection, OF_USER, {"username": username}):
        raise NotKnown(
            f"there is no invoice for the user {username!r}, written exactly so: `radmeter billing list` lists them"
        )
    return found


def credit_notes(
    connection: Connection,
    *,
    month: Month | None = None,
    tenants: Sequence[str] = (),
    username: str | None = None,
    number: str | None = None,
    issuer: str | None = None,
) -> list[Row]:
    """Return credit notes in the order in which they were issued. `month` is that of the issue, in UTC.

    Raises
    ------
    NotKnown
        There is no tenant of a name or number.
    """
    return rows(
        connection,
        CREDITS,
        {
            "first": None if month is None else month.first,
            "tenants": ids(connection, tenants) if tenants else None,
            "username": username,
            "number": number,
            "issuer": issuer,
        },
    )


def find(connection: Connection, name: str, issuer: str | None = None) -> Row:
    """Return an invoice by its number, or by ``#`` and its id, as drafts have it.

    Raises
    ------
    NotKnown
        There is none, or several issuers have given the number.
    """
    digits = name.removeprefix("#")
    if name.startswith("#") and digits.isascii() and digits.isdigit() and len(digits) < 19:
        found = documents(connection, document_id=int(digits), issuer=issuer)
    else:
        found = documents(connection, number=name, issuer=issuer)
    if not found:
        of = "" if issuer is None else f" of the issuer {issuer!r}"
        gaps = " The numbers of drafts have gaps: a dry run uses some up." if name.startswith("#") else ""
        raise NotKnown(
            f"there is no invoice {name!r}{of}: `radmeter billing list` lists them.{gaps}".rstrip(".")
        )
    if len(found) > 1:
        issuers = ", ".join(row["issuer"] for row in found)
        raise NotKnown(f"several issuers have an invoice {name!r} ({issuers}): name one with --issuer")
    return found[0]


def whole(connection: Connection, document: Row) -> Row:
    """Return an invoice with its lines, its credit notes, its taxes, and the data copied into it."""
    values = {"id": document["id"]}
    (detail,) = rows(connection, DETAIL, values)
    return {
        **document,
        **detail,
        "lines": rows(connection, LINES, values),
        "credit_notes": rows(connection, NOTES, values),
    }


def sums(found: Sequence[Row]) -> dict[str, Decimal]:
    """Return the sums of documents with tax, by currency."""
    return by_currency((row["currency"], row["gross"]) for row in found)


def by_currency(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    """Return the sums of amounts, in the order of their currencies."""
    total: dict[str, Decimal] = {}
    for currency, amount in amounts:
        total[currency] = total.get(currency, Decimal(0)) + amount
    return dict(sorted(total.items()))
