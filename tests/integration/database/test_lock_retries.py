"""A change that does not get its locks at once lets the others through, says who has them, and comes back."""

import threading
import time

import psycopg
import pytest
from support.servers import Connection

from radmeter.database.lock_retries import (
    create_index_with_lock_retries,
    outside_transaction,
    with_lock_retries,
)
from radmeter.errors import DiskFull, LockTimeout, StoreError


@pytest.fixture
def table(connection: Connection) -> Connection:
    connection.execute("CREATE TABLE public.t (x integer)")
    connection.execute("INSERT INTO t VALUES (1), (1)")
    return connection


def test_nobody_queues_behind_the_wait_and_it_ends_when_the_holder_does(
    database: str, table: Connection
) -> None:
    said: list[str] = []
    longest = 0.0
    with (
        psycopg.connect(database, application_name="report") as holder,
        psycopg.connect(database, autocommit=True) as other,
    ):
        holder.execute("SELECT FROM t")
        change = threading.Thread(
            target=with_lock_retries,
            args=(table, lambda opened: opened.execute("ALTER TABLE t ADD COLUMN y integer")),
            kwargs={"what": "changing t", "said": said.append},
        )
        change.start()
        deadline = time.monotonic() + 120
        while not said:
            began = time.monotonic()
            other.execute("INSERT INTO t (x) VALUES (2)")
            longest = max(longest, time.monotonic() - began)
            assert time.monotonic() < deadline
        assert change.is_alive()
        assert f"process {holder.info.backend_pid} (postgres, report, idle in transaction" in said[0]
        holder.rollback()
        change.join(30)
    assert longest < 0.2
    assert table.execute("SELECT y FROM t LIMIT 1").fetchone() == (None,)


def test_after_its_patience_nothing_is_done(database: str, table: Connection) -> None:
    with psycopg.connect(database) as holder:
        holder.execute("SELECT FROM t")
        with pytest.raises(
            LockTimeout, match=r"changing t: could not get the lock within 3 s: it is held by process"
        ):
            with_lock_retries(
                table, lambda opened: opened.execute("DROP TABLE t"), what="changing t", patience_seconds=3
            )
    assert table.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_what_fails_for_another_reason_is_not_tried_again(table: Connection) -> None:
    tries = []

    def fail(opened: Connection) -> None:
        tries.append(1)
        opened.execute("SELECT 1 / 0")

    with pytest.raises(StoreError, match="division by zero"):
        with_lock_retries(table, fail, what="dividing")
    assert len(tries) == 1


def test_a_full_disk_of_the_server_has_a_class_of_its_own(table: Connection) -> None:
    work = (
        "DO $$ BEGIN DROP TABLE t; RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'no room'; END $$"
    )
    with pytest.raises(DiskFull, match=r"changing t: the disk of the server is full \(no room\)"):
        with_lock_retries(table, lambda opened: opened.execute(work), what="changing t")
    assert table.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_an_index_that_was_left_invalid_is_made_again_and_a_valid_one_is_kept(table: Connection) -> None:
    statement = "CREATE UNIQUE INDEX CONCURRENTLY t_x_idx ON public.t (x)"
    with pytest.raises(StoreError, match="could not create unique index"):
        create_index_with_lock_retries(table, "public.t_x_idx", statement)
    state = "SELECT indisvalid, indexrelid FROM pg_index WHERE indexrelid = 'public.t_x_idx'::regclass"
    invalid, oid = table.execute(state).fetchone() or (None, None)
    assert invalid is False
    table.execute("DELETE FROM t WHERE ctid = '(0,1)'")
    create_index_with_lock_retries(table, "public.t_x_idx", statement)
    valid, made = table.execute(state).fetchone() or (None, None)
    assert (valid, made != oid) == (True, True)
    create_index_with_lock_retries(table, "public.t_x_idx", statement)
    assert table.execute(state).fetchone() == (True, made)
    outside_transaction(table, "DROP INDEX CONCURRENTLY public.t_x_idx", what="dropping")
    assert table.execute("SHOW lock_timeout").fetchone() == ("0",)
