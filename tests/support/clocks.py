"""A wall clock that is wrong, for the code of radmeter in this process. The kernel's other clocks stay as they are."""

import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Self

import pytest


def wall_clock_ahead(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Set the wall clock ahead, as NTP does or a host that resumes a virtual machine."""
    now, now_ns = time.time, time.time_ns

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + seconds * 1_000_000_000)
    for name, module in list(sys.modules.items()):
        if name.startswith("radmeter.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Ahead)
