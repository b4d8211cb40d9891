"""How long segments have been in a folder of the journal, whatever the wall clock says.

The wall clock jumps: NTP sets it, a virtual machine is resumed, a machine starts with the wrong date. By that clock,
segments that were just shipped would look days old and be deleted.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class KeptAges:
    """The ages of segments in the folders of a journal, by the kernel's clock since its start.

    An age is 0 when the segment is first seen in its folder. The time in which the machine was off does not count:
    only the wall clock knows it. So an age is never more than the true one.

    Parameters
    ----------
    clock
        Returns the seconds since the kernel's start.
    boot
        Identifies that start. Empty: it is not known.
    """

    def __init__(
        self,
        clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        boot: str | None = None,
    ) -> None:
        self._clock = clock
        self._boot = _boot_id() if boot is None else boot
        # By folder and name: the file's ctime, which a move changes, and when it was 0 seconds old.
        self._since: dict[str, tuple[int, float]] = {}

    def load(self, content: Mapping[str, Any]) -> None:
        """Go on from what `content` returned. Raises TypeError, ValueError or KeyError if that is damaged."""
        now = self._clock()
        is_same_boot = content.get("boot") == self._boot != ""
        elapsed = max(0.0, now - _seconds(content.get("at", 0))) if is_same_boot else 0.0
        self._since = {}
        for place, (changed_ns, age) in content.get("ages", {}).items():
            if type(changed_ns) is not int:
                raise TypeError(f"a ctime is {changed_ns!r:.40}")
            self._since[place] = (changed_ns, now - max(0.0, _seconds(age)) - elapsed)

    def content(self) -> dict[str, Any]:
        """Return the ages as they are written into the ledger."""
        now = self._clock()
        ages = {place: (changed_ns, now - since) for place, (changed_ns, since) in self._since.items()}
        return {"boot": self._boot, "at": now, "ages": ages}

    def of(self, folder: str, files: Mapping[str, int]) -> dict[str, float]:
        """Return how many seconds each file has been in a folder. Those that are not in it any more are forgotten.

        Parameters
        ----------
        files
            All files that are in the folder, by name: their ctimes in nanoseconds.
        """
        now = self._clock()
        former = self._since
        self._since = {place: each for place, each in former.items() if not place.startswith(f"{folder}/")}
        ages = {}
        for name, changed_ns in files.items():
            place = f"{folder}/{name}"
            known_ns, since = former.get(place, (changed_ns, now))
            if known_ns != changed_ns:  # it was taken out and put back, or another file has its name
                since = now
            self._since[place] = (changed_ns, since)
            ages[name] = now - since
        return ages


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    raise TypeError(f"a time is {value!r:.40}")


def _boot_id() -> str:
    with suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return ""
