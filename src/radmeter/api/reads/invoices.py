"""Invoices: the list, one with its lines, and their files."""

from collections.abc import Callable
from datetime import date, datetime

from msgspec import Struct

from radmeter.api.blocking import in_thread
from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Listing, Order, Row, reader, rows
from radmeter.api.problems import Problem, not_found
from radmeter.api.route import Bytes
from radmeter.billing.issued_files import BadFile, IssuedFiles, Key
from radmeter.errors import MissingExtra, RadmeterError

INVOICES = """
SELECT invoice.id, invoice.number, tenant.name AS tenant,
       coalesce(invoice.tenant_id, invoice.of_tenant_id) AS tenant_id, invoice.username, invoice.period_start,
       invoice.period_end, invoice.currency,
       coalesce(invoice.usage_bytes, 0) AS usage_bytes, coalesce(invoice.net, invoice.amount) AS net,
       coalesce(invoice.tax, 0) AS tax, invoice.amount AS gross, invoice.status,
       (SELECT coalesce(sum(note.amount), round(0, coalesce(invoice.digits, 0)::integer))
        FROM public.credit_notes AS note WHERE note.invoice_id = invoice.id) AS credited,
       invoice.issued_at, invoice.voided_at, issuer.name AS issuer
FROM public.invoices AS invoice
LEFT JOIN radmeter.tenants AS tenant ON tenant.id = coalesce(invoice.tenant_id, invoice.of_tenant_id)
LEFT JOIN radmeter.issuers AS issuer ON issuer.id = invoice.issuer_id
WHERE true"""
LINES = """
SELECT line, kind, period_start, period_end, description, arithmetic, usage_bytes, quantity, unit, unit_price, net,
       tax_rate, tax_rule
FROM public.invoice_lines WHERE invoice_id = %(id)s ORDER BY line"""
NOTES = """
SELECT id, number, issued_at, currency, net, tax, amount AS gross, reason
FROM public.credit_notes WHERE invoice_id = %(id)s ORDER BY id"""
KEY = "SELECT issuer_id, number_year, sequence, tenant_id, period_start, number FROM public.invoices WHERE id = %(id)s"
# What damaged values of a document raise: text where a number should be, or a key that is not there.
DAMAGED = (ArithmeticError, LookupError, TypeError, ValueError)
MEDIA_TYPES = {"pdf": "application/pdf", "html": "text/html; charset=utf-8"}


class InvoiceItem(Struct, kw_only=True):
    """An invoice. Amounts are text, in its currency. A tenant's key sees no drafts."""

    id: int
    number: str | None
    tenant: str | None
    tenant_id: int | None
    username: str | None
    period_start: date
    period_end: date
    currency: str | None
    usage_bytes: Bytes
    net: str
    tax: str
    gross: str
    status: str
    credited: str
    issued_at: datetime | None
    voided_at: datetime | None
    issuer: str | None


class InvoiceLine(Struct, kw_only=True):
    """A line of an invoice: how its amount was computed."""

    line: int
    kind: str
    period_start: date | None
    period_end: date | None
    description: str
    arithmetic: str
    usage_bytes: Bytes | None
    quantity: str | None
    unit: str | None
    unit_price: str | None
    net: str
    tax_rate: str | None
    tax_rule: str | None


class CreditNote(Struct, kw_only=True):
    """A credit note of an invoice."""

    id: int
    number: str
    issued_at: datetime
    currency: str
    net: str
    tax: str
    gross: str
    reason: str


class Invoice(InvoiceItem, kw_only=True):
    """An invoice with its lines and credit notes."""

    lines: list[InvoiceLine]
    credit_notes: list[CreditNote]


def invoices(
    *,
    period: date | None = None,
    tenant: str | None = None,
    username: str | None = None,
    status: str | None = None,
) -> Listing[InvoiceItem]:
    """Return the list of invoices, the newest first. `period` is the first day of the month."""
    query = INVOICES
    if period is not None:
        query += " AND invoice.period_start = %(period)s"
    if tenant is not None:
        query += " AND tenant.name = %(tenant)s"
    if username is not None:
        query += " AND invoice.username = %(username)s"
    if status is not None:
        query += " AND invoice.status = %(status)s"
    return Listing(
        query=query,
        values={"period": period, "tenant": tenant, "username": username, "status": status},
        order=(Order("invoice.id", "bigint"),),
        descending=True,
        item=InvoiceItem,
    )


