"""What changes without a packet: `radmeter jobs run` looks at the users within a second or so."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from support.commands import radmeter
from support.quota_queue import wait_for
from support.quotas import MB, apply_due, give_plan, notices, queue, use
from support.rows_read import rows_read
from support.servers import Connection

from radmeter.database.connection import connect
from radmeter.jobs import runner
from radmeter.jobs.lease import QUOTAS, Lease
from radmeter.quotas.due import FIRST_SET, SET_SECONDS, SMALLEST_SET, DueQuotas, looking

DEADLINE_SECONDS = 60.0


@contextmanager
def running(dsn: str) -> Iterator[None]:
    """Run the jobs in a thread; its other works are done once at most."""
    stop = threading.Event()
    thread = threading.Thread(target=runner.run, args=(dsn, stop), kwargs={"interval_seconds": 3600})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def wait_for_requests(connection: Connection, expected: list[tuple[str, ...]]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while queue(connection) != expected:
        assert time.monotonic() < deadline, queue(connection)
        time.sleep(0.05)


def test_the_jobs_look_at_changes_of_plans_and_at_periods_that_end(
    database: str, connection: Connection
) -> None:
    plan = give_plan(connection)
    use(database, 6 * MB)
    with running(database):
        connection.execute("UPDATE plans SET quota_bytes = 5000000 WHERE id = %s", (plan,))
        wait_for_requests(connection, [("bob", "s1", "disconnect", "over", "waiting")])
        # Another period begins, and nobody has noted a change.
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE plans SET quota_type = 'one-time', quota_bytes = 5000000")
        connection.execute("UPDATE subscribers SET quota_start = now()::date + 40")
        connection.execute("UPDATE radmeter.quota_account SET due_at = now()")
        connection.execute("RESET session_replication_role")
        wait_for_requests(connection, [("bob", "s1", "disconnect", "over", "dropped")])
    assert [kind for _, kind, _ in notices(connection)] == ["over", "restored"]


def test_only_one_of_two_runners_looks_at_them(database: str, connection: Connection) -> None:
    with connect(database) as first, connect(database) as second:
        one, other = uuid.uuid4(), uuid.uuid4()
        assert Lease(first, one, QUOTAS).take()
        assert not Lease(second, other, QUOTAS).take()
        connection.execute("UPDATE radmeter.lease SET expires_at = now() WHERE name = 'quotas'")
        assert Lease(second, other, QUOTAS).take()
        give_plan(connection)
        connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 5)")
        with pytest.raises(Exception, match="another process has taken over the lease"):
            DueQuotas(first).apply()
        assert DueQuotas(second).apply() == 1


def test_a_set_that_takes_long_is_made_smaller(database: str, connection: Connection) -> None:
    for number in range(80):
        connection.execute("INSERT INTO plans (name, quota_bytes) VALUES (%s, 5)", (f"plan {number}",))
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT 'user' || id, id FROM plans")
    with connect(database) as own:
        own.execute(
            """CREATE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
               CREATE TRIGGER slow BEFORE INSERT ON radmeter.quota_account
                   FOR EACH ROW EXECUTE FUNCTION pg_temp.slow()"""
        )
        due = DueQuotas(own)
        assert due.apply() == 80
        assert due.longest_seconds > SET_SECONDS
        connection.execute("UPDATE plans SET quota_bytes = 6")
        own.execute("DROP TRIGGER slow ON radmeter.quota_account")
        # Not to single users: a call costs as much as ten of them.
        assert due._size == SMALLEST_SET < FIRST_SET
        assert due.apply() == 80


def test_lost_connections_end_nothing(database: str, connection: Connection) -> None:
    give_plan(connection)
    use(database, 6 * MB)
    with running(database):
        with psycopg.connect(database, autocommit=True) as operator:
            operator.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)""",
                (connection.info.backend_pid,),
            )
        connection.execute("UPDATE plans SET quota_bytes = 5000000")
        wait_for_requests(connection, [("bob", "s1", "disconnect", "over", "waiting")])


def test_a_set_is_not_larger_than_asked_whatever_the_plan(connection: Connection) -> None:
    """With statistics PostgreSQL may compute a LIMIT again for each row."""
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 5);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 1000) AS n;
           ANALYZE"""
    )
    for enabled in (
        "enable_hashjoin",
        "enable_mergejoin",
        "enable_material",
        "enable_hashagg",
        "enable_sort",
    ):
        connection.execute(f"SET {enabled} = off".encode())
    assert connection.execute("SELECT radmeter.apply_due_quotas(10)").fetchone() == (10,)
    assert connection.execute("SELECT count(*) FROM radmeter.quota_account").fetchone() == (10,)


def test_each_kind_of_change_gets_half_of_a_set(connection: Connection) -> None:
    """A plan of many users was changed. Those whose time has come do not wait for all of these."""
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 5);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 100) AS n"""
    )
    apply_due(connection)
    connection.execute("UPDATE plans SET quota_bytes = 6")
    connection.execute(
        "UPDATE radmeter.quota_account SET due_at = now() WHERE username IN ('user98', 'user99')"
    )
    assert connection.execute("SELECT radmeter.apply_due_quotas(10)").fetchone() == (10,)
    due = "SELECT count(*) FROM radmeter.quota_account WHERE due_at <= now()"
    assert connection.execute(due).fetchone() == (0,)
    # Also if a set is one user.
    connection.execute("UPDATE radmeter.quota_account SET due_at = now() WHERE username = 'user100'")
    for _ in range(50):
        assert connection.execute("SELECT radmeter.apply_due_quotas(1)").fetchone() == (1,)
    assert connection.execute(due).fetchone() == (0,)
    assert connection.execute("SELECT count(*) > 30 FROM radmeter.quota_change").fetchone() == (True,)


