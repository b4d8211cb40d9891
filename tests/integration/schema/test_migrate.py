"""`radmeter migrate`: what it says, that packets go on coming in, and that it ends where a fresh install does."""

import itertools
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pexpect
import psycopg
import pytest
import sqlalchemy
from alembic import command
from support.alchemy import sqlalchemy_engine
from support.commands import Packets, radmeter
from support.load_factor import load_factor
from support.schemas import REVISIONS, SPECIFIED, dump, types
from support.screens import CONTROL, plain, screen
from support.servers import Connection, Server

from radmeter import __version__
from radmeter.database import advisory_locks
from radmeter.database.connection import connect
from radmeter.errors import LockTimeout, StoreUnavailable
from radmeter.partitions.months import MONTHS_AHEAD
from radmeter.schema import decimal_conversion, revisions, upgrade
from radmeter.schema import plan as migration_plan
from radmeter.schema.known_revisions import pending_revisions
from radmeter.schema.sql_files import sql_files

# How long a change may keep ingest waiting: the wait for a lock, and the longest step under one.
LONGEST_WAIT_SECONDS = 0.2
# As before there was a role that owns everything.
OWNED_BY_WHO_MADE_IT = """
DO $$
DECLARE
    v_thing text;
BEGIN
    ALTER SCHEMA radmeter OWNER TO postgres;
    FOR v_thing IN
        SELECT 'TABLE ' || oid::regclass FROM pg_class WHERE relkind IN ('r', 'p', 'v')
           AND relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
        UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
        WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) LOOP
        EXECUTE format('ALTER %s OWNER TO postgres', v_thing);
    END LOOP;
END;
$$"""
ALL_FILES_CHANGED = "UPDATE radmeter.sql_file SET checksum = 'old'"


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """A database with nothing in it."""
    with server.clone("template0") as dsn:
        yield dsn


def at_revision(dsn: str, revision: str) -> None:
    with sqlalchemy_engine(dsn).connect() as connection:
        connection.execute(sqlalchemy.text("CREATE SCHEMA radmeter"))
        connection.commit()
        command.upgrade(revisions.revisions(connection), revision)
        connection.commit()


