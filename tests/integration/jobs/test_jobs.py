"""The periodic jobs: one runner, any number of standbys, and what they do."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from support.adopted import make_legacy, put
from support.commands import radmeter
from support.frozen import stopped
from support.looking import pause_after
from support.processes import Jobs, eager_jobs
from support.servers import Connection

from radmeter.cli.main import cli
from radmeter.database.connection import connect
from radmeter.jobs import lease, stale_sessions
from radmeter.jobs import runner as jobs
from radmeter.partitions import months

DEADLINE_SECONDS = 120.0


def silent_session(connection: Connection, name: str, minutes: int, **more: object) -> None:
    """An open session that was last heard of so many minutes ago."""
    columns = {
        "acctsessionid": name,
        "acctuniqueid": name,
        "username": name,
        "nasipaddress": "192.0.2.1",
        **more,
    }
    connection.execute(
        f"""INSERT INTO radacct ({", ".join(columns)}, acctstarttime, acctupdatetime, arrived_at, counted_at,
                                 acctinputoctets, acctoutputoctets, usage_date, period_start)
            SELECT {", ".join(["%s"] * len(columns))}, now() - interval '1 day', heard, heard, heard, 5, 7,
                   '2024-01-01', '2024-01-01'
            FROM (SELECT now() - %s * interval '1 minute' AS heard) AS silent""".encode(),
        [*columns.values(), minutes],
    )


def open_sessions(connection: Connection) -> set[str]:
    return {
        row[0] for row in connection.execute("SELECT acctuniqueid FROM radacct WHERE acctstoptime IS NULL")
    }


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (began := time.monotonic()) and not condition():
        assert time.monotonic() < deadline, f"timed out: {what}"
        pause_after(began)


@contextmanager
def runner(dsn: str) -> Iterator[threading.Event]:
    """A runner of the jobs in a thread of its own; the event stops it."""
    stop = threading.Event()
    thread = threading.Thread(target=jobs.run, args=(dsn, stop), kwargs={"interval_seconds": 0.05})
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def leaders(connection: Connection) -> list[int]:
    """The server process of the runner that has the jobs' lease."""
    found = connection.execute(
        "SELECT process FROM radmeter.lease WHERE name = 'jobs' AND expires_at > clock_timestamp()"
    ).fetchall()
    return [process for (process,) in found]


def test_a_stale_session_is_closed_at_its_last_update_and_moves_no_counter(connection: Connection) -> None:
    silent_session(connection, "stale", 11)
    silent_session(connection, "live", 9)
    before = connection.execute("SELECT * FROM user_quota_usage ORDER BY 1").fetchall()
    assert stale_sessions.close_stale(connection) == 1
    assert open_sessions(connection) == {"live"}
    row = connection.execute(
        """SELECT acctstoptime = acctupdatetime, acctterminatecause, closed_by, acctinputoctets
           FROM radacct WHERE acctuniqueid = 'stale'"""
    ).fetchone()
    assert row == (True, "Admin-Reset", "reaper", 5)
    assert connection.execute("SELECT * FROM user_quota_usage ORDER BY 1").fetchall() == before


def test_a_session_may_miss_three_interims_of_the_interval_its_router_announced(
    connection: Connection,
) -> None:
    silent_session(connection, "patient", 29, interim_interval=600)
    silent_session(connection, "gone", 31, interim_interval=600)
    assert stale_sessions.close_stale(connection) == 1
    assert open_sessions(connection) == {"patient"}


def test_or_of_the_interval_that_was_observed_at_its_router(connection: Connection) -> None:
    connection.execute("INSERT INTO routers (id, name) VALUES (1, 'slow'), (2, 'quick')")
    for n in range(3):
        silent_session(connection, f"slow{n}", 1, router_id=1, acctinterval=900)
        silent_session(connection, f"quick{n}", 1, router_id=2, acctinterval=60)
    silent_session(connection, "at the slow one", 40, router_id=1)
    silent_session(connection, "at the quick one", 40, router_id=2)
    assert stale_sessions.close_stale(connection) == 1
    assert "at the slow one" in open_sessions(connection)
    assert connection.execute("SELECT interim_interval FROM routers ORDER BY id").fetchall() == [
        (900,),
        (60,),
    ]


def test_many_are_closed_in_bounded_batches(connection: Connection) -> None:
    for n in range(2 * stale_sessions.CLOSE_BATCH + 1):
        silent_session(connection, f"stale{n}", 20)
    steps: list[tuple[int, int]] = []
    assert (
        stale_sessions.close_stale(connection, progress=lambda done, total: steps.append((done, total)))
        == 401
    )
    assert steps == [(200, 401), (400, 401), (401, 401)]


