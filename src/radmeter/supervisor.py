"""Starts programs, starts them again when they die, and stops them all, whatever happens to us."""

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

from radmeter.errors import RadmeterError

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
SETTLED_SECONDS = 30.0  # a program that lived this long starts again with the first backoff
LOG_LINES_SHOWN = 8
LONGEST_LOG_BYTES = 32 << 20
KILLED_SECONDS = 5.0  # for what it takes on a kill signal that is not SIGKILL

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up now: between fork and exec is no place to import


def end_with_parent(how: signal.Signals) -> None:
    """Have the kernel send us a signal when the thread that started us ends, however it ends (prctl(2)).

    To be called between fork and exec, after a change of user, which would clear it.
    """
    _prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, and how it ends.

    Attributes
    ----------
    environment
        Added to our own.
    prepare
        Called before each start. Returns further arguments of `subprocess.Popen`.
    end_signal
        Asks the program to end.
    kill_signal
        Makes it end at once. The kernel sends it when we end, however we end.
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
    """Keeps programs running, each in a session of its own: Ctrl-C at the terminal reaches only us.

    Not a thread: `watch` is to be called every now and then, from the thread that called `start`. A program
    that we could not stop, because we were killed, is killed by the kernel. Nothing that radmeter runs loses
    anything that way: what was answered is in the journal, and what is in the journal is counted once.
    """

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._children: dict[str, _Child] = {}

    def start(self, program: Program) -> None:
        """Start a program; what it writes goes to ``<logs>/<name>.log``."""
        self._children[program.name] = _Child(
            program=program, process=self._spawn(program), started=time.monotonic()
        )

    def log(self, name: str) -> Path:
        """Return the file that a program's output goes to."""
        return self._logs / f"{name}.log"

    def pids(self) -> dict[str, int]:
        """Return the process ids of what runs now."""
        return {
            name: child.process.pid for name, child in self._children.items() if not _ended(child.process)
        }

    def watch(self) -> None:
        """Start again what has died, later with each time that it dies soon, and say so."""
        for child in self._children.values():
            if child.start_again_at is None:
                if _ended(child.process):
                    self._bury(child)
            elif time.monotonic() >= child.start_again_at:
                try:
                    child.process = self._spawn(child.program)
                except RadmeterError as error:
                    self._postpone(child, str(error))
                else:
                    child.started, child.start_again_at = time.monotonic(), None

    def last_words(self, name: str) -> str:
        """Return the last lines of a program's log, indented, under the log's name."""
        return last_lines(self.log(name))

    def stop_all(self, seconds: float = 10.0, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop every program, the last started first, each after the one before has ended.

        Parameters
        ----------
        seconds
            How long all of them together may take over it before they are killed.
        hurry
            Asked meanwhile; kill at once if true.
        """
        deadline = time.monotonic() + seconds
        for name in reversed(list(self._children)):
            self.stop(name, max(0.0, deadline - time.monotonic()), hurry)

    def stop(self, name: str, seconds: float = 10.0, hurry: Callable[[], bool] = lambda: False) -> int:
        """Stop one program for good, if it has not ended. Return its exit status, as `subprocess` has it."""
        child = self._children[name]
        program, process = child.program, child.process
        if not _ended(process):
            os.kill(process.pid, program.end_signal)
        if not _ends(process, seconds, hurry):
            with suppress(OSError):  # nobody may be listening any more
                self._say(f"{name} does not end on {program.end_signal.name}; killing it")
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
        self._postpone(child, f"{name} {_how_it_ended(child.process.returncode)}\n{self.last_words(name)}")

    def _postpone(self, child: _Child, why: str) -> None:
        self._say(f"{why}\n  starting {child.program.name} again in {child.backoff_seconds:g} s")
        child.start_again_at = time.monotonic() + child.backoff_seconds
        child.backoff_seconds = min(2 * child.backoff_seconds, LONGEST_BACKOFF_SECONDS)

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        log = self.log(program.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LONGEST_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        us = os.getpid()

        def before_exec() -> None:
            end_with_parent(program.kill_signal)
            if os.getppid() != us:  # we ended before the kernel was asked
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
                    preexec_fn=before_exec,  # after a change of user, which would undo it
                    **options,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise RadmeterError(f"{program.name} cannot be started: {error}") from error


def last_lines(log: Path, lines: int = LOG_LINES_SHOWN) -> str:
    """Return the last lines of a file, indented, under the file's name."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError as error:
        text = [str(error)]
    return "\n".join([f"  {log}:", *(f"    {line}" for line in text)])


def _how_it_ended(returncode: int) -> str:
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"


def _ended(process: subprocess.Popen[bytes]) -> bool:
    # Looks without reaping: while the zombie is there, its number is nobody else's, and its group can be
    # killed safely.
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
    """Kill a child with everything it left behind in its group."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
