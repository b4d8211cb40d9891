"""Checks the schema public: who may create in it, what has the name of a function or operator of PostgreSQL, radcheck.

radmeter's own connections and functions search pg_catalog only. Other programs of this database, and people in psql,
search public too. There ``public.length(varchar)`` is called in place of PostgreSQL's own, with the caller's rights
(CVE-2018-1058).
"""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller

tell = Teller("public")

SHOWN = 3

# An extension's functions and operators are left out, and radmeter's own.
SHADOWS = """
SELECT kind, name, statement FROM (
    SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
           oid::regprocedure::text AS name,
           format('DROP %%s %%s', CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
                  oid::regprocedure) AS statement, 'pg_proc'::regclass AS class, oid
    FROM pg_proc AS proc
    WHERE pronamespace = 'public'::regnamespace
      AND EXISTS (SELECT FROM pg_proc AS own
                  WHERE own.proname = proc.proname AND own.pronamespace = 'pg_catalog'::regnamespace)
    UNION ALL
    SELECT 'operator', oid::regoperator::text,
           format('DROP OPERATOR public.%%s (%%s, %%s)', oprname,
                  CASE oprleft WHEN 0 THEN 'NONE' ELSE oprleft::regtype::text END, oprright::regtype),
           'pg_operator'::regclass, oid
    FROM pg_operator AS operator
    WHERE oprnamespace = 'public'::regnamespace
      AND EXISTS (SELECT FROM pg_operator AS own
                  WHERE own.oprname = operator.oprname AND own.oprnamespace = 'pg_catalog'::regnamespace)
) AS found
WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = found.oid AND deptype = 'e')
ORDER BY kind, name"""

MAY_CREATE = """
SELECT EXISTS (SELECT FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
               WHERE nspname = 'public' AND grantee = 0 AND privilege_type = 'CREATE')"""

# Not to_regprocedure: it fails for a role that may not use the schema.
MAY_ASK = """
SELECT EXISTS (SELECT FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
               WHERE nspname = 'radmeter' AND proname = 'radcheck_fault'
                 AND has_function_privilege(pg_proc.oid, 'EXECUTE')
                 AND has_schema_privilege(pg_namespace.oid, 'USAGE'))"""


def check(context: Context) -> Findings:
    """Name what hides PostgreSQL's own functions, the right to make more, and code of others on radcheck."""
    (everybody,) = context.row(MAY_CREATE)
    if everybody:
        yield tell.yellow(
            "everybody may create tables and functions in the schema public",
            context.remedy.psql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", user=context.remedy.superuser),
        )
    faults = _radcheck(context)
    for reason, remedy in faults:
        yield tell.yellow(
            f"{reason}: passwords are neither stored nor erased there",
            *([context.remedy.psql(remedy, user=context.remedy.superuser)] if remedy[:1].isupper() else []),
            *([] if remedy[:1].isupper() else [remedy]),
        )
    found = context.rows(SHADOWS)
    if found:
        named = ", ".join(f"{kind} {name}" for kind, name, _ in found[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if found[SHOWN:] else ""
        yield tell.yellow(
            f"in public there are functions or operators with names of PostgreSQL's own, which other programs may call "
            f"by mistake: {named}{more}",
            context.remedy.psql(
                *(statement for _, _, statement in found[:SHOWN]), user=context.remedy.superuser
            ),
            *(f"{kind} {name}" for kind, name, _ in found),
        )
    elif not everybody and not faults:
        yield tell.green("nothing in it has the name of something of PostgreSQL")


def _radcheck(context: Context) -> list[tuple[str, str]]:
    """Return what of radcheck could run code of others, with the statement that mends it."""
    if context.row(MAY_ASK) != (True,):
        return []
    rows = context.rows("SELECT reason, remedy FROM radmeter.radcheck_fault() WHERE kind = 'code' ORDER BY 1")
    return [(str(reason), str(remedy)) for reason, remedy in rows]
