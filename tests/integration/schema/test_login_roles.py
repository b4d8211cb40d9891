"""`radmeter migrate roles`: roles that log in, each a member of one group and nothing more."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.commands import radmeter
from support.servers import Connection, Server

from radmeter.schema import drift, manifest
from radmeter.schema.login_roles import Login, make_login_roles


@pytest.fixture
def role(server: Server) -> Iterator[str]:
    """The name of a role that is not there yet, and is dropped afterwards."""
    name = f'test "{secrets.token_hex(4)}'
    yield name
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("DROP ROLE IF EXISTS {}").format(psycopg.sql.Identifier(name)))


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """A database without radmeter."""
    with server.clone("template1") as dsn:
        yield dsn


def groups(connection: Connection, role: str) -> list[str]:
    rows = connection.execute(
        "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = quote_ident(%s)::regrole ORDER BY 1",
        (role,),
    )
    return [name for (name,) in rows]


def as_role(dsn: str, role: str) -> str:
    """Return a connection string of the role. The servers of the tests trust everyone on their socket."""
    return psycopg.conninfo.make_conninfo(dsn, user=role)


def test_a_member_of_the_owner_migrates_and_is_no_superuser(empty: str, role: str) -> None:
    done = radmeter(empty, "migrate", "roles", "--login", f"{role}=radmeter_owner")
    assert (done.exit_code, done.output) == (0, f"{role}: made, a member of radmeter_owner\n"), done.errors
    done = radmeter(as_role(empty, role), "migrate", "up", "--yes")
    assert done.exit_code == 0, done.errors
    assert "warning" not in done.errors
    with psycopg.connect(empty, autocommit=True) as connection:
        owners = connection.execute(
            "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'radmeter'::regnamespace"
        ).fetchall()
    assert owners == [("radmeter_owner",)]


def test_it_takes_away_what_the_role_had_before(connection: Connection, role: str) -> None:
    name = psycopg.sql.Identifier(role)
    connection.execute(psycopg.sql.SQL("CREATE ROLE {} SUPERUSER CREATEROLE BYPASSRLS").format(name))
    connection.execute(psycopg.sql.SQL("GRANT radmeter_owner, pg_read_all_data TO {}").format(name))
    (said,) = make_login_roles(connection, [Login(role, "radmeter_ingest")])
    assert (
        said
        == f"{role}: changed, a member of radmeter_ingest, and no longer of pg_read_all_data, radmeter_owner"
    )
    assert groups(connection, role) == ["radmeter_ingest"]
    row = connection.execute(
        """SELECT rolcanlogin, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication
           FROM pg_roles WHERE rolname = %s""",
        (role,),
    ).fetchone()
    assert row == (True, False)


def test_the_server_never_sees_the_password(connection: Connection, role: str, tmp_path: Path) -> None:
    (tmp_path / role).write_text("pass word\n")
    connection.execute("SET log_statement = 'all'")
    make_login_roles(connection, [Login(role, "radmeter_ingest", "pass word")])
    row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role,)).fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$")
    done = radmeter(
        connection.info.dsn,
        "migrate",
        "roles",
        "--login",
        f"{role}=radmeter_ingest",
        "--passwords",
        tmp_path,
    )
    assert done.exit_code == 0, done.errors
    assert "pass word" not in done.output + done.errors


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("x=postgres", "postgres: there is no such group role"),
        ("x=nobody", "nobody: there is no such group role"),
        ("postgres=radmeter_ingest", "postgres: this command is logged in as it"),
        ("x", "write ROLE=GROUP"),
        ("not_made=radmeter_login", "a role is in one group, not in radmeter_ingest and radmeter_login"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_done(database: str, login: str, said: str) -> None:
    done = radmeter(database, "migrate", "roles", "--login", "not_made=radmeter_ingest", "--login", login)
    assert done.exit_code in (1, 2)
    assert said in done.errors
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = 'not_made'").rowcount == 0


def test_a_role_without_the_right_is_told_so(database: str, role: str) -> None:
    assert radmeter(database, "migrate", "roles", "--login", f"{role}=radmeter_owner").exit_code == 0
    done = radmeter(as_role(database, role), "migrate", "roles", "--login", "not_made=radmeter_ingest")
    assert done.exit_code == 1
    assert "permission denied to create role" in done.errors


def test_it_says_which_groups_it_took_away(database: str, role: str) -> None:
    assert radmeter(database, "migrate", "roles", "--login", f"{role}=radmeter_ingest").exit_code == 0
    done = radmeter(database, "migrate", "roles", "--login", f"{role}=radmeter_login")
    assert done.output == f"{role}: changed, a member of radmeter_login, and no longer of radmeter_ingest\n"


@pytest.mark.parametrize(("group", "healed_by"), [("radmeter_login", "roles"), ("radmeter_noc", "up")])
def test_a_group_that_is_made_after_the_upgrade_gets_its_rights(
    connection: Connection, database: str, role: str, group: str, healed_by: str
) -> None:
    # As after an upgrade by a role that may not create roles: the group is missing, so nothing was granted to it.
    connection.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA radmeter, public FROM {group}".encode())
    connection.execute(f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA radmeter, public FROM {group}".encode())
    connection.execute(f"REVOKE ALL ON SCHEMA radmeter FROM {group}".encode())
    assert radmeter(database, "migrate", "status").exit_code == 3
    if healed_by == "roles":
        done = radmeter(database, "migrate", "roles", "--login", f"{role}={group}")
        assert done.output.endswith("a new group has its rights now\n")
    else:
        done = radmeter(database, "migrate", "up", "--yes")
    assert done.exit_code == 0, done.errors
    assert drift.compare(manifest.expected(), manifest.read(connection)) == []
    assert radmeter(database, "migrate", "status").exit_code == 0
