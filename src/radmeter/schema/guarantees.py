"""Checks the guarantees of the schema in a live database: money, plans of hot queries, partitions, triggers."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from psycopg import sql

from radmeter.database.connection import Connection, explained_errors
from radmeter.partitions.months import missing_months
from radmeter.schema import triggers


class Violation(NamedTuple):
    """A broken guarantee: its name, and what is wrong."""

    name: str
    fault: str


MONEY = (("plans", "price"), ("routers", "total_usage"))
PARTITIONS = "partitions are made ahead"
MONEY_IS_DECIMAL = "money is decimal"
TRIGGERS_FIRE = "the triggers of counters and quotas are enabled"


def check(connection: Connection) -> list[Violation]:
    """Return the broken guarantees. The connection must be in autocommit mode. Nothing is written."""
    checks: tuple[tuple[str, Callable[[Connection], str]], ...] = (
        (MONEY_IS_DECIMAL, _money),
        ("get_user_total_usage reads one index entry and no session", _usage_plan),
        ("a router is found by its MAC on an index", _mac_plan),
        (PARTITIONS, _partitions),
        (TRIGGERS_FIRE, _triggers),
    )
    broken = []
    for name, fault in checks:
        with explained_errors("radmeter_reader"), connection.transaction(force_rollback=True):
            if found := fault(connection):
                broken.append(Violation(name, found))
    return broken


def _money(connection: Connection) -> str:
    types = {
        (table, column): kind
        for table, column, kind in connection.execute(
            # Other tables in public may belong to another program.
            """SELECT relname, attname, format_type(atttypid, atttypmod)
               FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
               WHERE (relnamespace = 'radmeter'::regnamespace
                      OR relnamespace = 'public'::regnamespace AND relname = ANY (%s))
                 AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
                 AND attname !~ '_seconds$'""",
            ([table for table, _ in MONEY],),
        )
    }
    floats = {key: kind for key, kind in types.items() if kind in ("double precision", "real", "money")}
    others = {key: types.get(key, "missing") for key in MONEY if not types.get(key, "").startswith("numeric")}
    return "; ".join(f"{table}.{column} is {kind}" for (table, column), kind in {**floats, **others}.items())


def _usage_plan(connection: Connection) -> str:
    row = connection.execute(
        "SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('public.get_user_total_usage(text, timestamptz)')"
    ).fetchone()
    if row is None:
        return "the function is missing"
    # The function's body with parameters, so that the plan is the one for any user.
    body = re.sub(r"\bp_at\b", "$2", re.sub(r"\bp_username\b", "$1", row[0])).strip().rstrip(";")
    nodes = _plan(connection, body, "text, timestamptz", "'nobody', now()")
    lookups = [node for node in nodes if node.get("Relation Name") == "user_quota_usage"]
    if not lookups or any("Index Name" not in node or "Index Cond" not in node for node in lookups):
        return f"user_quota_usage is read by {_shown(lookups)}"
    # The plan does not show what a nested function reads. So compare the statistics before and after one call.
    scans = """SELECT coalesce(sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)), 0)
               FROM pg_stat_xact_user_tables WHERE schemaname = 'public' AND relname ~ '^radacct'"""
    before = connection.execute(scans).fetchone()
    connection.execute("SELECT public.get_user_total_usage('nobody')")
    return "" if connection.execute(scans).fetchone() == before else "it reads radacct"


def _mac_plan(connection: Connection) -> str:
    row = connection.execute(
        "SELECT prosrc FROM pg_proc WHERE proname = 'match_router' AND pronamespace = 'radmeter'::regnamespace"
    ).fetchone()
    if row is None:
        return "radmeter.match_router is missing"
    if not re.search(r"\bmac = p_mac\b", row[0]) or re.search(
        r"\bi?like\b|~|\bsimilar\b", row[0], re.IGNORECASE
    ):
        return "radmeter.match_router does not compare the MAC for equality"
    nodes = _plan(
        connection, "SELECT id FROM public.routers WHERE mac = $1", "macaddr", "'02:00:00:00:00:01'"
    )
    lookups = [node for node in nodes if node.get("Relation Name") == "routers"]
    if not lookups or any("mac" not in node.get("Index Cond", "") for node in lookups):
        return f"routers is read by {_shown(lookups)}"
    return ""


def _partitions(connection: Connection) -> str:
    missing = missing_months(connection, 1)
    if not missing:
        return ""
    return f"none for {', '.join(month.name for month in missing)}: does `radmeter jobs run` run?"


def _triggers(connection: Connection) -> str:
    return "; ".join(
        f"{trigger.name} is missing: run `radmeter migrate up`"
        if state == triggers.MISSING
        else f"{trigger.name} {state}: ALTER TABLE {trigger.table} ENABLE TRIGGER {trigger.name}"
        for trigger, state in triggers.faults(connection)
    )


def _plan(connection: Connection, query: str, types: str, values: str) -> list[dict[str, Any]]:
    """Return the nodes of the plan for any values of the parameters. The caller rolls the transaction back."""
    connection.execute("SET LOCAL search_path = pg_catalog")
    connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    # A small table would be scanned although it has the index.
    connection.execute("SET LOCAL enable_seqscan = off")
    # A bitmap scan uses the index too, but its table node does not name it.
    connection.execute("SET LOCAL enable_bitmapscan = off")
    connection.execute(
        sql.SQL("PREPARE radmeter_guarantee ({}) AS {}").format(sql.SQL(types), sql.SQL(query)),
        prepare=False,
    )
    try:
        row = connection.execute(
            sql.SQL("EXPLAIN (FORMAT JSON) EXECUTE radmeter_guarantee ({})").format(sql.SQL(values)),
            prepare=False,
        ).fetchone()
    finally:
        connection.execute("DEALLOCATE radmeter_guarantee")
    assert row is not None
    plan = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    return list(_nodes(plan[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _shown(nodes: list[dict[str, Any]]) -> str:
    return ", ".join(node["Node Type"] for node in nodes) or "nothing"
