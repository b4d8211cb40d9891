"""`radmeter up` as its user meets it: what it shows, how it ends, and that nothing stays behind."""

import contextlib
import json
import os
import pty
import pwd
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support import compose
from support.documents import block, changed
from support.looking import pause_after

import radmeter
from radmeter import resources
from radmeter.freeradius import installed

RADMETER = (sys.executable, "-m", "radmeter")
# Many reports in little time.
BUSY = ("--interim-seconds", "0.3", "--rate", "200")


def environment(state: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "RAD"))}
    return kept | {"RADMETER_STATE": str(state), "PYTHONUNBUFFERED": "1"}


def processes_of(state: Path) -> dict[int, str]:
    """All processes, zombies aside, that have anything to do with a state directory."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = str((entry / "cwd").readlink())
            variables = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if int(entry.name) != os.getpid() and str(state) in f"{command} {place} {variables}":
            found[int(entry.name)] = command
    return found


def await_true(what: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while (began := time.monotonic()) and not what():
        assert time.monotonic() < deadline, "it did not happen"
        pause_after(began)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


class Up:
    """A `radmeter up` that runs."""

    def __init__(self, state: Path, *options: str, **variables: str) -> None:
        self.state = state
        self.output = state.parent / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*RADMETER, "up", "--port", str(free_port()), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(state) | variables,
                cwd=state.parent,
            )

    def await_output(self, words: str) -> None:
        await_true(lambda: words in self.text or self.process.poll() is not None)
        assert words in self.text, self.text

    @property
    def text(self) -> str:
        return self.output.read_text()

    def settings(self) -> dict[str, str]:
        """What a shell that sources radmeter.env knows."""
        self.await_output("radmeter is up")
        script = 'set -a; . "$0"; exec "$1" -c "import json, os; print(json.dumps(dict(os.environ)))"'
        answer = subprocess.run(
            ["sh", "-c", script, str(self.state / "radmeter.env"), sys.executable],
            env={},
            stdout=subprocess.PIPE,
            check=True,
        )
        return dict(json.loads(answer.stdout))

    def pid(self, words: str) -> int:
        """The process whose command has these words."""
        pids = [pid for pid, command in processes_of(self.state).items() if words in command]
        assert pids, processes_of(self.state)
        return min(pids)

    def end(self, *signals: signal.Signals) -> int:
        for each in signals:
            self.process.send_signal(each)
        return self.process.wait(timeout=90)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that PostgreSQL's own user, if we are root, may pass through.

    Not below pytest's: each session of pytest makes that one private again, even while we run.
    """
    with tempfile.TemporaryDirectory(prefix="radmeter-") as directory:
        yield Path(directory)


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*options: str, **variables: str) -> Up:
        started.append(Up(place / "state", *options, **variables))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.end(signal.SIGTERM)
    await_true(lambda: processes_of(place / "state") == {})


def test_after_some_seconds_the_bytes_sent_and_counted_are_equal_also_the_second_time(
    start: Callable[..., Up], place: Path
) -> None:
    for _ in range(2):
        up = start("--seconds", "4", *BUSY)
        assert up.process.wait(timeout=120) == 0, up.text
        assert processes_of(place / "state") == {}
        rows = re.findall(r"^(sim-\S+|all) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+) +(\w+)$", up.text, re.M)
        assert len(rows) == 24 + 5 + 2
        assert all(row[1] == row[2] and row[3] == row[4] and row[5] == "equal" for row in rows)
        figures = {row[0]: int(row[3].replace(",", "")) for row in rows}
        assert figures["sim-guest-001"] > 1 << 32, "beyond what 32 bits of octets can say"
        assert "equal to the byte: 24 users, 5 routers" in up.text


def test_a_counter_that_somebody_changed_is_seen(start: Callable[..., Up]) -> None:
    up = start("--seconds", "4", *BUSY)
    with psycopg.connect(up.settings()["RADMETER_DSN"], autocommit=True) as connection:

        def changed() -> bool:
            return bool(
                connection.execute(
                    "UPDATE user_quota_usage SET bytes_in = bytes_in + 1 WHERE username = 'sim-guest-007'"
                ).rowcount
            )

        await_true(changed)
    assert up.process.wait(timeout=120) == 3
    assert "DIFFERENT: bytes sent and bytes counted differ for sim-guest-007" in up.text


