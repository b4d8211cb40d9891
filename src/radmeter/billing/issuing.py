"""Issues drafts and credit notes: numbers are drawn, files are written, then the transaction commits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from psycopg.types.json import Jsonb

from radmeter import waits
from radmeter.billing import content, origin
from radmeter.billing.closing import alone
from radmeter.billing.credit import Credit, CreditedLine, Invoice
from radmeter.billing.issued_files import IssuedFiles
from radmeter.billing.lines import Money, Tax, TaxMode, TaxTotal
from radmeter.billing.rounding import Rounding
from radmeter.billing.settings import ROLE
from radmeter.billing.writing import text
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.views import Row, rows
from radmeter.errors import StoreError

RECONCILE = "run `radmeter billing reconcile`"
LINES = """
SELECT line, net, tax_rate, tax_rule, description FROM public.invoice_lines
WHERE invoice_id = %(id)s ORDER BY line"""
TAXES = """
SELECT of.rate, of.rule, of.net, of.tax
FROM public.invoices AS invoice,
     jsonb_to_recordset(invoice.taxes) AS of (rate numeric, rule text, net numeric, tax numeric)
WHERE invoice.id = %(id)s"""
CREDITED = """
SELECT line.invoice_line AS line, line.net, line.tax_rate, line.tax_rule
FROM public.credit_notes AS note JOIN public.credit_note_lines AS line ON line.credit_note_id = note.id
WHERE note.invoice_id = %(id)s"""
CREDITED_TAXES = """
SELECT of.rate, of.rule, of.net, of.tax
FROM public.credit_notes AS note,
     jsonb_to_recordset(note.taxes) AS of (rate numeric, rule text, net numeric, tax numeric)
