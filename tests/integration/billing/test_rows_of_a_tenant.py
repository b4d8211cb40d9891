"""What a tenant's own login gets from statements and reports: its rows, and nothing of other tenants."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from support import documents_of_money as money
from support import pdf
from support.commands import radmeter
from support.logins import as_role, login_role
from support.servers import Connection

REFUSED = "a tenant's login may not do that: ask the operator"
OCTOBER = ("--from", "2026-10-01", "--to", "2026-10-31", "--format", "json")


@pytest.fixture
def acme(database: str, connection: Connection) -> Iterator[str]:
    """The connection string of acme's login. The hall was bolt's up to the 10th, and is acme's since."""
    owners = [money.tenant(connection, name) for name in ("acme", "bolt")]
    routers = [
        money.router(connection, f"{name} lobby", owner)
        for name, owner in zip(("acme", "bolt"), owners, strict=True)
    ]
    hall = money.router(connection, "hall", owners[1])
    connection.execute(
        "INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES (%s, '2026-10-11', %s)",
        (hall, owners[0]),
    )
    connection.execute("UPDATE routers SET tenant_id = %s WHERE id = %s", (owners[0], hall))
    for router, octets in (*zip(routers, (1, 1000), strict=True), (hall, 100_000)):
        for day in range(1, 32):
            connection.execute(
                "INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out) VALUES (%s, %s, %s, 0)",
                (router, date(2026, 10, day), octets),
            )
    for number, owner in enumerate(owners, 1):
        used = {(routers[number - 1], date(2026, 10, 1)): (number, number)}
        lines = [money.line(f"{number}.00", usage_bytes=2 * number)]
        money.document(
            connection, owner, lines, number=number, used=used, recipient={"name": f"tenant {number}"}
        )
    with login_role(connection, "radmeter_tenant") as role:
        connection.execute(
            "INSERT INTO radmeter.tenant_logins (role_name, tenant_id) VALUES (%s, %s)", (role, owners[0])
        )
        yield as_role(database, role)


def test_statements(acme: str, tmp_path: Path) -> None:
    def statement(*arguments: str | Path) -> str:
        done = radmeter(acme, "billing", "statement", "--period", "2026-10", *arguments)
        return done.output if done.exit_code == 0 else done.errors

    assert statement("--tenant", "acme", "-o", tmp_path / "acme.pdf").startswith(
        "acme: 2026-000001 (issued, 1.00 EUR)"
    )
    assert "tenant 1" in pdf.text_of(tmp_path / "acme.pdf")
    assert "there is no tenant 'bolt'" in statement("--tenant", "bolt", "-o", tmp_path / "bolt.pdf")
    assert statement("--all", "--format", "html", "-o", tmp_path / "all").startswith("1 statement in")
    assert len(list((tmp_path / "all").iterdir())) == 1


def test_usage_is_of_the_days_on_which_a_router_was_its_own(acme: str) -> None:
    days = radmeter(acme, "report", "usage", "--tenant", "acme", *OCTOBER).json()
    assert [row["bytes_total"] for row in days] == [1] * 10 + [100_001] * 21
    days = radmeter(acme, "report", "usage", "--router", "hall", *OCTOBER).json()
    assert [row["bytes_total"] for row in days] == [0] * 10 + [100_000] * 21
    assert (
        "there is no router 'bolt lobby'"
        in radmeter(acme, "report", "usage", "--router", "bolt lobby").errors
    )
    assert "there is no tenant 'bolt'" in radmeter(acme, "report", "usage", "--tenant", "bolt").errors


def test_lists_have_its_own_rows_only(acme: str) -> None:
    found = radmeter(acme, "report", "top", "routers", *OCTOBER).json()
    assert {row["router"]: row["bytes_total"] for row in found} == {"hall": 2_100_000, "acme lobby": 31}
    for what, names in (("routers", {"hall", "acme lobby"}), ("tenants", {"acme"}), ("users", set())):
        found = radmeter(
            acme, "report", "compare", "--what", what, "--month", "2026-10", "--format", "json"
        ).json()
        assert {row["name"] for row in found} == names


def test_sessions_are_refused(acme: str, connection: Connection) -> None:
    """Users have no counters by day, and sessions of all tenants are in one table."""
    connection.execute("INSERT INTO user_quota_usage (username, period_start) VALUES ('alice', '2026-10-01')")
    done = radmeter(acme, "report", "usage", "--user", "alice")
    assert done.exit_code == 1
    assert done.errors == f"error: {REFUSED}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("billing", "close", "2026-09"),
        ("billing", "issue", "2026-10", "--yes"),
        ("tenants", "set", "acme", "--note", "mine"),
        ("routers", "assign", "hall", "--tenant", "acme", "--from", "2026-10-01"),
        ("users", "suspend", "alice"),
        ("audit", "list"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_what_is_the_operators_is_refused_without_naming_a_right(
    acme: str, arguments: tuple[str, ...]
) -> None:
    """Whoever granted a tenant's login what a message names would show it all tenants."""
    done = radmeter(acme, *arguments)
    assert done.exit_code == 1
    assert done.errors == f"error: {REFUSED}\n"


def test_until_when_a_router_was_its_own(acme: str, connection: Connection) -> None:
    """The next assignment is another tenant's row, which the login does not see."""
    connection.execute(
        """INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
           SELECT router.id, '2026-10-21', tenant.id FROM routers AS router, radmeter.tenants AS tenant
           WHERE router.name = 'hall' AND tenant.name = 'bolt'"""
    )
    shown = radmeter(acme, "tenants", "show", "acme", "--format", "json").json()["assignments"]
    assert {each["router"]: each["until_day"] for each in shown} == {"acme lobby": None, "hall": "2026-10-21"}
