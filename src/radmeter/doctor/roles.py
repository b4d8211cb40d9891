"""Checks of the roles: which exist, what the role in use may do, who owns the objects."""

from radmeter.doctor import tenant_logins
from radmeter.doctor.commands import identifier
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.schema import manifest, ownership
from radmeter.schema.ownership import OWNER

tell = Teller("roles")

SHOWN = 3


def expected_roles() -> list[str]:
    """Return the owner's role, and all roles with grants."""
    return sorted(
        {OWNER}
        | {
            entry.name.partition(" ")[0]
            for entry in manifest.expected()
            if entry.kind == "grant" and entry.name.startswith("radmeter_")
        }
    )


def check(context: Context) -> Findings:
    """Check that the roles exist, that the one in use has rights, and that one role owns everything."""
    expected = expected_roles()
    there = [
        row[0] for row in context.rows("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", expected)
    ]
    missing = [role for role in expected if role not in there]
    (creates,) = context.row("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    maker = None if creates else "postgres"
    for role in missing:
        # The owner of a database can rarely create roles.
        yield tell.red(
            f"role {role} is missing",
            context.remedy.psql(f"CREATE ROLE {identifier(role)} NOLOGIN", user=maker)
            + f" && {context.remedy.reapply()}",
        )
    if OWNER in there:
        yield from _ownership(context)
    yield from _superusers(context, expected)
    yield from tenant_logins.findings(context)
    yield from _temporary(context)
    yield from _strangers(context)
    may = _may(context, there)
    user = context.facts.user
    if not may:
        grant = f"GRANT radmeter_reader TO {identifier(user)}"
        yield tell.red(
            f"{user} may do nothing here: it has none of radmeter's roles", context.remedy.psql(grant)
        )
    elif not missing:
        login = [
            row[0]
            for row in context.rows(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) AND rolcanlogin ORDER BY 1", there
            )
        ]
        yield tell.green(
            f"{len(there)} there; {user} may {', '.join(may)}",
            "there: " + ", ".join(sorted(there)),
            *([f"may log in: {', '.join(login)}"] if login else []),
        )


# A role of ours, or a direct or indirect member of one, that is a superuser; and the grant by which it is a member.
# oid 10 is the superuser that initdb made.
SUPERUSERS = """
WITH RECURSIVE member AS (
    SELECT oid, rolname AS granted, rolname AS reached FROM pg_roles WHERE rolname = ANY (%s)
    UNION
    SELECT grants.member, pg_get_userbyid(grants.roleid), member.reached
    FROM pg_auth_members AS grants JOIN member ON member.oid = grants.roleid
)
SELECT rolname, min(reached), min(granted), pg_roles.oid = 10
FROM member JOIN pg_roles USING (oid) WHERE rolsuper GROUP BY rolname, pg_roles.oid ORDER BY 1"""


def _superusers(context: Context, roles: list[str]) -> Findings:
    """Find superusers that were given our roles: what they run could do anything, on all databases of the server.

    A superuser that is no member is left out. It may do everything anyway, and runs `migrate` and the trial.
    """
    for name, reached, granted, first in context.rows(SUPERUSERS, roles):
        # The first superuser of a server must stay one.
        mend = (
            f"REVOKE {identifier(granted)} FROM {identifier(name)}"
            if first
            else f"ALTER ROLE {identifier(name)} NOSUPERUSER"
        )
        said = f"{name} is a superuser" + ("" if name == reached else f" and a member of {reached}")
        yield tell.red(
            f"{said}: no program of radmeter needs one",
            context.remedy.psql(mend, user=context.remedy.superuser),
        )


