"""How soon radiusd's threads get a processor when they wake (sched(7)). Standard library only.

A thread wakes when a packet arrives or when the disk has written one. Another program may then be running on its
processor. Linux lets that program use up its slice and checks at the next clock tick. That takes up to 4 ms, most of a
reply's p99.
"""

import ctypes
import os
import struct
import sys

PRIORITY = 1  # the lowest real-time priority is above every program that is not real-time
SLICE_NS = 100_000  # the shortest slice that the kernel accepts

_NAMES = {
    getattr(os, name): name for name in ("SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO", "SCHED_RR")
}
_ORDINARY = (os.SCHED_OTHER, os.SCHED_BATCH)

# sched_setattr(2) and sched_getattr(2). glibc has functions for them only since 2.41.
_SYSTEM_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
_SET, _GET = 0, 1
# size, policy, flags, nice, priority, runtime (the slice, from Linux 6.12 on), deadline, period
_ATTRIBUTES = struct.Struct("<IIQiIQQQ")
_RUNTIME = 5


def ask(scheduling: str) -> bool:
    """Ask the kernel for ``realtime`` or for ``short`` slices; ``normal`` asks for nothing.

    This applies to the calling thread, and to the threads and programs that it starts from then on. If real-time is
    not permitted, the function asks for short slices, which need no permission. A thread that is already real-time or
    idle keeps its scheduling, because an operator has set it. It is no error if the kernel refuses: see `in_force`.

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
        except OSError:  # neither CAP_SYS_NICE nor RLIMIT_RTPRIO, or a cgroup without real-time
            pass
    if attributes := _attributes():
        attributes[_RUNTIME] = SLICE_NS  # the others, such as the nice value, stay
        _system_call(_SET, ctypes.create_string_buffer(_ATTRIBUTES.pack(*attributes), _ATTRIBUTES.size), 0)
    return scheduling != "realtime"


def in_force() -> str:
    """Return the calling thread's scheduling: ``SCHED_RR priority 1``, ``SCHED_OTHER in slices of 0.1 ms``."""
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
    except OSError:  # musl does not implement it
        return -1


def _attributes() -> list[int]:
    """Return the calling thread's scheduling attributes (`_ATTRIBUTES`); an empty list if they cannot be read."""
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    return list(_ATTRIBUTES.unpack(buffer)) if _system_call(_GET, buffer, _ATTRIBUTES.size) else []


def _system_call(which: int, buffer: ctypes.Array[ctypes.c_char], number: int) -> bool:
    """Make a system call for the calling thread. `number`: the flags of `_SET`, the size of `buffer` for `_GET`."""
    calls = _SYSTEM_CALLS.get(os.uname().machine)
    if calls is None or sys.maxsize < 1 << 32:  # 32-bit programs have other call numbers
        return False
    syscall = ctypes.CDLL(None).syscall
    syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    return bool(syscall(calls[which], 0, buffer, number, 0) == 0)
