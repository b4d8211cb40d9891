"""Issuing drafts: numbers without gaps, signed files, and what is left when it fails or is killed."""

import json
import multiprocessing
import os
import signal
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from support.billing_clock import set_clock
from support.books import FORMER, GB, LATEST, Books, day
from support.commands import radmeter
from support.servers import Connection

from radmeter.billing import content, issuing
from radmeter.billing.issued_files import IssuedFiles
from radmeter.database.connection import connect
from radmeter.errors import ConfigurationError, StoreError


@pytest.fixture(autouse=True)
def _recipients(books: Books) -> None:
    for name in ("acme", "beta", "coda"):
        books.tenant(name)
        books.router(f"of {name}", name)
        books.used(f"of {name}", day(LATEST, 3), GB)
        books.used(f"of {name}", day(FORMER, 3), GB)


def numbers(books: Books) -> list[int]:
    return [
        sequence
        for (sequence,) in books.connection.execute(
            "SELECT sequence FROM invoices WHERE sequence IS NOT NULL ORDER BY sequence"
        )
    ]


def test_drafts_get_numbers_in_the_order_of_names(books: Books) -> None:
    books.close(LATEST)
    year = datetime.now(UTC).year
    assert books.issue(LATEST, "beta") == [f"{year}-000001"]
    assert books.issue(LATEST) == [f"{year}-000002", f"{year}-000003"]
    assert [(row["tenant"], row["number"]) for row in books.documents()] == [
        ("acme", f"{year}-000002"),
        ("beta", f"{year}-000001"),
        ("coda", f"{year}-000003"),
    ]


def test_each_issuer_has_numbers_of_its_own(books: Books) -> None:
    books.issuer("Y")
    books.connection.execute(
        "UPDATE radmeter.tenants SET issuer_id = (SELECT id FROM radmeter.issuers WHERE name = 'Y') WHERE name > 'b'"
    )
    assert [*books.closed(LATEST)][1:] == ["Y-1", "Y-2"]
    assert numbers(books) == [1, 1, 2]


def of_y_from(books: Books, first: int) -> None:
    """Let an issuer Y issue all but acme's documents, with bare numbers from one on."""
    books.issuer("Y", number_format="{number}")
    books.connection.execute(
        "UPDATE radmeter.tenants SET issuer_id = (SELECT id FROM radmeter.issuers WHERE name = 'Y') WHERE name > 'b'"
    )
    books.connection.execute(
        "INSERT INTO radmeter.document_number SELECT id, 'invoice', 0, %s FROM radmeter.issuers WHERE name = 'Y'",
        (first - 1,),
    )


def formats(books: Books, *options: str) -> None:
    done = radmeter(books.dsn, "billing", "issuers", "set", *options)
    assert done.exit_code == 0, done.errors


def test_two_issuers_never_give_the_same_number(books: Books) -> None:
    of_y_from(books, 10)
    formats(books, "default", "--number-format", "1{number}")
    books.close(LATEST)
    before = books.everything()
    # beta's would be 10, acme's and coda's both 11.
    with pytest.raises(
        StoreError, match=r'the number 11 is that of an invoice of the issuer "default" already'
    ):
        books.issue(LATEST)
    assert books.everything() == before
    formats(books, "Y", "--number-format", "Y{number}")
    assert books.issue(LATEST) == ["11", "Y10", "Y11"]


def test_a_credit_note_never_has_the_number_of_an_invoice(books: Books) -> None:
    of_y_from(books, 11)
    formats(books, "default", "--credit-format", "1{number}")
    acme, *others = books.closed(LATEST)
    assert others == ["11", "12"]
    with pytest.raises(
        StoreError, match=r"the number 11 is that of an invoice .*radmeter billing issuers set"
    ):
        books.credit(acme, "0.10")
    formats(books, "default", "--credit-format", "C1{number}")
    assert books.credit(acme, "0.10") == "C11"
    # A table also refuses by itself.
    other = '{"id": 99, "sequence": 99, "issuer_id": 2}'
    with pytest.raises(psycopg.errors.UniqueViolation, match="C11"):
        books.connection.execute(
            "INSERT INTO credit_notes SELECT (jsonb_populate_record(note, %s)).* FROM credit_notes AS note",
            (other,),
        )


