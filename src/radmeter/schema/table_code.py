"""Finds code that a table brings with it, and that would run with the rights of whoever changes or fills the table.

The owner of a table can give it defaults, checks, triggers, rules, policies, index expressions and columns of own
types. They run as radmeter's owner with each packet, or as the superuser who runs a command. So expressions may only
have what a list names. Built-in functions are no exception: `ts_rewrite` and `query_to_xml` run SQL in a text,
`pg_read_file` reads files. PostgreSQL keeps an expression as a tree of nodes, which names each function by its oid.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from radmeter.database.connection import Connection
from radmeter.errors import StoreError
from radmeter.schema import manifest

OWNER = "radmeter_owner"
# Objects of PostgreSQL itself have a smaller oid (FirstNormalObjectId).
FIRST_OID = 16384

# Built-in functions that compute from their arguments, the clock or chance, and do nothing else.
HARMLESS_FUNCTIONS = tuple(
    """abs age array_length btrim cardinality ceil ceiling char_length character_length clock_timestamp concat
    concat_ws current_setting date_part date_trunc decode div encode extract family floor gen_random_uuid
    greatest hashtext hashtextextended host initcap isfinite jsonb_typeof json_typeof least left length lower
    ltrim macaddr8_set7bit make_date make_interval make_time make_timestamp make_timestamptz masklen md5 mod
    netmask network now num_nonnulls num_nulls octet_length pg_current_snapshot position power random
    regexp_replace replace reverse right
    round rtrim scale sha256 sign split_part sqrt starts_with statement_timestamp strpos substr substring text textcat
    timeofday timezone to_char to_date to_number to_timestamp transaction_timestamp translate trunc upper
    uuidv4 uuidv7""".split()  # noqa: SIM905 # a list of words
)
# Nodes of a tree that run nothing but the functions and operators that they name. The types are looked at, too.
HARMLESS_NODES = frozenset(
    """ARRAYCOERCEEXPR ARRAYEXPR BOOLEANTEST BOOLEXPR CASEEXPR CASETESTEXPR CASEWHEN COALESCEEXPR COERCETODOMAIN
    COERCEVIAIO CONST DISTINCTEXPR FUNCEXPR MINMAXEXPR NULLIFEXPR NULLTEST OPEXPR RELABELTYPE SCALARARRAYOPEXPR
    SQLVALUEFUNCTION VAR""".split()  # noqa: SIM905
)
# With only these the argument of nextval is a sequence that pg_depend has.
_NEXTVAL_NODES = frozenset({"FUNCEXPR", "OPEXPR", "CONST"})


class Obstacle(NamedTuple):
    """A reason why a table cannot be adopted, and what to do about it."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


# Roles whose code may run with radmeter's rights: `{0}` is the oid of a role.
TRUSTED = (
    f"(SELECT rolsuper OR rolname IN ('{OWNER}', session_user) FROM pg_catalog.pg_roles WHERE oid = {{0}})"  # noqa: S608
)

_EXPRESSIONS = """
SELECT CASE WHEN attgenerated = '' THEN 'the default of ' ELSE 'the generated column ' END
           || adrelid::regclass || '.' || quote_ident(attname), adbin::text,
       format(CASE WHEN attgenerated = '' THEN 'ALTER TABLE %%s ALTER COLUMN %%I DROP DEFAULT;'
                   ELSE 'ALTER TABLE %%s DROP COLUMN %%I;' END, adrelid::regclass, attname),
       ARRAY(SELECT refobjid FROM pg_depend JOIN pg_class ON pg_class.oid = refobjid
             WHERE classid = 'pg_attrdef'::regclass AND objid = pg_attrdef.oid
               AND refclassid = 'pg_class'::regclass AND relkind = 'S'
               AND relowner NOT IN (SELECT own.relowner FROM pg_class AS own WHERE own.oid = adrelid)
               AND NOT {trusted_sequence})
FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE adrelid = %(oid)s AND NOT attisdropped
UNION ALL
SELECT 'the constraint ' || quote_ident(conname) || ' of ' || conrelid::regclass, conbin::text,
       format('ALTER TABLE %%s DROP CONSTRAINT %%I;', conrelid::regclass, conname), '{{}}'
FROM pg_constraint WHERE conrelid = %(oid)s AND conbin IS NOT NULL
UNION ALL
SELECT 'the index ' || indexrelid::regclass, coalesce(indexprs::text, '') || ' ' || coalesce(indpred::text, ''),
       coalesce((SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I;', indrelid::regclass, conname)
                 FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid AND contype IN ('p', 'u', 'x')),
                format('DROP INDEX %%s;', indexrelid::regclass)), '{{}}'
FROM pg_index WHERE indrelid = %(oid)s AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
UNION ALL
SELECT format('the statistics object %%I.%%I', nspname, stxname), stxexprs::text,
       format('DROP STATISTICS %%I.%%I;', nspname, stxname), '{{}}'
FROM pg_statistic_ext JOIN pg_namespace ON pg_namespace.oid = stxnamespace
WHERE stxrelid = %(oid)s AND stxexprs IS NOT NULL
UNION ALL
SELECT 'the condition of the trigger ' || quote_ident(tgname), tgqual::text,
       format('DROP TRIGGER %%I ON %%s;', tgname, tgrelid::regclass), '{{}}'
FROM pg_trigger WHERE tgrelid = %(oid)s AND tgqual IS NOT NULL AND NOT tgisinternal
ORDER BY 1""".format(trusted_sequence=TRUSTED.format("relowner"))  # noqa: S608