def test_whatever_dies_is_started_again_and_no_byte_is_lost(start: Callable[..., Up]) -> None:
    up = start("--seconds", "8", *BUSY)
    up.await_output("packets acknowledged")
    for words in ("radmeter ship", "freeradius", "radmeter jobs", "bin/postgres"):
        os.kill(up.pid(words), signal.SIGKILL)
    for name in ("shipper", "freeradius", "jobs"):
        up.await_output(f"{name} was ended by SIGKILL")
    up.await_output("the embedded PostgreSQL had died and was started again")
    assert up.process.wait(timeout=120) == 0, up.text
    assert "equal to the byte" in up.text


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGINT,),
        (signal.SIGTERM,),
        (signal.SIGHUP,),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGINT, signal.SIGTERM),
    ],
    ids=lambda signals: "-".join(each.name for each in signals),
)
def test_a_signal_stops_everything(start: Callable[..., Up], signals: tuple[signal.Signals, ...]) -> None:
    up = start(*BUSY)
    up.await_output("packets acknowledged")
    assert len(processes_of(up.state)) > 5
    assert up.end(*signals) == 0, up.text
    assert processes_of(up.state) == {}


def test_a_signal_while_it_starts_stops_everything_too(start: Callable[..., Up]) -> None:
    up = start()
    await_true(lambda: (up.state / "postgresql").exists())
    assert up.end(signal.SIGINT, signal.SIGINT) == 130
    assert "Traceback" not in up.text
    assert processes_of(up.state) == {}


# What is there at some moments of the first start.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "before initdb": lambda state: (state / "up.lock").exists(),
    "in initdb": lambda state: any("/initdb" in command for command in processes_of(state).values()),
    "after initdb": lambda state: (state / "postgresql" / "data" / "PG_VERSION").exists(),
    "while radiusd starts": lambda state: any(
        "freeradius -f" in each for each in processes_of(state).values()
    ),
}


def test_an_interrupted_first_start_leaves_nothing_that_breaks_the_next(start: Callable[..., Up]) -> None:
    once, twice, term = (signal.SIGINT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)
    turns = [("in initdb", each) for each in (once, twice, term)]
    turns = [("before initdb", twice), *turns, ("after initdb", twice), ("while radiusd starts", twice)]
    for moment, signals in turns:
        up = start("--bare")
        await_true(lambda up=up, moment=moment: MOMENTS[moment](up.state) or up.process.poll() is not None)  # type: ignore[misc]
        # It may be up by the time that the signal comes.
        assert up.end(*signals) in ((0, 130) if moment == "while radiusd starts" else (130,)), up.text
        assert processes_of(up.state) == {}
        assert "Traceback" not in up.text
        server = up.state / "postgresql"
        assert not (server / "data.unfinished").exists()
        assert (server / "data" / "PG_VERSION").exists() == (server / "data").exists()
    up = start("--bare", "--seconds", "0.1")
    assert up.process.wait(timeout=120) == 0, up.text


def test_an_interrupted_comparison_is_not_a_success(start: Callable[..., Up]) -> None:
    up = start("--seconds", "600")
    up.await_output("packets acknowledged")
    assert up.end(signal.SIGINT) == 130


def test_even_when_it_is_killed_nothing_stays_and_the_next_run_counts_right(
    start: Callable[..., Up], place: Path
) -> None:
    up = start(*BUSY)
    up.await_output("packets acknowledged")
    up.process.kill()
    up.process.wait()
    await_true(lambda: processes_of(place / "state") == {})
    again = start("--seconds", "2", *BUSY)
    assert again.process.wait(timeout=120) == 0, again.text