def test_everybody_is_looked_at_in_sets(connection: Connection) -> None:
    """After an upgrade, by one row. Other changes come in between."""
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 5);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 25) AS n;
           DELETE FROM radmeter.quota_change;
           INSERT INTO radmeter.quota_change (username, everybody) VALUES ('', true)"""
    )
    assert connection.execute("SELECT radmeter.apply_due_quotas(10)").fetchone() == (10,)
    connection.execute("INSERT INTO radmeter.quota_change (username) VALUES ('user9')")
    assert connection.execute("SELECT radmeter.apply_due_quotas(10)").fetchone() == (10,)
    assert connection.execute(
        "SELECT count(*) FROM radmeter.quota_account WHERE username = 'user9'"
    ).fetchone() == (1,)
    apply_due(connection)
    assert connection.execute("SELECT count(*) FROM radmeter.quota_account").fetchone() == (25,)
    assert connection.execute("SELECT count(*) FROM radmeter.quota_change").fetchone() == (0,)


def test_ingest_has_half_of_the_time(database: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 5);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 2500) AS n"""
    )
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) == 2

    with connect(database) as own:
        due = DueQuotas(own)
        due.apply(wait)
        assert len(waited) == 2
        assert 0 < max(waited) == due.longest_seconds


def test_the_end_does_not_wait_for_a_look_that_waits(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds the lock of ingest for long."""
    monkeypatch.setattr("radmeter.quotas.due.END_SECONDS", 0.2)
    give_plan(connection)
    connection.execute("UPDATE plans SET quota_bytes = 5")
    ended = threading.Event()

    def look() -> None:
        with looking(database, lambda own: Lease(own, uuid.uuid4(), QUOTAS)):
            wait_for(lambda: connection.execute(waiting).fetchone() == (1,))
        ended.set()

    waiting = """SELECT count(*) FROM pg_locks JOIN pg_database AS own ON own.oid = database
                 WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"""
    thread = threading.Thread(target=look)
    with psycopg.connect(database) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0))")
        thread.start()
        assert ended.wait(DEADLINE_SECONDS)
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def test_everybody_is_looked_at_also_if_the_user_who_stands_for_the_rest_is_erased(
    database: str, connection: Connection
) -> None:
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 5);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(10, 34) AS n;
           DELETE FROM radmeter.quota_change;
           INSERT INTO radmeter.quota_change (username, everybody) VALUES ('', true)"""
    )
    use(database, 1, username="user19")
    use(database, 1, username="user19", status="Stop")
    connection.execute(
        "DELETE FROM radmeter.quota_change WHERE NOT everybody; DELETE FROM radmeter.quota_account"
    )
    assert connection.execute("SELECT radmeter.apply_due_quotas(10)").fetchone() == (10,)
    noted = "SELECT username FROM radmeter.quota_change WHERE everybody"
    assert connection.execute(noted).fetchall() == [("user19",)]
    done = radmeter(database, "people", "erase", "user19", "--yes")
    assert done.exit_code == 0, done.errors
    assert connection.execute(noted).fetchall() == [("",)]
    apply_due(connection)
    looked_at = connection.execute(
        "SELECT count(*) FROM radmeter.quota_account WHERE username LIKE 'user%'"
    ).fetchone()
    assert looked_at == (24,)


@pytest.mark.parametrize("counted", ["never", "while there were no accounts"])
def test_a_set_reads_no_more_if_there_are_many_users_and_changes(
    connection: Connection, counted: str
) -> None:
    """PostgreSQL knows too little of tables that have just been filled: it took them for empty, and read them whole."""
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('basic', 5);
           INSERT INTO subscribers (username, plan_id) SELECT 'user' || n, 1 FROM generate_series(1, 2000) AS n;
           INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
           SELECT username, radmeter.user_period_start(username, now()), 7, 0 FROM subscribers;
           INSERT INTO top_ups (username, bytes) SELECT username, 1 FROM subscribers"""
    )
    if counted != "never":
        connection.execute("ANALYZE")

    def apply(users: int) -> int:
        return rows_read(
            connection, lambda: connection.execute(b"SELECT radmeter.apply_due_quotas(%d)" % users)
        )

    apply(500)
    # A row of each of a dozen tables, by an index. Rows of changes that were worked off are passed over.
    assert apply(20) < 20 * 2 * 20 + 1000
    apply(1000)
    connection.execute("VACUUM radmeter.quota_change")
    assert apply(20) < 20 * 2 * 20 + 1000
    assert connection.execute("SELECT count(*) FROM radmeter.quota_account").fetchone() == (1540,)
