"""SIGINT, SIGTERM and SIGHUP as a wish to stop, which never tears a step in two."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self


class Interrupted(KeyboardInterrupt):
    """A signal came while we were only waiting."""


class Interruption:
    """Counts the wishes to stop, as a context manager around all that must be undone.

    One raises `Interrupted` where that does no harm (`may_break`), else it waits to be asked for: whoever
    presses Ctrl-C twice interrupts the work, never the clearing up after it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._breaks_at = 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[each] = signal.signal(each, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, before in self._before.items():
            signal.signal(each, before)  # type: ignore[arg-type] # as signal.signal gave it

    def __bool__(self) -> bool:
        return self.count > 0

    @contextmanager
    def may_break(self, after: int = 0) -> Iterator[None]:
        """Let a signal break off what is done inside, the first one after so many that are let pass."""
        if self.count > after:
            raise Interrupted
        self._breaks_at = after + 1
        try:
            yield
        finally:
            self._breaks_at = 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == self._breaks_at:
            raise Interrupted
