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


def test_names_and_addresses_that_drafts_lack_are_named(books: Books) -> None:
    """A document of a user has no address: nobody knows one."""
    for tenant in ("acme", "bistro"):
        books.tenant(tenant)
        books.router(f"{tenant} lobby", tenant)
        books.used(f"{tenant} lobby", day(LATEST, 3), 2 * GB)
    books.connection.execute("UPDATE radmeter.tenants SET address = 'A street' WHERE name = 'bistro'")
    directory = {
        "RADMETER_BILLING_DIRECTORY": str(books.files.directory),
        "RADMETER_BILLING_KEY_FILE": str(books.files.key_file),
    }
    close = ("billing", "close", str(LATEST))
    again = f"`radmeter billing discard {LATEST}` and close again: issued documents never change"
    expected = [
        "warning: drafts have no legal name of 1 issuer ('default'): "
        f"`radmeter billing issuers set NAME --legal-name ..`, {again}",
        "warning: drafts have no address of 1 issuer ('default'): "
        f"`radmeter billing issuers set NAME --address ..`, {again}",
        f"warning: drafts have no address of 1 tenant ('acme'): `radmeter tenants set NAME --address ..`, {again}",
    ]

    def warned(*command: str) -> list[str]:
        said = radmeter(books.dsn, *command, **directory)
        assert said.exit_code == 0, said.errors
        return [line for line in said.errors.splitlines() if line.startswith("warning: ")]

    assert warned(*close, "--dry-run") == expected
    assert warned(*close, "--yes") == expected
    # What is set now is not in the drafts: they are copies.
    for command in (
        ("billing", "issuers", "set", "default", "--legal-name", "Example Ltd", "--address", "B street"),
        ("tenants", "set", "acme", "--address", "C street"),
    ):
        assert warned(*command) == []
    assert warned("billing", "issue", str(LATEST), "--tenant", "bistro", "--yes") == expected
    assert warned("billing", "discard", str(LATEST), "--tenant", "acme", "--yes") == []
    assert warned(*close, "--yes") == []
    assert warned("billing", "issue", str(LATEST), "--yes") == []


def test_what_was_discarded_and_credited_is_said(books: Books) -> None:
    """Bistro has nothing to bill, so there is nothing of it to discard."""
    for tenant in ("acme", "bistro"):
        books.tenant(tenant)
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), 2 * GB)
    books.close(LATEST)
    said = radmeter(books.dsn, "billing", "discard", str(LATEST), "--yes")
    assert said.output == f"{LATEST} is open again; 1 draft removed\n"
    (number,) = books.closed(LATEST)
    books.credit(number, "0.40")
    heading, row = radmeter(books.dsn, "billing", "list").output.splitlines()
    assert heading.split()[-3:] == ["gross", "credited", "status"]
    assert row.split()[-3:] == ["1.00", "0.40", "issued"]
    said = radmeter(books.dsn, "billing", "show", "#999999")
    assert said.exit_code == 1
    assert (
        "there is no invoice '#999999': `radmeter billing list` lists them. The numbers of drafts"
        in said.errors
    )
