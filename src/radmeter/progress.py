"""How far something is: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

import datetime
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from radmeter.units import amount, duration

LINE_EVERY_SECONDS = 5.0


class Bar(Protocol):
    """What is told how far it is. Threads may share one."""

    total: float | None

    @property
    def completed(self) -> float:
        """How much is done."""

    @completed.setter
    def completed(self, done: float) -> None: ...

    def advance(self, count: float = 1) -> None:
        """So many more are done."""

    def say(self, text: str) -> None:
        """Print a line above the bar."""


@contextmanager
def progress(title: str, total: float | None = None, unit: str = "rows") -> Iterator[Bar]:
    """Show on standard error how far something is that may take over a second.

    Parameters
    ----------
    title
        What is done: ``"counting sessions"``.
    total
        Of how many; None: not known (yet: `Bar.total` may be set later).
    unit
        Of what.
    """
    if sys.stderr.isatty():
        with _TerminalBar(title, total, unit) as bar:
            yield bar
    else:
        lines = _Lines(title, total, unit)
        try:
            yield lines
        finally:
            lines.close()


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return how many are done, of how many, and how many a second."""
        done = amount(task.completed) + ("" if task.total is None else f" of {amount(task.total)}")
        speed = task.finished_speed or task.speed
        return Text(f"{done} {self._unit}" + (f", {amount(speed)}/s" if speed else ""))


class _TerminalBar:
    """A bar on the terminal."""

    def __init__(self, title: str, total: float | None, unit: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            _Rate(unit),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True, markup=False),
        )
        self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> "_TerminalBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def total(self) -> float | None:
        return self._progress.tasks[0].total

    @total.setter
    def total(self, total: float | None) -> None:
        self._progress.update(self._task, total=total)

    @property
    def completed(self) -> float:
        return self._progress.tasks[0].completed

    @completed.setter
    def completed(self, done: float) -> None:
        self._progress.update(self._task, completed=done)

    def advance(self, count: float = 1) -> None:
        self._progress.advance(self._task, count)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Lines:
    """A line every few seconds, and one in the end if there was time for any."""

    def __init__(self, title: str, total: float | None, unit: str) -> None:
        self.total = total
        self._title, self._unit = title, unit
        self._done = 0.0
        self._began = self._said = time.monotonic()
        self._lock = threading.Lock()

    @property
    def completed(self) -> float:
        return self._done

    @completed.setter
    def completed(self, done: float) -> None:
        with self._lock:
            self._done = done
            self._tell()

    def advance(self, count: float = 1) -> None:
        with self._lock:
            self._done += count
            self._tell()

    def say(self, text: str) -> None:
        print(f"{_clock()} {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._said > self._began:
            self.say(self._line())

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._said >= LINE_EVERY_SECONDS:
            self._said = now
            self.say(self._line())

    def _line(self) -> str:
        seconds = time.monotonic() - self._began
        speed = self._done / seconds if seconds > 0 else 0.0
        line = f"{self._title}: {amount(self._done)}"
        if self.total is not None:
            line += f" of {amount(self.total)}"
        line += f" {self._unit}, {amount(speed)}/s"
        if self.total is not None and speed > 0 and self._done < self.total:
            line += f", {duration((self.total - self._done) / speed)} left"
        return line


def _clock() -> str:
    return datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
