"""Reading from a hot standby: what works there, that the lag is said, and that nothing tries to write."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.commands import NODE, Packets, radmeter
from support.doctoring import ask, one
from support.http_server import add_key, serving
from support.logins import as_role, login_role
from support.processes import eventually
from support.servers import Server
from support.standby import PROGRAMS, Standby

pytestmark = pytest.mark.timeout(240, func_only=True)


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    with Server(PROGRAMS) as server:
        server.make_template()
        yield server


@pytest.fixture(scope="module")
def copy(primary: Server) -> Iterator[Standby]:
    with Standby(primary) as standby:
        yield standby


@pytest.fixture
def pair(primary: Server, copy: Standby) -> Iterator[tuple[str, str]]:
    """The connection strings of a database on the primary, with some usage, and on the standby."""
    with primary.clone() as dsn:
        name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
        with Packets(dsn) as packets:
            packets.add("Start", "s1", User_Name="alice", Called_Station_Id="02-00-00-00-00-01")
            packets.add("Stop", "s2", User_Name="alice", Acct_Input_Octets=5)
        radmeter(dsn, "plans", "add", "basic", "--quota", "10MB")
        radmeter(dsn, "users", "add", "alice", "--plan", "basic")
        copy.catch_up()
        yield dsn, copy.dsn(name)
        with psycopg.connect(copy.dsn(), autocommit=True) as resumed:
            resumed.execute("SELECT pg_wal_replay_resume()")


READING = [
    ("usage", "user", "alice"),
    ("usage", "users"),
    ("usage", "router", "#1", "--days", "2"),
    ("explain", "alice"),
    ("report", "usage", "--user", "alice"),
    ("report", "usage", "--router", "#1"),
    ("report", "top", "users"),
    ("report", "compare", "--what", "tenants"),
    ("sessions",),
    ("sessions", "--user", "alice"),
    ("routers", "list"),
    ("routers", "show", "#1"),
    ("plans", "list"),
    ("plans", "show", "basic"),
    ("users", "list"),
    ("users", "show", "alice"),
    ("limits", "list"),
    ("quota", "over"),
    ("login", "list"),
    ("audit", "list"),
    ("audit", "verify"),
    ("tenants", "logins"),
    ("partitions", "list"),
    ("rejected", "list"),
    ("journal", "incidents"),
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_reading_commands_read_from_the_standby(pair: tuple[str, str], command: tuple[str, ...]) -> None:
    dsn, standby = pair
    read = radmeter(dsn, *command, "--format", "json")
    # The database itself cannot be reached: nothing of the command goes there.
    other = radmeter("host=/nonexistent dbname=none", *command, "--format", "json", RADMETER_READ_DSN=standby)
    assert (other.exit_code, other.output, other.errors) == (0, read.output, "")
    option = radmeter("host=/nonexistent dbname=none", *command, "--format", "json", "--read-dsn", standby)
    assert (option.exit_code, option.output) == (0, read.output)


def test_status_says_from_where_it_read(pair: tuple[str, str], tmp_path: object) -> None:
    dsn, standby = pair
    direct = radmeter(dsn, "status", "--sample", "0", "--format", "json")
    state = radmeter(dsn, "status", "--sample", "0", "--format", "json", RADMETER_READ_DSN=standby)
    assert '"standby": false' in direct.output
    assert '"standby": true' in state.output
    assert 0 <= json.loads(state.output)["standby_behind_seconds"] < 10
    assert f'"node": "{NODE}"' in state.output
    shown = radmeter(dsn, "status", "--sample", "0", RADMETER_READ_DSN=standby)
    assert re.search(r"read from             a standby, \d\.\d s behind its primary", shown.output)
    assert "read from" not in radmeter(dsn, "status", "--sample", "0").output


def test_a_standby_that_is_behind_is_said(pair: tuple[str, str], copy: Standby) -> None:
    dsn, standby = pair
    with psycopg.connect(copy.dsn(), autocommit=True) as paused:
        paused.execute("SELECT pg_wal_replay_pause()")
        eventually(lambda: paused.execute("SELECT pg_get_wal_replay_pause_state()").fetchone(), ("paused",))
        with Packets(dsn) as packets:
            packets.add("Stop", "s3", User_Name="alice", Acct_Input_Octets=7)
        with psycopg.connect(dsn, autocommit=True) as flushed:
            flushed.execute("SELECT pg_logical_emit_message(true, 'test', '')")
        behind = """SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()
                           AND clock_timestamp() - pg_last_xact_replay_timestamp() > interval '1 s'"""
        eventually(lambda: paused.execute(behind).fetchone(), (True,))
        read = radmeter(dsn, "usage", "user", "alice", "--format", "csv", RADMETER_READ_DSN=standby)
        assert read.csv()[0]["bytes_total"] == "5"
        assert read.errors.startswith("note: read from a standby, ")
        assert read.errors.rstrip().endswith(" s behind its primary")
        # What is asked of the database itself has no note, and all.
        named = radmeter(
            None, "usage", "user", "alice", "--format", "csv", "--dsn", dsn, RADMETER_READ_DSN=standby
        )
        assert (named.csv()[0]["bytes_total"], named.errors) == ("12", "")
        found = one(ask(standby, "--only", "connection"), "connection")
        assert " s behind its primary" in found.said
    with psycopg.connect(copy.dsn(), autocommit=True) as resumed:
        resumed.execute("SELECT pg_wal_replay_resume()")
    copy.catch_up()
    read = radmeter(dsn, "usage", "user", "alice", "--format", "csv", RADMETER_READ_DSN=standby)
    assert (read.csv()[0]["bytes_total"], read.errors) == ("12", "")


def test_a_standby_that_cannot_be_reached_is_named(pair: tuple[str, str]) -> None:
    dsn, _ = pair
    done = radmeter(dsn, "usage", "user", "alice", RADMETER_READ_DSN="host=/nonexistent dbname=none")
    assert done.exit_code == 1
    assert (
        "error: the standby to read from (RADMETER_READ_DSN): the database cannot be reached" in done.errors
    )


def test_changes_go_to_the_database_itself(pair: tuple[str, str]) -> None:
    dsn, standby = pair
    assert radmeter(dsn, "routers", "add", "--name", "lobby", RADMETER_READ_DSN=standby).exit_code == 0
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT count(*) FROM public.routers WHERE name = 'lobby'").fetchone()
    assert found == (1,)


def test_doctor_on_a_standby_shows_what_it_can(pair: tuple[str, str], primary: Server, copy: Standby) -> None:
    dsn, standby = pair
    began = time.time()
    lines = ask(standby)
    assert time.time() - began < 60
    found = one(lines, "connection")
    assert found.level == "yellow"
    assert "is a standby, 0.0 s behind its primary" in found.said
    assert "target_session_attrs=read-write" in found.note
    for check in ("jobs", "ingest"):
        line = one(lines, check)
        assert (line.level, line.said) == ("unknown", "only the primary knows, and this is a standby")
    assert not [line for line in lines if "check itself failed" in line.said]
    # Of the schema and its data it shows what the primary shows.
    same = ("migrations", "schema", "triggers", "guarantees", "partitions", "routers", "people", "roles")
    of_primary = ask(dsn)
    for check in same:
        assert [(each.level, each.said) for each in lines if each.check == check] == [
            (each.level, each.said) for each in of_primary if each.check == check
        ], check
    # Nothing tried to write. The server would have said so.
    assert "read-only transaction" not in copy.log.read_text()
    assert "during recovery" not in copy.log.read_text()


def test_the_http_api_reads_from_the_standby(pair: tuple[str, str], copy: Standby, tmp_path: Path) -> None:
    dsn, standby = pair
    with psycopg.connect(dsn, autocommit=True) as primary, login_role(primary, "radmeter_api") as login:
        key = add_key(primary, "desk", "noc")
        copy.catch_up()
        with serving(as_role(dsn, login), tmp_path, RADMETER_READ_DSN=as_role(standby, login)) as server:
            for path in (
                *(
                    "/users/alice/usage",
                    "/sessions",
                    "/sessions?format=csv",
                    "/sessions/archived",
                    "/routers",
                ),
                *("/routers/1", "/routers/1/days", "/plans", "/queue", "/tenants", "/invoices", "/incidents"),
            ):
                assert server.get(path, key).status == 200, path
            assert "radmeter_database_up 1.0" in server.request("GET", "/metrics").body.decode()
            sent = {"Idempotency-Key": "one"}
            path = "/api/v1/users/alice/top-ups"
            assert server.request("POST", path, key, body={"bytes": 5}, headers=sent).status == 201
            # A key that has ended has ended here, too, however far the standby is behind.
            with psycopg.connect(copy.dsn(), autocommit=True) as paused:
                paused.execute("SELECT pg_wal_replay_pause()")
            assert radmeter(dsn, "keys", "revoke", "desk", "--yes").exit_code == 0
            eventually(lambda: server.get("/plans", key).status, 401, 30)
            with psycopg.connect(copy.dsn(), autocommit=True) as resumed:
                resumed.execute("SELECT pg_wal_replay_resume()")