def asked(settings: Mapping[str, str], path: str) -> dict[str, Any]:
    """Ask the HTTP API as a program does that has sourced radmeter.env."""
    headers = {"Authorization": f"Bearer {settings['RADMETER_HTTP_KEY']}"}
    request = urllib.request.Request(f"{settings['RADMETER_HTTP_URL']}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.load(answer))


def test_other_clients_find_their_way_by_the_environment_file(start: Callable[..., Up]) -> None:
    up = start("--bare")
    settings = up.settings()
    # Either the page answers when it is up, or a line says so later. Whoever was told asks at once.
    page = f"{settings['RADMETER_HTTP_URL']}/"
    starting = f"  page of the NOC    {page} (still starting: a line says when it answers)\n"
    if starting in up.text:
        up.await_output(f"the page of the NOC answers: {page}\n")
    else:
        assert f"  page of the NOC    {page}\n" in up.text
    assert asked(settings, "/api/v1/sessions?limit=1")["next"] is None
    assert (up.state / "radmeter.env").stat().st_mode & 0o777 == 0o600
    client = environment(up.state) | settings
    simulate = subprocess.run(
        [*RADMETER, "simulate", "--seconds", "1", "--interim-seconds", "0.2", "--format", "json"],
        env=client,
        stdout=subprocess.PIPE,
        check=True,
    )
    sent = {row["name"]: (row["bytes_in"], row["bytes_out"]) for row in json.loads(simulate.stdout)}
    with psycopg.connect(settings["RADMETER_DSN"], autocommit=True) as connection:

        def counted(table: str) -> dict[str, tuple[int, int]]:
            rows = connection.execute(f"SELECT username, bytes_in, bytes_out FROM {table}").fetchall()
            return {name: (bytes_in, bytes_out) for name, bytes_in, bytes_out in rows}

        users = {name: usage for name, usage in sent.items() if "guest" in name and any(usage)}
        assert users
        await_true(lambda: counted("user_quota_usage") == users)
    # The HTTP API says the same, at the address that is shown, to the key that is in the file.
    assert "  to log in there    RADMETER_HTTP_KEY in " in up.text
    assert settings["RADMETER_HTTP_KEY"] not in up.text
    name, (bytes_in, bytes_out) = next(iter(users.items()))
    usage = asked(settings, f"/api/v1/users/{name}/usage")
    assert (usage["bytes_in"], usage["bytes_out"]) == (bytes_in, bytes_out)
    assert asked(settings, "/api/v1/sessions?limit=1")["items"][0]["username"] in sent
    assert up.end(signal.SIGTERM) == 0
    # The reader is a program: it learns where everything is, and no figures.
    assert up.text.count("counted") == 0, up.text
    assert up.text.splitlines()[-1].startswith(("  for other clients  ", "the page of the NOC answers: ")), (
        up.text
    )


def test_a_user_of_the_documents_logs_in_uses_up_the_quota_and_gets_more(
    start: Callable[..., Up], place: Path
) -> None:
    """The commands of the try-out, as a reader pastes them. Only the pause is a wait for what comes of it."""
    up = start("--bare")
    up.settings()
    (place / "var").symlink_to(up.state)
    bin_directory = place / ".venv" / "bin"
    bin_directory.mkdir(parents=True)
    command = bin_directory / "radmeter"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(RADMETER)} "$@"\n')
    command.chmod(0o755)
    counted = '.venv/bin/radmeter users show bob --format json | grep -q \'"status": *"over"\''
    usage = ".venv/bin/radmeter usage user alice"
    packet = changed(
        block("operators/install.md", "packet"),
        {usage: f"until {usage} --format json | grep -q 2000; do sleep 0.1; done"},
    )
    login = changed(
        block("operators/install.md", "login"), {"sleep 1\n": f"until {counted}; do sleep 0.1; done\n"}
    )
    key = block("operators/install.md", "key of the try-out").replace("curl ", "curl -sS --fail ")
    script = "\n".join(["set -e", packet, login.replace("\nlogin ", "\nlogin || true "), key])
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=place,
        env=environment(up.state),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    answers = re.findall(r"^Received (Access-\w+) .*\n((?:\t.*\n)*)", done.stdout, re.MULTILINE)
    assert [code for code, _ in answers] == ["Access-Accept", "Access-Reject", "Access-Accept"], done
    assert ["Reply-Message" in attributes for _, attributes in answers] == [False, True, False]
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(bool(compose.missing()), reason=compose.missing())
def test_the_setup_of_a_fresh_machine_has_what_logins_need(place: Path) -> None:
    """FreeRADIUS's modules are hidden, and the user may not install any: so the script says what is missing."""
    modules = installed.module(installed.SQL_MODULE)
    assert modules is not None
    setup = place / "scripts" / "setup"
    setup.parent.mkdir()
    shutil.copy(resources.directory("radius").parent / "scripts" / "setup", setup)
    place.chmod(0o755)
    hide = 'mount -t tmpfs none "$0" && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, str(modules.parent), str(setup), "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Not installed: freeradius-python3 freeradius-postgresql\n" in done.stderr