def test_numbers_begin_again_each_year_if_the_issuer_wants_it(books: Books) -> None:
    books.connection.execute(
        "UPDATE radmeter.issuers SET yearly = true, number_format = 'R{year}/{number:03}'"
    )
    set_clock(books.connection, datetime(2030, 12, 31, 23, 59, tzinfo=UTC))
    assert books.closed(FORMER) == ["R2030/001", "R2030/002", "R2030/003"]
    set_clock(books.connection, datetime(2031, 1, 1, tzinfo=UTC))
    assert books.closed(LATEST) == ["R2031/001", "R2031/002", "R2031/003"]


def test_a_failed_issue_leaves_no_gap_and_no_file(books: Books) -> None:
    books.close(LATEST)
    with pytest.raises(ZeroDivisionError):
        _issue_and_fail(books)
    assert [path.name for path in books.files.directory.glob("invoice-*")] == []
    assert books.issue(LATEST)[0].endswith("-000001")
    assert numbers(books) == [1, 2, 3]


def _issue_and_fail(books: Books) -> None:
    class Failing(IssuedFiles):
        def _written(self, document: dict[str, object]) -> Path:
            if document["sequence"] == 3:
                raise ZeroDivisionError
            return super()._written(document)

    with connect(books.dsn) as connection:
        drafts = [row["id"] for row in books.documents()]
        issuing.issue(connection, Failing(books.files.directory, books.files.key_file), drafts)


class Meanwhile(IssuedFiles):
    """A directory on a slow disk: something happens before the last file is written."""

    def __init__(self, books: Books, happens: Callable[[], object]) -> None:
        super().__init__(books.files.directory, books.files.key_file)
        self.happens = happens

    def _written(self, document: dict[str, object]) -> Path:
        if document["sequence"] == 3:
            self.happens()
        return super()._written(document)


def issue_slowly(books: Books, happens: Callable[[], object]) -> None:
    with connect(books.dsn) as connection:
        drafts = [row["id"] for row in books.documents()]
        issuing.issue(connection, Meanwhile(books, happens), drafts)


