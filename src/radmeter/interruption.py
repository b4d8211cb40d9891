"""SIGINT, SIGTERM and SIGHUP as requests to stop, which interrupt nothing that must be finished."""

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self


def set_by_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set.

    Setting an event takes its lock. A handler runs in the main thread, which may hold that lock in `wait`: it would
    wait for itself for ever. So another thread sets the event, started without a lock of Python's own.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _thread.start_new_thread(stop.set, ()))
    return stop


class Interrupted(KeyboardInterrupt):
    """A signal came where it may interrupt."""


class Interruption:
    """Counts the requests to stop, as a context manager around everything that must be cleaned up.

    A signal raises `Interrupted` only in a `may_break` block, where that does no harm. Elsewhere it is only counted,
    and the program asks for the count. So a second Ctrl-C can interrupt an activity, but never the clean-up after it.
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
        """Let a signal interrupt the block. The first `after` signals do not."""
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
