"""`scripts/test --release`: what it takes, what it passes on, and that Ctrl-C ends it in order.

The long form is the thing itself: `scripts/test --release trixie`.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.suite import INTERRUPTED

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "test"


def run(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    return subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@pytest.fixture
def python3(tmp_path: Path) -> Path:
    """A directory with a python3 that only says how it was called."""
    program = tmp_path / "python3"
    program.write_text('#!/bin/sh\nprintf "%s|" "$PYTHONPATH" "$@"\n')
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("--release", "trixie", "--long", "tests/unit", "-k", "two words"),
        ("--long", "tests/unit", "--release", "trixie", "-k", "two words"),
    ],
)
def test_all_but_the_release_is_passed_on(python3: Path, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, path=python3)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "tests|-P|-m|support.suite|trixie|--long|tests/unit|-k|two words|"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--release",), "name the release after --release"),
        (("--release", "--long"), "name a release of Debian"),
        (("--release", "trixie/../.."), "name a release of Debian"),
        (("--packages", "--release", "trixie"), "leave --release out"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_done(
    python3: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments, path=python3)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert said in done.stderr


def test_it_needs_no_installation(tmp_path: Path) -> None:
    """The standard library is enough: it may be the first command in a checkout."""
    done = subprocess.run(
        [
            "/usr/bin/python3",
            "-I",
            "-S",
            "-c",
            "import sys; sys.path.insert(0, 'tests'); import support.suite",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# What nsenter is for the chroot: it waits for a program with a session of its own, and would not end it.
PROGRAM = """
import os, sys
from support.suite import interruptible, session_leader
outer = ["bash", "-c", 'setsid --wait "$@"; exit $?', "bash", sys.executable, "-c", sys.argv[1]]
sys.exit(interruptible(outer, os.environ, session_leader))
"""
# Not bash: it now and then loses a signal that comes while it starts a program.
INNER = """
import signal, sys, time
def stop(*_):
    time.sleep(0.2)
    print("stopped", flush=True)
    sys.exit(5)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_reaches_the_tests_and_is_waited_for(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, INNER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert said == "stopped\n"
    assert process.returncode == INTERRUPTED


def test_the_status_of_the_tests_is_passed_on() -> None:
    program = (
        "import os, sys; from support.suite import interruptible, session_leader\n"
        "sys.exit(interruptible(['bash', '-c', 'exit 3'], os.environ, session_leader))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 3
