"""The embedded PostgreSQL runs for exactly as long as somebody uses it."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from support.looking import pause_after

from radmeter.config import Settings
from radmeter.embedded import programs
from radmeter.embedded.server import EmbeddedPostgresql, open_database
from radmeter.errors import StoreError

HOLD = """
import sys
from pathlib import Path
from radmeter.embedded.server import EmbeddedPostgresql
with EmbeddedPostgresql(Path(sys.argv[1])) as server:
    print(server.server_pid(), flush=True)
    sys.stdin.read()
"""


def await_true(what: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while (began := time.monotonic()) and not what():
        assert time.monotonic() < deadline, "it did not happen"
        pause_after(began)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def processes_of(base: Path) -> dict[int, str]:
    """Keeper, initdb and PostgreSQL processes of a directory, zombies aside."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            at_home = (entry / "cwd").readlink() in (base / "data", base / "data.unfinished")
        except OSError:
            continue
        ours = "radmeter.embedded.keeper" in words or words[0].endswith("/initdb")
        if at_home or (ours and str(base) in " ".join(words)):
            found[int(entry.name)] = " ".join(words)
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that PostgreSQL's own user, if we are root, may pass through.

    Not below pytest's: each session of pytest makes that one private again, even while we run.
    """
    with tempfile.TemporaryDirectory(prefix="radmeter-") as directory:
        yield Path(directory)


@pytest.fixture
def base(place: Path) -> Iterator[Path]:
    base = place / "postgresql"
    yield base
    for pid in processes_of(base):  # of a test that failed
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def hold(base: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(base)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen[str], how: signal.Signals) -> None:
    process.send_signal(how)
    process.communicate(timeout=60)


def test_it_starts_makes_the_database_and_leaves_nothing_behind(base: Path) -> None:
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn()) as connection:
        row = connection.execute(
            "SELECT current_database(), current_setting('server_version_num')::int >= 180000"
        ).fetchone()
        assert row == ("radmeter", True)
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    assert processes_of(base) == {}
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    assert processes_of(base) == {}


def test_durability_is_not_traded_for_speed_and_only_its_owner_can_reach_it(base: Path) -> None:
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn()) as connection:
        settings: dict[str, str] = dict(
            connection.execute("SELECT name, setting FROM pg_settings").fetchall()
        )
        assert settings["fsync"] == settings["synchronous_commit"] == settings["full_page_writes"] == "on"
        assert settings["TimeZone"] == "UTC"
        assert settings["listen_addresses"] == ""
        sockets = Path(settings["unix_socket_directories"].strip('"'))
        assert sockets.stat().st_mode & 0o077 == 0


def test_a_second_user_joins_the_running_server_which_stops_with_the_last(base: Path) -> None:
    with hold(base) as first:
        assert first.stdout is not None
        server_pid = int(first.stdout.readline())
        with EmbeddedPostgresql(base) as second:
            assert second.server_pid() == server_pid
            end(first, signal.SIGKILL)
            with psycopg.connect(second.dsn()) as connection:
                connection.execute("SELECT 1")
            assert alive(server_pid)
    assert processes_of(base) == {}


def test_a_user_that_is_killed_does_not_leave_the_server_running(base: Path) -> None:
    with hold(base) as user:
        assert user.stdout is not None
        server_pid = int(user.stdout.readline())
        end(user, signal.SIGKILL)
    await_true(lambda: not alive(server_pid))
    await_true(lambda: processes_of(base) == {})
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn()) as connection:
        connection.execute("SELECT 1")
    assert processes_of(base) == {}


def test_a_server_that_is_killed_is_started_again_for_its_users(base: Path) -> None:
    with EmbeddedPostgresql(base) as server:
        first = server.server_pid()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await_true(lambda: server.server_pid() not in (None, first))
        server.ensure_running()
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("SELECT 1")
    assert processes_of(base) == {}


def test_when_the_keeper_is_killed_the_server_stops_and_a_new_keeper_starts_it(base: Path) -> None:
    with EmbeddedPostgresql(base) as server:
        first = server.server_pid()
        assert first is not None
        os.kill(parent_of(first), signal.SIGKILL)
        await_true(lambda: not server.kept())
        server.ensure_running()
        assert server.server_pid() != first
        assert not alive(first)
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("SELECT 1")
    assert processes_of(base) == {}


def test_a_pid_file_that_names_an_unrelated_process_does_not_stop_the_start(base: Path) -> None:
    with EmbeddedPostgresql(base):
        pass
    pid_file = base / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{base}/data\n1700000000\n5432\n\n\n\nready\n")
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn()) as connection:
        connection.execute("SELECT 1")


def test_an_initdb_that_was_killed_half_way_is_begun_anew(base: Path) -> None:
    half = base / "data.unfinished"
    half.mkdir(parents=True)
    (half / "base").write_text("torn")
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn()) as connection:
        connection.execute("SELECT 1")


def stopped_initdb(base: Path) -> int:
    """Wait for initdb, and stop it so that it stays half way."""
    pids: list[int] = []

    def found() -> bool:
        pids[:] = [pid for pid, command in processes_of(base).items() if "/initdb" in command]
        return bool(pids)

    await_true(found)
    os.kill(pids[0], signal.SIGSTOP)
    return pids[0]


@pytest.mark.parametrize("signals", [[signal.SIGINT] * 2, [signal.SIGKILL]], ids=["SIGINT-SIGINT", "SIGKILL"])
def test_an_initdb_that_nobody_waits_for_is_ended(base: Path, signals: list[signal.Signals]) -> None:
    with hold(base) as user:
        initdb = stopped_initdb(base)
        for each in signals:
            user.send_signal(each)
        user.communicate(timeout=60)
    await_true(lambda: not alive(initdb))
    await_true(lambda: processes_of(base) == {})
    assert not (base / "data").exists()
    assert not (base / "data.unfinished").exists()


def test_when_the_keeper_is_killed_initdb_ends_and_the_next_user_begins_it_anew(base: Path) -> None:
    with hold(base) as user:
        initdb = stopped_initdb(base)
        os.kill(parent_of(initdb), signal.SIGKILL)
        user.communicate(timeout=60)
        assert user.returncode == 1
    await_true(lambda: processes_of(base) == {})
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn()) as connection:
        connection.execute("SELECT 1")
    assert processes_of(base) == {}


def test_all_are_killed_and_nothing_stays(base: Path) -> None:
    with hold(base) as first, hold(base) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        server_pid = int(first.stdout.readline())
        assert int(second.stdout.readline()) == server_pid
        for pid in (first.pid, parent_of(server_pid), second.pid):
            os.kill(pid, signal.SIGKILL)
        first.communicate(timeout=60)
        second.communicate(timeout=60)
    await_true(lambda: processes_of(base) == {})


def test_processes_of_a_killed_server_are_waited_for(base: Path) -> None:
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        first = server.server_pid()
        assert first is not None
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 2  # four times the first backoff
        while time.monotonic() < deadline:
            assert server.server_pid() in (None, first)
            time.sleep(0.02)
        assert "pre-existing shared memory" not in server.log.read_text(), "it was not even tried"
        os.kill(backend, signal.SIGCONT)
        server.ensure_running()
        assert not alive(backend)
        assert server.server_pid() not in (None, first)
    assert processes_of(base) == {}


def test_a_server_that_cannot_start_is_an_error_with_its_own_words(base: Path) -> None:
    with EmbeddedPostgresql(base):
        pass
    (base / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(StoreError, match="incompatible"):
        EmbeddedPostgresql(base).open()
    assert processes_of(base) == {}


def test_a_path_too_long_for_a_socket_puts_the_socket_elsewhere(place: Path) -> None:
    base = place / ("long-" * 20) / "postgresql"
    assert programs.socket_directory(base) != base / "data"
    with EmbeddedPostgresql(base) as server, psycopg.connect(server.dsn()) as connection:
        connection.execute("SELECT 1")
        assert programs.socket_directory(base).stat().st_mode & 0o077 == 0
    assert not programs.socket_directory(base).exists()
    assert processes_of(base) == {}


def test_the_settings_decide_whose_server_it_is(place: Path) -> None:
    with open_database(Settings.load({"RADMETER_DSN": "host=db.example dbname=usage"})) as database:
        assert database.dsn == "host=db.example dbname=usage"
        assert database.embedded is None
    with open_database(Settings.load({"RADMETER_STATE": str(place)})) as database:
        assert database.embedded is not None
        with psycopg.connect(database.dsn) as connection:
            connection.execute("SELECT 1")
