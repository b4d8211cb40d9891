"""What an adoption and its undoing lock: writers for a batch of rows that moves, radmeter's own for the way back."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from support import stock
from support.adoption import killed_before
from support.beside import DEADLINE_SECONDS, POLL_SECONDS, Beside
from support.commands import Packets, radmeter
from support.servers import Server

from radmeter.adoption import adopt, opening, operation, return_rows, undo
from radmeter.database import advisory_locks
from radmeter.usage import verify

Connection = psycopg.Connection[Any]

# A row on its way stops here until the test lets it on. lock_timeout is for those who wait for the mover.
PAUSE = """
CREATE FUNCTION public.pause() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
$$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NEW; END $$;
CREATE TRIGGER pause BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION public.pause()"""
GO_ON = "DROP FUNCTION public.pause() CASCADE"
REBOOT = (
    "UPDATE radacct SET acctstoptime = now(), acctterminatecause = 'NAS-Reboot' WHERE acctstoptime IS NULL"
)


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    """A database with FreeRADIUS's own radacct."""
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            stock.fill(connection, 50, open_sessions=20)
        yield dsn


def take_over(connection: Connection) -> None:
    adopt.adopt(operation.Operation(connection))


def give_back(connection: Connection) -> list[str]:
    return undo.undo(operation.Operation(connection))


def reboot_beside(dsn: str, table: str, work: Callable[[Connection], Any]) -> int:
    """Let all routers reboot while `work` moves a row to `table`; return how many sessions that closed."""
    with (
        psycopg.connect(dsn, autocommit=True) as connection,
        psycopg.connect(dsn, autocommit=True) as holder,
    ):
        connection.execute(PAUSE.format(table=table).encode())
        holder.execute("SELECT pg_advisory_lock(77)")
        with Beside(dsn, work) as moving:
            assert moving.waits_for(holder)
            with Beside(dsn, lambda beside: beside.execute(REBOOT).rowcount) as rebooting:
                assert rebooting.waits_for(moving.connection)
                holder.execute("SELECT pg_advisory_unlock(77)")
                closed = rebooting.result()
            moving.result()
        connection.execute(GO_ON)
        return closed


def left_open(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM radacct WHERE acctstoptime IS NULL"
        ).fetchone() or (0,)
        return int(count)


def test_a_router_that_reboots_while_its_sessions_move_closes_them_all(radius: str) -> None:
    killed_before(radius, opening.move_open, take_over)
    assert reboot_beside(radius, "public.radacct_open", take_over) == 20
    assert left_open(radius) == 0


def test_a_router_that_reboots_while_its_sessions_move_back_closes_them_all(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        take_over(connection)
    killed_before(radius, return_rows.return_rows, give_back)
    assert reboot_beside(radius, "public.radacct", give_back) == 20
    assert left_open(radius) == 0


def asks_again(undoing: Beside[Any], connection: Connection, held: int) -> bool:
    """Wait until the work, which holds so many advisory locks, asks for one more again and again: True; or ended."""
    times: set[Any] = set()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not undoing.ended and len(times) < 3:
        assert time.monotonic() < deadline
        rows = connection.execute(
            """SELECT query_start FROM pg_stat_activity AS activity
               WHERE pid = %s AND query LIKE 'SELECT pg_try_advisory_lock%%'
                 AND (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = activity.pid) = %s""",
            (undoing.pid, held),
        )
        times.update(began for (began,) in rows)
        time.sleep(POLL_SECONDS)
    return not undoing.ended


def test_undo_waits_for_each_of_radmeters_own_writers(radius: str) -> None:
    """A batch would be half in the partitioned table and half in FreeRADIUS's own."""
    names = (advisory_locks.JOBS, advisory_locks.BACKFILL, advisory_locks.INGEST)
    with (
        psycopg.connect(radius, autocommit=True) as holder,
        psycopg.connect(radius, autocommit=True) as connection,
    ):
        take_over(connection)
        connection.execute("SELECT pg_advisory_unlock_all()")
        assert [advisory_locks.taken(holder, name) for name in names] == [True, True, True]
        with Beside(radius, give_back) as undoing:
            for held, name in enumerate(names, start=1):  # the upgrade lock comes first
                assert asks_again(undoing, connection, held), name
                assert connection.execute("SELECT state FROM radmeter.adoption").fetchone() == ("done",)
                advisory_locks.given_back(holder, name)
            assert undoing.result() == []
        assert connection.execute(
            "SELECT relkind FROM pg_class WHERE oid = 'radacct'::regclass"
        ).fetchone() == ("r",)


def rows_counted(connection: Connection) -> dict[str, int]:
    """How many rows each table has of what was counted."""
    tables = connection.execute(
        """SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND (
               oid IN ('public.user_quota_usage'::regclass, 'public.router_daily_usage'::regclass)
               OR relnamespace = 'radmeter'::regnamespace
                  AND relname ~ '^(session_slice|session_month|adopted_|adoption_baseline|backfill)')"""
    ).fetchall()
    counted = {}
    for (table,) in tables:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (0,)
        counted[table.removeprefix("radmeter.")] = count
    return counted


def test_undo_takes_away_all_that_was_counted_and_it_is_counted_anew_once(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        take_over(connection)
        assert radmeter(radius, "backfill", "--yes").exit_code == 0
        with Packets(radius) as packets:
            for ago in (86400, 0):
                packets.add(
                    "Interim-Update", "s", ago=ago, User_Name="alice", Acct_Input_Octets=200_000 - ago
                )
        counters = {"user_quota_usage", "router_daily_usage"}
        before = rows_counted(connection)
        assert {name for name in before if before[name]} >= counters | {
            "session_slice",
            "adopted_router",
            "backfill",
        }
        give_back(connection)
        after = rows_counted(connection)
        assert {name: count for name, count in after.items() if count} == {}
        assert counters | {"session_slice", "backfill"} <= set(after)
        take_over(connection)
        assert radmeter(radius, "backfill", "--yes").exit_code == 0
        with verify.snapshot(connection):
            assert verify.user_differences(connection, verify.Scope())[1] == []
            assert verify.router_differences(connection, verify.Scope())[1] == []


@pytest.mark.parametrize("status", ["open", "closed"])
def test_a_session_that_is_inserted_twice_at_once_is_there_once(radius: str, status: str) -> None:
    """While radacct is being adopted, its unique index does not reach the open sessions."""
    killed_before(radius, opening.bound, take_over)
    insert = """
        INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstarttime, acctstoptime, acctinputoctets)
        VALUES ('1', 'new', '10.0.0.1', '2025-01-01Z', %s, 7) ON CONFLICT (acctuniqueid) DO NOTHING"""
    stop = None if status == "open" else "2025-01-02Z"
    with psycopg.connect(radius) as first:
        first.execute(insert, (None,))
        with Beside(radius, lambda beside: beside.execute(insert, (stop,)).rowcount) as second:
            waited = second.waits_for(first)
            first.commit()
            assert second.result() == 0
    with psycopg.connect(radius) as connection:
        assert connection.execute(
            "SELECT tableoid::regclass::text, acctstoptime IS NULL, acctinputoctets FROM radacct "
            "WHERE acctuniqueid = 'new'"
        ).fetchall() == [("radacct_open", status == "open", 7)]
    assert waited