_FUNCTIONS = """
SELECT oid, oid::regprocedure::text, proname = 'nextval',
       oid < %(first)s AND (pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (%(harmless)s)
           OR EXISTS (SELECT FROM pg_cast WHERE castfunc = pg_proc.oid AND pg_cast.oid < %(first)s))
FROM pg_proc WHERE oid = ANY (%(oids)s::oid[]) ORDER BY 2"""

_OPERATORS = """
SELECT DISTINCT pg_operator.oid::regoperator::text, pg_get_userbyid(oprowner)::text
FROM pg_operator JOIN pg_proc ON pg_proc.oid = oprcode
WHERE pg_operator.oid = ANY (%(oids)s::oid[])
  AND (pg_operator.oid >= %(first)s AND NOT {operator} OR pg_proc.oid >= %(first)s AND NOT {function})
ORDER BY 1""".format(operator=TRUSTED.format("oprowner"), function=TRUSTED.format("proowner"))

# A type is what it is made of: elements, a domain's base, a range's subtype, a row's columns. Enums run no code.
_TYPES = """
WITH RECURSIVE used (root, oid) AS (
    SELECT root, root FROM unnest(%(oids)s::oid[]) AS root
    UNION
    SELECT root, part FROM used JOIN pg_type ON pg_type.oid = used.oid, LATERAL (
        SELECT typelem UNION ALL SELECT typbasetype
        UNION ALL SELECT rngsubtype FROM pg_range WHERE rngtypid = pg_type.oid
        UNION ALL SELECT rngtypid FROM pg_range WHERE rngmultitypid = pg_type.oid
        UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = typrelid AND typtype = 'c' AND attnum > 0
            AND NOT attisdropped) AS parts (part)
    WHERE part >= %(first)s)
SELECT DISTINCT root, pg_type.oid::regtype::text, pg_get_userbyid(typowner)::text
FROM used JOIN pg_type ON pg_type.oid = used.oid
WHERE typtype <> 'e' AND NOT (typtype = 'b' AND typelem <> 0) AND pg_type.oid >= %(first)s
  AND (NOT {trusted} OR EXISTS (
      SELECT FROM pg_constraint JOIN pg_depend ON classid = 'pg_constraint'::regclass AND objid = pg_constraint.oid
      JOIN pg_proc ON refclassid = 'pg_proc'::regclass AND pg_proc.oid = refobjid
      WHERE contypid = pg_type.oid AND NOT {function}))
ORDER BY 2""".format(trusted=TRUSTED.format("typowner"), function=TRUSTED.format("proowner"))  # noqa: S608

_COLUMNS = """
SELECT 'the column ' || attrelid::regclass || '.' || quote_ident(attname), atttypid,
       format('ALTER TABLE %%s DROP COLUMN %%I;', attrelid::regclass, attname)
FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped AND atttypid >= %(first)s
ORDER BY 1"""

_CLASSES = """
SELECT 'the index ' || indexrelid::regclass,
       format('the operator class %%I of %%s', opcname, pg_get_userbyid(opcowner)),
       format('DROP INDEX %%s;', indexrelid::regclass)
FROM pg_index, unnest(indclass::oid[]) AS used JOIN pg_opclass ON pg_opclass.oid = used
WHERE indrelid = %(oid)s AND used >= %(first)s AND NOT {opclass} ORDER BY 1, 2""".format(
    opclass=TRUSTED.format("opcowner")
)

