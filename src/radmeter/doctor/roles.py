"""Checks of the roles: which exist, what the role in use may do, who owns the objects."""

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


def _may(context: Context, roles: list[str]) -> list[str]:
    """Return what the role in use may do, in words."""
    if context.facts.is_owner:
        return [
            "migrate, run the jobs, ingest, read" + (" (superuser)" if context.facts.is_superuser else "")
        ]
    words = {
        "radmeter_ingest": "ingest",
        "radmeter_reader": "read",
        "radmeter_noc": "change routers and counters",
        "radmeter_billing": "bill",
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
            *(f"{thing.kind.lower()} {thing.name}: {thing.owner}" for thing in strangers),
        )