async def invoice(connection: ApiConnection, invoice_id: int) -> Invoice:
    """Return an invoice. Raises Problem if there is none, or if it is another tenant's."""
    found = await rows(connection, f"{INVOICES} AND invoice.id = %(id)s", {"id": invoice_id})
    if not found:
        raise _none(invoice_id)
    lines = [reader(InvoiceLine)(row) for row in await rows(connection, LINES, {"id": invoice_id})]
    notes = [reader(CreditNote)(row) for row in await rows(connection, NOTES, {"id": invoice_id})]
    return reader(Invoice)({**found[0], "lines": lines, "credit_notes": notes})


async def document(
    connection: ApiConnection, invoice_id: int, files: IssuedFiles
) -> tuple[str, Callable[[], bytes]]:
    """Return the name of the signed JSON that was issued, and a function that reads it.

    Raises
    ------
    Problem
        There is no such invoice, or it was not issued.
    """
    row = await _key(connection, invoice_id)
    if row["sequence"] is None or row["issuer_id"] is None:
        raise not_found(f"invoice {invoice_id} has no file: it was not issued by radmeter")
    key = Key("invoice", row["issuer_id"], row["number_year"], row["sequence"])

    def read() -> bytes:
        try:
            content = (files.directory / key.file_name).read_bytes()
            files.read(key)
            return content
        except PermissionError:
            raise Problem(
                503,
                "file-unreadable",
                "the user of this server may not read the directory of issued documents: its owner permits it",
            ) from None
        except (BadFile, OSError, RadmeterError):
            raise Problem(
                503,
                "file-unreadable",
                "the file of this invoice is not on this server, or it is not as it was issued",
            ) from None

    return key.file_name, read


async def statement(connection: ApiConnection, invoice_id: int, kind: str) -> tuple[str, Callable[[], bytes]]:
    """Return the name of an invoice's statement, and a function that makes it.

    Raises
    ------
    Problem
        There is no such invoice, or it does not add up.
    """
    from radmeter.billing.statements.files import file_name
    from radmeter.billing.statements.reading import DoesNotAddUp, read_invoices

    try:
        statements = await in_thread(connection, lambda blocking: read_invoices(blocking, [invoice_id]))
    except (DoesNotAddUp, *DAMAGED):
        raise _damaged() from None
    if invoice_id not in statements:
        raise _none(invoice_id)
    found = statements[invoice_id]

    def made() -> bytes:
        try:
            return _made(found, kind)
        except MissingExtra:
            raise not_found("this server makes no PDF: ask for format=html") from None
        except (RadmeterError, *DAMAGED):
            raise _damaged() from None

    return f"{file_name(found.period, found.whose, f'invoice{invoice_id}')}.{kind}", made


def _made(found: object, kind: str) -> bytes:
    from radmeter.billing.statements.document import Statement
    from radmeter.billing.statements.html import as_html
    from radmeter.billing.statements.layout import lay_out
    from radmeter.billing.wording import language_of

    assert isinstance(found, Statement)
    language, _ = language_of(found.language)
    if kind == "html":
        return as_html(lay_out(found, language))
    try:
        from radmeter.billing.statements.lines_csv import as_csv
        from radmeter.billing.statements.pdf import as_pdf
    except ImportError:
        raise MissingExtra("typst is not installed") from None
    return as_pdf(lay_out(found, language, attached=True), as_csv(found)).content


async def _key(connection: ApiConnection, invoice_id: int) -> Row:
    found = await rows(connection, KEY, {"id": invoice_id})
    if not found:
        raise _none(invoice_id)
    return found[0]


def _none(invoice_id: int) -> Problem:
    return not_found(f"there is no invoice {invoice_id}")


def _damaged() -> Problem:
    return Problem(503, "document-damaged", "this document does not add up: ask the operator")
