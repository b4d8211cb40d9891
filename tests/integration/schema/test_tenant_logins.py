"""Logins of tenants: who may be bound, what doctor finds, and what the commands show."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors, sql
from support.commands import radmeter
from support.logins import as_role, login_role
from support.servers import Connection


@pytest.fixture
def two(database: str, connection: Connection) -> Connection:
    """Tenants acme and bolt, each with a router that has counted."""
    for name, mac, octets in (("acme", "02-00-00-00-AA-01", 1), ("bolt", "02-00-00-00-BB-02", 777000001)):
        for command in (
            ("tenants", "add", name, "--currency", "EUR", "--timezone", "UTC"),
            ("tenants", "rate", name, "--from", "2026-01-01", "--per-gb", "0.50"),
            ("routers", "add", "--name", f"{name} lobby", "--mac", mac),
            ("routers", "assign", f"{name} lobby", "--tenant", name, "--from", "2026-01-01"),
        ):
            done = radmeter(database, *command)
            assert done.exit_code == 0, done.errors
        connection.execute(
            """INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
               SELECT id, current_date, %s, %s FROM routers WHERE name = %s""",
            (octets, octets, f"{name} lobby"),
        )
    return connection


@pytest.fixture
def role(two: Connection) -> Iterator[str]:
    with login_role(two) as name:
        yield name


def grant(connection: Connection, group: str, role: str) -> None:
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role)))


def logins(database: str) -> list[tuple[str, str, str]]:
    rows = radmeter(database, "tenants", "logins", "--format", "json").json()
    return [(row["role"], row["tenant"], row["sees"]) for row in rows]


def test_a_role_is_bound_and_told_what_it_lacks(database: str, two: Connection, role: str) -> None:
    done = radmeter(database, "tenants", "login", role, "--tenant", "acme")
    assert (done.exit_code, done.output) == (0, f"{role}: sees the rows of acme\n")
    assert f'GRANT "radmeter_tenant" TO "{role}"' in done.errors
    assert logins(database) == [(role, "acme", "nothing: it is no member of radmeter_tenant")]
    grant(two, "radmeter_tenant", role)
    assert radmeter(database, "tenants", "login", role, "--tenant", "bolt").errors == ""
    assert logins(database) == [(role, "bolt", "its rows")]
    assert radmeter(database, "tenants", "login", role, "--remove").exit_code == 0
    assert logins(database) == []
    rows = two.execute("SELECT detail FROM audit_log WHERE action = 'tenants login' ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [
        {"role": role, "tenant": "acme", "before": None},
        {"role": role, "tenant": "bolt", "before": "acme"},
        {"role": role, "tenant": None, "before": "bolt"},
    ]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("GRANT radmeter_reader TO {}", "is a member of radmeter_reader"),
        ("GRANT radmeter_noc TO {}", "is a member of radmeter_noc"),
        ("GRANT pg_read_all_data TO {}", "is a member of pg_read_all_data"),
        ("ALTER ROLE {} SUPERUSER", "is a superuser"),
        ("ALTER ROLE {} BYPASSRLS", "has BYPASSRLS"),
        ("ALTER ROLE {} REPLICATION", "has REPLICATION"),
        ("ALTER ROLE {} CREATEROLE", "has CREATEROLE"),
        ("GRANT SELECT ON public.audit_log TO {}", "may read public.audit_log"),
    ],
)
def test_a_role_that_sees_more_is_refused_and_found_later(
    database: str, two: Connection, role: str, statement: str, reason: str
) -> None:
    grant(two, "radmeter_tenant", role)
    assert radmeter(database, "tenants", "login", role, "--tenant", "acme").exit_code == 0
    two.execute(sql.SQL(statement).format(sql.Identifier(role)))
    done = radmeter(database, "tenants", "login", role, "--tenant", "acme")
    assert done.exit_code == 1
    assert reason in done.errors
    assert logins(database) == [(role, "acme", f"more than its rows: it {reason}")]
    found = radmeter(database, "doctor", "--verbose").output
    assert f"{role} is bound to the tenant acme, and sees more than its rows: it {reason}" in " ".join(
        found.split()
    )
    two.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nosuchrole", "--tenant", "acme"), 'there is no role "nosuchrole"'),
        (("postgres", "--tenant", "nosuch"), "nosuch"),
        (("postgres", "--tenant", "acme"), "is a superuser"),
        (("radmeter_tenant", "--tenant", "acme"), "is the group of all tenants"),
        (("radmeter_reader", "--tenant", "acme"), "is a group of radmeter's"),
    ],
)
def test_what_cannot_be_bound(database: str, two: Connection, arguments: tuple[str, ...], said: str) -> None:
    done = radmeter(database, "tenants", "login", *arguments)
    assert done.exit_code == 1
    assert said in done.errors
    assert logins(database) == []


def test_a_tenant_or_nothing_has_to_be_given(database: str) -> None:
    assert radmeter(database, "tenants", "login", "x").exit_code == 2
    assert radmeter(database, "tenants", "login", "x", "--tenant", "y", "--remove").exit_code == 2


def test_a_role_that_is_gone_is_named(database: str, two: Connection) -> None:
    two.execute(
        "INSERT INTO radmeter.tenant_logins SELECT 'gone', id FROM radmeter.tenants WHERE name = 'acme'"
    )
    assert logins(database) == [("gone", "acme", "nothing: there is no such role")]
    found = radmeter(database, "doctor", "--verbose").output
    assert 'tenants login "gone" --remove' in found
    assert radmeter(database, "tenants", "login", "gone", "--remove").exit_code == 0


def doctor(database: str) -> str:
    return " ".join(radmeter(database, "doctor", "--verbose").output.split())


STAFF_COMMANDS = [
    ("billing", "close", "2026-01", "--yes"),
    ("billing", "issue", "2026-01", "--yes"),
    ("billing", "list"),
    ("billing", "export", "--what", "invoices", "--period", "2026-01", "-o", "-"),
    ("billing", "statement", "--period", "2026-01", "--all", "-o", "never_made"),
    ("report", "usage", "--tenant", "acme"),
    ("routers", "list"),
    ("tenants", "list"),
    ("routers", "rename", "acme lobby", "hall"),
]


@pytest.mark.parametrize("how", ["itself", "by a group", "by the staff's group", "by a tenant's login"])
def test_staff_who_see_one_tenant_are_refused_and_found(
    database: str, two: Connection, role: str, how: str
) -> None:
    """They would see no rows without a word, and close a month of nothing."""
    with login_role(two) as between:
        two.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(between)))
        grant(two, "radmeter_billing", role)
        grant(two, "radmeter_noc", role)
        if how == "itself":
            grant(two, "radmeter_tenant", role)
            remedy = f"REVOKE radmeter_tenant FROM {role}"
        elif how == "by the staff's group":
            for group in ("radmeter_tenant", "radmeter_billing"):
                grant(two, group, between)
            grant(two, between, role)
            remedy = f"REVOKE radmeter_tenant FROM {between}"
        else:
            grant(two, "radmeter_tenant", between)
            grant(two, between, role)
            if how == "by a tenant's login":
                assert radmeter(database, "tenants", "login", between, "--tenant", "acme").exit_code == 0
            remedy = f"REVOKE {between} FROM {role}"
        for command in STAFF_COMMANDS:
            done = radmeter(as_role(database, role), *command)
            assert done.exit_code == 1, command
            assert f"the database role {role} is a member of radmeter_tenant" in done.errors, command
            assert remedy in done.errors, command
        assert f"{role} is a member of radmeter_tenant and of radmeter_billing" in doctor(database)
        two.execute(remedy.encode())
        assert f"{role} is a member of radmeter_tenant" not in doctor(database)
        done = radmeter(as_role(database, role), "routers", "list")
        assert (done.exit_code, "bolt lobby" in done.output) == (0, True)
        two.execute(sql.SQL("DROP OWNED BY {}, {}").format(sql.Identifier(role), sql.Identifier(between)))


def test_a_tenants_login_that_is_bound_to_none_is_told_and_found(
    database: str, two: Connection, role: str
) -> None:
    grant(two, "radmeter_tenant", role)
    assert f"{role} is a member of radmeter_tenant and bound to no tenant" in doctor(database)
    done = radmeter(as_role(database, role), "routers", "list")
    assert (done.exit_code, done.output) == (1, "")
    assert f"the database role {role} is bound to no tenant" in done.errors
    assert radmeter(database, "tenants", "login", role, "--tenant", "acme").exit_code == 0
    assert f"{role} is a member" not in doctor(database)


def test_a_poolers_login_is_not_red(database: str, two: Connection, role: str) -> None:
    """It gets to a tenant's rows by SET ROLE only."""
    with login_role(two, "radmeter_tenant") as tenants:
        assert radmeter(database, "tenants", "login", tenants, "--tenant", "acme").exit_code == 0
        two.execute(sql.SQL("ALTER ROLE {} NOINHERIT").format(sql.Identifier(role)))
        grant(two, tenants, role)
        assert f"{role} is" not in doctor(database)


