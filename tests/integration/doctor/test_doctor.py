"""`radmeter doctor`: what it says of a database and a machine in any state, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support import stock
from support.commands import Packets, radmeter
from support.doctoring import NOWHERE, Line, ask, faults, one, paste
from support.frozen import Relay
from support.functions import value
from support.load_factor import load_factor
from support.servers import Connection, Server

from radmeter.database.connection import connect
from radmeter.doctor.server import LONG_SECONDS
from radmeter.jobs.lease import Lease


def test_an_exit_code_for_red_for_yellow_and_for_no_database(database: str, connection: Connection) -> None:
    only = ("--only", "schema")
    assert radmeter(database, "doctor", *only).exit_code == 0
    connection.execute("ALTER TABLE routers ADD COLUMN rack text")
    assert radmeter(database, "doctor", *only).exit_code == 0
    assert radmeter(database, "doctor", *only, "--strict").exit_code == 3
    connection.execute("DROP VIEW radmeter.user_plans")
    result = radmeter(database, "doctor", *only)
    assert result.exit_code == 3
    assert "red     schema       view radmeter.user_plans is missing" in result.output
    assert radmeter(None, "doctor", *only).exit_code == 1
    assert radmeter(database, "doctor", "--only", "shcema").exit_code == 2


def test_json_has_each_finding(database: str) -> None:
    state = json.loads(radmeter(database, "doctor", "--only", "partitions", "--format", "json").output)
    assert state["status"] == "green"
    assert state["counts"] == {"green": 2, "yellow": 0, "red": 0, "unknown": 0}
    assert {each["check"] for each in state["findings"]} == {"connection", "partitions"}


def test_a_connection_that_others_can_read_is_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radmeter.doctor.connection.SLOW_MS", 60_000)  # a slow one would be named instead
    given = conninfo_to_dict(database)
    with Relay(Path(str(given["host"])) / f".s.PGSQL.{given.get('port', 5432)}") as relay:
        dsn = make_conninfo(database, host="db.example", hostaddr="127.0.0.1", port=relay.port)
        (found,) = faults(dsn, "connection")
    assert (found.level, found.remedy) == ("yellow", "")
    assert "no TLS: others on the network can read along" in found.said
    assert "sslmode=require" in found.note


def test_without_a_database_the_rest_is_looked_at(tmp_path: Path) -> None:
    lines = ask(None, RADMETER_STATE=str(tmp_path / "state"), RADMETER_JOURNAL=str(tmp_path / "journal"))
    assert one(lines, "connection").level == "red"
    assert "there is no database in" in one(lines, "connection").said
    assert one(lines, "connection").remedy == "radmeter up"
    assert {"versions", "journal", "shipper"} <= {line.check for line in lines}
    assert not {"schema", "jobs", "server"} & {line.check for line in lines}


def test_a_database_that_is_not_there_is_made_by_the_command(server: Server) -> None:
    with server.clone("template0") as empty:
        name = empty.rpartition("/")[2].partition("?")[0]
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name}")
        found = one(ask(empty), "connection")
        assert f'database "{name}" does not exist' in found.said
        paste(found.remedy, empty)
        assert faults(empty, "connection", "migrations", "schema") == []


def test_a_foreign_database_is_named(server: Server) -> None:
    with server.clone("template0") as foreign:
        (found,) = faults(foreign, "migrations", "schema", "triggers", "jobs")
        assert found.said.endswith("has no tables of radmeter's")
        with psycopg.connect(foreign) as connection:
            connection.execute("CREATE TABLE radacct (radacctid bigserial PRIMARY KEY, acctuniqueid text)")
        (found,) = faults(foreign, "migrations", "schema", "triggers")
        assert "FreeRADIUS's own radacct" in found.said
        assert found.remedy == "radmeter adopt --from radacct"


def test_a_server_that_is_stopped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radmeter.doctor.login_faults.SOCKETS", ("/nonexistent",))
    with server.clone() as dsn:
        server.stop(signal.SIGINT)
        found = one(ask(dsn), "connection")
        assert found.level == "red"
        assert "(by RADMETER_DSN)" in found.said
        assert re.search(r"Is RADMETER_DSN right \(host /.*, port \d+\)\? If so:$", found.said)
        assert found.remedy == "sudo systemctl start postgresql"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "radmeter.toml"


def of_file(file: Path, dsn: str, password: Path | None = None) -> Line:
    """Return what is said of a connection that the configuration file names."""
    more = "" if password is None else f'password_file = "{password}"\n'
    file.write_text(f'dsn = "{dsn}"\n{more}')
    file.chmod(0o600)
    return one(ask(None, "--only=connection", "--config", file), "connection")


def test_a_typo_in_the_file_is_asked_about_before_the_server_is_changed(
    database: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = of_file(file, make_conninfo(database, dbname="radmetr"))
    assert f"Is `dsn` in {file} right (dbname radmetr)? If so:" in found.said
    assert "CREATE DATABASE" in found.remedy
    found = of_file(file, make_conninfo(database, user="radmetr"))
    assert f"Is `dsn` in {file} right (user radmetr)? If so:" in found.said
    assert "migrate roles" in found.remedy
    found = of_file(file, make_conninfo(database, host="db1.invalid"))
    assert f"Is `dsn` in {file} right (host db1.invalid)? If so:" in found.said
    assert found.remedy == "getent hosts db1.invalid"
    # A wrong port. The server that runs is named, and nobody is told to start another one first.
    given = conninfo_to_dict(database)
    monkeypatch.setattr("radmeter.doctor.login_faults.SOCKETS", (str(given["host"]),))
    found = of_file(file, make_conninfo(database, port="1"))
    assert f"Is `dsn` in {file} right (host {given['host']}, port 1)?" in found.said
    assert f"listens on {given['host']}/.s.PGSQL.{given.get('port', 5432)}" in found.said
    assert found.remedy == f"sudoedit {file}"
    assert "systemctl start postgresql" in found.note


def test_a_role_that_is_not_there_is_made_by_the_command(
    server: Server, database: str, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "sudo").write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    dsn = database.replace("postgres@", "carl@")
    found = one(ask(dsn), "connection")
    assert 'role "carl" does not exist' in found.said
    assert "--login carl=radmeter_reader" in found.remedy
    try:
        paste(f"PATH={tmp_path}:$PATH; yes | {found.remedy}", dsn)
        assert one(ask(dsn), "connection").level == "green"
    finally:
        connection.execute("DROP ROLE IF EXISTS carl")


def test_no_entry_in_pg_hba_is_not_a_server_that_is_stopped(
    server: Server, database: str, connection: Connection
) -> None:
    rules = server.base / "data" / "pg_hba.conf"
    before = rules.read_text()
    connection.execute("CREATE ROLE outside LOGIN")
    try:
        rules.write_text("local all postgres trust\n")
        connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 120
        while (
            "no pg_hba.conf entry"
            not in (found := one(ask(database.replace("postgres@", "outside@")), "connection")).said
        ):
            assert time.monotonic() < deadline
        assert "SHOW hba_file" in found.remedy
        assert str(rules) in paste(found.remedy)
    finally:
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP ROLE outside")


def test_a_wrong_password_is_said_and_not_shown(
    server: Server, database: str, connection: Connection, file: Path
) -> None:
    rules = server.base / "data" / "pg_hba.conf"
    before = rules.read_text()
    connection.execute("CREATE ROLE with_password LOGIN PASSWORD 'right'")
    try:
        rules.write_text(f"local all with_password scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        dsn = database.replace("postgres@", "with_password:hidden-word@")
        deadline = time.monotonic() + 120
        while "password" not in (found := one(ask(dsn), "connection")).said:
            assert time.monotonic() < deadline
        result = radmeter(dsn, "doctor")
        assert result.exit_code == 1
        assert "authentication failed" in found.said
        assert "\\password with_password" in found.remedy
        assert (
            "Is the password in RADMETER_DSN right, and RADMETER_DSN (user with_password)? If so:"
            in found.said
        )
        assert "hidden-word" not in result.output + result.errors
        # Where the file names no password, none has to be changed.
        bare = database.replace("postgres@", "with_password@")
        found = of_file(file, bare)
        assert found.said.endswith(f"Is `password_file` missing beside `dsn` in {file}?")
        assert found.remedy == f"sudoedit {file}"
        secret = file.with_name("secret")
        secret.write_text("wrong\n")
        found = of_file(file, bare, secret)
        assert (
            f"Is the password in {secret} right, and `dsn` in {file} (user with_password)? If so:"
            in found.said
        )
        # One that is right is in no command either.
        right = dsn.replace("hidden-word", "right-word")
        connection.execute("ALTER ROLE with_password PASSWORD 'right-word'")
        result = radmeter(None, "doctor", "--dsn", right)
        assert "with_password may do nothing here" in result.output
        assert "right-word" not in result.output + result.errors
    finally:
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP ROLE with_password")


def test_a_server_that_hangs_does_not_hang_the_doctor(database: str) -> None:
    # Stopped in its tracks when it has answered a few questions: no timeout of its own fires.
    code = (
        "import os, signal, sys; from radmeter.doctor import migrations, runner\n"
        "from radmeter.cli.main import main; before = migrations.check; runner.CHECK_SECONDS = 1.0\n"
        "import radmeter.doctor.checks as checks\n"
        "def stop(context):\n"
        "    os.kill(context.connection.info.backend_pid, signal.SIGSTOP)\n"
        "    print(context.connection.info.backend_pid, file=sys.stderr, flush=True)\n"
        "    yield from before(context)\n"
        "checks.CHECKS = tuple(n._replace(check=stop) if n.name == 'migrations' else n for n in checks.CHECKS)\n"
        "main(['doctor'])\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RADMETER", "PG"))}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "RADMETER_DSN": database, "RADMETER_JOURNAL": "/nonexistent/journal"},
    )
    assert process.stderr is not None
    pid = int(process.stderr.readline())
    try:
        output, errors = process.communicate(timeout=60)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert process.returncode == 1, errors
    assert "unknown migrations   no answer within 1 s" in output
    assert "Traceback" not in errors
    assert "journal" in output


@contextmanager
def role(dsn: str, connection: Connection, *grants: str) -> Iterator[str]:
    """Give the connection string of a role that may log in and no more than is granted."""
    connection.execute("CREATE ROLE doctors_patient LOGIN")
    try:
        for grant in grants:
            connection.execute(f"GRANT {grant} TO doctors_patient")
        yield dsn.replace("postgres@", "doctors_patient@")
    finally:
        connection.execute("DROP OWNED BY doctors_patient")
        connection.execute("DROP ROLE doctors_patient")


def test_a_reader_sees_what_it_may_and_is_told_what_not(database: str, connection: Connection) -> None:
    with role(database, connection, "radmeter_reader") as dsn:
        lines = ask(dsn)
        assert "doctors_patient may read" in one(lines, "roles").said
        assert not [line.said for line in lines if "the check itself failed" in line.said]
        assert one(lines, "schema").level == "green"
        # What was not looked at is not green.
        assert one(lines, "disk").level == "unknown"
        assert "this role may not see where it is" in one(lines, "disk").said
        connection.execute("DROP INDEX radacct_open_username_idx")
        (found,) = faults(dsn, "schema")
        # It may not mend it: the command is one for somebody who may.
        paste(found.remedy)
        assert faults(dsn, "schema") == []


def test_a_role_that_may_nothing_is_given_the_right_to_read(database: str, connection: Connection) -> None:
    with role(database, connection) as dsn:
        (found,) = faults(dsn, "roles")
        assert found.level == "red"
        paste(found.remedy)
        assert faults(dsn, "roles") == []


def test_the_jobs_are_at_work_while_their_lease_lasts(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = faults(database, "jobs")
    assert found.remedy == "radmeter jobs run"
    with monkeypatch.context() as patch:
        patch.setattr("radmeter.doctor.commands.UNIT_DIRECTORIES", (tmp_path,))
        (tmp_path / "radmeter-jobs.service").touch()
        (found,) = faults(database, "jobs")
        assert found.remedy == "sudo systemctl start radmeter-jobs"
    with connect(database) as runner:
        lease = Lease(runner, uuid.uuid4())
        assert lease.take()
        assert faults(database, "jobs") == []
        lease.end()
    (found,) = faults(database, "jobs")
    assert found.remedy == "radmeter jobs run"
    assert f"{socket.gethostname()}, process {os.getpid()} did so until " in found.said


def test_a_service_that_runs_and_cannot_log_in_does_not_run_the_jobs(
    database: str, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(f'dsn = "{database}"\n[jobs]\ndsn = "{make_conninfo(database, dbname="radmetr")}"\n')
    (tmp_path / "radmeter-jobs.service").touch()
    monkeypatch.setattr("radmeter.doctor.commands.UNIT_DIRECTORIES", (tmp_path,))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with subprocess.Popen(["sleep", "600"], env={"PATH": os.defpath}) as service:
        try:
            (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho {service.pid}\n")
            (tmp_path / "systemctl").chmod(0o755)
            found = one(ask(None, "--only=jobs", "--config", file), "jobs")
        finally:
            service.kill()
    assert f"the service (process {service.pid}) waits: " in found.said
    assert f"Is `dsn` in {file} [jobs] right (dbname radmetr)?" in found.said
    assert found.remedy == "sudo systemctl restart radmeter-jobs"


def test_an_old_transaction_is_named_and_ended(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radmeter.doctor.server.LONG_SECONDS", 0)
    with psycopg.connect(database, application_name="forgotten") as forgotten:
        forgotten.execute("SELECT 1")
        (found,) = faults(database, "transactions")
        assert f"process {forgotten.info.backend_pid} (postgres, forgotten): idle" in found.said
        paste(found.remedy, database)
        with pytest.raises(psycopg.OperationalError):
            forgotten.execute("SELECT 1")
    assert faults(database, "transactions") == []


def test_a_transaction_is_old_after_a_minute(database: str, connection: Connection) -> None:
    with psycopg.connect(database, application_name="forgotten") as forgotten:
        (since,) = forgotten.execute(
            """SELECT to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
               FROM pg_stat_activity WHERE pid = pg_backend_pid()"""
        ).fetchall()[0]
        assert faults(database, "transactions") == []
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("radmeter.doctor.server.LONG_SECONDS", 0)
            (found,) = faults(database, "transactions")
        assert found.said.endswith(f"old, since {since}")
    assert LONG_SECONDS == 60


def test_connections_that_are_nearly_used_up(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [line for line in faults(database, "server") if "connections" in line.said] == []
    monkeypatch.setattr("radmeter.doctor.connections.NEARLY", 0.0)
    (found,) = [line for line in faults(database, "server") if "connections" in line.said]
    most, reserved = (
        int(value(connection, f"current_setting('{name}')"))
        for name in ("max_connections", "superuser_reserved_connections")
    )
    assert (
        f"of {most - reserved} connections are in use (max_connections {most}, {reserved} of them reserved)"
        in (found.said)
    )
    assert "postgres" in found.said
    assert f"max_connections = {2 * most}" in found.remedy
    assert found.note.startswith("Then restart PostgreSQL.")


def test_the_connections_of_a_role_are_used_up(database: str, connection: Connection) -> None:
    with role(database, connection, "radmeter_reader") as dsn:
        connection.execute("ALTER ROLE doctors_patient CONNECTION LIMIT 1")
        with psycopg.connect(dsn):
            (found,) = [line for line in faults(database, "server") if "connections" in line.said]
            assert found.said == "1 of 1 connections of the role doctors_patient are in use"
            # doctor gets none itself.
            refused = one(ask(dsn), "connection")
            assert "too many connections for role" in refused.said
            assert "doctors_patient" in paste(refused.remedy)
            paste(found.remedy, database)
            assert [line for line in faults(database, "server") if "connections" in line.said] == []


def test_another_database_than_that_of_the_journal_is_not_made_radmeters(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "database").write_text(str(uuid.uuid4()))
    with server.clone("template0") as foreign:
        (found,) = faults(foreign, "migrations", RADMETER_JOURNAL=str(tmp_path))
        assert "another database was judged than the one in use" in found.said
        assert found.remedy == "radmeter config"


def test_a_slot_that_nobody_reads_from_is_named_and_dropped(database: str, connection: Connection) -> None:
    connection.execute("SELECT pg_create_physical_replication_slot('left_over', true)")
    try:
        (found,) = faults(database, "replication")
        assert "slot left_over: nobody reads from it" in found.said
        paste(found.remedy, database)
        assert faults(database, "replication") == []
    finally:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'left_over'"
        )


def test_settings_that_lose_packets_in_a_crash_are_red(database: str) -> None:
    # As the test servers have them.
    said = [line.said for line in faults(database, "server", "autovacuum")]
    assert [each.partition(" is off")[0] for each in said] == [
        "autovacuum",
        "fsync",
        "full_page_writes",
        "synchronous_commit",
    ]


def test_autovacuum_off_for_a_table_and_dead_rows(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radmeter.doctor.tables.DEAD_ROWS", 50)
    connection.execute("ALTER TABLE user_quota_usage SET (autovacuum_enabled = off)")
    connection.execute(
        "INSERT INTO router_daily_usage SELECT id, current_date FROM routers; "
        "INSERT INTO user_quota_usage SELECT 'user' || n, current_date FROM generate_series(1, 100) AS n"
    )
    connection.execute("DELETE FROM user_quota_usage")
    connection.execute("SELECT pg_stat_force_next_flush()")
    found = [line for line in faults(database, "autovacuum") if "user_quota_usage" in line.said]
    assert [line.level for line in found] == ["red", "yellow"]
    for line in found:
        paste(line.remedy, database)
    assert not [line for line in faults(database, "autovacuum", "schema") if "user_quota_usage" in line.said]


def test_sessions_that_nobody_closes(database: str) -> None:
    with Packets(database) as packets:
        for number in range(30):
            packets.add("Start", f"s{number}", ago=86400, NAS_Identifier="site")
        packets.add("Stop", "the shipper is up to date")
    (found,) = faults(database, "sessions")
    assert found.level == "red"
    assert found.said.startswith("30 of 30 open sessions")
    paste(found.remedy, database)
    assert faults(database, "sessions") == []


def test_a_router_with_an_unbelievable_clock(database: str) -> None:
    with Packets(database) as packets:
        packets.add(
            "Start", "s1", skew=-40 * 86400, NAS_Identifier="lobby", Called_Station_Id="02-00-00-00-00-01"
        )
    (found,) = faults(database, "clocks")
    assert found.level == "yellow"
    assert "unbelievable clocks" in found.said
    assert "lobby" in paste(found.remedy, database)


def test_a_node_that_is_late_and_one_that_is_silent(database: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO ingest_checkpoint (source, last_received_at, updated_at) VALUES
           ('late', now() - interval '1 hour', now()), ('well', now(), now()),
           ('silent-0011', now() - interval '1 day', now() - interval '1 day'),
           ('gone', now() - interval '1 year', now() - interval '1 year')"""
    )
    found = faults(database, "ingest")
    assert [(line.level, line.said.partition(":")[0]) for line in found] == [
        ("red", "late"),
        ("yellow", "silent-0011"),
    ]