def environment(dsn: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RADMETER", "PG"))}
    return kept | {"RADMETER_DSN": dsn, "RADMETER_STATE": "/nonexistent/state"}


def begin_up(dsn: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "radmeter", "migrate", "up", "--yes", *options],
        env=environment(dsn),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def await_true(what: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Ingest:
    """A shipper that never rests, and how long each of its batches took."""

    def __init__(self, dsn: str) -> None:
        self.seconds: list[float] = []
        self.failures: list[BaseException] = []
        self.reconnections = 0
        self._dsn = dsn
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Ingest":
        self._thread.start()
        self.await_batches(20)
        self.seconds.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert not self.failures

    def await_batches(self, count: int) -> None:
        wanted = len(self.seconds) + count
        await_true(lambda: len(self.seconds) >= wanted or bool(self.failures))
        assert not self.failures

    def _run(self) -> None:
        try:
            with Packets(self._dsn) as packets:
                for n in itertools.count():
                    if self._stop.is_set():
                        return
                    for each in range(10):
                        name = f"s{(n + each) % 200}"
                        status = ("Interim-Update", "Interim-Update", "Stop")[n % 3]
                        packets.add(
                            status, name, NAS_Identifier=f"r{each}", User_Name="u", Acct_Input_Octets=n
                        )
                    began = time.monotonic()
                    try:
                        packets.ship()
                    except StoreUnavailable as error:
                        if "connect again" not in str(error):
                            raise
                        self.reconnections += 1
                        packets.reconnect()
                    self.seconds.append(time.monotonic() - began)
        except BaseException as error:
            self.failures.append(error)


# plan, status, history


def test_an_empty_database_is_told_what_will_be_made_and_left_empty(server: Server, empty: str) -> None:
    nothing = dump(server, empty)
    short = radmeter(empty, "migrate", "plan").output
    assert f"{len(REVISIONS)} revisions to apply (0001 to {REVISIONS[-1]}) to an empty database" in short
    assert "revision 0001" not in short
    planned = radmeter(empty, "migrate", "plan", "--verbose")
    assert planned.exit_code == 0
    for revision in REVISIONS:
        assert f"revision {revision}: " in planned.output
    assert "of which" in planned.output
    assert "make the partition for sessions that stop in" in planned.output
    steps = radmeter(empty, "migrate", "plan", "--format", "json").json()
    assert (steps["current"], steps["newest"]) == (None, REVISIONS[-1])
    assert [step["name"] for step in steps["steps"] if step["kind"] == "revision"] == REVISIONS
    assert dump(server, empty) == nothing


def test_reapply_makes_what_was_changed_by_hand_as_it_should_be(
    server: Server, database: str, connection: Connection
) -> None:
    before = dump(server, database)
    connection.execute("DROP VIEW radmeter.nodes; DROP FUNCTION radmeter.drop_rejected")
    connection.execute("DROP TRIGGER _100_count_updated ON radacct")
    assert radmeter(database, "migrate", "up", "--yes").output.startswith("nothing to do: ")
    (step,) = radmeter(database, "migrate", "plan", "--reapply", "--format", "json").json()["steps"]
    assert (step["kind"], "again, of which 0 changed" in step["what"]) == ("files", True)
    assert "public.radacct" in [lock["relation"] for lock in step["locks"]]
    done = radmeter(database, "migrate", "up", "--reapply", "--yes")
    assert done.exit_code == 0, done.errors
    assert dump(server, database) == before
    history = radmeter(database, "migrate", "history", "--format", "json").json()
    assert (history[-1]["kind"], history[-1]["name"]) == ("files", "all again")


def test_where_nobody_knows_the_missing_months_all_of_them_are_planned(connection: Connection) -> None:
    """As in a database of an earlier version."""
    assert migration_plan.partitions_to_make(connection) == []
    connection.execute("DROP FUNCTION radmeter.missing_months")
    connection.execute(ALL_FILES_CHANGED)
    steps = migration_plan.plan(connection).steps
    made = [step for step in steps if step.kind == "partitions"]
    assert len({step.name for step in made}) == MONTHS_AHEAD + 1
    assert all(step.locks for step in made)


def test_nothing_to_do_is_said_by_each_command(database: str) -> None:
    planned = radmeter(database, "migrate", "plan")
    assert (planned.exit_code, planned.output.startswith("nothing to do: ")) == (0, True)
    assert radmeter(database, "migrate", "plan", "--format", "json").json()["steps"] == []
    done = radmeter(database, "migrate", "up")  # nobody has to be asked
    assert (done.exit_code, done.output.startswith("nothing to do: ")) == (0, True)
    status = radmeter(database, "migrate", "status", "--format", "json").json()
    assert status == {
        "current": REVISIONS[-1],
        "newest": REVISIONS[-1],
        "pending": [],
        "changed_files": [],
        "doubles": [],
    }


def test_the_locks_of_changed_files_are_no_table_of_ingest_and_those_of_a_trigger_are_said(
    database: str, connection: Connection
) -> None:
    connection.execute(
        "UPDATE radmeter.sql_file SET checksum = 'old' WHERE path = 'functions/ingest/ingest.sql'"
    )
    (step,) = radmeter(database, "migrate", "plan", "--format", "json").json()["steps"]
    assert (
        step["what"]
        == f"apply the {len(sql_files())} SQL files, of which 1 changed: functions/ingest/ingest.sql"
    )
    assert [lock["relation"] for lock in step["locks"]] == ["the views of the schema radmeter"]
    connection.execute("DROP TRIGGER _100_count_inserted ON radacct")
    (step,) = radmeter(database, "migrate", "plan", "--format", "json").json()["steps"]
    assert [lock["mode"] for lock in step["locks"]] == ["ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE"]


def test_what_a_backfill_had_found_in_the_old_buckets_is_where_it_will_be_moved_from(empty: str) -> None:
    at_revision(empty, "0006")
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO radmeter.backfill_user (bucket, usernames, period_starts, bytes_in, bytes_out) "
            "SELECT hashtext(name) & 255, ARRAY[name], ARRAY[date '2026-01-01'], ARRAY[1], ARRAY[2] "
            "FROM (SELECT 'user-' || number FROM generate_series(1, 100) AS number) AS users (name)"
        )
        (upper,) = connection.execute("SELECT count(*) FROM radmeter.backfill_user WHERE bucket > 127")
        assert upper[0] > 0
        assert radmeter(empty, "migrate", "up", "--yes").exit_code == 0
        astray = connection.execute(
            "SELECT usernames, bucket FROM radmeter.backfill_user WHERE bucket <> hashtext(usernames[1]) & 127"
        ).fetchall()
        assert astray == []


def test_answers_to_writes_with_a_rotated_key_are_those_of_its_family(empty: str) -> None:
    """A key that was rotated twice before there were families, and one that took the name of one that was revoked."""
    at_revision(empty, "0032")
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO radmeter.api_keys (id, name, role, secret_sha256, created_at, rotated_at, revoked_at)
               VALUES ('first000', 'portal', 'noc', sha256('1'), now() - interval '9 h', now() - interval '5 h', NULL),
                      ('second00', 'portal', 'noc', sha256('2'), now() - interval '5 h', now() - interval '3 h', NULL),
                      ('third000', 'portal', 'noc', sha256('3'), now() - interval '3 h', NULL, NULL),
                      ('revoked0', 'wall', 'noc', sha256('4'), now() - interval '2 h', NULL, now() - interval '1 h'),
                      ('another0', 'wall', 'noc', sha256('5'), now() - interval '1 h', NULL, NULL)"""
        )
        connection.execute(
            """INSERT INTO radmeter.api_requests
                   (key_id, idempotency_key, request, body_sha256, started_at, finished_at, status, body)
               SELECT key, once, 'POST /x', sha256(''), now() - age * interval '1 h',
                      CASE WHEN answer IS NOT NULL THEN now() END, 201, answer
               FROM (VALUES ('first000', 'a', 4, 'of the first'::bytea), ('second00', 'b', 3, 'of the second'),
                            ('third000', 'b', 2, 'doubled'), ('first000', 'c', 3, NULL), ('third000', 'c', 2, 'done'),
                            ('second00', 'd', 2, NULL), ('revoked0', 'a', 1, 'of the wall'))
                    AS were (key, once, age, answer)"""
        )
        assert radmeter(empty, "migrate", "up", "--yes").exit_code == 0
        begun = "SELECT state, body FROM radmeter.begin_request(%s, %s, 'POST /x', sha256(''))"
        for key in ("first000", "second00", "third000"):
            for once, answer in (("a", b"of the first"), ("b", b"of the second"), ("c", b"done")):
                assert connection.execute(begun.encode(), (key, once)).fetchone() == ("done", answer), once
        # One that was cut off may be begun again, once.
        assert connection.execute(begun.encode(), ("third000", "d")).fetchone() == ("new", None)
        assert connection.execute(begun.encode(), ("second00", "d")).fetchone() == ("running", None)
        assert connection.execute(begun.encode(), ("another0", "a")).fetchone() == ("new", None)


def test_a_lock_that_lets_others_write_is_short_however_large_the_table(empty: str) -> None:
    at_revision(empty, "0006")
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE pg_class SET reltuples = 1e6 WHERE oid = 'radacct_open'::regclass")
    steps = radmeter(empty, "migrate", "plan", "--format", "json").json()["steps"]
    (step,) = [step for step in steps if step["name"] == "0007"]
    (lock,) = step["locks"]
    assert (lock["relation"], lock["mode"]) == ("public.radacct_open", "SHARE UPDATE EXCLUSIVE")
    assert lock["seconds"] < 0.1


def test_the_indexes_of_open_sessions_are_made_while_others_write(empty: str) -> None:
    at_revision(empty, "0019")
    insert = """INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress)
                SELECT number, prefix || number, '192.0.2.1' FROM generate_series(1, {}) AS number"""
    longest, failures, ready, stop = [0.0], [], threading.Event(), threading.Event()

    def write() -> None:
        try:
            with psycopg.connect(empty, autocommit=True) as writer:
                for turn in itertools.count():
                    began = time.monotonic()
                    writer.execute(insert.format(1).replace("prefix", f"'new {turn} '"))
                    longest[0] = max(longest[0], time.monotonic() - began)
                    ready.set()
                    if stop.is_set():
                        return
        except BaseException as error:
            failures.append(error)
            ready.set()

    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(insert.format(100_000).replace("prefix", "'old '"))
        steps = radmeter(empty, "migrate", "plan", "--format", "json").json()["steps"]
        made = {step["name"]: step["locks"] for step in steps if step["kind"] == "indexes"}
        assert set(made) == {"public.radacct_open_identity_idx", "public.radacct_open_device_idx"}
        assert {lock["mode"] for locks in made.values() for lock in locks} == {"SHARE UPDATE EXCLUSIVE"}
        thread = threading.Thread(target=write)
        thread.start()
        try:
            assert ready.wait(30)
            upgrade.upgrade(empty)
        finally:
            stop.set()
            thread.join()
        assert not failures
        # The last revisions and the files are one transaction, whose locks are held for about 0.3 s.
        assert longest[0] < 3 * LONGEST_WAIT_SECONDS * load_factor()
        indexes = connection.execute(
            """SELECT indexrelid::regclass::text, indisunique FROM pg_index
               WHERE indrelid = 'radacct_open'::regclass AND indisvalid ORDER BY 1"""
        ).fetchall()
    assert ("radacct_open_identity_idx", True) in indexes
    assert "radacct_open_acctuniqueid_idx" not in dict(indexes)


def test_status_tells_what_is_pending_by_its_exit_code(
    database: str, connection: Connection, empty: str
) -> None:
    assert radmeter(database, "migrate", "status").exit_code == 0
    connection.execute("UPDATE radmeter.sql_file SET checksum = 'old' WHERE path = 'views.sql'")
    changed = radmeter(database, "migrate", "status")
    assert (changed.exit_code, "views.sql" in changed.output) == (3, True)
    at_revision(empty, "0002")
    behind = radmeter(empty, "migrate", "status", "--format", "csv")
    assert behind.exit_code == 3
    assert behind.output.splitlines()[1].startswith(f'0002,{REVISIONS[-1]},"{", ".join(REVISIONS[2:])}"')


def test_a_database_of_a_newer_radmeter_is_left_alone(
    server: Server, database: str, connection: Connection
) -> None:
    connection.execute("UPDATE radmeter.alembic_version SET version_num = '9999'")
    before = dump(server, database)
    for command_ in (("plan",), ("up", "--yes"), ("status",), ("sql",)):
        refused = radmeter(database, "migrate", *command_)
        assert refused.exit_code == 1
        assert "a newer radmeter has migrated it" in refused.errors
    assert dump(server, database) == before


def test_history_says_when_by_whom_and_how_long_and_knows_what_came_before_it_was_kept(
    empty: str, database: str
) -> None:
    at_revision(empty, "0002")
    assert radmeter(empty, "migrate", "up", "--yes").exit_code == 0
    rows = radmeter(empty, "migrate", "history", "--format", "json").json()
    by_name = {row["name"]: row for row in rows if row["kind"] == "revision"}
    assert list(by_name) == REVISIONS
    assert by_name["0002"]["at"] is None
    assert by_name["0003"]["at"] is not None
    assert (by_name["0003"]["who"], by_name["0003"]["version"]) == ("postgres", __version__)
    assert by_name["0003"]["operator"]
    assert 0 < float(by_name["0003"]["seconds"]) < 60
    assert {"files", "partitions"} <= {row["kind"] for row in rows}


def test_freeradius_own_table_is_refused_and_untouched(server: Server, empty: str) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("CREATE TABLE public.radacct (radacctid bigserial PRIMARY KEY, acctuniqueid text)")
    before = dump(server, empty)
    for command_ in (("plan",), ("up", "--yes"), ("sql",)):
        refused = radmeter(empty, "migrate", *command_)
        assert refused.exit_code == 1
        assert "radmeter adopt --from radacct" in refused.errors
    assert dump(server, empty) == before


# on a terminal, and without one


def test_a_person_is_shown_the_plan_and_asked(server: Server, empty: str) -> None:
    nothing = dump(server, empty)
    with screen(empty, "migrate", "up") as seen:
        shown = seen.expect(r"Do this\? \[y/N\]: ")
        assert f"(0001 to {REVISIONS[-1]}) to an empty database" in shown
        assert "about" in shown
        seen.type("n")
        assert seen.end() == 130
    assert dump(server, empty) == nothing
    with screen(empty, "migrate", "up") as seen:
        seen.expect(r"Do this\? \[y/N\]: ")
        seen.type("y")
        assert seen.end() == 0
        assert "━" in seen.text  # the bar
        assert f"{len(REVISIONS) + 6} of {len(REVISIONS) + 6} steps" in seen.text
        assert "the schema is up to date" in seen.text
    with screen(empty, "migrate", "up") as seen:
        assert seen.end() == 0
        assert "nothing to do" in seen.text
        assert "Do this" not in seen.text


def lines_of(text: str, columns: int) -> int:
    """Return how many lines of a terminal a text takes. What is drawn over a line takes no other one."""
    drawn = [CONTROL.sub("", line.rstrip("\r")).split("\r")[-1] for line in text.split("\n")]
    return sum(max(1, math.ceil(len(line) / columns)) for line in drawn)


@pytest.mark.parametrize("arguments", [("status",), ("plan",), ("up",)], ids=" ".join)
def test_a_new_database_takes_one_screenful(empty: str, arguments: tuple[str, ...]) -> None:
    with screen(empty, "migrate", *arguments, columns=80) as seen:
        raw = ""
        if arguments == ("up",):
            seen.child.expect(r"Do this\? \[y/N\]: ", timeout=120)
            raw = seen.child.before + seen.child.after
            seen.type("y")
        seen.child.expect(pexpect.EOF, timeout=120)
        raw += seen.child.before
    assert lines_of(raw, 80) <= 24, raw
    words = {"status": "revisions (0001 to", "plan": "to an empty database", "up": "the schema is up to date"}
    assert words[arguments[0]] in plain(raw)


def test_few_pending_revisions_are_listed_each_with_its_locks(empty: str) -> None:
    at_revision(empty, REVISIONS[-4])
    planned = radmeter(empty, "migrate", "plan").output
    assert all(f"revision {each}: " in planned for each in REVISIONS[-3:])
    assert "ACCESS EXCLUSIVE on " in planned
    status = radmeter(empty, "migrate", "status")
    assert status.output.splitlines()[2] == f"pending        {', '.join(REVISIONS[-3:])}"


def test_many_pending_names_are_shown_on_demand(empty: str) -> None:
    short = radmeter(empty, "migrate", "status").output.splitlines()
    assert short[2:4] == [
        f"pending        {len(REVISIONS)} revisions (0001 to {REVISIONS[-1]})",
        f"changed files  all {len(sql_files())}",
    ]
    whole = radmeter(empty, "migrate", "status", "--verbose").output
    assert ", ".join(REVISIONS) in whole
    assert all(path in whole for path, _ in sql_files())
    assert ", ".join(REVISIONS) in radmeter(empty, "migrate", "status", "--format", "csv").output


def test_without_a_terminal_somebody_has_to_say_yes(server: Server, empty: str) -> None:
    nothing = dump(server, empty)
    done = subprocess.run(
        [sys.executable, "-m", "radmeter", "migrate", "up"],
        env=environment(empty),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no terminal to ask at: give --yes" in done.stderr
    assert dump(server, empty) == nothing


# while packets come in


def test_ingest_never_waits_long_while_all_files_are_applied_and_everything_is_handed_over(
    server: Server, database: str, connection: Connection
) -> None:
    connection.execute(ALL_FILES_CHANGED)
    connection.execute(OWNED_BY_WHO_MADE_IT)
    last = connection.execute(
        "SELECT name FROM radmeter.partitions WHERE from_at IS NOT NULL ORDER BY from_at DESC LIMIT 2"
    ).fetchall()
    for (partition,) in last:
        connection.execute(f"DROP TABLE public.{partition}".encode())
    with Ingest(database) as ingest:
        for _ in range(3):
            connection.execute(ALL_FILES_CHANGED)
            done = radmeter(database, "migrate", "up", "--yes")
            assert done.exit_code == 0, done.errors
            ingest.await_batches(3)
    assert max(ingest.seconds) < LONGEST_WAIT_SECONDS * load_factor()
    # The temporary table of the session was the former owner's, and is so only once.
    assert ingest.reconnections == 1
    assert radmeter(database, "verify").exit_code == 0


def test_while_somebody_holds_a_lock_ingest_goes_on_and_up_says_who_and_ends_when_it_is_released(
    server: Server, database: str, connection: Connection
) -> None:
    connection.execute("DROP TRIGGER _100_count_updated ON radacct")
    connection.execute(ALL_FILES_CHANGED)
    with (
        psycopg.connect(database, application_name="nightly-report") as reader,
        Ingest(database) as ingest,
    ):
        reader.execute("SELECT count(*) FROM radacct WHERE username = 'somebody''s secret'")
        reader.execute(
            "INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress) VALUES ('x', 'x', '10.0.0.9')"
        )
        process = begin_up(database)
        assert process.stdout is not None
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if "waiting for a lock" in line:
                    break
            said = "".join(lines)
            assert (
                f"held by process {reader.info.backend_pid} (postgres, nightly-report, idle in transaction"
                in said
            )
            assert "secret" not in said
            ingest.await_batches(10)
            assert process.poll() is None
            reader.rollback()
            assert process.wait(60) == 0, process.stdout.read()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        ingest.await_batches(3)
    assert max(ingest.seconds) < LONGEST_WAIT_SECONDS * load_factor()
    with server.clone() as fresh:
        assert dump(server, database) == dump(server, fresh)


def test_after_its_patience_it_fails_says_who_and_has_done_nothing_of_the_step(
    server: Server, database: str, connection: Connection
) -> None:
    connection.execute("DROP TRIGGER _100_count_updated ON radacct")
    connection.execute(ALL_FILES_CHANGED)
    before = dump(server, database)
    with psycopg.connect(database, application_name="nightly-report") as other:
        pid = other.info.backend_pid
        other.execute("LOCK TABLE radacct IN ROW EXCLUSIVE MODE")
        began = time.monotonic()
        failed = radmeter(database, "migrate", "up", "--yes", "--patience", "5")
        assert 5 <= time.monotonic() - began < 90
    assert failed.exit_code == 1
    assert "applying the SQL files: could not get the lock within 5 s" in failed.errors
    assert f"process {pid} (postgres, nightly-report" in failed.errors
    assert dump(server, database) == before
    assert radmeter(database, "migrate", "up", "--yes").exit_code == 0


def test_a_revision_that_does_not_get_its_lock_is_named_once(empty: str) -> None:
    at_revision(empty, "0006")
    with connect(empty) as connection, psycopg.connect(empty) as other:
        upgrade.prepare(connection)
        # They are made before all revisions. Here they are there already.
        for _, statement in revisions.indexes_ahead(connection, pending_revisions(connection)):
            connection.execute(statement.encode())
        other.execute("LOCK TABLE radacct_open IN SHARE MODE")
        with pytest.raises(
            LockTimeout, match=r"^revision 0007 \(.*\): could not get the lock within 0\.5 s"
        ) as failed:
            revisions.run_revisions(connection, patience_seconds=0.5)
    assert "cannot be applied" not in str(failed.value)


# twice, killed


def test_two_at_once_the_second_waits_says_for_whom_and_finds_nothing_to_do(
    server: Server, database: str, empty: str
) -> None:
    with psycopg.connect(empty, autocommit=True) as first:
        advisory_locks.take_upgrade_lock(first, lambda text: None)
        second = begin_up(empty)
        try:
            assert second.stdout is not None
            assert second.stdout.readline() == (
                f"waiting: process {first.info.backend_pid} of the server is migrating this database\n"
            )
            third = begin_up(empty)
            advisory_locks.given_back(first, advisory_locks.UPGRADE)
            outputs = [second.communicate(timeout=60)[0], third.communicate(timeout=60)[0]]
        finally:
            second.kill()
            second.wait()
    assert (second.returncode, third.returncode) == (0, 0), outputs
    assert sum("the schema is up to date" in output for output in outputs) >= 1
    assert dump(server, empty) == dump(server, database)


@pytest.mark.parametrize("how", ["SIGKILL", "pg_terminate_backend"])
def test_killed_at_any_moment_and_run_again_it_ends_where_a_fresh_install_does(
    server: Server, database: str, empty: str, how: str
) -> None:
    """At a random moment of each step there is, so that every one of them is hit."""
    chosen = random.Random(how)
    killed = 0
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(AS_OWN_TABLES)
        connection.execute(SLOW)
        for _ in range(5):
            process = begin_up(empty)
            try:
                await_true(lambda: process.poll() is not None or migrating(connection))  # noqa: B023 # called at once
                time.sleep(chosen.random() * 0.8)
                if how == "SIGKILL":
                    process.send_signal(signal.SIGKILL)
                else:
                    connection.execute(
                        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE datname = current_database() AND application_name = 'radmeter'"""
                    )
                output, _ = process.communicate(timeout=60)
                killed += process.returncode != 0
                assert "Traceback" not in output
            finally:
                process.kill()
                process.wait()
        assert killed >= 2
        connection.execute("DROP FUNCTION public.slow() CASCADE")
        done = radmeter(empty, "migrate", "up", "--yes")
        assert done.exit_code == 0, done.errors
        assert types(connection) == SPECIFIED
        rows = connection.execute("SELECT count(*), sum(total_usage) FROM routers").fetchone()
        assert rows == (
            decimal_conversion.ROWS_AT_ONCE * 2,
            sum(range(1, decimal_conversion.ROWS_AT_ONCE * 2 + 1)),
        )
        connection.execute("TRUNCATE routers CASCADE")
    assert columns(server, empty) == columns(server, database)
    assert radmeter(empty, "migrate", "plan").output.startswith("nothing to do")