def test_large_objects_are_found(database: str, two: Connection, role: str) -> None:
    made = "lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea)"
    assert "may make large objects" not in doctor(database)
    grant(two, "radmeter_tenant", role)
    assert radmeter(database, "tenants", "login", role, "--tenant", "acme").exit_code == 0
    said = f"REVOKE EXECUTE ON FUNCTION {made} FROM PUBLIC"
    assert said in doctor(database)
    with psycopg.connect(as_role(database, role), autocommit=True) as acme:
        acme.execute("SELECT lo_unlink(lo_from_bytea(0, 'x'))")
        two.execute(said.encode())
        for call in (
            "lo_from_bytea(0, 'x')",
            "lo_create(0)",
            "lo_creat(-1)",
            "lo_put(1, 0, 'x')",
            "lo_import('/x')",
        ):
            with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedObject)):
                acme.execute(f"SELECT {call}".encode())
    assert "may make large objects" not in doctor(database)


# Every command that reads what a tenant may see, and whether it works. What does not, says which right is missing.
READING = {
    ("routers", "list"): True,
    ("usage", "router", "acme lobby"): True,
    ("tenants", "list"): True,
    ("tenants", "show", "acme"): True,
    ("tenants", "rates", "acme"): True,
    ("billing", "list"): True,
    ("billing", "export", "--what", "router-days", "--period", "2026-01", "-o", "-"): True,
    ("billing", "export", "--what", "invoices", "--period", "2026-01", "-o", "-"): True,
    ("billing", "export", "--what", "lines", "--period", "2026-01", "-o", "-"): True,
    ("billing", "export", "--what", "user-periods", "--period", "2026-01", "-o", "-"): True,
    ("billing", "export", "--what", "sessions", "--period", "2026-01", "-o", "-"): False,
    ("report", "usage", "--tenant", "acme"): True,
    ("routers", "show", "acme lobby"): False,
    ("sessions",): False,
    ("usage", "users"): False,
    ("users", "list"): None,
    ("plans", "list"): False,
    ("audit", "list"): False,
    ("audit", "verify"): False,
    ("limits", "list"): False,
    ("login", "list"): False,
    ("partitions", "list"): False,
    ("journal", "incidents"): False,
    ("webhooks", "list"): False,
    ("queue", "list"): False,
    ("rejected", "list"): False,
    ("rejected", "left-out"): False,
    ("quota", "over"): False,
    ("people", "show", "alice"): False,
    ("verify",): False,
    ("migrate", "status"): None,
    ("limits", "set", "rejected_keep_days", "1"): False,
    ("rejected", "retry", "1"): False,
    ("partitions", "ensure"): False,
    ("people", "erase", "alice", "--yes"): False,
    ("tenants", "logins"): False,
}