# Reason and remedy of what is attached to a table.
_OTHERS = """
SELECT format('the trigger %%I of %%s runs the function %%s of %%s', tgname, tgrelid::regclass,
              tgfoid::regprocedure, pg_get_userbyid(proowner)),
       format('read it, and ALTER FUNCTION %%s OWNER TO a superuser; or DROP TRIGGER %%I ON %%s;',
              tgfoid::regprocedure, tgname, tgrelid::regclass)
FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE tgrelid = %(oid)s AND NOT tgisinternal AND tgfoid >= %(first)s AND NOT {function}
UNION ALL
SELECT format('the rule %%I rewrites what is done to %%s', rulename, ev_class::regclass),
       format('DROP RULE %%I ON %%s;', rulename, ev_class::regclass)
FROM pg_rewrite WHERE ev_class = %(oid)s
{policies}UNION ALL
SELECT format('%%s of %%s inherits from or to %%s', other.oid::regclass, pg_get_userbyid(other.relowner),
              %(oid)s::regclass),
       'ALTER TABLE <child> NO INHERIT <parent>;'
FROM pg_inherits JOIN pg_class AS other
    ON other.oid = CASE inhrelid WHEN %(oid)s THEN inhparent ELSE inhrelid END
JOIN pg_class AS own ON own.oid = %(oid)s
-- Partitions are handed over, and looked at, with their table.
WHERE %(oid)s IN (inhrelid, inhparent) AND own.relkind <> 'p' AND NOT own.relispartition AND NOT {other}
ORDER BY 1""".format(
    function=TRUSTED.format("proowner"),
    other=TRUSTED.format("other.relowner"),
    policies="{policies}",
)
# Policies run with the rights of whoever reads or writes, unless the owner has to obey them, too.
_POLICIES = """UNION ALL
SELECT format('row level security is on for %%s', oid::regclass),
       format('ALTER TABLE %%s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;', oid::regclass)
FROM pg_class WHERE oid = %(oid)s AND (relrowsecurity OR relforcerowsecurity)
UNION ALL
SELECT format('%%s has the policy %%I', polrelid::regclass, polname),
       format('DROP POLICY %%I ON %%s;', polname, polrelid::regclass)
FROM pg_policy WHERE polrelid = %(oid)s
"""
# Our own policies do no harm, and a policy is ours only if it is the one in the manifest.
_OTHERS, _OTHERS_BUT_POLICIES = (_OTHERS.format(policies=text) for text in (_POLICIES, ""))

# What the views that read a table use, also those that read it through another view.
_USED_BY_VIEWS = """
WITH RECURSIVE reading (oid) AS (
    SELECT %(oid)s::oid
    UNION
    SELECT ev_class FROM reading
    JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = reading.oid
    JOIN pg_rewrite ON pg_rewrite.oid = objid JOIN pg_class ON pg_class.oid = ev_class AND relkind = 'v')
SELECT DISTINCT ev_class::regclass::text, refclassid::regclass::text, refobjid,
       pg_describe_object(refclassid, refobjid, 0),
       coalesce(pg_get_userbyid(owner)::text, ''), coalesce({trusted}, false)
FROM reading JOIN pg_rewrite ON ev_class = reading.oid AND ev_class <> %(oid)s
JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid, LATERAL (
    SELECT CASE refclassid
        WHEN 'pg_proc'::regclass THEN (SELECT proowner FROM pg_proc WHERE oid = refobjid)
        WHEN 'pg_operator'::regclass THEN (SELECT oprowner FROM pg_operator WHERE oid = refobjid)
        WHEN 'pg_type'::regclass THEN (SELECT typowner FROM pg_type WHERE oid = refobjid)
        WHEN 'pg_collation'::regclass THEN (SELECT collowner FROM pg_collation WHERE oid = refobjid)
        WHEN 'pg_ts_config'::regclass THEN (SELECT cfgowner FROM pg_ts_config WHERE oid = refobjid)
        WHEN 'pg_ts_dict'::regclass THEN (SELECT dictowner FROM pg_ts_dict WHERE oid = refobjid)
    END AS owner) AS owned
-- A relation is only read. Its own code is not made again.
WHERE refclassid NOT IN ('pg_class'::regclass, 'pg_rewrite'::regclass, 'pg_constraint'::regclass)
  AND refobjid >= %(first)s
ORDER BY 1, 4""".format(trusted=TRUSTED.format("owner"))  # noqa: S608


def is_table(connection: Connection, name: str) -> bool:
    """Tell whether there is an ordinary table of this name. To read a view would run the functions in it."""
    row = connection.execute(
        "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(%s)", (name,)
    ).fetchone()
    return row == (True,)


def hold(connection: Connection, name: str) -> None:
    """Lock a table, if it is one that may be read, so that it stays one until the caller's transaction ends.

    Its owner could put a view in its place between the look at the catalog and the query.
    """
    row = connection.execute(
        "SELECT has_table_privilege(oid, 'SELECT') FROM pg_class WHERE oid = to_regclass(%s)", (name,)
    ).fetchone()
    if row == (True,) and is_table(connection, name):
        connection.execute(f"LOCK TABLE ONLY {name} IN ACCESS SHARE MODE".encode())


