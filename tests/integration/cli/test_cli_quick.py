"""Reading commands are quick: they load little, and take little processor time."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Packets
from support.load_factor import load_factor

# What a command that reads a few rows must not load.
SLOW = {"sqlalchemy", "alembic", "rich", "pyrad", "pyarrow", "duckdb", "orjson"}
READING = [
    ("usage", "user", "alice"),
    ("usage", "users"),
    ("usage", "router", "#1"),
    ("sessions",),
    ("routers", "list"),
    ("routers", "show", "#1"),
    ("explain", "alice"),
]
# Seconds of processor time, and no more on a busy machine than this many times as much: caches are shared.
LIMITS = {("--help",): 0.15, ("usage", "user", "alice"): 0.35}
BUSY = 2.0
RUNS = 15


@pytest.fixture
def used(database: str) -> str:
    with Packets(database) as packets:
        packets.add("Stop", "s1", User_Name="alice", NAS_Identifier="lobby", Acct_Input_Octets=5)
    return database


def environment(dsn: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RADMETER", "PG"))}
    return kept | {"RADMETER_DSN": dsn, "RADMETER_STATE": "/nonexistent/state"}


def loaded(dsn: str, *arguments: str, **asked: str) -> set[str]:
    """Return the top names of the modules that a command has loaded when it ends."""
    code = f"""
import sys
from radmeter.cli.main import main
try:
    main({list(arguments)!r})
except SystemExit as stop:
    assert not stop.code, stop.code
finally:
    import json
    print(json.dumps([*sys.modules]), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment(dsn) | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_a_reading_command_loads_only_what_it_needs(used: str) -> None:
    for command in READING:
        names = loaded(used, *command)
        assert "psycopg" in names, command
        slow = SLOW | {"radmeter.embedded.server", "radmeter.schema.revisions"}
        assert names & slow == set(), command


def test_doctor_and_the_server_apply_no_revisions_and_load_nothing_that_does() -> None:
    for module in (
        "radmeter.cli.doctor",
        "radmeter.doctor.checks",
        "radmeter.api.server",
        "radmeter.jobs.runner",
    ):
        code = f"import json, sys, {module}; print(json.dumps([*sys.modules]))"
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
        assert {"sqlalchemy", "alembic", "radmeter.schema.revisions"} & set(
            json.loads(done.stdout)
        ) == set(), module


def test_help_and_completion_load_no_command() -> None:
    needless = SLOW | {"psycopg", "radmeter.cli.common", "radmeter.config"}
    assert loaded("", "--help") & needless == set()
    asked = {"_RADMETER_COMPLETE": "bash_complete", "COMP_WORDS": "radmeter us", "COMP_CWORD": "1"}
    assert loaded("", **asked) & needless == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str) -> None:
    def completed(words: str, last: str) -> list[str]:
        asked = {"_RADMETER_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
        # fish says the word that is completed, the others its number.
        asked["COMP_CWORD"] = last if shell == "fish" else str(len(words.split()) - (last != ""))
        done = subprocess.run(
            [Path(sys.executable).with_name("radmeter")],
            env=environment("") | asked,
            capture_output=True,
            text=True,
            check=True,
        )
        return re.findall(r"^(?:plain[,\n])?([-\w]+)", done.stdout.replace("plain\n", ""), re.MULTILINE)

    assert "usage" in completed("radmeter us", "us")
    assert "users" in completed("radmeter usage us", "us")
    assert "--top" in completed("radmeter usage users --t", "--t")
    done = subprocess.run(
        [Path(sys.executable).with_name("radmeter")],
        env=environment("") | {"_RADMETER_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_RADMETER_COMPLETE" in done.stdout


@pytest.mark.parametrize("command", LIMITS, ids=" ".join)
def test_a_command_takes_little_processor_time(used: str, command: tuple[str, ...]) -> None:
    allowed = LIMITS[command] * min(BUSY, load_factor())
    program = Path(sys.executable).with_name("radmeter")
    taken = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([program, *command], env=environment(used), stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if taken[-1] < allowed:
            return
    raise AssertionError(f"{min(taken):.3f} s at least, {allowed:.3f} s are allowed: {taken}")