# These have no --format.
ERRAND = (("set",), ("retry",), ("ensure",), ("erase",))


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_commands_show_own_rows_or_refuse(
    database: str, two: Connection, role: str, command: tuple[str, ...]
) -> None:
    grant(two, "radmeter_tenant", role)
    assert radmeter(database, "tenants", "login", role, "--tenant", "acme").exit_code == 0
    works = READING[command]
    formats = () if command[1:2] in ERRAND else (("--format", "jsonl" if "export" in command else "json"),)
    for options in ((), *formats):
        done = radmeter(as_role(database, role), *command, *options)
        assert "bolt" not in done.output + done.errors
        assert "777000" not in done.output
        if done.exit_code:
            assert done.errors.startswith("error: "), done.errors
            assert works is not True, done.errors
        if works:
            assert done.exit_code == 0, done.errors
            assert "acme" in done.output or command[:2] not in (("routers", "list"), ("tenants", "show"))
        elif works is False:
            assert "ask the operator" in done.errors or "may not export sessions" in done.errors, done.errors
            assert "grant" not in done.errors.lower(), done.errors


def test_a_router_of_another_tenant_is_not_known(database: str, two: Connection, role: str) -> None:
    grant(two, "radmeter_tenant", role)
    assert radmeter(database, "tenants", "login", role, "--tenant", "acme").exit_code == 0
    for name in ("bolt lobby", "02-00-00-00-BB-02", "#2"):
        done = radmeter(as_role(database, role), "usage", "router", name)
        assert done.exit_code == 1
        assert "there is no router" in done.errors
