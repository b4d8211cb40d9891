"""Compares the directory of issued documents with the database, and brings each what it lacks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from radmeter import waits
from radmeter.billing import content, origin
from radmeter.billing.closing import alone
from radmeter.billing.issued_files import BadFile, IssuedFiles, Key
from radmeter.billing.settings import ROLE
from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import StoreError

# A document that was restored may have another id, who is in it another name, and its database another place. The state
# of an invoice is not in its file.
NOT_COMPARED = ("id", "known", "database")
# What is restored gets whatever number, author and time the caller says. So accountants may not.
RESTORES = "radmeter_owner"


class Result(NamedTuple):
    """What a comparison found, and did.

    Attributes
    ----------
    restored
        Numbers that the database had forgotten.
    written
        Numbers whose files were missing.
    faults
        What is wrong with a file, or a document that cannot be restored. Nothing was done about these.
    """

    same: int
    restored: list[str]
    written: list[str]
    faults: list[str]


def reconcile(connection: Connection, files: IssuedFiles, *, dry_run: bool = False) -> Result:
    """Compare both. Restore what the database has forgotten, and write files that are missing.

    A number in a signed file was given out: its document is taken back as it is there, and the number is not given out
    again. A file that was changed is named, and nothing is taken from it.

    With `dry_run` nothing is changed.
    """
    with explained_errors(ROLE), waits.waiting_for("the comparison"), alone(connection):
        if dry_run:
            with connection.transaction(force_rollback=True):
                return _reconcile(connection, files, dry_run)
        files.prepare()
        with files.alone(), connection.transaction():
            return _reconcile(connection, files, dry_run)


def _reconcile(connection: Connection, files: IssuedFiles, dry_run: bool) -> Result:
    database = origin.origin(connection)
    origin.refuse_other_database(database, files.directory)
    there, here = files.keys(), content.keys(connection)
    faults: list[str] = []
    same = 0
    for document in _issued(connection, {key: here[key] for key in there & here.keys()}):
        key = Key.of(document)
        try:
            found = files.read(key)
        except BadFile as error:
            faults.append(
                f"{error}. The database has {document['number']}: move the file away and run this again"
            )
            continue
        if _compared(found) != _compared(document):
            faults.append(
                f"{files.directory / key.file_name} and the database differ about {document['number']}: one was "
                "changed by hand. The file is signed"
            )
            continue
        same += 1
    restored = []
    lost: list[tuple[str, bool, Key]] = []
    for key in there - here.keys():
        try:
            document = files.read(key)
            if reason := origin.foreign(database, files.directory, document):
                faults.append(f"{files.directory / key.file_name} is not restored: {reason}")
                continue
            lost.append((document["issued_at"], key.kind != "invoice", key))
        except BadFile as error:
            faults.append(f"{error}. The database has no such document: restore the file from a backup")
    # As they were issued: an invoice, its credit note, and what billed the same month after the invoice was void.
    for *_, key in sorted(lost):
        try:
            document = files.read(key)
            with connection.transaction():
                _restore(connection, document)
            restored.append(str(document["number"]))
        except BadFile as error:
            faults.append(f"{error}. The database has no such document: restore the file from a backup")
        except StoreError as error:
            faults.append(str(error))
    missing = {key: here[key] for key in here.keys() - there}
    written = []
    for document in _issued(connection, missing):
        if not dry_run:
            files.write([document])
        written.append(str(document["number"]))
    # With a fault, a part of what a former place has issued may still have to be taken back.
    if not dry_run and not faults:
        origin.claim(database, files.directory)
    return Result(same, restored, written, faults)


def _issued(connection: Connection, keys: dict[Key, int]) -> Any:
    of_kind: dict[str, Sequence[int]] = {
        kind: [keys[key] for key in sorted(keys) if key.kind == kind] for kind in ("invoice", "credit_note")
    }
    yield from content.invoices(connection, of_kind["invoice"])
    yield from content.credit_notes(connection, of_kind["credit_note"])


def _restore(connection: Connection, document: dict[str, Any]) -> None:
    function = "restore_invoice" if document["kind"] == "invoice" else "restore_credit_note"
    with explained_errors(RESTORES):
        connection.execute(f"SELECT radmeter.{function}(%s)".encode(), (Jsonb(document),))


def _compared(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in NOT_COMPARED}
