"""Roles that see the rows of one tenant only: a tenant's own login, and staff who were made members by mistake."""

from collections.abc import Collection
from enum import Enum
from typing import Any

import psycopg

from radmeter.database.identifiers import quoted
from radmeter.errors import StoreError

GROUP, OWNER = "radmeter_tenant", "radmeter_owner"
STAFF = ("radmeter_reader", "radmeter_noc", "radmeter_billing")
# Which of radmeter's groups the role in use has the rights of. For whom row-level security does not hold: none. It is
# part of the first statement of each connection, which finds names in any schema.
GROUPS = f"""(SELECT pg_catalog.array_agg(held.rolname::pg_catalog.text)
    FROM pg_catalog.pg_roles AS held
    WHERE held.rolname OPERATOR(pg_catalog.=) ANY ('{{{",".join((GROUP, OWNER, *STAFF))}}}'::pg_catalog.name[])
      AND pg_catalog.pg_has_role(held.oid, 'USAGE')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS own
                      WHERE own.rolname OPERATOR(pg_catalog.=) current_user AND (own.rolsuper OR own.rolbypassrls)))"""  # noqa: S608 # constants
# The grant by which somebody of the staff sees the rows of a tenant only. Of a chain of grants it is the one by which
# somebody of the staff gets into a group that is none of the staff's.
GRANT = """
SELECT pg_get_userbyid(edge.roleid)::text, pg_get_userbyid(edge.member)::text, current_user::text
FROM pg_auth_members AS edge
WHERE pg_has_role(edge.member, 'USAGE')
  AND (SELECT pg_has_role(edge.roleid, oid, 'USAGE') FROM pg_roles WHERE rolname = %(group)s)
  AND EXISTS (SELECT FROM pg_roles WHERE rolname = ANY (%(staff)s) AND pg_has_role(edge.member, oid, 'USAGE'))
  AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ANY (%(staff)s) AND pg_has_role(edge.roleid, oid, 'USAGE'))
ORDER BY edge.member = current_user::regrole DESC, 1, 2 LIMIT 1"""


class Standing(Enum):
    """Whose rows a role sees."""

    EVERYBODY = "those of all"
    TENANT = "those of a tenant"
    STAFF = "those of a tenant, and it is of the staff"


class NotForTenants(StoreError):
    """A tenant's login may not do this."""

    def __init__(self) -> None:
        super().__init__("a tenant's login may not do that: ask the operator")


class SeesOneTenant(StoreError):
    """Somebody of the staff sees the rows of one tenant only, or of none."""


def standing(groups: Collection[str] | None) -> Standing:
    """Return whose rows a role sees that has the rights of these groups."""
    if groups is None or GROUP not in groups or OWNER in groups:
        return Standing.EVERYBODY
    return Standing.STAFF if any(group in groups for group in STAFF) else Standing.TENANT


def refuse_staff(connection: psycopg.Connection[Any]) -> None:
    """Refuse a role of the staff: it would miss rows, and nothing would say so.

    Raises
    ------
    SeesOneTenant
        The message names the grant that has to go.
    """
    row = connection.execute(GRANT.encode(), {"group": GROUP, "staff": list(STAFF)}).fetchone()
    group, member, user = row or (GROUP, "the database role in use", "the database role in use")
    by = "" if member == user and group == GROUP else f" by {quoted(group)}"
    raise SeesOneTenant(
        f"the database role {quoted(user)} is a member of {GROUP}{by}, so it would see the rows of one tenant or none: "
        f"as a superuser, REVOKE {quoted(group)} FROM {quoted(member)}"
    )


def refuse_unbound(connection: psycopg.Connection[Any]) -> None:
    """Refuse a tenant's login that is bound to no tenant: it would see no row, and nothing would say so.

    Raises
    ------
    SeesOneTenant
        The message names what the operator has to run.
    """
    row = connection.execute("SELECT radmeter.current_tenant() IS NULL, current_user::text").fetchone()
    if row is not None and row[0]:
        raise SeesOneTenant(
            f"the database role {quoted(row[1])} is bound to no tenant, so it sees no rows: ask the operator, who "
            f"binds it with `radmeter tenants login {quoted(row[1])} --tenant NAME`"
        )
