"""After a restore of the database: no number is given twice, no octet is billed twice, and changed files are named."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.books import FORMER, GB, LATEST, LONG_AGO, OLDEST, Books, day
from support.commands import radmeter
from support.servers import Server

from radmeter.billing import issuing
from radmeter.database.connection import connect
from radmeter.database.views import Row
from radmeter.errors import StoreError


@pytest.fixture(autouse=True)
def _recipients(books: Books) -> None:
    for name in ("acme", "beta"):
        books.tenant(name, tax_rate="19")
        books.router(f"of {name}", name)
        for month in (OLDEST, FORMER, LATEST):
            books.used(f"of {name}", day(month, 3), 3 * GB)


SOLD = """
WITH plan AS (INSERT INTO plans (name, price) VALUES ('gold', 5) RETURNING id),
     subscriber AS (INSERT INTO subscribers (username, plan_id) SELECT 'eve', id FROM plan RETURNING username)
INSERT INTO top_ups (username, bytes, price, added_at) SELECT username, 1, 9.90, %(on)s FROM subscriber"""


@contextmanager
def restored(books: Books, server: Server) -> Iterator[None]:
    """Take a copy of the database now; put it in the place of the database after the block."""
    ((name,),) = books.connection.execute("SELECT current_database()").fetchall()
    books.connection.close()
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}_dump TEMPLATE {name}".encode())
        books.connection = psycopg.connect(books.dsn, autocommit=True)
        yield
        books.connection.close()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        admin.execute(f"ALTER DATABASE {name}_dump RENAME TO {name}".encode())
    books.connection = psycopg.connect(books.dsn, autocommit=True)


def comparable(books: Books) -> list[Row]:
    """Return documents without the number of their close, which is another one after a restore."""
    return [{**row, "close_id": None} for row in books.documents()]


def test_after_a_restore_nothing_is_closed_or_issued_until_it_is_reconciled(
    books: Books, server: Server
) -> None:
    old, _ = books.closed(OLDEST)
    with restored(books, server):
        numbers = books.closed(FORMER)
        note = books.credit(numbers[0], "1")
        void = books.credit(numbers[1], voids=True)
        before = comparable(books)
        billed = books.billed()
    for work in (lambda: books.close(FORMER), lambda: books.issue(OLDEST), lambda: books.credit(old, "1")):
        with pytest.raises(StoreError, match=r"the database lacks 4 of the documents .*reconcile"):
            work()
    result = books.reconcile()
    assert sorted(result.restored) == sorted([*numbers, note, void])
    assert (result.same, result.written, result.faults) == (2, [], [])
    assert comparable(books) == before
    assert books.billed() == billed
    assert books.reconcile() == (6, [], [], [])
    last = books.closed(LATEST)
    assert not {*last} & {*numbers}
    assert [number.split("-")[1] for number in last] == ["000005", "000006"]


def test_what_was_restored_is_not_billed_again(books: Books, server: Server) -> None:
    with restored(books, server):
        books.closed(OLDEST)
        books.closed(FORMER)
    books.reconcile()
    books.close(LATEST)
    assert sum(books.billed().values()) == 18 * GB
    assert {row["usage_bytes"] for row in books.documents()} == {3 * GB}


def test_a_draft_in_the_place_of_a_forgotten_document_goes(books: Books, server: Server) -> None:
    with restored(books, server):
        books.closed(OLDEST)
    # The directory is not at hand: a close without it cannot know.
    other = Books(books.dsn, books.files.directory / "nowhere")
    books.used("of acme", day(OLDEST, 4), GB)
    other.close(OLDEST)
    other.connection.close()
    assert len(books.reconcile().restored) == 2
    assert [row["usage_bytes"] for row in books.documents(month=OLDEST)] == [3 * GB, 3 * GB]
    books.close(FORMER)
    assert ("adjustment", OLDEST.first, GB, "0.50") in books.lines(FORMER, "acme")


def test_a_tenant_that_the_database_has_forgotten_comes_back(books: Books, server: Server) -> None:
    with restored(books, server):
        books.tenant("coda", currency="JPY", digits=0, terms={"price": "100"})
        books.router("of coda", "coda")
        books.used("of coda", day(LATEST, 3), GB)
        books.closed(LATEST)
    assert len(books.reconcile().restored) == 3
    assert books.documents(tenants=["coda"])[0]["gross"] == 100
    books.tenant("dora")
    assert books.tenants["dora"] > books.tenants["coda"]


def test_a_file_that_was_changed_is_named_and_nothing_is_taken_from_it(books: Books, server: Server) -> None:
    with restored(books, server):
        numbers = books.closed(LATEST)
    path = books.files.directory / "invoice-1-0-00000001.json"
    text = path.read_text()
    path.write_text(text.replace('"net":"1.50"', '"net":"9.50"'))
    result = books.reconcile()
    assert result.restored == numbers[1:]
    (fault,) = result.faults
    assert str(path) in fault
    assert "its signature is not that of the document" in fault
    # Its number was given out, whatever it says.
    with pytest.raises(StoreError, match=r"the database lacks 1 "):
        books.close(LATEST)
    path.write_text(text)
    assert books.reconcile().restored == numbers[:1]


@pytest.mark.parametrize(
    "damage", ["", "{}", "[]", '{"document": 1, "signature": ""}', '{"document": {}, "signature": "!"}', "\0"]
)
def test_a_damaged_file_is_named_though_the_database_has_the_document(books: Books, damage: str) -> None:
    books.closed(LATEST)
    path = books.files.directory / "invoice-1-0-00000002.json"
    path.write_text(damage)
    (fault,) = books.reconcile().faults
    assert str(path) in fault
    path.unlink()
    assert books.reconcile().written == [books.documents(tenants=["beta"])[0]["number"]]
    assert books.reconcile() == (2, [], [], [])


def test_a_signed_file_under_another_name_is_named(books: Books) -> None:
    books.closed(LATEST)
    path = books.files.directory / "invoice-1-0-00000002.json"
    path.write_text((books.files.directory / "invoice-1-0-00000001.json").read_text())
    (fault,) = books.reconcile().faults
    assert f"{path} has another document" in fault


def test_a_document_that_was_changed_in_the_database_is_named(books: Books) -> None:
    number = books.closed(LATEST)[0]
    books.connection.execute("ALTER TABLE invoices DISABLE TRIGGER USER")
    books.connection.execute(
        "UPDATE invoices SET net = net + 1, amount = amount + 1 WHERE number = %s", (number,)
    )
    (fault,) = books.reconcile().faults
    assert f"differ about {number}" in fault


def test_a_document_is_not_given_to_another_tenant_or_router_that_has_the_id_now(
    books: Books, server: Server
) -> None:
    with restored(books, server):
        books.tenant("coda")
        books.router("of coda", "coda")
        books.used("of coda", day(LATEST, 3), GB)
        numbers = books.closed(LATEST)
    books.tenant("zeta")
    books.router("found", "zeta")
    result = books.reconcile()
    assert sorted(result.restored) == [number for number in numbers if number not in result.faults[0]]
    (fault,) = result.faults
    assert 'cannot be restored: its router #3 is "of coda", and that of the database is "found"' in fault
    books.connection.execute(
        "DELETE FROM radmeter.router_tenant WHERE router_id = %s", (books.routers["found"],)
    )
    books.connection.execute("DELETE FROM routers WHERE name = 'found'")
    (fault,) = books.reconcile().faults
    assert 'its tenant #3 is "coda", and that of the database is "zeta"' in fault
    assert {row["tenant"] for row in books.documents()} == {"acme", "beta"}


def test_ids_of_a_forgotten_router_top_up_and_plan_are_not_given_again(books: Books, server: Server) -> None:
    with restored(books, server):
        books.router("forgotten", "acme")
        books.used("forgotten", day(LATEST, 3), GB)
        books.connection.execute(SOLD, {"on": day(LATEST, 3)})
        books.connection.execute("UPDATE radmeter.plan_history SET at = '2020-01-01'")
        books.connection.execute("UPDATE radmeter.plan_prices SET at = '2020-01-01'")
        books.connection.execute("SELECT radmeter.set_billing_setting('currency', 'EUR')")
        numbers = books.closed(LATEST)
    assert sorted(books.reconcile().restored) == sorted(numbers)
    ((plan,), (top_up,)) = (
        books.connection.execute(text).fetchone() or ()
        for text in (
            "INSERT INTO plans (name) VALUES ('other') RETURNING id",
            "INSERT INTO top_ups (username, bytes) VALUES ('guy', 1) RETURNING id",
        )
    )
    # Those of the documents have the number 1.
    assert (plan > 1, top_up > 1) == (True, True)
    assert books.router("found") > books.routers["forgotten"]


def test_a_restored_document_of_one_user_does_not_close_the_month_for_the_others(
    books: Books, server: Server
) -> None:
    books.connection.execute("SELECT radmeter.set_billing_setting('currency', 'EUR')")
    books.connection.execute("INSERT INTO plans (name, price) VALUES ('gold', 5)")
    books.connection.execute(
        "INSERT INTO subscribers (username, plan_id) SELECT who, id FROM plans, unnest('{ua,ub,uc}'::text[]) AS who"
    )
    books.connection.execute("UPDATE radmeter.plan_history SET at = %s", (OLDEST.first,))
    books.connection.execute("UPDATE radmeter.plan_prices SET at = '2020-01-01'")
    with restored(books, server):
        books.close(OLDEST)
        with connect(books.dsn) as connection:
            first = min(row["id"] for row in books.documents() if row["username"] == "ua")
            issuing.issue(connection, books.files, [first])
    assert len(books.reconcile().restored) == 1
    with pytest.raises(StoreError, match=f"{OLDEST} is to be billed and is not closed"):
        books.close(FORMER)
    again = books.close(OLDEST)
    assert [each.username for each in again.drafts if each.username] == ["ub", "uc"]
    books.discard(OLDEST)
    books.closed(OLDEST)
    assert books.close(OLDEST).users_before
    books.closed(FORMER)
    for month in (OLDEST, FORMER):
        for user in ("ua", "ub", "uc"):
            assert [line[3] for line in books.lines(month, user=user)] == ["5.00"]
    assert books.reconcile().faults == []


def test_drafts_of_a_close_that_was_discarded_after_the_dump_go(books: Books, server: Server) -> None:
    books.connection.execute("SELECT radmeter.set_billing_setting('currency', 'EUR')")
    books.connection.execute(SOLD, {"on": day(LATEST, 3)})
    books.close(LATEST)
    with restored(books, server):
        books.discard(LATEST)
        books.rate("acme", LONG_AGO, price="2")
        numbers = books.closed(LATEST)
        before = comparable(books)
    assert sorted(books.reconcile().restored) == sorted(numbers)
    assert comparable(books) == before
    assert books.reconcile() == (3, [], [], [])


def test_another_top_up_of_the_same_number_is_not_taken_for_the_billed_one(
    books: Books, server: Server
) -> None:
    with restored(books, server):
        books.connection.execute(SOLD, {"on": day(LATEST, 3)})
        books.connection.execute("SELECT radmeter.set_billing_setting('currency', 'EUR')")
        books.closed(LATEST)
    books.connection.execute(SOLD, {"on": day(LATEST, 5)})
    (fault,) = books.reconcile().faults
    assert 'its top-up #1 is "eve"' in fault
    assert "reconcile before anything else writes" in fault


def test_a_tenant_and_a_router_that_were_renamed_since_the_dump_are_the_same(
    books: Books, server: Server
) -> None:
    with restored(books, server):
        books.connection.execute("UPDATE radmeter.tenants SET name = name || '2'")
        books.connection.execute("UPDATE routers SET name = name || '2'")
        numbers = books.closed(LATEST)
        books.connection.execute("UPDATE routers SET name = name || '3'")
        assert books.reconcile().same == 2
    assert books.reconcile() == (0, numbers, [], [])


def test_an_issuer_comes_back_with_its_formats(books: Books, server: Server) -> None:
    with restored(books, server):
        books.issuer(
            "two", number_format="B-{year}-{number}", credit_format="B-C{year}-{number}", yearly=True
        )
        books.connection.execute(
            "UPDATE radmeter.tenants SET issuer_id = (SELECT id FROM radmeter.issuers WHERE name = 'two')"
        )
        books.closed(OLDEST)
        before = books.connection.execute("SELECT * FROM radmeter.issuers ORDER BY id").fetchall()
    assert books.reconcile().faults == []
    assert books.connection.execute("SELECT * FROM radmeter.issuers ORDER BY id").fetchall() == before


def test_the_command_says_what_it_did(books: Books, server: Server) -> None:
    with restored(books, server):
        (number, _) = books.closed(LATEST)
    place = {
        "RADMETER_BILLING_DIRECTORY": str(books.files.directory),
        "RADMETER_BILLING_KEY_FILE": str(books.files.key_file),
    }
    asked = radmeter(books.dsn, "billing", "reconcile", **place)
    assert (asked.exit_code, "give --yes" in asked.errors) == (2, True)
    assert (
        f"{number} would be restored"
        in radmeter(books.dsn, "billing", "reconcile", "--dry-run", **place).output
    )
    assert f"{number} restored" in radmeter(books.dsn, "billing", "reconcile", "--yes", **place).output
    subprocess.run(["truncate", "-s", "0", books.files.directory / "invoice-1-0-00000001.json"], check=True)
    broken = radmeter(books.dsn, "billing", "reconcile", "--yes", **place)
    assert broken.exit_code == 1
    assert "1 document could not be reconciled" in broken.errors


def test_a_note_of_0_that_voids_comes_back(books: Books, server: Server) -> None:
    books.rate("acme", day(OLDEST, 1), price="0")
    number, _ = books.closed(OLDEST)
    with restored(books, server):
        note = books.credit(number, voids=True)
    assert books.reconcile().restored == [note]
    assert [row["status"] for row in books.documents(tenants=["acme"])] == ["void"]
    assert books.reconcile() == (3, [], [], [])


@pytest.mark.parametrize("dumped", ["before", "issued", "void", "drafted"])
def test_a_month_that_was_closed_anew_comes_back(books: Books, server: Server, dumped: str) -> None:
    steps: dict[str, Callable[[], object]] = {
        "issued": lambda: books.closed(OLDEST),
        "void": lambda: books.credit(books.documents(tenants=["acme"])[0]["number"], voids=True),
        "drafted": lambda: books.close(OLDEST, "acme"),
        "done": lambda: books.issue(OLDEST),
    }
    names = ["before", *steps]
    for name in names[1 : names.index(dumped) + 1]:
        steps[name]()
    with restored(books, server):
        for name in names[names.index(dumped) + 1 :]:
            steps[name]()
        before = comparable(books)
        billed = books.billed()
    result = books.reconcile()
    assert result.faults == []
    assert comparable(books) == before
    assert books.billed() == billed
    assert books.reconcile() == (4, [], [], [])
    assert books.close(OLDEST, "acme").before == ["acme"]


def test_documents_of_a_copy_are_not_taken(books: Books, server: Server, tmp_path: Path) -> None:
    books.closed(OLDEST)
    ((name,),) = books.connection.execute("SELECT current_database()").fetchall()
    books.connection.close()
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}".encode())
    books.connection = psycopg.connect(books.dsn, autocommit=True)
    copy = Books(server.dsn(f"{name}_copy"), tmp_path)
    try:
        for work in (lambda: copy.close(FORMER), lambda: copy.credit("2026-000001", "1")):
            with pytest.raises(
                StoreError, match=r"in another place.*billing reconcile.*If it is a copy: set"
            ):
                work()
        # Somebody says in the copy that it replaces the database.
        copy.reconcile()
        copy.closed(FORMER)
        with pytest.raises(StoreError, match="a copy of it has issued there"):
            books.close(FORMER)
        result = books.reconcile()
        assert (result.same, result.restored, len(result.faults)) == (2, [], 2)
        assert all("a copy of this database has issued it" in each for each in result.faults)
        assert books.documents(month=FORMER) == []
        for fault in result.faults:
            Path(fault.split(" is not restored", maxsplit=1)[0]).unlink()
        assert books.reconcile() == (2, [], [], [])
        assert len(books.closed(FORMER)) == 2
    finally:
        copy.connection.close()
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name}_copy WITH (FORCE)".encode())


def test_the_directory_of_another_database_is_refused(books: Books) -> None:
    books.closed(OLDEST)
    books.connection.execute("UPDATE radmeter.database_identity SET id = gen_random_uuid()")
    for work in (lambda: books.close(FORMER), books.reconcile):
        with pytest.raises(StoreError, match=r"documents of another database .*set billing_directory"):
            work()
    # The list of places is lost: each document names its database.
    (books.files.directory / "database.json").unlink()
    books.connection.execute("ALTER TABLE invoices DISABLE TRIGGER USER")
    books.connection.execute("DELETE FROM invoices")
    result = books.reconcile()
    assert (result.restored, len(result.faults)) == ([], 2)
    assert all("another database" in each for each in result.faults)


def test_a_database_that_was_moved_asks_before_it_goes_on(books: Books, server: Server) -> None:
    books.closed(OLDEST)
    with restored(books, server):
        pass
    place = {
        "RADMETER_BILLING_DIRECTORY": str(books.files.directory),
        "RADMETER_BILLING_KEY_FILE": str(books.files.key_file),
    }
    with pytest.raises(StoreError, match="in another place"):
        books.close(FORMER)
    asked = radmeter(books.dsn, "billing", "reconcile", **place)
    assert (asked.exit_code, "Go on only if this one replaces it" in asked.errors) == (2, True)
    assert radmeter(books.dsn, "billing", "reconcile", "--yes", **place).exit_code == 0
    books.closed(FORMER)
