"""Database roles that see the rows of one tenant only: bind them, and tell what each sees."""

from typing import Any

from psycopg import sql

from radmeter.database import views
from radmeter.database.connection import Connection, explained_errors

GROUP = "radmeter_tenant"
BOUND = """
SELECT login.role_name::text AS role, tenant.name AS tenant, login.changed_at,
       CASE WHEN role.oid IS NULL THEN 'nothing: there is no such role'
            WHEN radmeter.sees_more(login.role_name) IS NOT NULL
                THEN 'more than its rows: it ' || radmeter.sees_more(login.role_name)
            WHEN NOT coalesce(pg_has_role(role.oid, to_regrole(%(group)s)::oid, 'MEMBER'), false)
                THEN 'nothing: it is no member of ' || %(group)s
            ELSE 'its rows' END AS sees
FROM radmeter.tenant_logins AS login JOIN radmeter.tenants AS tenant ON tenant.id = login.tenant_id
LEFT JOIN pg_roles AS role ON role.rolname = login.role_name
ORDER BY 1"""


def bind(connection: Connection, role: str, tenant: str) -> str | None:
    """Let a role see the rows of a tenant. Return the statement that a superuser has to run; None: nothing is left.

    Raises
    ------
    StoreError
        There is no such role or tenant, or the role sees more than the rows of a tenant.
    """
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT radmeter.bind_tenant_login(%s, %s)", (role, tenant)).fetchone()
    if row == (True,):
        return None
    return sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, (GROUP, role))).as_string(connection)


def unbind(connection: Connection, role: str) -> bool:
    """Take a role's tenant from it. Return whether it had one."""
    with explained_errors("radmeter_noc"):
        return connection.execute("SELECT radmeter.unbind_tenant_login(%s)", (role,)).fetchone() == (True,)


def bound(connection: Connection) -> list[dict[str, Any]]:
    """Return the roles that are bound: role, tenant, changed_at, and what each sees, in words."""
    with explained_errors("radmeter_reader"):
        return views.rows(connection, BOUND, {"group": GROUP})
