"""Measures quota and router lookups on databases of two sizes, and the SUM and ILIKE queries that they replace."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg

from bench.database import Databases
from bench.plan import LookupSize
from bench.processes import on_one_core

Say = Callable[[str], None]
Calls = tuple[str, Sequence[tuple[Any, ...]]]
SESSIONS_OF_A_USER = 100  # over three months
LOOKUPS = ("quota", "quota by SUM", "MAC match", "MAC match by ILIKE")
TURNS = 30
CALLS_A_TURN = 50
TURN_SECONDS = 0.1  # a slow query is called less often, but at least once a turn

CLOSED = """
CREATE TEMPORARY TABLE closed AS
SELECT number, 'guest-' || number % {users} AS username, number % {routers} + 1 AS router_id,
       begin + (number * 7919 % 2246400) * interval '1 second' AS started,
       number % 1000 * 1000 + 500 AS bytes_in, number % 777 * 100000 + 9000 AS bytes_out
FROM (SELECT number, '{month}'::timestamptz - (number / {users} % 3) * interval '1 month' AS begin
      FROM generate_series(1, {sessions}::bigint) AS number) AS numbered;
"""
COLUMNS = (
    "acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime, acctstoptime, "
    "acctsessiontime, acctinputoctets, acctoutputoctets, calledstationid, acctterminatecause"
)
VALUES = (
    "number::text, md5(number::text), username, '10.0.0.1'::inet, started, started + interval '1 hour', "
    "started + interval '1 hour', 3600, bytes_in, bytes_out, '02-42-00-00-00-01:Guest WiFi', 'User-Request'"
)
PARTITIONS = """
SELECT radmeter.ensure_partition('{month}'::timestamptz - number * interval '1 month')
FROM generate_series(0, 2) AS number
"""
FILL = f"""
INSERT INTO public.routers (id, name, mac)
SELECT number, 'router-' || number, ('0242' || lpad(to_hex(number), 8, '0'))::macaddr
FROM generate_series(1, {{routers}}) AS number;
INSERT INTO stock.routers SELECT id, mac::text FROM public.routers;
INSERT INTO public.radacct ({COLUMNS}, router_id, arrived_at, counted_at, usage_date, period_start)
SELECT {VALUES}, router_id, started, started, started::date, date_trunc('month', started)::date FROM closed;
INSERT INTO stock.radacct ({COLUMNS}) SELECT {VALUES} FROM closed;
INSERT INTO public.user_quota_usage (username, period_start, bytes_in, bytes_out)
SELECT username, date_trunc('month', started)::date, sum(bytes_in), sum(bytes_out) FROM closed GROUP BY 1, 2;
"""

QUOTA = "SELECT get_user_total_usage(%s, %s)"
SUM = (
    "SELECT coalesce(sum(acctinputoctets + acctoutputoctets), 0)::bigint FROM stock.radacct "
    "WHERE username = %s AND acctstarttime >= date_trunc('month', %s::timestamptz)"
)
MATCH = "SELECT radmeter.match_router(%s::macaddr, NULL, NULL, NULL)"
ILIKE = "SELECT id FROM stock.routers WHERE %s ILIKE '%%' || mac || '%%'"


def measure(databases: Databases, sizes: Sequence[LookupSize], say: Say) -> dict[str, Any]:
    """Time each lookup in a database of each size, in turns. Return the median and the 99th percentile, in seconds.

    Raises
    ------
    RuntimeError
        A lookup and the query that it replaces have different results.
    """
    with ExitStack() as stack:
        connections = []
        for size in sizes:
            say(f"lookups: filling {size.closed_sessions:,} closed sessions, {size.routers:,} routers")
            name = stack.enter_context(databases.empty("radmeter"))
            connections.append(stack.enter_context(databases.connect(name)))
            _fill(connections[-1], databases, size)
        say("lookups: timing")
        at = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(databases.base))
        found: dict[str, Any] = {"sizes": [vars(size) for size in sizes]}
        turns: dict[str, list[list[list[float]]]] = {name: [[] for _ in sizes] for name in LOOKUPS}
        # On one core: after a long SUM the kernel moves a connection's server process to another core. Then every query
        # takes 0.06 ms more, to wake a core that sleeps.
        with on_one_core(connection.info.backend_pid for connection in connections):
            for connection, size in zip(connections, sizes, strict=True):
                for name in ("quota", "MAC match"):
                    # After filling, the pages are in the kernel's cache but not in the server's. Most of 100,000
                    # routers would be read for the first time only half through the turns.
                    query, arguments = _calls(name, size, at)
                    for argument in arguments:
                        connection.execute(query, argument, prepare=True)
            for turn in range(-2, TURNS):  # two more turns as warm-up
                # All lookups in each turn, so that other load on the machine affects both sizes alike.
                for name in LOOKUPS:
                    for connection, size, timed in zip(connections, sizes, turns[name], strict=True):
                        seconds = _time(connection, _calls(name, size, at), turn)
                        if turn >= 0:
                            timed.append(seconds)
        for name in LOOKUPS:
            found[name] = [_summary(timed) for timed in turns[name]]
        for connection, size in zip(connections, sizes, strict=True):
            _compare(connection, size, at)
    return found


def _fill(connection: psycopg.Connection[Any], databases: Databases, size: LookupSize) -> None:
    values = {
        "sessions": size.closed_sessions,
        "users": max(size.closed_sessions // SESSIONS_OF_A_USER, 1),
        "routers": size.routers,
        "month": time.strftime("%Y-%m-01 00:00:00+00", time.gmtime(databases.base)),
    }
    connection.execute("SET session_replication_role = replica")  # no triggers
    connection.execute("CREATE SCHEMA stock")
    connection.execute("SET search_path = stock")
    connection.execute(databases.stock_schema())
    connection.execute("CREATE TABLE stock.routers (id bigint PRIMARY KEY, mac text NOT NULL UNIQUE)")
    connection.execute("SET search_path = public")
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute(CLOSED.format(**values))
    connection.execute(PARTITIONS.format(**values))
    with _indexes_last(connection):
        for statement in FILL.format(**values).split(";"):
            connection.execute(statement)
    connection.execute("DROP TABLE closed")
    connection.execute("VACUUM (ANALYZE, FREEZE)")
    connection.execute("CHECKPOINT")


@contextmanager
def _indexes_last(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Drop the indexes of both radacct tables while they are filled, then make them again. This halves the time."""
    indexes = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
        "JOIN pg_class ON pg_class.oid = indrelid "
        "WHERE relname LIKE 'radacct%' AND relkind = 'r' AND relnamespace IN ('public'::regnamespace, "
        "'stock'::regnamespace) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        connection.execute(definition)


