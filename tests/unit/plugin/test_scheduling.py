"""What the plugin asks of the kernel's scheduler and what it gets. Separate processes, so that pytest's own stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.scheduled import Scheduled, realtime_permitted, scheduled

import radmeter

PREAMBLE = """
import os, resource, threading
from radmeter.plugin import scheduling
from support.scheduled import scheduled
"""
UNPRIVILEGED = """
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
"""
REPORT = """
print(scheduling.in_force())
print(*scheduled(0))
thread = threading.Thread(target=lambda: print(*scheduled(threading.get_native_id())))
thread.start(), thread.join()
"""
SHORT_NS = 100_000
HERE = scheduled(0)

needs_realtime = pytest.mark.skipif(not realtime_permitted(), reason="real-time is not permitted here")
needs_slices = pytest.mark.skipif(not HERE.slice_ns, reason="this kernel has no slices of a thread's own")


def python(code: str) -> list[str]:
    """Run code and return its output: the result of ask(), then REPORT's three lines."""
    path = os.pathsep.join([str(Path(radmeter.__file__).parents[1]), str(Path(__file__).parents[2])])
    run = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code + REPORT],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def words(state: Scheduled) -> str:
    return " ".join(map(str, state))


@needs_realtime
def test_realtime_is_granted_if_permitted_and_threads_inherit_it() -> None:
    answer, in_force, main, thread = python("print(scheduling.ask('realtime'))")
    assert (answer, in_force) == ("True", "SCHED_RR priority 1")
    assert main.startswith(f"{os.SCHED_RR} 1 ")
    assert thread == main


@needs_slices
def test_short_slices_need_no_permission_keep_the_nice_value_and_are_inherited() -> None:
    answer, in_force, main, thread = python(UNPRIVILEGED + "os.nice(2); print(scheduling.ask('short'))")
    assert (answer, in_force) == ("True", "SCHED_OTHER in slices of 0.1 ms")
    assert main == words(HERE._replace(nice=min(HERE.nice + 2, 19), slice_ns=SHORT_NS))
    assert thread == main


@needs_slices
def test_realtime_that_is_not_permitted_becomes_short_slices() -> None:
    answer, in_force, main, thread = python(UNPRIVILEGED + "print(scheduling.ask('realtime'))")
    assert (answer, in_force) == ("False", "SCHED_OTHER in slices of 0.1 ms")
    assert main == thread == words(HERE._replace(slice_ns=SHORT_NS))


def test_normal_asks_for_nothing() -> None:
    answer, in_force, main, thread = python("print(scheduling.ask('normal'))")
    assert answer == "True"
    assert in_force.startswith("SCHED_OTHER")
    assert main == thread == words(HERE)


@needs_realtime
@pytest.mark.parametrize("scheduling", ["realtime", "short", "normal"])
def test_a_process_that_an_operator_made_real_time_stays_so(scheduling: str) -> None:
    answer, in_force, main, _ = python(
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\n"
        + f"print(scheduling.ask({scheduling!r}))"
    )
    assert (answer, in_force) == ("True", "SCHED_FIFO priority 1")
    assert main.startswith(f"{os.SCHED_FIFO} 1 ")


@pytest.mark.parametrize("scheduling", ["realtime", "short"])
def test_a_process_that_an_operator_made_idle_stays_so(scheduling: str) -> None:
    answer, in_force, main, _ = python(
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); before = scheduled(0)\n"
        f"print(scheduling.ask({scheduling!r}) and scheduled(0) == before)"
    )
    assert (answer, in_force) == ("True", "SCHED_IDLE")
    assert main.startswith(f"{os.SCHED_IDLE} 0 ")


@needs_slices
def test_batch_stays_batch_in_short_slices() -> None:
    _, in_force, main, _ = python(
        "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)); print(scheduling.ask('short'))"
    )
    assert in_force == "SCHED_BATCH in slices of 0.1 ms"
    assert main == words(HERE._replace(policy=os.SCHED_BATCH, slice_ns=SHORT_NS))


@pytest.mark.parametrize(
    "refusal",
    [
        "scheduling._SYSTEM_CALLS.clear()",  # a processor type whose call numbers are not known
        "scheduling._SYSTEM_CALLS = dict.fromkeys(scheduling._SYSTEM_CALLS, (10_000, 10_000))",  # ENOSYS
        "scheduling.sys = type('Of32Bits', (), {'maxsize': 2**31 - 1})",
    ],
)
def test_without_slices_nothing_happens(refusal: str) -> None:
    answer, in_force, main, _ = python(f"{refusal}\nprint(scheduling.ask('short'))")
    assert (answer, in_force, main) == ("True", "SCHED_OTHER", words(HERE))


def test_a_libc_without_the_calls_is_no_error() -> None:
    answer, in_force, main, _ = python(
        "def refuse(*_): raise OSError(38, 'Function not implemented')\n"  # musl
        "known, os.sched_getscheduler = os.sched_getscheduler, refuse\n"
        "print(scheduling.ask('realtime'), scheduling.in_force())\n"
        "os.sched_getscheduler = known"
    )
    assert (answer, in_force) == ("True unknown", python("print()")[1])
    assert main == words(HERE)