def _temporary(context: Context) -> Findings:
    """Check who may make temporary tables: the role that owns the objects, for `ingest`, and nobody by default."""
    name, owner, owner_may, everybody = context.row(
        """SELECT current_database(), pg_get_userbyid(proowner)::text,
                  has_database_privilege(proowner, current_database(), 'TEMPORARY'),
                  EXISTS (SELECT FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
                          WHERE datname = current_database() AND grantee = 0 AND privilege_type = 'TEMPORARY')
           -- Not to_regprocedure: it fails for a role that may not use the schema.
           FROM (SELECT) AS one LEFT JOIN (pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace)
               ON nspname = 'radmeter' AND proname = 'ingest' LIMIT 1"""
    )
    database = identifier(name)
    if owner is not None and not owner_may:
        yield tell.red(
            f"{owner} may not make temporary tables in {name}: ingest stops at its next connection",
            context.remedy.psql(
                f"GRANT TEMPORARY ON DATABASE {database} TO {identifier(owner)}",
                user=context.remedy.superuser,
            ),
        )
    if everybody:
        statements = [f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"]
        if owner is not None:
            statements.insert(0, f"GRANT TEMPORARY ON DATABASE {database} TO {identifier(owner)}")
        yield tell.yellow(
            f"everybody may make temporary tables in {name}; only {owner or OWNER} needs to",
            context.remedy.psql(*statements, user=context.remedy.superuser),
        )


def _strangers(context: Context) -> Findings:
    """Find an owner of the database, or of the schema public, that is none of ours."""
    rows = context.rows(
        """SELECT pg_get_userbyid(proowner)::text FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
           WHERE nspname = 'radmeter' AND proname = 'ingest' LIMIT 1"""
    )
    ours = rows[0][0] if rows else OWNER
    found = ownership.strangers(context.database, ours)
    if not found:
        return
    named = " and ".join(
        f"{'the database' if thing.kind == 'DATABASE' else 'the schema'} {thing.name}" for thing in found
    )
    yield tell.red(
        f"{named} {'belongs' if len(found) == 1 else 'belong'} to {found[0].owner}, which is not {ours}: it may drop "
        "radmeter's tables, and grant rights to others",
        context.remedy.psql(
            *(f"ALTER {thing.kind} {identifier(thing.name)} OWNER TO {identifier(ours)}" for thing in found),
            user=context.remedy.superuser,
        ),
        *(f"{thing.kind.lower()} {thing.name}: {thing.owner}" for thing in found),
    )


def _may(context: Context, roles: list[str]) -> list[str]:
    """Return what the role in use may do, in words."""
    if context.facts.is_owner:
        return [
            "do everything (superuser)"
            if context.facts.is_superuser
            else "migrate, run the jobs, ingest, read"
        ]
    words = {
        "radmeter_ingest": "ingest",
        "radmeter_reader": "read",
        "radmeter_noc": "change routers and counters",
        "radmeter_billing": "bill",
        "radmeter_login": "let users log in",
        "radmeter_tenant": "read the rows of a tenant",
    }
    has = context.rows("SELECT role FROM unnest(%s::text[]) AS role WHERE pg_has_role(role, 'USAGE')", roles)
    return [words.get(role, role) for (role,) in has]


def _ownership(context: Context) -> Findings:
    """Find objects of other roles. The next migration may not be able to change them."""
    strangers = ownership.foreign(context.database)
    names = ", ".join(thing.name for thing in strangers[:SHOWN])
    more = f" and {len(strangers) - SHOWN} more" if strangers[SHOWN:] else ""
    if strangers:
        # Only a member of both roles can change the owner.
        by = context.remedy.radmeter("migrate up")
        if not all(thing.movable for thing in strangers):
            by = context.remedy.radmeter("migrate up", user="postgres")
        yield tell.yellow(
            f"not {OWNER}'s but {', '.join(sorted({thing.owner for thing in strangers}))}'s: {names}{more}",
            by,
            *(
                f"{thing.kind.lower()} {thing.name}: {thing.owner}"
                + ("" if thing.trusted else f", who is not trusted: {thing.remedy}")
                for thing in strangers
            ),
        )
