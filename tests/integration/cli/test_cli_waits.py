"""At a terminal a command that waits says what for, on standard error. A program that reads its output sees no word."""

import fcntl
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from support.commands import radmeter
from support.looking import pause_after
from support.screens import screen

from radmeter import waits


def await_true(what: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while (began := time.monotonic()) and not what():
        assert time.monotonic() < deadline, "it did not happen"
        pause_after(began)


def test_a_table_that_somebody_has_locked(database: str) -> None:
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE public.subscribers IN ACCESS EXCLUSIVE MODE")
        with screen(database, "usage", "user", "alice") as seen:
            seen.expect("waiting for the answer of the database ")
            holder.rollback()
            seen.end()
    assert seen.text.count("waiting for") == 1


def test_json_stays_json_and_the_reason_is_on_standard_error(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "ELSEWHERE_SECONDS", 0.2)
    tell, told = waits.tell, threading.Event()

    def noted(what: str) -> None:
        tell(what)
        if "the answer" in what:
            told.set()

    monkeypatch.setattr(waits, "tell", noted)
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE public.routers IN ACCESS EXCLUSIVE MODE")

        def release_it() -> None:
            told.wait(60)
            holder.rollback()

        release = threading.Thread(target=release_it)
        release.start()
        done = radmeter(database, "routers", "list", "--format", "json")
        release.join()
    assert done.json() == []
    assert "waiting for the answer of the database " in done.errors


def test_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=radmeter"
        with screen(dsn, "routers", "list") as seen:
            seen.expect("waiting for a connection to the database on 127.0.0.1\r?\n")
            seen.expect("error: ")
            assert seen.end() == 1


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory that PostgreSQL's own user, if we are root, may pass through."""
    with tempfile.TemporaryDirectory(prefix="radmeter-") as directory:
        yield Path(directory) / "state"


def initdb(state: Path) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"/initdb\0" in command and str(state).encode() in command:
            return int(process.name)
    return None


def test_the_first_start_of_the_embedded_server(state: Path) -> None:
    with screen(None, "migrate", "up", "--yes", RADMETER_STATE=str(state)) as seen:
        await_true(lambda: initdb(state) is not None)
        pid = initdb(state)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        seen.expect("waiting for initdb, which makes the embedded PostgreSQL's files in ")
        os.kill(pid, signal.SIGCONT)
        assert seen.end() == 0, seen.text
    start = state / "postgresql" / "start.lock"
    with start.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with screen(None, "migrate", "status", RADMETER_STATE=str(state)) as seen:
            seen.expect("waiting for another command, which is starting the embedded PostgreSQL")
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert seen.end() == 0, seen.text


def test_packets_are_measured_for_as_long_as_was_asked(database: str) -> None:
    with screen(database, "status", "--sample", "20") as seen:
        seen.expect(r"waiting for packets to measure, for 20 s \(--sample\)")


def test_a_killed_command_leaves_no_thread_behind(database: str) -> None:
    """A wait is said by a thread, which must not keep a process from its end."""
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE public.routers IN ACCESS EXCLUSIVE MODE")
        with screen(database, "routers", "list") as seen:
            seen.expect("waiting for the answer of the database ")
            seen.child.sendintr()
            assert seen.end() == 130
