"""Watches what a program reads while it keeps the writers of radacct waiting."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

# radacct, its partitions and what inherits from it. radacct_open is left out: it has the open sessions only, and the
# swap reads each of these once.
FAMILY = """
WITH RECURSIVE family (oid) AS (
    SELECT oid FROM pg_catalog.pg_class
    WHERE oid IN (pg_catalog.to_regclass('public.radacct'), pg_catalog.to_regclass('public.radacct_legacy'))
    UNION SELECT inhrelid FROM pg_catalog.pg_inherits JOIN family ON inhparent OPERATOR(pg_catalog.=) family.oid
)"""
# Modes that keep writers waiting (PostgreSQL manual, table-level locks).
STRONG = f"""{FAMILY}
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks JOIN family ON relation OPERATOR(pg_catalog.=) family.oid
               WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND granted
                 AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))"""
SCANS = f"""{FAMILY}
SELECT relid::bigint, relname::text, seq_scan FROM pg_catalog.pg_stat_xact_all_tables
JOIN family ON relid OPERATOR(pg_catalog.=) family.oid
WHERE seq_scan OPERATOR(pg_catalog.>) 0 AND relname OPERATOR(pg_catalog.<>) 'radacct_open'
  AND pg_catalog.pg_relation_size(relid) OPERATOR(pg_catalog.>) 0"""
SEQ_SCAN = re.compile(r"Seq Scan on (\S*radacct\S*)")
EXPLAINABLE = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b", re.IGNORECASE)


@dataclass
class Watch:
    """What was found: the statements under a strong lock, and those of them that scan radacct."""

    locked: list[str] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)
    """Statements whose plan, by EXPLAIN, has a sequential scan."""
    scanned: list[str] = field(default_factory=list)
    """Statements during which the server counted one: changes of the schema, and what functions do, included."""


@contextmanager
def locks_watched() -> Iterator[Watch]:
    """Watch each statement of this process's psycopg connections, but those of `stock.Traffic`."""
    watch = Watch()
    execute = psycopg.Cursor.execute

    def asked(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
        with psycopg.Cursor(connection) as cursor:
            return execute(cursor, query.encode(), prepare=False).fetchall()

    def scans(connection: psycopg.Connection[Any]) -> dict[int, tuple[str, int]]:
        # The server counts on over several transactions. A table can get another name meanwhile, but no other oid.
        return {oid: (name, count) for oid, name, count in asked(connection, SCANS)}

    def open_transaction(connection: psycopg.Connection[Any]) -> bool:
        return connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS

    def watched(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        connection = self.connection
        if isinstance(self, psycopg.ClientCursor) or connection.info.transaction_status not in (
            psycopg.pq.TransactionStatus.IDLE,
            psycopg.pq.TransactionStatus.INTRANS,
        ):
            return execute(self, query, params, **options)
        text = psycopg.sql.SQL(query).as_string(connection) if isinstance(query, str) else (
            query.decode() if isinstance(query, bytes) else query.as_string(connection)
        )  # fmt: skip
        before: dict[int, tuple[str, int]] = {}
        if open_transaction(connection):
            before = scans(connection)
            if asked(connection, STRONG) == [(True,)] and EXPLAINABLE.match(text):
                with psycopg.Cursor(connection) as cursor:
                    plan = execute(cursor, f"EXPLAIN {text}".encode(), params, prepare=False).fetchall()
                found = {name for (line,) in plan for name in SEQ_SCAN.findall(line)} - {"radacct_open"}
                if found:
                    watch.planned.append(f"{sorted(found)}: {text}")
        result = execute(self, query, params, **options)
        if open_transaction(connection) and asked(connection, STRONG) == [(True,)]:
            watch.locked.append(text)
            after = scans(connection)
            if new := {name for oid, (name, count) in after.items() if count > before.get(oid, ("", 0))[1]}:
                watch.scanned.append(f"{sorted(new)}: {text}")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", watched)
        yield watch
