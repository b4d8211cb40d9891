"""Checks of the logins that see the rows of one tenant: that they see no more, and that none of the staff is one."""

from radmeter.doctor.commands import identifier
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller

tell = Teller("roles")


def findings(context: Context) -> Findings:
    """Check bound logins, members of radmeter_tenant, and what everybody may do that a tenant's login should not."""
    yield from _bound(context)
    yield from _members(context)
    yield from _large_objects(context)


TENANT_LOGINS = """
SELECT login.role_name::text, tenant.name, radmeter.sees_more(login.role_name),
       EXISTS (SELECT FROM pg_roles WHERE rolname = login.role_name)
FROM radmeter.tenant_logins AS login JOIN radmeter.tenants AS tenant ON tenant.id = login.tenant_id ORDER BY 1"""


# Whether the role in use may read who is bound. Not to_regclass: it fails for a role that may not use the schema.
READABLE = """
SELECT coalesce(bool_and(has_table_privilege(pg_class.oid, 'SELECT')), false)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = 'radmeter' AND relname IN ('tenant_logins', 'tenants')
  AND EXISTS (SELECT FROM pg_proc WHERE pronamespace = pg_namespace.oid AND proname = 'sees_more'
                AND has_function_privilege(pg_proc.oid, 'EXECUTE'))"""


def _bound(context: Context) -> Findings:
    """Find logins of tenants that see more than the rows of the tenant, and those whose role is gone."""
    (readable,) = context.row(READABLE)
    if not readable:
        return
    for role, tenant, more, exists in context.rows(TENANT_LOGINS):
        if more is not None:
            mend = {
                "is a superuser": f"ALTER ROLE {identifier(role)} NOSUPERUSER",
                "has BYPASSRLS": f"ALTER ROLE {identifier(role)} NOBYPASSRLS",
            }.get(more, f"REVOKE {identifier(more.rpartition(' ')[2])} FROM {identifier(role)}")
            yield tell.red(
                f"{role} is bound to the tenant {tenant}, and sees more than its rows: it {more}",
                context.remedy.psql(mend, user=context.remedy.superuser),
            )
        elif not exists:
            yield tell.yellow(
                f"{role} is bound to the tenant {tenant}, and there is no such role: a new one of this name would see "
                "the tenant's rows",
                context.remedy.radmeter(f"tenants login {identifier(role)} --remove"),
            )


# Logins that see the rows of one tenant only. A pooler's login that gets there by SET ROLE has no right of its own.
MEMBERS = """
SELECT login.rolname::text,
       (SELECT min(other.rolname)::text FROM pg_roles AS other
        WHERE starts_with(other.rolname, 'radmeter_') AND other.rolname <> 'radmeter_tenant'
          AND other.oid <> login.oid AND NOT other.rolcanlogin AND pg_has_role(login.oid, other.oid, 'USAGE'))
FROM pg_roles AS login JOIN pg_roles AS tenants ON tenants.rolname = 'radmeter_tenant'
WHERE login.rolcanlogin AND NOT login.rolsuper AND pg_has_role(login.oid, tenants.oid, 'USAGE') ORDER BY 1"""
# By which grants: of a chain, the one that a role of radmeter's has, or the login itself.
EDGES = """
SELECT DISTINCT pg_get_userbyid(edge.roleid)::text, pg_get_userbyid(edge.member)::text
FROM pg_auth_members AS edge JOIN pg_roles AS tenants ON tenants.rolname = 'radmeter_tenant'
JOIN pg_roles AS login ON login.rolname = %s
WHERE pg_has_role(edge.roleid, tenants.oid, 'USAGE') AND pg_has_role(login.oid, edge.member, 'USAGE')
  AND (edge.member = login.oid OR starts_with(pg_get_userbyid(edge.member)::text, 'radmeter_'))
  AND (edge.roleid = tenants.oid OR NOT starts_with(pg_get_userbyid(edge.roleid)::text, 'radmeter_'))
ORDER BY 1, 2"""


def _members(context: Context) -> Findings:
    """Find logins of the staff that see the rows of one tenant only, and tenants' logins that are bound to none."""
    (readable,) = context.row(READABLE)
    bound = (
        {row[0] for row in context.rows("SELECT role_name::text FROM radmeter.tenant_logins")}
        if readable
        else None
    )
    for login, other in context.rows(MEMBERS):
        if other is not None:
            # If it is bound, it sees more than its tenant's rows, which is said already.
            if bound is None or login not in bound:
                statements = [
                    f"REVOKE {identifier(group)} FROM {identifier(member)}"
                    for group, member in context.rows(EDGES, login)
                ]
                yield tell.red(
                    f"{login} is a member of radmeter_tenant and of {other}: it would see the rows of one tenant or "
                    "none, and nothing would say so",
                    context.remedy.psql(*statements, user=context.remedy.superuser),
                )
        elif bound is not None and login not in bound:
            yield tell.red(
                f"{login} is a member of radmeter_tenant and bound to no tenant: it sees nothing",
                context.remedy.radmeter(f"tenants login {identifier(login)} --tenant NAME"),
                note=f"Or, if it is no tenant's: REVOKE radmeter_tenant FROM {identifier(login)}.",
            )


# By default everybody may make large objects. None: no role is a tenant's. With a key of a tenant nobody writes SQL, so
# radmeter_api, which `radmeter serve` has, is no tenant's.
LARGE_OBJECTS = """
SELECT current_database()
FROM pg_roles AS tenants
CROSS JOIN unnest(ARRAY['lo_creat(integer)', 'lo_create(oid)', 'lo_from_bytea(oid, bytea)']) AS made (name)
WHERE tenants.rolname = 'radmeter_tenant' AND has_function_privilege(tenants.oid, made.name, 'EXECUTE')
  AND EXISTS (SELECT FROM pg_auth_members AS edge WHERE edge.roleid = tenants.oid
                AND pg_get_userbyid(edge.member) <> 'radmeter_api') LIMIT 1"""


def _large_objects(context: Context) -> Findings:
    """Find that tenants' logins may fill the disk."""
    for (name,) in context.rows(LARGE_OBJECTS):
        yield tell.yellow(
            f"logins of tenants may make large objects in {name}, as everybody may: they can fill the disk",
            context.remedy.psql(
                "REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC",
                user=context.remedy.superuser,
            ),
            note="A program of this database that makes large objects then needs the right by name.",
        )