def test_how_late_and_how_silent_a_node_may_be(database: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO ingest_checkpoint (source, last_received_at, updated_at)
           SELECT node, now() - make_interval(secs => late + silent), now() - make_interval(secs => silent)
           FROM (VALUES ('late 60', 60, 0), ('late 61', 61, 0), ('late 900', 900, 0), ('late 901', 901, 0),
                        ('silent 3540', 0, 3540), ('silent 3605', 0, 3605),
                        ('a month', 0, 30 * 86400 - 60), ('gone', 0, 30 * 86400)) AS at (node, late, silent)"""
    )
    found = faults(database, "ingest")
    assert {line.said.partition(":")[0]: line.level for line in found} == {
        "late 61": "yellow",
        "late 900": "yellow",
        "late 901": "red",
        "silent 3605": "yellow",
        "a month": "yellow",
    }


class Clock:
    """This machine's clock, so many seconds fast."""

    def __init__(self, fast: float) -> None:
        self._fast = fast

    def time(self) -> float:
        return time.time() + self._fast


@pytest.mark.parametrize(
    ("fast", "level", "said"),
    [
        (1.9, None, ""),
        (-1.9, None, ""),
        (2.5, "yellow", "behind this machine's"),
        (-2.5, "yellow", "ahead of this machine's"),
        (59.9, "yellow", "behind this machine's"),
        (-59.9, "yellow", "ahead of this machine's"),
        (61, "red", "behind this machine's"),
        (-61, "red", "ahead of this machine's"),
    ],
)
def test_the_clocks_of_this_machine_and_of_the_database(
    database: str, monkeypatch: pytest.MonkeyPatch, fast: float, level: str | None, said: str
) -> None:
    monkeypatch.setattr("radmeter.doctor.activity.time", Clock(fast))
    deadline = time.monotonic() + 120
    # The time that the answer took is taken off, so that on a busy machine the clocks may look nearer than they are.
    found = faults(database, "clocks")
    while level is not None and [line.level for line in found] != [level]:
        assert time.monotonic() < deadline, found
        found = faults(database, "clocks")
    assert [line.level for line in found] == ([level] if level else [])
    assert level is None or said in found[0].said


def test_how_far_a_routers_clock_is_believed(database: str, connection: Connection) -> None:
    """As far as an Event-Timestamp is: from 7 days before the arrival to 5 minutes after."""
    connection.execute(
        "INSERT INTO routers (id, name) VALUES (1, 'old'), (2, 'older'), (3, 'fast'), (4, 'faster')"
    )
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, router_id, clock_skew_seconds,
                                acctstarttime, acctupdatetime, arrived_at)
           SELECT 's', gen_random_uuid()::text, '::1', id, skew, now(), now(), now()
           FROM (VALUES (1, -604800), (2, -604801), (3, 300), (4, 301), (1, NULL)) AS router (id, skew)"""
    )
    (found,) = faults(database, "clocks")
    assert found.said == "unbelievable clocks, so the time of arrival counts: older, faster"
    rows = connection.execute("SELECT router_id, unbelievable_sessions FROM radmeter.router_clock ORDER BY 1")
    assert rows.fetchall() == [(1, 0), (2, 1), (3, 0), (4, 1)]
    connection.execute("UPDATE radacct SET acctstoptime = now() WHERE clock_skew_seconds IN (-604801, 301)")
    assert faults(database, "clocks") == []


def test_how_many_sessions_may_be_silent_and_for_how_long(database: str, connection: Connection) -> None:
    """Three times as long as a stale session: 30 minutes, or nine of its interims."""
    with Packets(database) as packets:
        for number in range(19):
            packets.add("Start", f"silent {number}", ago=1805)
        packets.add("Start", "silent for long", ago=8105, Acct_Interim_Interval=900)
        for number in range(20):
            packets.add("Start", f"live {number}", ago=1700)
        packets.add("Start", "patient", ago=8000, Acct_Interim_Interval=900)
        packets.add("Stop", "the shipper is up to date")
    assert faults(database, "sessions") == []
    with Packets(database) as packets:
        packets.add("Start", "one too many", ago=1805)
        packets.add("Stop", "the shipper is up to date too")
    (found,) = faults(database, "sessions")
    assert (found.level, found.said.partition(" open")[0]) == ("yellow", "21 of 42")
    connection.execute("DELETE FROM radacct WHERE acctsessionid = 'live 0'")
    (found,) = faults(database, "sessions")
    assert (found.level, found.said.partition(" open")[0]) == ("red", "21 of 41")


def test_packets_that_could_not_be_counted(database: str, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO rejected_packet (source, seq, received_at, reason, pairs) VALUES ('n', 1, now(), 'bad', '[]')"
    )
    (found,) = faults(database, "rejected")
    assert found.said.startswith("1 packet could not be counted")
    assert "bad" in paste(found.remedy, database)


def test_an_adoption_that_is_not_finished_and_a_history_that_is_not_counted(
    database: str, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO radmeter.adoption (state, boundary, saved) VALUES ('opening', now(), '{}')"
    )
    (found,) = faults(database, "adoption")
    assert "not finished (opening)" in found.said
    assert found.remedy == "radmeter adopt --from radacct"
    connection.execute("UPDATE radmeter.adoption SET state = 'returning'")
    (found,) = faults(database, "adoption")
    assert found.remedy == "radmeter adopt --undo"
    connection.execute("UPDATE radmeter.adoption SET state = 'done', swapped_at = now()")
    (found,) = faults(database, "adoption")
    assert (found.level, found.remedy) == ("red", "radmeter backfill")
    # Columns and indexes that came with the table are its owner's.
    connection.execute("ALTER TABLE radacct ADD COLUMN site text")
    connection.execute("CREATE INDEX ON radacct_open (site)")
    assert faults(database, "schema") == []


def test_values_that_no_router_can_report(database: str, connection: Connection) -> None:
    assert faults(database, "values") == []
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctinputoctets, acctstarttime) VALUES
           ('a', 'a', '10.0.0.1', -1, now()), ('b', 'b', '10.0.0.1', 1, 'infinity'), ('c', 'c', '10.0.0.1', 1, now())"""
    )
    (found,) = faults(database, "values")
    assert found.level == "red"
    assert "negative octets" in found.said
    assert "an infinite time" in found.said
    assert "2 sessions have values" in found.said
    assert paste(found.remedy, database).count("10.0.0.1") == 0
    # Adopted ones are the backfill's.
    connection.execute("UPDATE radacct_open SET adopted = true WHERE acctuniqueid <> 'c'")
    assert faults(database, "values") == []
    connection.execute(
        "INSERT INTO radmeter.adoption (state, boundary, saved, swapped_at) VALUES ('done', now(), '{}', now())"
    )
    connection.execute(
        "INSERT INTO radmeter.backfill_rejected (radacctid, reason) VALUES (1, 'negative octets')"
    )
    assert ("yellow", "radmeter backfill --rejected") in [
        (each.level, each.remedy) for each in faults(database, "adoption")
    ]


