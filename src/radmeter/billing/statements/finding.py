"""Which files there are to write: a tenant's month, a document by its number, or all of a month."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from radmeter.billing import documents
from radmeter.billing.months import Month
from radmeter.billing.statements.document import Statement
from radmeter.billing.statements.files import file_name
from radmeter.billing.statements.reading import read_credit_notes, read_invoices, together
from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown
from radmeter.routers.tenants import ids

OF_TENANTS = """
SELECT tenant.id, tenant.name, array_agg(document.id ORDER BY document.id) AS documents
FROM public.invoices AS document JOIN radmeter.tenants AS tenant ON tenant.id = document.tenant_id
WHERE document.period_start >= %(first)s AND document.period_start < %(next)s
  AND (%(tenant)s::bigint IS NULL OR tenant.id = %(tenant)s)
GROUP BY tenant.id ORDER BY tenant.name, tenant.id"""
OF_USERS = """
SELECT document.id, document.username AS name
FROM public.invoices AS document
WHERE document.username IS NOT NULL AND document.tenant_id IS NULL
  AND document.period_start >= %(first)s AND document.period_start < %(next)s
ORDER BY document.username, document.id"""
OF_CREDIT_NOTES = """
SELECT note.id, note.number AS name FROM public.credit_notes AS note
WHERE note.issued_at >= %(first)s::timestamp AT TIME ZONE 'UTC'
  AND note.issued_at < %(next)s::timestamp AT TIME ZONE 'UTC'
ORDER BY note.issued_at, note.id"""
HOW_TO_CLOSE = "`radmeter billing close {period}` makes them once it has ended"

Read = Callable[[Connection, Sequence[int]], dict[int, Statement]]


@dataclass(frozen=True)
class Wanted:
    """A file that is to be written, of documents by their ids. `whose` is for messages, `name` that of the file."""

    whose: str
    name: str
    ids: Sequence[int]
    read: Read


def of_tenant(connection: Connection, period: Month, tenant: str) -> Wanted:
    """Return the file of a tenant's month.

    Raises
    ------
    NotKnown
        There is no such tenant, or it has no document of the month.
    """
    (tenant_id,) = ids(connection, [tenant])
    found = _of_tenants(connection, period, tenant_id)
    if not found:
        raise NotKnown(
            f"tenant {tenant!r} has no documents of {period}: {HOW_TO_CLOSE.format(period=period)}"
        )
    return found[0]


def of_number(connection: Connection, number: str, issuer: str | None) -> Wanted:
    """Return the file of an invoice or a credit note. A draft is named ``#ID``.

    Raises
    ------
    NotKnown
        There is none, or several issuers have given the number.
    """
    notes = documents.credit_notes(connection, number=number, issuer=issuer)
    if notes and not documents.documents(connection, number=number, issuer=issuer):
        # Two issuers may have given it: none is taken by chance.
        if len(notes) > 1:
            issuers = ", ".join(note["issuer"] for note in notes)
            raise NotKnown(
                f"several issuers have a credit note {number!r} ({issuers}): name one with --issuer"
            )
        return Wanted(f"credit note {number}", number, [notes[0]["id"]], read_credit_notes)
    return Wanted(
        f"document {number}", number, [documents.find(connection, number, issuer)["id"]], read_invoices
    )


def of_month(connection: Connection, period: Month, kinds: Sequence[str]) -> list[Wanted]:
    """Return the files of a month: one for each tenant, each document of a user, and each credit note issued in it.

    Raises
    ------
    NotKnown
        There is none.
    """
    span = {"first": period.first, "next": period.end}
    found = _of_tenants(connection, period, None) if "tenants" in kinds else []
    for kind, query, whose, kind_of_file, read in (
        ("users", OF_USERS, "user", "invoice", read_invoices),
        ("credit-notes", OF_CREDIT_NOTES, "credit note", "credit", read_credit_notes),
    ):
        if kind in kinds:
            found += [
                Wanted(
                    f"{whose} {row['name']!r}",
                    file_name(period.first, row["name"], f"{kind_of_file}{row['id']}"),
                    [row["id"]],
                    read,
                )
                for row in views.rows(connection, query, span)
            ]
    if not found:
        raise NotKnown(f"there are no documents of {period}: {HOW_TO_CLOSE.format(period=period)}")
    return found


def read_files(connection: Connection, wanted: Sequence[Wanted]) -> list[Statement]:
    """Return what files are made of, in their order.

    Raises
    ------
    DoesNotAddUp
        A document is not the sum of its lines.
    """
    read: dict[Read, dict[int, Statement]] = {
        how: how(connection, [number for each in wanted if each.read is how for number in each.ids])
        for how in {each.read for each in wanted}
    }
    found = []
    for each in wanted:
        statements = [read[each.read][number] for number in each.ids]
        found.append(statements[0] if len(statements) == 1 else together(statements))
    return found


def _of_tenants(connection: Connection, period: Month, tenant_id: int | None) -> list[Wanted]:
    values: dict[str, date | int | None] = {"first": period.first, "next": period.end, "tenant": tenant_id}
    return [
        Wanted(
            f"tenant {row['name']!r}",
            file_name(period.first, row["name"], str(row["id"])),
            row["documents"],
            read_invoices,
        )
        for row in views.rows(connection, OF_TENANTS, values)
    ]
