"""A function in SQL that is one expression is put into the statement, and not called.

PostgreSQL parses and plans a function in SQL that it calls anew for each statement. That takes longer than most
statements of ours. What it does not put in is in PL/pgSQL, whose plans a session keeps.
"""

from support.servers import Connection

FUNCTIONS = """
SELECT proname, oidvectortypes(proargtypes) AS types, pronargs
FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
WHERE pronamespace = 'radmeter'::regnamespace AND lanname = 'sql' AND prokind = 'f'
  AND NOT proretset AND NOT prosecdef AND proconfig IS NULL AND provolatile <> 'v'
ORDER BY proname"""
# They read tables, and are called now and then.
READ_TABLES = {"alert_subject", "discovery_client", "muted_until"}


def test_each_function_of_an_expression_is_inlined(connection: Connection) -> None:
    found = connection.execute(FUNCTIONS).fetchall()
    assert len(found) > 10
    called = set()
    for name, types, number in found:
        names = [f"a{place}" for place in range(number)]
        given = ", ".join(
            f"NULL::{kind} AS {each}" for kind, each in zip(types.split(", "), names, strict=True)
        )
        plan = connection.execute(
            f"EXPLAIN (VERBOSE, COSTS OFF) SELECT radmeter.{name}({', '.join(names)}) "
            f"FROM (SELECT {given} OFFSET 0) AS given".encode()
        )
        if any(f"radmeter.{name}(" in line for (line,) in plan.fetchall()):
            called.add(name)
    assert called == READ_TABLES