def test_a_connection_that_the_server_ends_within_a_revision_is_an_error_of_one_line(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(
            """CREATE FUNCTION public.ended() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
               BEGIN
                   IF current_query() LIKE '%TABLE public.invoices%' THEN
                       PERFORM pg_terminate_backend(pg_backend_pid());
                   END IF;
               END $$;
               CREATE EVENT TRIGGER ended ON ddl_command_start EXECUTE FUNCTION public.ended()"""
        )
        failed = radmeter(empty, "migrate", "up", "--yes")
        assert failed.exit_code == 1
        assert "error: revision 0004" in failed.errors
        assert "nothing of it was done: the connection is lost" in failed.errors
        assert "Traceback" not in failed.errors
        connection.execute("DROP FUNCTION public.ended() CASCADE")
    assert radmeter(empty, "migrate", "up", "--yes").exit_code == 0


def migrating(connection: Connection) -> bool:
    return connection.execute(
        """SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
           WHERE locktype = 'advisory' AND datname = current_database())"""
    ).fetchone() == (True,)


# So that there is something to be killed in, however fast the machine is.
SLOW = """
CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); END';
GRANT EXECUTE ON FUNCTION public.slow() TO PUBLIC;
CREATE EVENT TRIGGER slow ON ddl_command_start EXECUTE FUNCTION public.slow()"""

AS_OWN_TABLES = f"""
CREATE TABLE public.routers (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL,
    total_usage double precision NOT NULL DEFAULT 0);
INSERT INTO public.routers (name, total_usage)
SELECT 'r' || n, n FROM generate_series(1, {decimal_conversion.ROWS_AT_ONCE * 2}) AS n"""


def columns(server: Server, dsn: str) -> list[tuple[Any, ...]]:
    """What there is, but for the order of columns and how an own table numbers its rows."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            """SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull
               FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
               WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
                 AND attnum > 0 AND NOT attisdropped AND relkind <> 'S' ORDER BY 1, 2"""
        ).fetchall()
        found += connection.execute(
            """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
               WHERE connamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) ORDER BY 1, 2"""
        ).fetchall()
        found += connection.execute(
            """SELECT oid::regprocedure::text, md5(prosrc), proacl::text, proowner::regrole::text FROM pg_proc
               WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) ORDER BY 1"""
        ).fetchall()
        return found


# a disk that fills


def test_a_full_disk_is_an_error_that_says_so_leaves_nothing_half_done_and_goes_on_afterwards(
    server: Server, database: str, small_disk: Path
) -> None:
    """The database's tables lie in a tablespace on the small disk."""
    with psycopg.connect(server.dsn(), autocommit=True) as superuser:
        superuser.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'".encode())
        superuser.execute("GRANT CREATE ON TABLESPACE small TO radmeter_owner")
        superuser.execute("CREATE DATABASE on_small_disk TEMPLATE template0")
    dsn = server.dsn("on_small_disk")
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("ALTER DATABASE on_small_disk SET default_tablespace = small")
        at_revision(dsn, "0001")
        before = dump(server, dsn)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1024)):
                pass
        failed = radmeter(dsn, "migrate", "up", "--yes")
        assert failed.exit_code == 1
        assert "No space left on device" in failed.errors
        assert "make room" in failed.errors
        assert tables(server, dsn) == tables_of(before)
        filler.unlink()
        done = radmeter(dsn, "migrate", "up", "--yes")
        assert done.exit_code == 0, done.errors
        assert radmeter(dsn, "migrate", "status").exit_code == 0
    finally:
        with psycopg.connect(server.dsn(), autocommit=True) as superuser:
            superuser.execute("DROP DATABASE on_small_disk WITH (FORCE)")
            superuser.execute("DROP TABLESPACE small")


def tables_of(text: str) -> set[str]:
    return {line for line in text.splitlines() if line.startswith("CREATE TABLE ")}


def tables(server: Server, dsn: str) -> set[str]:
    # The log of migrations and Alembic's table are made before the first revision.
    return tables_of(dump(server, dsn)) - {"CREATE TABLE radmeter.migration_log ("}
