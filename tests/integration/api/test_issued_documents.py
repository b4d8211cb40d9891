"""Invoices by the API: the file that was issued, byte by byte, for the accountants and for the tenant it is for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.books import GB, LATEST, Books, day
from support.http_server import HttpServer, add_key, serving
from support.logins import as_role, login_role


@pytest.fixture
def books(database: str, tmp_path: Path) -> Iterator[Books]:
    """A month of two tenants, issued."""
    made = Books(database, tmp_path)
    try:
        for name in ("acme", "bolt"):
            made.tenant(name)
            made.router(f"of {name}", name)
            made.used(f"of {name}", day(LATEST, 3), GB)
        made.closed(LATEST)
        yield made
    finally:
        made.connection.close()


@pytest.fixture
def office(books: Books, tmp_path: Path) -> Iterator[HttpServer]:
    """The server, with the directory of issued documents."""
    places = (
        "--billing-directory",
        str(books.files.directory),
        "--billing-key-file",
        str(books.files.key_file),
    )
    with (
        login_role(books.connection, "radmeter_api") as login,
        serving(as_role(books.dsn, login), tmp_path, *places) as server,
    ):
        yield server


def test_the_issued_file_is_for_its_tenant_and_the_accountants(office: HttpServer, books: Books) -> None:
    keys = {
        role: add_key(books.connection, role.replace(":", " "), role)
        for role in ("billing", "tenant:acme", "tenant:bolt")
    }
    (listed,) = office.get("/invoices", keys["tenant:acme"]).json()["items"]
    assert (listed["tenant"], listed["net"], listed["currency"]) == ("acme", "0.50", "EUR")
    path = f"/invoices/{listed['id']}/document"
    (name,) = [
        each.name
        for each in books.files.directory.glob("invoice-*.json")
        if json.loads(each.read_bytes())["document"]["number"] == listed["number"]
    ]
    issued = (books.files.directory / name).read_bytes()
    for role in ("billing", "tenant:acme"):
        answer = office.get(path, keys[role])
        assert (answer.status, answer.body) == (200, issued)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert int(answer.headers["content-length"]) == len(issued)
        again = office.get(path, keys[role], If_None_Match=answer.headers["etag"])
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", answer.headers["etag"])
        head = office.request("HEAD", f"/api/v1{path}", keys[role])
        assert (head.status, head.body, head.headers["etag"]) == (200, b"", answer.headers["etag"])
    foreign = office.get(path, keys["tenant:bolt"])
    nowhere = office.get("/invoices/99999/document", keys["tenant:bolt"])
    assert (foreign.status, foreign.kind) == (404, "not-found")
    assert foreign.body.replace(str(listed["id"]).encode(), b"99999") == nowhere.body
    for kind, begins in (("pdf", b"%PDF-"), ("html", b"<!doctype html>")):
        statement = office.get(f"/invoices/{listed['id']}/statement?format={kind}", keys["tenant:acme"])
        assert statement.status == 200
        assert statement.body[: len(begins)].lower() == begins.lower()
        assert re.fullmatch(
            rf'attachment; filename="[\w.-]*acme[\w.-]*\.{kind}"', statement.headers["content-disposition"]
        )
        foreign = office.get(f"/invoices/{listed['id']}/statement?format={kind}", keys["tenant:bolt"])
        assert (foreign.status, foreign.kind) == (404, "not-found")
    # Another file in its place is not what was issued.
    (books.files.directory / name).write_bytes(issued.replace(b"0.50", b"9.50"))
    changed = office.get(path, keys["billing"])
    assert (changed.status, changed.kind) == (503, "file-unreadable")
    assert str(books.files.directory).encode() not in changed.body