def test_an_adopted_database_is_green_once_its_history_is_counted(server: Server) -> None:
    checks = (
        "migrations",
        "roles",
        "schema",
        "triggers",
        "guarantees",
        "partitions",
        "sequences",
        "adoption",
    )
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT.encode())
            connection.execute("ALTER TABLE radacct ADD site text")
            connection.execute("CREATE INDEX radacct_site_idx ON radacct (site)")
            stock.fill(connection, 500, open_sessions=20, zombies=5)
        (found,) = faults(dsn, "migrations")
        paste(f"{found.remedy} --yes", dsn)
        (found,) = faults(dsn, *checks)
        assert found.said.endswith("its history is not in the counters")
        paste(f"{found.remedy} --yes", dsn)
        assert faults(dsn, *checks) == []


def test_nothing_is_written_and_no_lock_is_waited_for(database: str, connection: Connection) -> None:
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE radacct, routers, user_quota_usage, radmeter.alembic_version")
        began = time.monotonic()
        lines = ask(database, "--raddb", os.fspath(Path(__file__).parent))
        assert time.monotonic() - began < 20 * load_factor()
        assert "locked by another session" in " ".join(line.said for line in lines)
        blocker.rollback()
    assert NOWHERE


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("PERFORM pg_sleep(60)", "no answer within 2 s"),
        ("DELETE FROM public.routers", "cannot execute DELETE in a read-only transaction"),
    ],
)
def test_a_question_that_takes_long_is_given_up_and_one_that_writes_is_refused(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    monkeypatch.setattr("radmeter.doctor.runner.STATEMENT_MS", 2000)
    connection.execute(
        f"""CREATE OR REPLACE FUNCTION radmeter.radacct_partitions()
            RETURNS TABLE (name text, from_at timestamptz, to_at timestamptz, relid oid) LANGUAGE plpgsql
            AS $$ BEGIN {does}; END; $$""".encode()
    )
    lines = ask(database, "--only", "partitions", "--only", "rejected")
    assert (one(lines, "partitions").level, one(lines, "partitions").said) == ("unknown", said)
    assert one(lines, "rejected").level == "green"


@pytest.mark.parametrize("statement", ["ALTER ROLE postgres IN DATABASE {} SET", "ALTER DATABASE {} SET"])
def test_a_database_that_was_made_read_only(database: str, connection: Connection, statement: str) -> None:
    name = database.rpartition("/")[2].partition("?")[0]
    connection.execute(f"{statement.format(name)} default_transaction_read_only = on".encode())
    (found,) = faults(database, "connection")
    assert "read-only for postgres" in found.said
    paste(found.remedy, database)
    assert faults(database, "connection") == []


def kept(connection: Connection, kind: str, client: str, *, count: int = 0, left_out: int = 0) -> None:
    connection.execute(
        """INSERT INTO radmeter.kept_per_hour
               (kind, source, hour, client, kept, kept_bytes, left_out, first_seq, last_seq)
           VALUES (%s, '', now(), %s, %s, 0, %s, 1, 9)""",
        (kind, client, count, left_out),
    )


def test_rejected_packets_that_were_left_out_are_named_with_their_clients(
    database: str, connection: Connection
) -> None:
    for number in range(5):
        kept(connection, "rejected packet", f"192.0.2.{number}", left_out=100 - number)
    (found,) = faults(database, "rejected")
    assert found.level == "yellow"
    assert "490 rejected packets were left out" in found.said
    assert "192.0.2.0 100, 192.0.2.1 99, 192.0.2.2 98 and 2 more" in found.said
    assert "rejected left-out" in found.remedy
    connection.execute("UPDATE radmeter.kept_per_hour SET salvaged = left_out")
    assert faults(database, "rejected") == []


def test_a_table_that_has_nearly_reached_its_limit_is_yellow(database: str, connection: Connection) -> None:
    assert faults(database, "rejected") == faults(database, "anomalies") == []
    for limit, table in (
        ("rejected_keep_bytes", "rejected_packet"),
        ("anomalies_keep_bytes", "accounting_anomaly"),
    ):
        connection.execute(
            "SELECT radmeter.set_limit(%s, (pg_total_relation_size(%s) + 1)::text)", (limit, table)
        )
    for check, limit in (("rejected", "rejected_keep_bytes"), ("anomalies", "anomalies_keep_bytes")):
        (found,) = faults(database, check)
        assert found.level == "yellow"
        assert limit in found.said


def test_rejected_packets_that_the_jobs_will_soon_remove_are_named(
    database: str, connection: Connection
) -> None:
    connection.execute(
        """INSERT INTO rejected_packet (source, seq, received_at, rejected_at, reason, pairs)
           SELECT 'node', days, now(), now() - days * interval '1 day', 'odd', '[]'
           FROM unnest(ARRAY[1, 165, 167, 179]) AS days"""
    )

    def said() -> list[str]:
        return [found.said for found in faults(database, "rejected") if "will be removed" in found.said]

    assert said() == []
    connection.execute("SELECT radmeter.set_limit('rejected_keep_days', '180')")
    (line,) = said()
    assert line.startswith(
        "2 rejected packets will be removed within 14 days, because rejected_keep_days is 180"
    )
    connection.execute("SELECT radmeter.set_limit('rejected_keep_days', '5')")
    (line,) = said()
    assert line.startswith("4 rejected packets will")


def test_a_router_whose_counters_go_back_all_the_time_is_named(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO routers (name) VALUES ('lobby')")
    kept(connection, "anomaly", "#1", count=100, left_out=7)
    (found,) = faults(database, "anomalies")
    assert found.level == "yellow"
    assert "lobby 7" in found.said


def test_a_client_that_makes_up_user_names_is_named(database: str, connection: Connection) -> None:
    kept(connection, "new user", "192.0.2.1", count=10_000)
    assert faults(database, "users") == []
    kept(connection, "new user", "192.0.2.66", count=10_001)
    (found,) = faults(database, "users")
    assert found.level == "yellow"
    assert "192.0.2.66 10,001" in found.said
    assert "192.0.2.1 " not in found.said