def test_a_port_in_use_is_an_error_if_it_was_asked_for(start: Callable[..., Up]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        up = start("--port", str(port))
        assert up.process.wait(timeout=60) == 2
        assert f"--port: UDP port {port} of 127.0.0.1 is in use; name another one" in up.text


def test_a_second_one_on_the_same_directory_says_who_is_there(start: Callable[..., Up]) -> None:
    first = start("--bare")
    first.await_output("radmeter is up")
    answer = subprocess.run(
        [*RADMETER, "up", "--bare"],
        env=environment(first.state),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert f"as process {first.process.pid}" in answer.stderr


def test_on_a_terminal_there_is_a_live_table_and_ctrl_c_ends_it(place: Path) -> None:
    state = place / "state"
    child, terminal = pty.fork()
    if child == 0:
        variables = environment(state) | {"TERM": "xterm", "COLUMNS": "120", "LINES": "50"}
        os.execve(sys.executable, [*RADMETER, "up", "--port", str(free_port()), *BUSY], variables)
    seen = b""

    def read_until(words: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 120
        while words not in seen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.5)[0]:
                try:
                    seen += os.read(terminal, 65536)
                except OSError:  # the other side is closed
                    return

    read_until(b"sim-router-05")
    assert b"sim-guest-001" in seen
    assert b"counted out" in seen
    os.write(terminal, b"\x03\x03")
    read_until(b"no such words: to the end")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert b"Traceback" not in seen
    assert processes_of(state) == {}


def test_when_the_default_port_is_taken_another_one_is(place: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        with contextlib.suppress(OSError):  # then somebody else has it, which does as well
            taken.bind(("127.0.0.1", 1813))
        answer = subprocess.run(
            [*RADMETER, "up", "--bare", "--seconds", "0.1"],
            env=environment(place / "state"),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    assert re.search(r"UDP port 1813 of 127.0.0.1 is in use: taking (\d+)\n", answer.stdout)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as another user")


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


@needs_root
def test_as_root_the_programs_run_as_another_user(start: Callable[..., Up]) -> None:
    up = start(*BUSY)
    up.await_output("packets acknowledged")
    user = pwd.getpwnam("radmeter")
    for words in ("radmeter ship", "freeradius", "radmeter jobs", "bin/postgres"):
        status = status_of(up.pid(words))
        assert set(status["Uid"]) == {str(user.pw_uid)}, words
        assert set(status["Gid"]) == {str(user.pw_gid)}, words
        assert status["Groups"] in ([], [str(user.pw_gid)]), words
        assert status["NoNewPrivs"] == ["1"], words
        assert int(status["CapEff"][0], 16) == 0, words
    as_root = {pid for pid in processes_of(up.state) if "0" in status_of(pid)["Uid"]}
    # The keeper starts PostgreSQL as its user, and takes no input.
    assert as_root == {up.process.pid, up.pid("radmeter.embedded.keeper")}
    for words in ("radmeter ship", "radmeter jobs"):
        variables = Path(f"/proc/{up.pid(words)}/environ").read_bytes().split(b"\0")
        assert b"RADIUS_SECRET=" in variables
        assert b"HOME=/root" not in variables
    assert up.end(signal.SIGINT) == 0


@needs_root
def test_as_root_it_works_where_only_root_may_read(place: Path, start: Callable[..., Up]) -> None:
    checkout = place / "checkout"
    checkout.mkdir(mode=0o700)
    source = Path(radmeter.__file__).parent
    shutil.copytree(source, checkout / "src" / "radmeter", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("sql", "radius"):
        shutil.copytree(resources.directory(name), checkout / name)
    for path in checkout.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    up = start("--seconds", "3", *BUSY, PYTHONPATH=str(checkout / "src"))
    assert up.process.wait(timeout=240) == 0, up.text
    assert "equal to the byte" in up.text
    assert f"letting the user radmeter pass through {checkout}\n" in up.text
    assert f"letting the user radmeter read {checkout / 'src' / 'radmeter'}\n" in up.text
    assert checkout.stat().st_mode & 0o777 == 0o701


@needs_root
def test_as_root_it_takes_over_a_journal_of_roots_and_leaves_those_of_others(
    place: Path, start: Callable[..., Up]
) -> None:
    journal = place / "journal"
    journal.mkdir()
    (journal / "reader.lock").touch(mode=0o600)
    up = start("--seconds", "2", *BUSY, RADMETER_JOURNAL=str(journal))
    assert up.process.wait(timeout=240) == 0, up.text
    assert {path.stat().st_uid for path in [journal, *journal.iterdir()]} == {pwd.getpwnam("radmeter").pw_uid}
    os.chown(journal, 65534, 65534)
    up = start("--seconds", "2", RADMETER_JOURNAL=str(journal))
    assert up.process.wait(timeout=240) == 2
    assert f"{journal} belongs to user 65534" in up.text


def test_a_server_open_to_strangers_is_refused_before_anything_is_made(start: Callable[..., Up]) -> None:
    up = start(RADIUS_ACCT_HOST="0.0.0.0")
    assert up.process.wait(timeout=60) == 2
    assert "is the well-known 'testing123', and 0.0.0.0 (RADIUS_ACCT_HOST) is not loopback" in up.text
    assert not (up.state / "postgresql").exists()
