"""Asks the kernel how it schedules a thread, without radmeter's code."""

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}


class Scheduled(NamedTuple):
    policy: int
    priority: int
    nice: int
    slice_ns: int  # 0: the kernel does not show it


def scheduled(tid: int) -> Scheduled:
    """Return how a thread is scheduled. Linux shows the slice from 6.12 on, for ordinary threads only."""
    attributes = ctypes.create_string_buffer(48)
    slice_ns = 0
    if number := SCHED_GETATTR.get(os.uname().machine):
        assert ctypes.CDLL(None).syscall(number, tid, attributes, 48, 0) == 0
        slice_ns = struct.unpack("<IIQiIQQQ", attributes)[5]
    return Scheduled(
        os.sched_getscheduler(tid),
        os.sched_getparam(tid).sched_priority,
        os.getpriority(os.PRIO_PROCESS, tid),
        slice_ns,
    )


def threads(pid: int) -> list[Scheduled]:
    """Return how each thread of a process is scheduled."""
    return [scheduled(int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()]


def realtime_permitted() -> bool:
    """Tell whether a program that is started here may have the lowest real-time priority."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
