"""Shows progress: a bar with rate and time left on a terminal, else a plain line every few seconds."""

import datetime
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich import progress as rich
from rich.text import Text

from radmeter import output, waits
from radmeter.printable import printable
from radmeter.units import amount, duration

log = logging.getLogger(__name__)

LINE_EVERY_SECONDS = 5.0

# Takes a line to show.
Say = Callable[[str], None]


class Listener(Protocol):
    """Is told how far something is. Threads may share one."""

    total: float | None

    @property
    def completed(self) -> float:
        """How much is done."""

    @completed.setter
    def completed(self, done: float) -> None: ...

    def advance(self, count: float = 1) -> None:
        """Add `count` to what is done."""

    def say(self, text: str) -> None:
        """Show a line."""


class Progress(Protocol):
    """A function like `progress` that begins to show how far something is."""

    def __call__(
        self, title: str, total: float | None = None, unit: str = "rows"
    ) -> AbstractContextManager[Listener]:
        """Return a context manager that gives the listener and ends the display."""


class Quiet:
    """A listener that shows no progress. Lines go to the log."""

    def __init__(self) -> None:
        self.total: float | None = None
        self.completed = 0.0

    def advance(self, count: float = 1) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Log the line."""
        log.info("%s", text)


@contextmanager
def no_progress(
    title: str,  # as in `progress`
    total: float | None = None,
    unit: str = "rows",
) -> Iterator[Listener]:
    """Show no progress."""
    yield Quiet()


@contextmanager
def progress(title: str, total: float | None = None, unit: str = "rows") -> Iterator[Listener]:
    """Show on standard error how far something is. For work that may take more than a second.

    A bar if the terminal can show one, else lines.

    Parameters
    ----------
    title
        The work: ``"counting sessions"``.
    total
        How much there is to do. None: not known. `Listener.total` may be set later.
    unit
        What is counted: ``"rows"``.
    """
    with waits.covered():
        if output.is_live(err=True):
            with _TerminalBar(title, total, unit) as bar:
                yield bar
        else:
            lines = _Lines(title, total, unit)
            try:
                yield lines
            finally:
                lines.close()


class _Rate(rich.ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: rich.Task) -> Text:
        """Return how many are done, of how many, and how many a second."""
        done = amount(task.completed) + ("" if task.total is None else f" of {amount(task.total)}")
        if task.total is None and not task.completed:
            return Text("")  # nobody counts
        speed = task.finished_speed or task.speed
        return Text(f"{done} {self._unit}" + (f", {amount(speed)}/s" if speed else ""))


class _TerminalBar:
    """A bar on the terminal."""

    def __init__(self, title: str, total: float | None, unit: str) -> None:
        self._progress = rich.Progress(
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(bar_width=30),
            _Rate(unit),
            rich.TimeRemainingColumn(compact=True),
            console=output.console(stderr=True),
        )
        self._task = self._progress.add_task(printable(title), total=total)

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
        output.say_above(self._progress.console, text)


class _Lines:
    """A line every few seconds, and one at the end if there was a line before."""

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
        output.say(f"{_clock()} {text}", err=True)

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
