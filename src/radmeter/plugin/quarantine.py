"""Bounds the quarantine file, which the server's detail module only appends to. Standard library only."""

import contextlib
import os

CHECK_SECONDS = 1.0
# The quarantine file's name after it was full. There is one such file. Debian's logrotate uses other names.
FULL = ".full"


class Quarantine:
    """The quarantine file. When it is full it is renamed, and the server begins a new one.

    Parameters
    ----------
    path
        The file that the module `radmeter_quarantine` appends to.
    limit_bytes
        The most that both files take. 0: no limit.
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._path = path
        self._full_bytes = limit_bytes // 2
        self._check_at = float("-inf")

    def check(self, now: float) -> None:
        """Rename the file if it is full, at most once a second. `now`: seconds of a monotonic clock."""
        if now < self._check_at or not self._full_bytes:
            return
        self._check_at = now + CHECK_SECONDS
        with contextlib.suppress(
            OSError
        ):  # there is none, or it belongs to another user: nothing depends on it
            if os.stat(self._path).st_size >= self._full_bytes:  # noqa: PTH116  # on each packet's path
                os.replace(self._path, self._path + FULL)  # noqa: PTH105