def test_a_session_that_another_writer_holds_is_left_for_the_next_run(
    database: str, connection: Connection
) -> None:
    silent_session(connection, "held", 20)
    silent_session(connection, "free", 20)
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM radacct WHERE acctuniqueid = 'held' FOR UPDATE")
        assert stale_sessions.close_stale(connection) == 1
        assert open_sessions(connection) == {"held"}
        other.rollback()
    assert stale_sessions.close_stale(connection) == 1


def test_one_runner_works_and_another_takes_over(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(jobs, "STANDBY_SECONDS", 0.05)
    with runner(database) as stop_first:
        wait_until(lambda: len(leaders(connection)) == 1, "a leader")
        first = leaders(connection)
        with runner(database):
            wait_until(lambda: "standing by" in caplog.text, "a standby")
            silent_session(connection, "stale", 20)
            wait_until(lambda: not open_sessions(connection), "the session closed")
            assert leaders(connection) == first
            stop_first.set()
            wait_until(
                lambda: len(leaders(connection)) == 1 and leaders(connection) != first, "another leader"
            )
            silent_session(connection, "stale again", 20)
            wait_until(lambda: not open_sessions(connection), "the session closed")


def test_a_runner_whose_connection_is_cut_comes_back(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "STANDBY_SECONDS", 0.05)
    with runner(database):
        wait_until(lambda: len(leaders(connection)) == 1, "a leader")
        (cut,) = leaders(connection)
        connection.execute("SELECT pg_terminate_backend(%s)", [cut])
        wait_until(lambda: len(leaders(connection)) == 1 and leaders(connection) != [cut], "the leader back")
        silent_session(connection, "stale", 20)
        wait_until(lambda: not open_sessions(connection), "the session closed")


def leads(connection: Connection, runner: Jobs) -> bool:
    """Whether the lease is this runner's."""
    found = connection.execute("SELECT program FROM radmeter.lease WHERE expires_at > now()").fetchone()
    return found == (runner.program,)


def let_it_expire(connection: Connection) -> None:
    """Let the lease's time pass. A runner that is well renews it."""
    connection.execute("UPDATE radmeter.lease SET expires_at = clock_timestamp()")


def test_a_killed_runner_is_replaced_when_its_lease_expires(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    with eager_jobs(tmp_path / "first.log", database) as first:
        wait_until(lambda: leads(connection, first), "a leader")
        with eager_jobs(tmp_path / "second.log", database) as second:
            wait_until(lambda: second.lines("standing by") != [], "a standby")
            first.kill()
            silent_session(connection, "stale", 20)
            let_it_expire(connection)
            wait_until(lambda: leads(connection, second), "another leader")
            wait_until(lambda: not open_sessions(connection), "the session closed")
            # One that is told to stop lets the next one begin at once.
            with eager_jobs(tmp_path / "third.log", database) as third:
                wait_until(lambda: third.lines("standing by") != [], "a standby")
                second.stop()
                wait_until(lambda: leads(connection, third), "the third leader")


def test_a_stopped_runner_that_wakes_up_does_nothing_more(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    with eager_jobs(tmp_path / "first.log", database) as first:
        wait_until(lambda: leads(connection, first), "a leader")
        wait_until(lambda: bool(first.lines("running the periodic jobs")), "its work")
        with eager_jobs(tmp_path / "second.log", database) as second:
            wait_until(lambda: second.lines("standing by") != [], "a standby")
            with stopped(first.pid):
                let_it_expire(connection)
                wait_until(lambda: leads(connection, second), "another leader")
                # From here on nothing may be done by the one that was stopped.
                connection.execute(
                    """CREATE FUNCTION public.only_one() RETURNS trigger LANGUAGE plpgsql AS $$
                       BEGIN
                           IF pg_backend_pid() <> (SELECT process FROM radmeter.lease WHERE name = 'jobs') THEN
                               RAISE EXCEPTION 'two runners at once';
                           END IF;
                           RETURN NEW;
                       END $$;
                       CREATE TRIGGER only_one BEFORE UPDATE ON public.radacct_open
                       FOR EACH ROW EXECUTE FUNCTION public.only_one()"""
                )
            # A server under load may have ended the connection of the one that was stopped before it could refuse.
            wait_until(
                lambda: bool(
                    first.lines("another process has taken over the lease") or first.lines("the jobs wait")
                ),
                "the refusal",
            )
            silent_session(connection, "stale", 20)
            wait_until(lambda: not open_sessions(connection), "the session closed")
            wait_until(lambda: first.lines("standing by") != [], "the first one as standby")
            assert leads(connection, second)
            assert not [*first.lines("two runners"), *second.lines("two runners")]


def test_a_stop_within_a_transaction_keeps_the_others_out_only_for_the_time_of_a_lease(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1)
    with connect(database) as runner, connect(database) as other:
        one = lease.Lease(runner, uuid.uuid4())
        assert one.take()
        # What a process that is stopped here leaves behind: a transaction that holds the lease's row.
        two = lease.Lease(other, uuid.uuid4())

        def stopped_within_a_transaction() -> None:
            with runner.transaction():
                wait_until(two.take, "the lease taken over")
                runner.execute("SELECT 1")

        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            stopped_within_a_transaction()


def test_each_statement_and_each_transaction_checks_the_lease(database: str, connection: Connection) -> None:
    with connect(database) as runner:
        one = lease.Lease(runner, uuid.uuid4())
        assert one.take()
        runner.execute("CREATE TABLE public.done (what text)")
        let_it_expire(connection)
        with connect(database) as other:
            assert lease.Lease(other, uuid.uuid4()).take()

        def in_a_transaction() -> None:
            with runner.transaction():
                runner.execute("INSERT INTO public.done VALUES ('transaction')")

        def by_a_cursor() -> None:
            with runner.cursor() as cursor:
                cursor.execute("INSERT INTO public.done VALUES ('cursor')")

        def of_many() -> None:
            with runner.cursor() as cursor:
                cursor.executemany("INSERT INTO public.done VALUES (%s)", [("many",)])

        def by_copy() -> None:
            with runner.cursor() as cursor, cursor.copy("COPY public.done FROM STDIN") as copying:
                copying.write_row(("copy",))

        ways: list[Callable[[], object]] = [
            lambda: runner.execute("INSERT INTO public.done VALUES ('statement')"),
            in_a_transaction,
            by_a_cursor,
            of_many,
            by_copy,
        ]
        for way in ways:
            with pytest.raises(psycopg.Error) as refused:
                way()
            assert refused.value.sqlstate == "RM006"
        assert connection.execute("SELECT count(*) FROM public.done").fetchone() == (0,)


class Interval(threading.Event):
    """Lets the runner wait no time, notes for how long it would have, and what is open; ends it the third time."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self.waits: list[tuple[float | None, set[str]]] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append((timeout, open_sessions(self._connection)))
        if len(self.waits) == 3:
            self.set()
        silent_session(self._connection, f"stale{len(self.waits)}", 20)
        return self.is_set()


def test_stale_sessions_are_closed_after_an_interval_and_not_at_once(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent_session(connection, "stale0", 20)
    intervals = Interval(connection)
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 1000.0)
    jobs.run(database, intervals, interval_seconds=77.0)
    waits = [(timeout and round(timeout), open_then) for timeout, open_then in intervals.waits]
    assert waits == [(77, {"stale0"}), (77, set()), (77, set())]
    assert open_sessions(connection) == {"stale3"}  # nothing is closed on the way out


def test_missing_partitions_are_made(connection: Connection) -> None:
    connection.execute("SELECT radmeter.ensure_partition(now())")
    assert months.ensure_partitions(connection) == 0
    connection.execute(
        """DO $$ BEGIN EXECUTE 'DROP TABLE radacct_'
           || to_char(now() AT TIME ZONE 'UTC' + interval '2 months', 'YYYY_MM'); END $$"""
    )
    assert months.ensure_partitions(connection) == 1


def test_a_dry_run_lists_and_closes_none(database: str, connection: Connection) -> None:
    silent_session(connection, "stale", 20)
    done = CliRunner().invoke(cli, ["jobs", "close-stale", "--dry-run", "--format", "csv", "--dsn", database])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0] == "radacctid,acctuniqueid,username,router_id,last_update"
    assert ",stale,stale," in done.output
    assert open_sessions(connection) == {"stale"}
    done = CliRunner().invoke(cli, ["jobs", "close-stale", "--stale-minutes", "30", "--dsn", database])
    assert "0 stale sessions closed" in done.output
    done = CliRunner().invoke(cli, ["jobs", "close-stale", "--dsn", database])
    assert "1 stale session closed" in done.output


def test_what_an_adopted_session_counted_follows_it_when_the_backfill_has_just_ended(
    database: str, connection: Connection
) -> None:
    make_legacy(connection)
    march = datetime(2026, 3, 10, tzinfo=UTC)
    put(connection, "s", username="alice", start=march, update=march, stop=march, octets=(100, 10))
    counted = "SELECT username, bytes_in, bytes_out FROM user_quota_usage WHERE bytes_in <> 0 ORDER BY 1"
    with psycopg.connect(database) as changing:
        # The backfill does not see this change, and at the time of this change nothing is counted.
        changing.execute("UPDATE radacct SET username = 'bob' WHERE acctuniqueid = 's'")
        assert radmeter(database, "backfill", "--yes", "--only", "counters").exit_code == 0
    assert connection.execute(counted).fetchall() == [("alice", 100, 10)]
    with runner(database):
        wait_until(
            lambda: connection.execute(counted).fetchall() == [("bob", 100, 10)], "the change to be made"
        )
