"""The pause between two looks at what a test waits for."""

import time


def pause_after(look_began: float) -> None:
    """Sleep four times as long as the look took, so that waiting leaves the processors to what is waited for.

    To look may be to connect, or to read all of /proc: 17 ms of processor time with 300 processes. With a fixed pause
    of 20 ms, a test that waits takes almost half a processor. `look_began` is of `time.monotonic`.
    """
    time.sleep(min(0.25, max(0.01, 4 * (time.monotonic() - look_began))))
