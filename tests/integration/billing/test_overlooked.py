"""A close names the usage that it does not bill since nobody said to whom, or for how much."""

from support.books import GB, LATEST, Books, day
from support.commands import radmeter


def test_routers_without_a_tenant_and_tenants_without_a_rate_are_named(books: Books) -> None:
    books.tenant("acme")
    books.tenant("bistro")
    books.connection.execute(
        "DELETE FROM radmeter.tenant_rates WHERE tenant_id = %s", (books.tenants["bistro"],)
    )
    books.router("lobby", "acme")
    books.router("kitchen", "bistro")
    books.router("street", None)
    for router in ("lobby", "kitchen", "street"):
        books.used(router, day(LATEST, 3), 2 * GB)
    said = radmeter(books.dsn, "billing", "close", str(LATEST), "--dry-run")
    assert said.exit_code == 0, said.errors
    assert "note: 2,000,000,000 octets of 1 router ('street') without a tenant are not billed" in said.errors
    assert "note: 2,000,000,000 octets of 1 tenant ('bistro') without a rate or a currency" in said.errors
    assert "lobby" not in said.errors


def test_nothing_is_said_if_all_is_billed(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), 2 * GB)
    said = radmeter(books.dsn, "billing", "close", str(LATEST), "--dry-run")
    assert (said.exit_code, "not billed" in said.errors) == (0, False)


def test_an_issuer_without_a_legal_name_is_named_before_the_issue(books: Books) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), 2 * GB)
    assert radmeter(books.dsn, "billing", "close", str(LATEST), "--yes").exit_code == 0
    issue = ("billing", "issue", str(LATEST), "--yes")
    directory = {
        "RADMETER_BILLING_DIRECTORY": str(books.files.directory),
        "RADMETER_BILLING_KEY_FILE": str(books.files.key_file),
    }
    said = radmeter(books.dsn, *issue, **directory)
    assert said.exit_code == 0, said.errors
    assert "note: the issuer 'default' has no legal name" in said.errors
