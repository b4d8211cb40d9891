"""A table as years of accidents leave it is adopted while rlm_sql writes. The longest wait of a writer is printed.

`./scripts/test --long tests/integration/adoption/test_adopt_dirty.py -s` does it with 3,000,000 rows.
"""

import os
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from support import dirty, stock
from support.adoption import Reader, assert_totals, ship
from support.commands import radmeter
from support.load_factor import load_factor
from support.servers import Server

from radmeter.database.connection import connect
from radmeter.jobs.stale_sessions import close_stale

LONG = os.environ.get("RADMETER_LONG") == "1"
DIRTY, CLEAN = (30_000, 3_000_000) if LONG else (1500, 0)
# In CI other tests use the same processors.
LONGEST_SECONDS = 0.2 if LONG else 1.0

OBSTACLES = (
    "the trigger noted would not fire",
    "the foreign key ticket_radacctid_fkey cannot be kept",
    "the materialized view public.by_day would go on reading",
)
ROW_OBSTACLES = (
    "1 session stopped in the future",
    "2 values of acctuniqueid are in 4 rows",
)
# The rule of docs/adoption.md, written a second time.
COUNTS = """(coalesce(acctinputoctets, 0) BETWEEN 0 AND 4503599627370496
    AND coalesce(acctoutputoctets, 0) BETWEEN 0 AND 4503599627370496
    AND coalesce(acctupdatetime, acctstoptime, acctstarttime, '2025-01-01Z') BETWEEN '1970-01-01Z' AND '2106-01-01Z')"""


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            dirty.fill(connection, DIRTY, CLEAN)
        yield dsn


def done(dsn: str, *arguments: str) -> str:
    result = radmeter(dsn, *arguments)
    assert result.exit_code == 0, result.errors
    return result.output + result.errors


def test_a_dirty_table_is_adopted_under_traffic_and_counted(radius: str) -> None:
    refused = radmeter(radius, "adopt", "--from", "radacct", "--yes").errors
    for words in OBSTACLES:
        assert words in refused
    with psycopg.connect(radius, autocommit=True) as connection:
        *statements, constraint = dirty.REMEDIES.split(";")
        catalog = [each for each in statements if "DROP" in each and "INDEX" not in each]
        for statement in catalog:
            connection.execute(statement.encode())
        refused = radmeter(radius, "adopt", "--from", "radacct", "--yes").errors
        for words in ROW_OBSTACLES:
            assert words in refused
        for statement in [each for each in statements if each not in catalog] + [constraint]:
            connection.execute(statement.encode())
        (rows,) = connection.execute("SELECT count(*) FROM radacct").fetchone() or (0,)
        (bad,) = connection.execute(
            f"""SELECT count(*) FROM radacct WHERE NOT {COUNTS}
                AND (coalesce(acctinputoctets, 0) <> 0 OR coalesce(acctoutputoctets, 0) <> 0)"""
        ).fetchone() or (0,)
        alice = connection.execute(
            f"""SELECT sum(acctinputoctets), sum(acctoutputoctets) FROM radacct
                WHERE username = 'alice' AND {COUNTS}"""
        ).fetchone()
        assert bad > DIRTY // 4
        plan = " ".join(done(radius, "adopt", "--from", "radacct", "--plan").split())
        assert f"{bad:,} sessions with values that no router can have reported" in plan

        traffic = stock.Traffic(radius)
        with Reader(radius) as reader:
            traffic.begin(pause_seconds=0.005)
            said = done(radius, "adopt", "--from", "radacct", "--yes")
            traffic.end()
        print(
            f"{rows:,} rows: a writer's longest statement took {traffic.longest_seconds * 1000:.0f} ms; {said}"
        )
        print(done(radius, "migrate", "history"))
        assert not reader.faults
        assert all("ON CONFLICT" in error for error in traffic.errors)
        assert traffic.longest_seconds < LONGEST_SECONDS * load_factor()
        ship(radius, traffic)
        assert_totals(connection, traffic)

        # The pass that fills in router_id rewrites each row.
        said = done(radius, "backfill", "--yes", *(("--only", "counters") if LONG else ()))
        assert f"{bad:,} sessions set aside" in said
        assert (
            connection.execute(
                "SELECT sum(bytes_in), sum(bytes_out) FROM user_quota_usage WHERE username = 'alice'"
            ).fetchone()
            == alice
        )
        done(radius, "verify")
        # Each open session can be closed, whatever times it has.
        with closing(connect(radius, autocommit=True)) as jobs:
            close_stale(jobs)
            connection.execute("UPDATE radacct_open SET arrived_at = arrived_at - interval '1 day'")
            close_stale(jobs)
        assert connection.execute(
            "SELECT count(*) FROM radacct_open WHERE acctsessionid LIKE 'dirty%'"
        ).fetchone() == (0,)
        done(radius, "verify")
        assert "left out of the counters" in done(radius, "backfill", "--leave", "all", "--yes")
        done(radius, "adopt", "--undo", "--yes")
        assert connection.execute("SELECT count(*) FROM radacct").fetchone() == (
            rows + len(traffic.sessions),
        )
        assert connection.execute("SELECT count(*) > 0 FROM long_sessions").fetchone() == (True,)
