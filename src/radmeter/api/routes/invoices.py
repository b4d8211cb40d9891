"""Invoices and their files."""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct

from radmeter.api.listing import Listing
from radmeter.api.reads import invoices as read
from radmeter.api.reads.invoices import MEDIA_TYPES, Invoice, InvoiceItem
from radmeter.api.route import EVERYBODY, Call, FileReply, ListQuery, Reply, Route, Text
from radmeter.billing.issued_files import IssuedFiles

Month = Annotated[str, Meta(pattern="^[0-9]{4}-(0[1-9]|1[0-2])$", description="A month, such as 2026-10.")]


class InvoicesQuery(ListQuery, forbid_unknown_fields=True, kw_only=True):
    """Which invoices."""

    period: Month | None = None
    tenant: Annotated[Text | None, Meta(description="The name of a tenant.")] = None
    username: Text | None = None
    status: Literal["draft", "issued", "void"] | None = None


class StatementQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """As what."""

    format: Literal["pdf", "html"] = "pdf"


async def listed(call: Call) -> Listing[InvoiceItem]:
    """Answer with invoices."""
    query = call.query
    period = (
        None if query.period is None or query.period < "0001" else date.fromisoformat(f"{query.period}-01")
    )
    return read.invoices(period=period, tenant=query.tenant, username=query.username, status=query.status)


async def one(call: Call) -> Reply:
    """Answer with an invoice."""
    return Reply(content=await read.invoice(call.connection, call.id()))


async def document(call: Call) -> FileReply:
    """Answer with the signed JSON of an invoice."""
    files = IssuedFiles(call.settings.billing_directory, call.settings.billing_key_file)
    name, made = await read.document(call.connection, call.id(), files)
    return FileReply(name=name, media_type="application/json", made=made)


async def statement(call: Call) -> FileReply:
    """Answer with the invoice for people."""
    kind = call.query.format
    name, made = await read.statement(call.connection, call.id(), kind)
    return FileReply(name=name, media_type=MEDIA_TYPES[kind], made=made)


ROUTES = (
    Route(
        method="GET",
        path="/invoices",
        handler=listed,
        roles=EVERYBODY,
        query=InvoicesQuery,
        reply=InvoiceItem,
        is_list=True,
        summary="Invoices, the newest first",
    ),
    Route(
        method="GET",
        path="/invoices/{id}",
        handler=one,
        roles=EVERYBODY,
        reply=Invoice,
        summary="An invoice with its lines and credit notes",
    ),
    Route(
        method="GET",
        path="/invoices/{id}/document",
        handler=document,
        roles=EVERYBODY,
        reply=None,
        media_types=("application/json",),
        summary="The invoice as it was issued: signed JSON",
    ),
    Route(
        method="GET",
        path="/invoices/{id}/statement",
        handler=statement,
        roles=EVERYBODY,
        query=StatementQuery,
        reply=None,
        media_types=tuple(each.partition(";")[0] for each in MEDIA_TYPES.values()),
        summary="The invoice for people, as PDF or HTML",
    ),
)
