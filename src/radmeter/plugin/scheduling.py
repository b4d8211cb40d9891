"""How soon radiusd's threads get a processor when they wake (sched(7)). Standard library only.

A thread that wakes, because a packet has come or the disk has one, may find another program at work on its processor.
Linux lets that one use up its slice, and looks when the clock ticks: up to 4 ms, which is most of a reply's p99.
"""

import ctypes
import os
import struct
import sys

PRIORITY = 1  # the lowest of the real-time ones is above all programs that are not real-time
SLICE_NS = 100_000  # the kernel takes no less

_NAMES = {
    getattr(os, name): name for name in ("SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO", "SCHED_RR")
}
_ORDINARY = (os.SCHED_OTHER, os.SCHED_BATCH)

# sched_setattr(2) and sched_getattr(2), which have names in glibc since 2.41 only.
_SYSTEM_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
_SET, _GET = 0, 1
# size, policy, flags, nice, priority, runtime (the slice, from Linux 6.12 on), deadline, period
_ATTRIBUTES = struct.Struct("<IIQiIQQQ")
_RUNTIME = 5


def ask(scheduling: str) -> bool:
    """Ask the kernel for ``realtime`` or for ``short`` slices; ``normal`` asks for nothing.

    It is for the calling thread, and for the threads and programs that it starts from then on. Where real-time is not
    permitted it asks for short slices, which anybody may have. What is real-time or idle already is left as it is: an
    operator made it so. A kernel that refuses is no error, see `in_force`.

    Returns
    -------
    bool
        False if real-time was asked for and is not permitted.
    """
    if scheduling == "normal" or _policy() not in _ORDINARY:
        return True
    if scheduling == "realtime":
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
            return True
        except OSError:  # without CAP_SYS_NICE and RLIMIT_RTPRIO, or in a cgroup that has no real-time
            pass
    if attributes := _attributes():
        attributes[_RUNTIME] = SLICE_NS  # all else, the nice value for one, stays
        _system_call(_SET, ctypes.create_string_buffer(_ATTRIBUTES.pack(*attributes), _ATTRIBUTES.size), 0)
    return scheduling != "realtime"


def in_force() -> str:
    """Say how the calling thread is scheduled: ``SCHED_RR priority 1``, ``SCHED_OTHER in slices of 0.1 ms``."""
    policy = _policy()
    name = _NAMES.get(policy, "unknown")
    if policy in (os.SCHED_FIFO, os.SCHED_RR):
        return f"{name} priority {os.sched_getparam(0).sched_priority}"
    if policy in _ORDINARY and (attributes := _attributes()) and attributes[_RUNTIME]:
        return f"{name} in slices of {attributes[_RUNTIME] / 1e6:g} ms"
    return name


def _policy() -> int:
    try:
        return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    except OSError:  # musl leaves it out
        return -1


def _attributes() -> list[int]:
    """Return what is in `_ATTRIBUTES` of the calling thread; nothing where it cannot be had."""
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    return list(_ATTRIBUTES.unpack(buffer)) if _system_call(_GET, buffer, _ATTRIBUTES.size) else []


def _system_call(which: int, buffer: ctypes.Array[ctypes.c_char], number: int) -> bool:
    """Make a call for the calling thread. `number` is the flags of the one, the size of `buffer` for the other."""
    calls = _SYSTEM_CALLS.get(os.uname().machine)
    if calls is None or sys.maxsize < 1 << 32:  # programs of 32 bits have other numbers
        return False
    syscall = ctypes.CDLL(None).syscall
    syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    return bool(syscall(calls[which], 0, buffer, number, 0) == 0)
