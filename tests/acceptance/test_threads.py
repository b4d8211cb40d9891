"""Each thread of radiusd is scheduled as the setting says: the pool's, and the one that syncs the journal."""

import os
from pathlib import Path

import pytest
from support.processes import FreeRadius
from support.scheduled import Scheduled, realtime_permitted, scheduled, threads
from support.wire import Router

HERE = scheduled(0)
PERMITTED = realtime_permitted()
# Before Linux 6.12 nobody has slices of a length of their own, nor sees them.
SHORT = HERE._replace(slice_ns=HERE.slice_ns and 100_000)
IN_SLICES = "SCHED_OTHER in slices of 0.1 ms" if HERE.slice_ns else "SCHED_OTHER"
REALTIME = HERE._replace(policy=os.SCHED_RR, priority=1)
WARNING = f"Warning: radmeter: scheduling = realtime is not permitted here, so it is {IN_SLICES}."


class Unprivileged(FreeRadius):
    """FreeRADIUS with neither CAP_SYS_NICE nor RLIMIT_RTPRIO."""

    def spawn(self, command: list[str], environment: dict[str, str]) -> None:
        without = ["prlimit", "--rtprio=0"]
        if os.geteuid() == 0:
            without += ["setpriv", "--bounding-set=-sys_nice"]
        super().spawn([*without, *command], environment)


def seen(server: FreeRadius) -> set[Scheduled]:
    """Return how the threads of a server that has kept a packet are scheduled."""
    with Router(server.address) as router:
        assert router.send({"Acct-Status-Type": "Start", "User-Name": "u", "Acct-Session-Id": "s"})
    assert server.process is not None
    states = threads(server.process.pid)
    assert len(states) == 3 + len(server.lines("sync = interval")), "main, the pool's two, the journal's"
    # The slice of a real-time thread is how long it takes turns with those of its own priority: not ours to say.
    return {s._replace(slice_ns=HERE.slice_ns) if s.policy == os.SCHED_RR else s for s in states}


@pytest.mark.parametrize(
    ("sync", "scheduling", "expected"),
    [
        ("packet", "auto", REALTIME if PERMITTED else SHORT),
        ("packet", "short", SHORT),
        ("packet", "normal", HERE),
        ("interval", "auto", SHORT),
        ("interval", "realtime", REALTIME if PERMITTED else SHORT),
    ],
)
def test_each_thread_is_scheduled_as_the_setting_says(
    tmp_path: Path, sync: str, scheduling: str, expected: Scheduled
) -> None:
    with FreeRadius(tmp_path / "run", tmp_path / "journal", sync=sync, scheduling=scheduling) as server:
        assert seen(server.start()) == {expected}
        said = {REALTIME: "SCHED_RR priority 1", SHORT: IN_SLICES}.get(expected, "")
        assert server.lines(f"scheduling = {scheduling} ({said}")


@pytest.mark.parametrize(("scheduling", "warnings"), [("auto", 0), ("realtime", 1)])
def test_what_is_not_permitted_is_short_slices_with_a_warning_if_it_was_asked_for(
    tmp_path: Path, scheduling: str, warnings: int
) -> None:
    with Unprivileged(tmp_path / "run", tmp_path / "journal", scheduling=scheduling) as server:
        assert seen(server.start()) == {SHORT}
        assert len(server.lines(WARNING)) == warnings
        assert len(server.lines("LimitRTPRIO=1")) == warnings