WHERE note.invoice_id = %(id)s"""
# A document of a user with days of plans, of whom no history is left.
FORGOTTEN = """
SELECT invoice.username FROM public.invoices AS invoice
WHERE invoice.id = %(id)s AND EXISTS (
    SELECT FROM public.invoice_lines AS line WHERE line.invoice_id = invoice.id AND line.plan_id IS NOT NULL)
  AND NOT EXISTS (SELECT FROM radmeter.plan_history AS history WHERE history.username = invoice.username)"""


def refuse_unreconciled(connection: Connection, files: IssuedFiles, *, both: bool) -> None:
    """Check that the directory knows no more than the database; with `both`, that the database knows no more either.

    A database that was restored from a dump has forgotten documents, and would give their numbers a second time.

    Raises
    ------
    StoreError
        One of them lacks documents. The message has the remedy.
    """
    database = origin.origin(connection)
    origin.refuse_other_database(database, files.directory)
    there, here = files.keys(), content.keys(connection).keys()
    if unknown := sorted(there - here):
        raise StoreError(
            f"the database lacks {len(unknown)} of the documents in {files.directory}, such as {unknown[0].file_name}. "
            "The database was restored from a dump, a command was killed, or a copy of it has issued there. "
            f"Nothing was done: {RECONCILE}"
        )
    origin.refuse_copy(database, files.directory)
    if both and (missing := sorted(here - there)):
        raise StoreError(
            f"{files.directory} lacks {len(missing)} of the documents of the database, such as {missing[0].file_name}: "
            f"billing_directory is another one, or it was not restored. Nothing was done: {RECONCILE}"
        )


def still_connected(connection: Connection) -> Callable[[], object]:
    """Return what asks whether the connection lives. With it the lock is lost, and somebody else may issue."""
    return lambda: connection.execute("SELECT 1")


@contextmanager
def _writing(connection: Connection, files: IssuedFiles) -> Iterator[None]:
    """Be alone and in a transaction. It commits after the files of the block are on the disk."""
    with explained_errors(ROLE), alone(connection):
        files.prepare()
        with files.alone(), connection.transaction():
            refuse_unreconciled(connection, files, both=True)
            origin.claim(origin.origin(connection), files.directory)
            yield


def issue(connection: Connection, files: IssuedFiles, drafts: Sequence[int]) -> list[Row]:
    """Issue drafts. Return their numbers and ids, in the order of the numbers.

    Before the commit the documents are files on the disk. If the command is killed between the two, the files are there
    and the database does not have the numbers: `close` and `issue` refuse until `reconcile` has taken them back.

    Raises
    ------
    StoreError
        A draft is none any more, the directory and the database do not know the same, or a file cannot be written.
    """
    with waits.waiting_for("the issue"), _writing(connection, files):
        ((ids,),) = connection.execute("SELECT radmeter.issue_drafts(%s)", (list(drafts),)).fetchall()
        files.write(content.invoices(connection, ids), still_alone=still_connected(connection))
        return rows(
            connection,
            "SELECT id, number FROM public.invoices WHERE id = ANY (%(ids)s) ORDER BY array_position(%(ids)s, id)",
            {"ids": ids},
        )


def credit(
    connection: Connection,
    files: IssuedFiles,
    invoice_id: int,
    made: Callable[[Invoice, Money], Credit],
    reason: str,
    *,
    voids: bool = False,
) -> str:
    """Issue a credit note of an invoice; with `voids` the invoice becomes void. Return the note's number.

    Parameters
    ----------
    made
        Computes the credit from the invoice and what is left of it.

    Raises
    ------
    StoreError
        The invoice is not issued, or less is left of it.
    """
    with _writing(connection, files):
        invoice, money, descriptions = creditable(connection, invoice_id)
        given = made(invoice, money)
        if voids:
            _refuse_forgotten(connection, invoice_id, invoice.number)
        note = {
            "invoice_id": invoice_id,
            "net": text(given.net),
            "tax": text(given.tax),
            "taxes": [
                {
                    "rate": text(each.tax.rate),
                    "rule": each.tax.rule,
                    "net": text(each.net),
                    "tax": text(each.amount),
                }
                for each in given.taxes
            ],
            "reason": reason,
            "voids": voids,
            "lines": [
                {
                    "invoice_line": each.line,
                    "description": descriptions[each.line],
                    "net": text(each.net),
                    "tax_rate": text(each.tax.rate),
                    "tax_rule": each.tax.rule,
                }
                for each in given.lines
            ],
        }
        ((note_id,),) = connection.execute("SELECT radmeter.add_credit_note(%s)", (Jsonb(note),)).fetchall()
        (document,) = content.credit_notes(connection, [note_id])
        files.write([document], still_alone=still_connected(connection))
        return str(document["number"])


def creditable(connection: Connection, invoice_id: int) -> tuple[Invoice, Money, dict[int, str]]:
    """Return an invoice with what was credited of it, how it is rounded, and the descriptions of its lines."""
    values = {"id": invoice_id}
    (row,) = rows(
        connection,
        "SELECT number, currency, digits, terms, close_id, status FROM public.invoices WHERE id = %(id)s",
        values,
    )
    if row["close_id"] is None or row["status"] == "draft":
        raise StoreError(f"#{invoice_id} was not issued by radmeter: only an issued document can be credited")
    if row["status"] == "void":
        raise StoreError(f"{row['number']} is void already: nothing is left of it")
    lines = rows(connection, LINES, values)
    terms = row["terms"] or {}
    money = Money(
        currency=row["currency"],
        digits=row["digits"],
        rounding=Rounding(terms.get("rounding", Rounding.HALF_UP)),
        tax=TaxMode(terms.get("tax", TaxMode.SUM)),
    )
    invoice = Invoice(
        number=row["number"],
        lines=[_line(each) for each in lines],
        taxes=[_tax(each) for each in rows(connection, TAXES, values)],
        credited=[_line(each) for each in rows(connection, CREDITED, values)],
        credited_taxes=[_tax(each) for each in rows(connection, CREDITED_TAXES, values)],
    )
    return invoice, money, {each["line"]: each["description"] for each in lines}


def _refuse_forgotten(connection: Connection, invoice_id: int, number: str) -> None:
    """Check that the plans of a document can be billed again: nobody knows any more which an erased user had."""
    for (username,) in connection.execute(FORGOTTEN, {"id": invoice_id}):
        raise StoreError(
            f"{number} cannot become void: the history of the plans of {username!r} has another name, since the user "
            f"was erased or renamed, so they would never be billed again. Give the money back: "
            f"radmeter billing credit {number} --all"
        )


def _line(row: Row) -> CreditedLine:
    return CreditedLine(row["line"], row["net"], Tax(row["tax_rate"], row["tax_rule"]))


def _tax(row: Row) -> TaxTotal:
    return TaxTotal(Tax(row["rate"], row["rule"]), row["net"], row["tax"])
