"""Starts programs, starts them again when they die, and stops them all, even if we are killed."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radmeter import waits
from radmeter.errors import RadmeterError

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
SETTLED_SECONDS = 30.0  # after a program has run this long, its backoff begins with the first one again
LOG_LINES_SHOWN = 8
LONGEST_LOG_BYTES = 32 << 20
KILLED_SECONDS = 5.0  # the time that a program may take to end on its kill signal, which may not be SIGKILL

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: between fork and exec it would not be safe


def end_with_parent(how: signal.Signals) -> None:
    """Have the kernel send us a signal when the thread that started us ends, however it ends (prctl(2)).

    Call it between fork and exec, after a change of user: that would clear the setting.
    """
    _prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)


def give_up_new_privileges() -> None:
    """Keep us and what we start from ever getting more privileges, by a set-user-ID program for instance."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program to run, and how to end it.

    Attributes
    ----------
    environment
        Variables that are added to our own environment.
    prepare
        Called before each start. Returns more arguments for `subprocess.Popen`.
    end_signal
        Asks the program to end.
    kill_signal
        Ends the program at once. The kernel sends it when we end, however we end.
    """

    name: str
    arguments: Sequence[str | os.PathLike[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], Mapping[str, Any]] = dict
    end_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL


@dataclass(kw_only=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    started: float
    backoff_seconds: float = FIRST_BACKOFF_SECONDS
    start_again_at: float | None = None


class Supervisor:
    """Keeps programs running, each in a session of its own, so that Ctrl-C at the terminal reaches only us.

    It has no thread. Call `watch` regularly, from the thread that called `start`. If we are killed, the kernel kills
    the programs. Nothing is lost then: every answered packet is in the journal, and the journal is counted once.
    """

    def __init__(self, logs: Path, say: Callable[..., None]) -> None:
        # `say` takes the lines of a message.
        self._logs = logs
        self._say = say
        self._children: dict[str, _Child] = {}

    def start(self, program: Program) -> None:
        """Start a program. Its output goes to ``<logs>/<name>.log``."""
        self._children[program.name] = _Child(
            program=program, process=self._spawn(program), started=time.monotonic()
        )

    def log(self, name: str) -> Path:
        """Return the file with a program's output."""
        return self._logs / f"{name}.log"

    def pids(self) -> dict[str, int]:
        """Return the process ids of the programs that run now, by name."""
        return {
            name: child.process.pid for name, child in self._children.items() if not _ended(child.process)
        }

    def watch(self) -> None:
        """Start programs again that have died, and say so. One that dies soon each time waits longer each time."""
        for child in self._children.values():
            if child.start_again_at is None:
                if _ended(child.process):
                    self._bury(child)
            elif time.monotonic() >= child.start_again_at:
                try:
                    child.process = self._spawn(child.program)
                except RadmeterError as error:
                    self._postpone(child, *error.args)
                else:
                    child.started, child.start_again_at = time.monotonic(), None

    def last_words(self, name: str) -> list[str]:
        """Return the last lines of a program's log, indented, below the log's name."""
        return last_lines(self.log(name))

    def stop_all(self, seconds: float = 10.0, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop every program, the last started first. Each is stopped after the one before has ended.

        Parameters
        ----------
        seconds
            How long all programs together may take to end before they are killed.
        hurry
            Called while waiting. If it returns True, the program is killed at once.
        """
        deadline = time.monotonic() + seconds
        for name in reversed(list(self._children)):
            self.stop(name, max(0.0, deadline - time.monotonic()), hurry)

    def stop(self, name: str, seconds: float = 10.0, hurry: Callable[[], bool] = lambda: False) -> int:
        """Stop one program for good, if it has not ended. Return its exit status as in `Popen.returncode`."""
        child = self._children[name]
        program, process = child.program, child.process
        if not _ended(process):
            os.kill(process.pid, program.end_signal)
        with waits.waiting_for(f"{name} to end, for at most {seconds:.0f} s"):
            ends = _ends(process, seconds, hurry)
        if not ends:
            with suppress(OSError):  # the terminal may be gone
                self._say(
                    f"{name} does not end on {program.end_signal.name}; killing it. No answered packet is lost"
                )
            os.kill(process.pid, program.kill_signal)
            _ends(process, KILLED_SECONDS)
        _end_group(process)
        del self._children[name]
        return process.returncode

    def _bury(self, child: _Child) -> None:
        _end_group(child.process)
        if time.monotonic() - child.started > SETTLED_SECONDS:
            child.backoff_seconds = FIRST_BACKOFF_SECONDS
        name = child.program.name
        self._postpone(child, f"{name} {_how_it_ended(child.process.returncode)}", *self.last_words(name))

    def _postpone(self, child: _Child, *why: str) -> None:
        self._say(*why, f"  starting {child.program.name} again in {child.backoff_seconds:g} s")
        child.start_again_at = time.monotonic() + child.backoff_seconds
        child.backoff_seconds = min(2 * child.backoff_seconds, LONGEST_BACKOFF_SECONDS)

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        log = self.log(program.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LONGEST_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        us = os.getpid()

        def before_exec() -> None:
            give_up_new_privileges()
            end_with_parent(program.kill_signal)
            if os.getppid() != us:  # we ended before the call above
                os._exit(1)

        try:
            options = program.prepare()
            with log.open("ab") as output:
                return subprocess.Popen(
                    program.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **program.environment},
                    start_new_session=True,
                    preexec_fn=before_exec,  # runs after the change of user, which would undo it
                    **options,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise RadmeterError(f"{program.name} cannot be started: {error}") from error


def last_lines(log: Path, lines: int = LOG_LINES_SHOWN) -> list[str]:
    """Return the last lines of a file, indented, below the file's name."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError as error:
        text = [str(error)]
    return [f"  {log}:", *(f"    {line}" for line in text)]


def _how_it_ended(returncode: int) -> str:
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"


def _ended(process: subprocess.Popen[bytes]) -> bool:
    # WNOWAIT leaves the zombie: no other process can get its pid, so its group can be killed safely.
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _ends(
    process: subprocess.Popen[bytes], seconds: float, hurry: Callable[[], bool] = lambda: False
) -> bool:
    deadline = time.monotonic() + seconds
    while not (ended := _ended(process)) and time.monotonic() < deadline and not hurry():
        time.sleep(0.01)
    return ended


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all processes that are left in a child's group, and wait for the child."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
