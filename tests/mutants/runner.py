"""Runs tests against the copy of the tree, bounded in time, and ends what they leave behind."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from support.servers import installed

from mutants.mutant import Stage

PR_SET_CHILD_SUBREAPER = 36
SECONDS_A_TEST = 60
PATIENCE = 3  # times as long as without a mutant: on a busy machine tests are slow too
PATIENCE_SECONDS = 60
PASSED, FAILED, INTERRUPTED = 0, 1, 2  # exit codes of pytest


class BaselineError(Exception):
    """The tests do not pass as the code is."""


@dataclass(frozen=True)
class Result:
    """How tests ended: the first that failed, and whether they had to be ended."""

    failed: bool
    killer: str = ""
    timed_out: bool = False


class Runner:
    """Runs stages in a copy of the tree; each once without a mutant first: does it pass, and how long does it take?"""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._seconds: dict[Stage, float] = {}
        # Whatever a test leaves behind becomes a child of this process, and can be ended.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def baseline(self, stage: Stage) -> None:
        """Run a stage as the code is, unless that was done. Raises BaselineError."""
        if stage in self._seconds:
            return
        started = time.monotonic()
        result, output = self._pytest(stage, 3600)
        if result.failed:
            started = time.monotonic()
            result, output = self._pytest(stage, 3600)
        if result.failed:
            raise BaselineError(f"{' '.join(stage)} fails without a mutant:\n{output}")
        self._seconds[stage] = time.monotonic() - started

    def run(self, stage: Stage) -> Result:
        """Run a stage with the mutant that is in the tree now."""
        return self._pytest(stage, PATIENCE * self._seconds[stage] + PATIENCE_SECONDS)[0]

    def _pytest(self, stage: Stage, timeout: float) -> tuple[Result, str]:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=short"]
        command += ["-p", "no:cacheprovider", f"--basetemp={self.tree.parent / 'tmp'}"]
        command += [f"--timeout={SECONDS_A_TEST}", *stage]
        # A mutant is the same on every version of PostgreSQL: the embedded one, which comes first, is enough.
        if others := list(installed())[1:]:
            command += ["-k", f"not ({' or '.join(others)})"]
        process = subprocess.Popen(
            command,
            cwd=self.tree,
            env={**os.environ, "PYTHONPATH": str(self.tree / "src")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        timed_out = False
        try:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                timed_out = True
                process.send_signal(
                    signal.SIGINT
                )  # so that servers are stopped and their directories deleted
                try:
                    output, _ = process.communicate(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    _end_children()  # they may hold the pipe
                    output, _ = process.communicate()
        finally:
            process.kill()
            process.wait()
            _end_children()
        text = output.decode(errors="replace")
        if not timed_out and process.returncode not in (PASSED, FAILED, INTERRUPTED):
            raise BaselineError(f"pytest ended with {process.returncode}:\n{text}")
        killer = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
        timed_out = timed_out or (process.returncode != PASSED and "Failed: Timeout" in text)
        return Result(timed_out or process.returncode != PASSED, killer[1] if killer else "", timed_out), text


def _end_children() -> None:
    """End every process that descends from this one, and collect it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
        if not children:
            return
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(int(child), 0)