def test_an_issue_that_lost_its_connection_leaves_no_file(books: Books) -> None:
    books.close(LATEST)

    def disconnect() -> None:
        books.connection.execute(
            """SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        # Nobody holds the lock of the database, so another could issue: not into this directory.
        with pytest.raises(StoreError, match="another process writes into"):
            books.issue(LATEST)

    with pytest.raises(StoreError):
        issue_slowly(books, disconnect)
    assert books.files.keys() == set()
    assert [path.name for path in books.files.directory.glob(".new-*")] == []
    assert len(books.issue(LATEST)) == 3


def test_a_file_of_another_process_is_never_replaced(books: Books) -> None:
    books.close(LATEST)
    path = books.files.directory / "invoice-1-0-00000002.json"
    with pytest.raises(StoreError, match=f"{path} was written by another process meanwhile"):
        issue_slowly(books, lambda: path.write_text("of another"))
    assert path.read_text() == "of another"
    assert {key.sequence for key in sorted(books.files.keys())} == {2}


def test_two_at_once_give_each_number_once(books: Books) -> None:
    books.close(FORMER)
    books.close(LATEST)
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        work = [
            (books.dsn, str(books.files.directory.parent), name) for name in ("acme", "beta", "coda", "acme")
        ]
        done = pool.starmap(_issue, work)
    assert sum(done) == 3
    books.issue(FORMER)
    assert numbers(books) == [1, 2, 3, 4, 5, 6]


def _issue(dsn: str, directory: str, tenant: str) -> int:
    try:
        return len(Books(dsn, Path(directory)).issue(LATEST, tenant))
    except StoreError as error:
        return 0 if "issued or discarded meanwhile" in str(error) else -99


def test_files_are_signed_and_whole(books: Books) -> None:
    (number, *_) = books.closed(LATEST)
    key, *others = sorted(books.files.keys())
    assert (key.file_name, len(others)) == ("invoice-1-0-00000001.json", 2)
    document = books.files.read(key)
    assert (document["number"], document["net"], document["usage_bytes"]) == (number, "0.50", GB)
    assert document["usage"] == [[books.routers["of acme"], day(LATEST, 3).isoformat(), GB, 0]]
    assert [line["arithmetic"] for line in document["lines"]] == [
        "1,000,000,000 octets / 1,000,000,000 = 1 GB x 0.50 EUR per GB = 0.50 EUR"
    ]
    assert stat.S_IMODE(books.files.key_file.stat().st_mode) == 0o600
    assert (books.files.directory / "billing.pub").read_text().startswith("-----BEGIN PUBLIC KEY")
    assert b"PRIVATE" not in b"".join(path.read_bytes() for path in books.files.directory.iterdir())


def test_the_signature_can_be_checked_without_radmeter(books: Books) -> None:
    import base64

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    books.closed(LATEST)
    public = load_pem_public_key((books.files.directory / "billing.pub").read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    file = json.loads((books.files.directory / "invoice-1-0-00000001.json").read_text())
    text = json.dumps(file["document"], sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    public.verify(base64.b64decode(file["signature"]), text)


def test_without_a_writable_directory_nothing_is_issued(books: Books, tmp_path: Path) -> None:
    books.close(LATEST)
    (tmp_path / "file").touch()
    books.files = IssuedFiles(tmp_path / "file" / "billing", tmp_path / "key")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        books.issue(LATEST)
    assert numbers(books) == []


def test_another_directory_is_refused(books: Books, tmp_path: Path) -> None:
    books.closed(FORMER)
    books.close(LATEST)
    books.files = IssuedFiles(tmp_path / "other", tmp_path / "billing.key")
    with pytest.raises(StoreError, match="lacks 3 of the documents of the database"):
        books.issue(LATEST)


def test_a_lost_key_is_not_replaced(books: Books) -> None:
    books.closed(FORMER)
    books.close(LATEST)
    books.files.key_file.unlink()
    books.files = IssuedFiles(books.files.directory, books.files.key_file)
    with pytest.raises(ConfigurationError, match="is missing: copy it"):
        books.issue(LATEST)


def test_killed_between_file_and_commit_the_number_counts_as_given(books: Books) -> None:
    books.close(FORMER)
    books.close(LATEST)
    before = [row["id"] for row in books.documents(month=LATEST)]
    _killed_after_files(lambda: books.issue(LATEST))
    assert {row["status"] for row in books.documents()} == {"draft"}
    assert len(books.files.keys()) == 3
    with pytest.raises(
        StoreError, match=r"the database lacks 3 of the documents .* run `radmeter billing reconcile`"
    ):
        books.issue(FORMER)
    with pytest.raises(StoreError, match="run `radmeter billing reconcile`"):
        books.close(LATEST.next)
    dry = books.reconcile(dry_run=True)
    assert {row["status"] for row in books.documents()} == {"draft"}
    assert books.reconcile() == dry
    assert (len(dry.restored), dry.written, dry.faults) == (3, [], [])
    assert [(row["id"], row["status"]) for row in books.documents(month=LATEST)] == [
        (each, "issued") for each in before
    ]
    books.issue(FORMER)
    assert numbers(books) == [1, 2, 3, 4, 5, 6]
    assert books.reconcile().same == 6


def test_killed_before_the_files_are_there_nothing_is_issued(books: Books) -> None:
    books.close(LATEST)
    _killed_before_files(lambda: books.issue(LATEST))
    assert books.files.keys() == set()
    books.issue(LATEST)
    assert numbers(books) == [1, 2, 3]


def test_killed_with_a_part_of_the_files_there_is_no_gap(books: Books) -> None:
    books.close(LATEST)
    process = os.fork()
    if process == 0:
        link = os.link
        left = 2

        def twice(temporary: Path, path: Path) -> None:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            link(temporary, path)

        os.link = twice  # type: ignore[assignment]
        _end(lambda: books.issue(LATEST))
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
    assert len(books.reconcile().restored) == 2
    books.issue(LATEST)
    assert numbers(books) == [1, 2, 3]


def _killed_after_files(work: Callable[[], object]) -> None:
    _killed(work, after=True)


def _killed_before_files(work: Callable[[], object]) -> None:
    _killed(work, after=False)


def _killed(work: Callable[[], object], *, after: bool) -> None:
    process = os.fork()
    if process == 0:
        write = IssuedFiles.write

        def dying(self: IssuedFiles, documents: object, **also: object) -> object:
            if after:
                write(self, documents, **also)  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        IssuedFiles.write = dying  # type: ignore[method-assign, assignment]
        _end(work)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1])


def _end(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        os._exit(0)


def test_an_issued_document_is_the_same_in_the_database_and_in_its_file(
    books: Books, connection: Connection
) -> None:
    books.closed(LATEST)
    ids = content.keys(connection)
    for key, document_id in ids.items():
        (document,) = content.invoices(connection, [document_id])
        assert books.files.read(key) == json.loads(json.dumps(document))
