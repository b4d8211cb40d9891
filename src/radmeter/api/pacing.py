"""When something is read again, by how long reading it takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

# What takes long is read so seldom that it takes no more than this share of the time; but so often at least.
LARGEST_SHARE, SLOWEST_SECONDS = 0.1, 15.0
# Once something has happened, it is read before it is due, but takes no more than this share.
LARGEST_SHARE_OF_CHANGES = 0.3
# The same for what is read while nobody looks.
LARGEST_SHARE_UNSEEN, SLOWEST_SECONDS_UNSEEN = 0.01, 20.0


class Pace:
    """Says when something is to be read again. `least` is the shortest time, in seconds."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._began = self._ended = float("-inf")
        self._took = 0.0

    def is_due(self, *, seen: bool = True) -> bool:
        """Return whether it is to be read. `seen`: somebody looks."""
        share, slowest = (
            (LARGEST_SHARE, SLOWEST_SECONDS) if seen else (LARGEST_SHARE_UNSEEN, SLOWEST_SECONDS_UNSEEN)
        )
        return time.monotonic() >= self._began + max(self._least, min(self._took / share, slowest))

    @property
    def may_be_read(self) -> bool:
        """Whether it may be read before it is due, since something has happened."""
        return time.monotonic() >= self._ended + self._took / LARGEST_SHARE_OF_CHANGES

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Measure the block, which reads it. One that fails does not count."""
        began = time.monotonic()
        yield
        self._began, self._ended = began, time.monotonic()
        self._took = self._ended - began