def of_table(connection: Connection, oid: int) -> list[Obstacle]:
    """Return what of a table would run code that is neither harmless nor of a role that radmeter trusts."""
    others = _OTHERS if manifest.foreign_policies(connection, oid) else _OTHERS_BUT_POLICIES
    attached = connection.execute(others.encode(), {"oid": oid, "first": FIRST_OID}).fetchall()
    return [*of_expressions(connection, oid), *(Obstacle(*row) for row in attached)]


def of_expressions(connection: Connection, oid: int) -> list[Obstacle]:
    """Return the same without what is attached to the table: triggers, rules, policies, inheritance."""
    named = {"oid": oid, "first": FIRST_OID}
    found = []
    for what, kind, remedy in connection.execute(_COLUMNS, named).fetchall():
        found += [_uses(what, thing, remedy) for thing in _foreign_types(connection, [kind])]
    for what, tree, remedy, sequences in connection.execute(_EXPRESSIONS, named).fetchall():
        things = list(_harmful(connection, tree))
        if sequences:
            things.append("the sequence of another role")
        found += [_uses(what, thing, remedy) for thing in things]
    found += [_uses(*row) for row in connection.execute(_CLASSES, named).fetchall()]
    return found


def of_views(connection: Connection, oid: int) -> list[Obstacle]:
    """Return the views of a table that use types or functions of others.

    A view is made again from its text. PostgreSQL then reads each constant in it, and the checks of a domain run.
    """
    rows = connection.execute(_USED_BY_VIEWS, {"oid": oid, "first": FIRST_OID}).fetchall()
    found = []
    for view, catalog, used, description, owner, trusted in rows:
        if catalog == "pg_type":
            things = list(_foreign_types(connection, [used]))
        else:
            things = [] if trusted else [f"the {description} of {owner}"]
        for thing in things:
            found.append(
                Obstacle(
                    f"the view {view} uses {thing}, and is made again by the role that runs this command",
                    f"keep its definition (\\d+ {view} in psql), DROP VIEW {view}; and create it again afterwards",
                )
            )
    return found


def harmless(connection: Connection, tree: str) -> bool:
    """Tell whether an expression, given as its tree of nodes, has only what the lists name."""
    return not list(_harmful(connection, tree))


def refuse(connection: Connection, table: str) -> None:
    """Refuse a table that would run code of others. The caller holds a lock that keeps others from changing it.

    Raises
    ------
    StoreError
        It would. The message has all reasons, and what to do about each.
    """
    row = connection.execute("SELECT to_regclass(%s)::oid", (table,)).fetchone()
    found = of_table(connection, row[0]) if row and row[0] else []
    if found:
        raise StoreError(
            f"{table} would run code with the rights of {OWNER}, nothing of this step was done:",
            *(f"  {obstacle}" for obstacle in found),
        )


def _uses(what: str, thing: str, remedy: str) -> Obstacle:
    return Obstacle(f"{what} uses {thing}, which could run code with the rights of {OWNER}", remedy)


def _harmful(connection: Connection, tree: str) -> Iterator[str]:
    """Yield what an expression has that no list names."""
    nodes = set(re.findall(r"\{([A-Z_]+)", tree))
    for node in sorted(nodes - HARMLESS_NODES):
        yield f"an expression of the kind {node}"
    functions = _oids(r":(?:funcid|aggfnoid|winfnoid) (\d+)", tree)
    operators = _oids(r":opno (\d+)", tree)
    types = _oids(r":(?:\w*type(?:id)?) (\d+)", tree)
    known = (
        connection.execute(
            _FUNCTIONS, {"oids": functions, "first": FIRST_OID, "harmless": list(HARMLESS_FUNCTIONS)}
        ).fetchall()
        if functions
        else []
    )
    if len(known) < len(functions):
        yield "a function that is not there any more"
    for _, name, is_nextval, is_harmless in known:
        if is_nextval:
            # A sequence that is given as text has no entry in pg_depend.
            if nodes - _NEXTVAL_NODES or any(other.startswith("regclass(") for _, other, *_ in known):
                yield "nextval together with a cast"
        elif not is_harmless:
            yield f"the function {name}"
    found = (
        connection.execute(_OPERATORS, {"oids": operators, "first": FIRST_OID}).fetchall()
        if operators
        else []
    )
    for name, owner in found:
        yield f"the operator {name} of {owner}"
    yield from _foreign_types(connection, types)


def _foreign_types(connection: Connection, oids: Iterable[int]) -> Iterator[str]:
    # PostgreSQL's own types consist of its own. A table has many expressions, and the caller holds a lock on it.
    others = [oid for oid in oids if oid >= FIRST_OID]
    if not others:
        return
    for _, name, owner in connection.execute(_TYPES, {"oids": others, "first": FIRST_OID}).fetchall():
        yield f"the type {name} of {owner}"


def _oids(pattern: str, tree: str) -> list[int]:
    return sorted({int(oid) for oid in re.findall(pattern, tree, re.IGNORECASE)} - {0})
