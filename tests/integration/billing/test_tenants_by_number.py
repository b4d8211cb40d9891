"""A tenant is named by its name or its number, in every command that takes one."""

from pathlib import Path

from support.books import LATEST, Books, day
from support.commands import radmeter

FIRST = LATEST.first.isoformat()


def test_each_command_takes_both(books: Books, tmp_path: Path) -> None:
    for name in ("acme", "bolt"):
        books.tenant(name)
        books.router(f"{name} router", name)
        books.used(f"{name} router", day(LATEST, 3), 10**9)
    number = str(books.tenants["acme"])
    files = (
        "--billing-directory",
        str(tmp_path / "billing"),
        "--billing-key-file",
        str(tmp_path / "billing.key"),
    )
    done = radmeter(
        books.dsn, "billing", "close", str(LATEST), "--tenant", number, "--yes", *files[:2], *files[2:]
    )
    assert done.exit_code == 0, done.errors
    assert [row["tenant"] for row in books.documents()] == ["acme"]
    done = radmeter(books.dsn, "billing", "issue", str(LATEST), "--tenant", number, "--yes", *files)
    assert done.exit_code == 0, done.errors

    def said(*command: str) -> tuple[str, str]:
        by_name, by_number = (
            radmeter(books.dsn, *(tenant if each == "TENANT" else each for each in command))
            for tenant in ("acme", number)
        )
        assert by_number.exit_code == 0, by_number.errors
        return by_name.output, by_number.output

    for command in (
        ("billing", "list", "--tenant", "TENANT"),
        ("billing", "list", "--credit-notes", "--tenant", "TENANT"),
        ("billing", "export", "--period", str(LATEST), "--what", "invoices", "--tenant", "TENANT", "-o", "-"),
        (
            "billing",
            "statement",
            "--period",
            str(LATEST),
            "--tenant",
            "TENANT",
            "-o",
            str(tmp_path / "x.html"),
        ),
        ("report", "usage", "--tenant", "TENANT", "--from", FIRST),
        ("tenants", "show", "TENANT"),
        ("tenants", "rates", "TENANT"),
    ):
        by_name, by_number = said(*command)
        assert by_name == by_number
        assert by_name
    assert "there is no tenant '4711'" in radmeter(books.dsn, "billing", "list", "--tenant", "4711").errors


def test_a_name_comes_before_a_number(books: Books) -> None:
    """Names that are numbers are refused, but a table of before may have one."""
    acme = books.tenant("acme")
    books.tenant(str(acme))
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), 10**9)
    books.close(LATEST, str(acme))
    assert {row["tenant"] for row in books.documents()} <= {str(acme)}
