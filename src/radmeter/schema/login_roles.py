"""Makes the roles that log in: one for each service, a member of one of radmeter's groups and nothing more."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from radmeter.database.connection import Connection, translated_errors
from radmeter.errors import StoreError
from radmeter.schema.ownership import OWNER, make_roles
from radmeter.schema.sql_files import GRANTS, POLICIES, apply_grants, changed_files

ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT"


@dataclass(frozen=True)
class Login:
    """A role that logs in. Without a password it needs another way, such as `peer` or a certificate."""

    name: str
    group: str
    password: str | None = None


def make_login_roles(connection: Connection, logins: Sequence[Login]) -> list[str]:
    """Make or change the roles, with the groups and the schema radmeter. Return what was done, a line each.

    The connection's role must be a superuser, or one that may create roles. Afterwards nothing needs it: a member of
    radmeter_owner upgrades the schema. A role that is there already gets exactly these attributes and this one group.
    A group that is made after the upgrade gets its rights here.

    Raises
    ------
    StoreError
        The connection's role may not do this, or a name is not that of a role that can be made.
    """
    groups_of: dict[str, str] = {}
    for login in logins:
        if groups_of.setdefault(login.name, login.group) != login.group:
            raise StoreError(
                f"{login.name}: a role is in one group, not in {groups_of[login.name]} and {login.group}: name a "
                "further role"
            )
    with _explained(), connection.transaction():
        make_roles(connection)
        groups = {
            row[0]
            for row in connection.execute("SELECT rolname FROM pg_catalog.pg_roles WHERE NOT rolcanlogin")
        }
        row = connection.execute("SELECT session_user").fetchone()
        said = []
        for login in logins:
            if login.group not in groups:
                listed = ", ".join(sorted(name for name in groups if name.startswith("radmeter_")))
                raise StoreError(f"{login.group}: there is no such group role; radmeter's are {listed}")
            if row == (login.name,):
                raise StoreError(f"{login.name}: this command is logged in as it; name another role")
            said.append(_make(connection, login))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS radmeter AUTHORIZATION {OWNER}".encode())
        said += _give_rights(connection)
    return said


def _give_rights(connection: Connection) -> list[str]:
    """Give a group that was made after the upgrade its rights. A schema that is older gets them by its upgrade."""
    if sorted(changed_files(connection)) != sorted((GRANTS, POLICIES)):
        return []
    row = connection.execute(
        """SELECT pg_catalog.pg_has_role(nspowner, 'USAGE') FROM pg_catalog.pg_namespace
           WHERE nspname = 'radmeter'"""
    ).fetchone()
    if row != (True,):
        return [f"a new group has no rights yet: run `radmeter migrate up` as a member of {OWNER}"]
    apply_grants(connection)
    return ["a new group has its rights now"]


@contextmanager
def _explained() -> Iterator[None]:
    try:
        with translated_errors():
            yield
    except StoreError as error:
        if isinstance(error.__cause__, InsufficientPrivilege):
            raise StoreError(f"{error}: run it as a superuser, or as a role with CREATEROLE") from error
        raise


def _make(connection: Connection, login: Login) -> str:
    name, group = sql.Identifier(login.name), sql.Identifier(login.group)
    found = connection.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (login.name,)).rowcount
    before = _state(connection, login.name)
    verb = "ALTER" if found else "CREATE"
    connection.execute(sql.SQL(f"{verb} ROLE {{}} {ATTRIBUTES}").format(name))
    if login.password is not None:
        # The server gets the SCRAM verifier, so the password is in no log.
        verifier = connection.pgconn.encrypt_password(
            login.password.encode(), login.name.encode(), b"scram-sha-256"
        ).decode()
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(verifier)))
    others = connection.execute(
        """SELECT roleid::pg_catalog.regrole::text FROM pg_catalog.pg_auth_members
           WHERE member = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s)
             AND roleid <> (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s) ORDER BY 1""",
        (login.name, login.group),
    ).fetchall()
    for (other,) in others:
        connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.SQL(other), name))
    connection.execute(sql.SQL("GRANT {} TO {}").format(group, name))
    if not found:
        done = "made"
    elif before != _state(connection, login.name):
        done = "changed"
    else:
        # Nobody can see whether the password was the same before.
        done = "unchanged" if login.password is None else "its password is set again"
    taken = f", and no longer of {', '.join(other for (other,) in others)}" if others else ""
    return f"{login.name}: {done}, a member of {login.group}{taken}"


def _state(connection: Connection, name: str) -> tuple[object, ...] | None:
    """Return a role's attributes and groups; None if there is no such role."""
    return connection.execute(
        """SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit,
               ARRAY(SELECT roleid FROM pg_catalog.pg_auth_members WHERE member = role.oid ORDER BY roleid)
           FROM pg_catalog.pg_roles AS role WHERE rolname = %s""",
        (name,),
    ).fetchone()
