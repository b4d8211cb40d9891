"""Says what a long wait is for. A command turns this on (`use`); a service's log says what the service does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A person at a terminal is told after a second. A file gets a line as late as it gets a line of progress.
AT_TERMINAL_SECONDS = 1.0
ELSEWHERE_SECONDS = 5.0

_say: Callable[[str], None] | None = None
_after = AT_TERMINAL_SECONDS
_covered = 0


def use(say: Callable[[str], None] | None, seconds: float = AT_TERMINAL_SECONDS) -> None:
    """Have waits that last longer than `seconds` said. None: no longer."""
    global _say, _after
    _say, _after = say, seconds


@contextmanager
def covered() -> Iterator[None]:
    """Say nothing about the waits in the block: something on the screen says already what goes on."""
    global _covered
    _covered += 1
    try:
        yield
    finally:
        _covered -= 1


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Say once that we wait for `what`, if the block takes long. Waits within the block are not said."""
    if not is_told():
        yield
        return
    timer = threading.Timer(_after, tell, (what,))
    timer.daemon = True
    with covered():
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def is_told() -> bool:
    """Return whether a wait that begins now is said when it has become long."""
    return _say is not None and not _covered


def is_long(seconds: float) -> bool:
    """Return whether a wait of so many seconds is to be said."""
    return seconds >= _after


def tell(what: str) -> None:
    """Say that we wait for `what`."""
    if _say is not None:
        _say(f"waiting for {what}")