def _calls(name: str, size: LookupSize, at: str) -> Calls:
    """Return a query and its arguments: another user or router for each call, from all parts of the tables."""
    users = max(size.closed_sessions // SESSIONS_OF_A_USER, 1)
    numbers = range(1, 4001)
    if name.startswith("quota"):
        query = QUOTA if name == "quota" else SUM
        return query, [(f"guest-{number * 104_729 % users}", at) for number in numbers]
    macs = [f"0242{number * 104_729 % size.routers + 1:08x}" for number in numbers]
    if name == "MAC match":
        return MATCH, [(mac,) for mac in macs]
    return ILIKE, [(":".join(mac[i : i + 2] for i in range(0, 12, 2)) + ":Guest WiFi",) for mac in macs]


def _time(connection: psycopg.Connection[Any], calls: Calls, turn: int) -> list[float]:
    """Call a prepared query as an application does, one round trip for each call; return the seconds of each."""
    query, arguments = calls
    found: list[float] = []
    began = time.perf_counter()
    for number in range(CALLS_A_TURN):
        argument = arguments[(turn * CALLS_A_TURN + number) % len(arguments)]
        start = time.perf_counter()
        connection.execute(query, argument, prepare=True).fetchall()
        end = time.perf_counter()
        found.append(end - start)
        if end - began > TURN_SECONDS:
            break
    return found


def _summary(turns: list[list[float]]) -> dict[str, Any]:
    ordered = sorted(seconds for turn in turns for seconds in turn)
    return {
        "median": statistics.median(ordered),
        "p99": ordered[int(0.99 * (len(ordered) - 1))],
        "calls": len(ordered),
        "turns": [statistics.median(turn) for turn in turns],
    }


def _compare(connection: psycopg.Connection[Any], size: LookupSize, at: str) -> None:
    for lookup, replaced in (("quota", "quota by SUM"), ("MAC match", "MAC match by ILIKE")):
        query, arguments = _calls(lookup, size, at)
        old_query, old_arguments = _calls(replaced, size, at)
        for argument, old_argument in list(zip(arguments, old_arguments, strict=True))[:5]:
            new = connection.execute(query, argument).fetchone()
            old = connection.execute(old_query, old_argument).fetchone()
            if new != old:
                raise RuntimeError(f"{lookup} of {argument} is {new}, {replaced} says {old}")
