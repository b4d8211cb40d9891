"""Who may export what: a reader everything, a tenant's login the rows of that tenant."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.archives import sessions_of
from support.exported import FORMATS, WHAT, export, exported, fill, manifest, read
from support.logins import as_role, login_role
from support.servers import Connection


@pytest.fixture
def filled(database: str, connection: Connection) -> str:
    fill(connection)
    sessions_of(database, connection, "2026-10", 8)
    return database


@pytest.fixture
def tenant(filled: str, connection: Connection) -> Iterator[str]:
    """A database as the login of acme sees it."""
    with login_role(connection, "radmeter_tenant") as role:
        connection.execute(
            "INSERT INTO radmeter.tenant_logins (role_name, tenant_id) VALUES (%s, 1)", (role,)
        )
        yield as_role(filled, role)


def test_a_reader_exports_everything(filled: str, connection: Connection, tmp_path: Path) -> None:
    with login_role(connection, "radmeter_reader") as role:
        for what in WHAT:
            owner = exported(filled, what, "csv", tmp_path / "owner.csv").read_bytes()
            assert exported(as_role(filled, role), what, "csv", tmp_path / "x.csv").read_bytes() == owner


def test_accountants_export_everything_but_sessions(
    filled: str, connection: Connection, tmp_path: Path
) -> None:
    with login_role(connection, "radmeter_billing") as role:
        for what in WHAT[:-1]:
            owner = exported(filled, what, "csv", tmp_path / "owner.csv").read_bytes()
            assert exported(as_role(filled, role), what, "csv", tmp_path / "x.csv").read_bytes() == owner
        done = export(as_role(filled, role), "--what", "sessions", "-o", tmp_path / "sessions.csv")
        assert done.exit_code == 1
        assert "grant radmeter_reader" in done.errors


@pytest.mark.parametrize("form", FORMATS)
def test_a_tenant_gets_what_the_operator_exports_for_it(
    tenant: str, filled: str, tmp_path: Path, form: str
) -> None:
    for what in ("invoices", "lines", "router-days", "user-periods"):
        for asked in ((), ("--tenant", "acme")):
            own = exported(tenant, what, form, tmp_path / f"x.{form}", *asked)
            operators = exported(filled, what, form, tmp_path / f"operator.{form}", "--tenant", "acme")
            assert own.read_bytes() == operators.read_bytes()
            assert read(own)
        assert "kuwait" not in str(read(own))
        assert manifest(own)["totals"] == manifest(operators)["totals"]
        assert manifest(own)["closed"] is True


def test_a_tenant_does_not_see_drafts_and_others(tenant: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute("UPDATE radmeter.tenant_logins SET tenant_id = 2")
    assert read(exported(tenant, "invoices", "csv", tmp_path / "x.csv")) == []
    done = export(tenant, "--what", "invoices", "--tenant", "acme", "-o", tmp_path / "y.csv")
    assert done.exit_code == 1
    assert "there is no tenant 'acme'" in done.errors
    connection.execute("DELETE FROM radmeter.tenant_logins")
    for what in ("invoices", "lines", "router-days", "user-periods"):
        done = export(tenant, "--what", what, "-o", tmp_path / "z.csv")
        assert done.exit_code == 1
        assert "is bound to no tenant, so it sees no rows: ask the operator" in done.errors
    assert not (tmp_path / "z.csv").exists()


def test_sessions_are_not_exported_for_a_tenants_login(tenant: str, tmp_path: Path) -> None:
    for asked in ((), ("--tenant", "acme")):
        done = export(tenant, "--what", "sessions", "-o", tmp_path / "x.csv", *asked)
        assert done.exit_code == 1
        assert "is a tenant's, and may not export sessions" in done.errors
    assert not list(tmp_path.iterdir())
