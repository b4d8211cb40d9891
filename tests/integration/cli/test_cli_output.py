"""How every command treats its output: a terminal that wants plain lines, a full disk, a reader that has gone."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.command_tree import commands, leaves
from support.commands import Packets, Result, radmeter_into
from support.every_command import OTHERS, RUNS, prepared
from support.screens import terminal, written
from support.servers import Connection

from radmeter import output
from radmeter.errors import OutputError
from radmeter.trial.display import Display, Snapshot
from radmeter.trial.totals import Comparison, Usage

ESCAPE = "\x1b"
FULL_DISK = Path("/dev/full")
FULL = "error: standard output cannot be written: No space left on device"
# With a list, a finding, a bar, a spinner and a live screen.
STYLED = {"sessions", "doctor", "replay", "verify", "top"}


def test_every_command_is_run_here_or_it_says_why_not() -> None:
    assert RUNS.keys() | OTHERS.keys() == leaves().keys()
    assert not RUNS.keys() & OTHERS.keys()


def run_all(
    settings: dict[str, str], directory: Path, run: Callable[[str, list[str], dict[str, str]], None]
) -> None:
    for name, arguments in RUNS.items():
        run(name, [*name.split(), *(each.format(directory=directory) for each in arguments)], settings)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": ""}], ids=str)
def test_a_terminal_gets_plain_lines_if_it_or_the_user_wants_them(
    database: str, connection: Connection, tmp_path: Path, environment: dict[str, str]
) -> None:
    escaped = {}

    def run(name: str, arguments: list[str], settings: dict[str, str]) -> None:
        given = {"TERM": "xterm-256color", **environment}
        _, text = written(database, *arguments, **settings, **given)
        assert text, name
        assert "Traceback" not in text, (name, text)
        lines = text.replace("\r\n", "\n")
        if ESCAPE in text or "\r" in lines or "\b" in lines:
            escaped[name] = text

    run_all(prepared(database, connection, tmp_path), tmp_path, run)
    if environment != {"NO_COLOR": ""}:
        assert escaped == {}
    else:  # else this test would see nothing
        assert escaped.keys() >= STYLED


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_the_help_of_every_command_is_plain(environment: dict[str, str]) -> None:
    for name, _ in commands():
        code, text = written(None, *name.split(), "--help", **{"TERM": "xterm-256color", **environment})
        assert code == 0
        assert "Usage: " in text
        assert ESCAPE not in text, name


@pytest.mark.parametrize(
    ("environment", "plain"), [({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, True), ({"NO_COLOR": ""}, False)]
)
def test_the_live_table_of_up_becomes_lines(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], plain: bool
) -> None:
    with terminal() as (screen, parts):
        monkeypatch.setattr(sys, "stdout", screen)
        for name, value in ({"TERM": "xterm-256color"} | environment).items():
            monkeypatch.setenv(name, value)
        rows = [Comparison("alice", Usage(1, 2), Usage(1, 2))]
        with Display(output.console(), bare=False) as display:
            display.show(Snapshot(users=rows, routers=rows, packets={}, waiting=0))
        monkeypatch.undo()
    text = "".join(parts)
    assert "waiting in the journal: 0 records" in text
    assert (ESCAPE not in text) is plain


def test_a_full_disk_ends_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL_DISK.open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(
            OutputError, match=r"^standard output cannot be written: No space left on device$"
        ):
            Display(output.console(), bare=False).say("radmeter is up")
        output.settle()


def test_a_full_disk_is_one_line(database: str, connection: Connection, tmp_path: Path) -> None:
    wrong = []

    def run(name: str, arguments: list[str], settings: dict[str, str]) -> None:
        with FULL_DISK.open("w", encoding="utf-8") as full:
            errors = io.StringIO()
            code = radmeter_into(full, errors, database, *arguments, **settings)
            lines = errors.getvalue().splitlines()
            if code != 1 or lines[-1:] != [FULL] or lines.count(FULL) != 1 or "Trace" in errors.getvalue():
                wrong.append((name, code, errors.getvalue()))
            full.flush()  # what Python does at its end

    run_all(prepared(database, connection, tmp_path), tmp_path, run)
    assert not wrong, "\n".join(map(str, wrong))


def test_a_reader_that_has_gone_is_no_news(database: str, connection: Connection, tmp_path: Path) -> None:
    wrong = []

    def run(name: str, arguments: list[str], settings: dict[str, str]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        gone = os.fdopen(writing, "w", encoding="utf-8")
        errors = io.StringIO()
        code = radmeter_into(gone, errors, database, *arguments, **settings)
        if code != 1 or "rror" in errors.getvalue():
            wrong.append((name, code, errors.getvalue()))
        with suppress(BrokenPipeError):  # click has put a wrapper over sys.stdout that takes it
            gone.close()

    run_all(prepared(database, connection, tmp_path), tmp_path, run)
    assert not wrong, "\n".join(map(str, wrong))


@pytest.fixture
def many(database: str) -> str:
    """A database with a list that is longer than any buffer."""
    with Packets(database) as packets:
        for number in range(1500):
            packets.add("Stop", f"s{number}", User_Name="alice", Acct_Input_Octets=5)
    return database


SHELL = [
    "--help",
    "--version",
    "usage --help",
    "config",
    "config --format json",
    "limits list",
    "usage user alice --format csv",
    "sessions --limit 100000",
    "sessions --limit 100000 --format csv",
    "sessions --limit 100000 --format json",
    "top --count 1",
    "migrate sql",
]


def test_a_shell_sees_one_line_and_the_exit_code(many: str) -> None:
    lines = [f"radmeter {command}" for command in SHELL]
    lines += ["_RADMETER_COMPLETE=bash_source radmeter", "PYTHONUNBUFFERED=1 radmeter --help"]
    for line in lines:
        done = in_shell(many, f"{line} > /dev/full")
        assert (done.exit_code, done.errors) == (1, f"{FULL}\n"), line


def test_head_is_quiet(many: str) -> None:
    for command in ("sessions --limit 100000", "sessions --limit 100000 --format csv", "--help"):
        done = in_shell(many, f"radmeter {command} | head -1")
        assert (done.exit_code, done.errors) == (0, "")
        assert len(done.output.splitlines()) == 1


def test_a_closed_stream_is_no_fault_of_the_program(many: str) -> None:
    for closed, shown in (("<&-", True), (">&-", False), ("2>&-", True), ("<&- >&- 2>&-", False)):
        done = in_shell(many, f"radmeter routers list {closed}")
        assert (done.exit_code, done.errors) == (0, ""), closed
        assert ("10.0.0.1" in done.output) is shown, closed
    refused = in_shell(many, "radmeter routers retire '#1' <&-")
    assert (refused.exit_code, refused.output) == (2, "")
    assert refused.errors.splitlines()[-1].startswith("error: there is no terminal to ask at")


def in_shell(dsn: str, line: str) -> Result:
    """Run a line in a shell, in which `radmeter` is the program of this checkout."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RADMETER", "PG", "PYTHONUNBUFFERED"))
    }
    done = subprocess.run(
        ["/bin/bash", "-c", f'radmeter() {{ "{sys.executable}" -P -m radmeter "$@"; }}; {line}'],
        env=kept | {"RADMETER_DSN": dsn, "RADMETER_STATE": "/nonexistent/state"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)
